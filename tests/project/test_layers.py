"""Imports point one way, folder by folder; third parties stay in their place; names are light."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "ground",
        (
            "errors",
            "outputs.printable",
            "outputs.pages",
            "types",
            "values",
            "outputs",
            "formats",
            "metrics",
        ),
    ),
    (
        "memory",
        (
            "memory.analysis",
            "memory.filters",
            "memory.content_hash",
            "memory.guarded",
            "memory.forks",
            "memory.encoders",
            "memory.storage",
            "memory.index",
            "memory.passages",
            "memory.storage.postgres",
            "memory.views",
            "memory.search",
            "memory.searching",
            "memory.store",
            "memory.feedback",
            "memory.maintenance",
            "memory.testing",
        ),
    ),
    (
        "graph",
        (
            "graph.extraction",
            "graph.adjacency",
            "graph.ranking",
            "graph.gnn_weights",
            "graph.gnn",
            "graph.convert",
            "graph.view",
            "graph.cuts",
            "graph.graph",
            "graph.maintenance",
            "graph.audit",
        ),
    ),
    (
        "learning",
        (
            "learning.execution",
            "learning.arrays",
            "learning.masked",
            "learning.weights",
            "learning.losses",
            "learning.estimators",
            "learning.retrieval",
            "learning",
            "learning.indexes",
            "learning.reader",
            "learning.answering",
            "learning.generation",
        ),
    ),
    (
        "policies",
        (
            "policies.reformulation",
            "policies.environment",
            "policies.networks",
            "policies.folder",
            "policies.card",
            "policies.policy",
            "policies.data",
            "policies.result",
            "policies.search",
            "policies.relations",
            "policies.retriever",
            "policies.objectives",
            "policies.training",
            "policies.reading",
            "policies.feedback",
        ),
    ),
    ("api", ("api",)),
    ("evaluation", ("evaluation",)),
    ("integrations", ("integrations.web", "integrations.operations", "integrations")),
    ("cli", ("cli", "cli.commands", "cli.main", "__main__")),
)
"""Lowest first, and within a layer too: a part imports itself and what stands before it.

A part is a folder of modules or, directly below a root, one module. Imports of types alone
(`if TYPE_CHECKING`) and imports inside functions count like all others.
"""

CONFINED = {
    "Stemmer": {"memory"},
    "markdown_it": {"ground"},
    "yaml": {"ground"},
    "markitdown": {"ground"},
    "huggingface_hub": {"ground", "memory"},
    "faiss": {"memory"},
    "tantivy": {"memory"},
    "qdrant_client": {"memory"},
    "qdrant_edge": {"memory"},
    "onnx": {"memory"},
    "onnxruntime": {"memory"},
    "sentence_transformers": {"memory"},
    "sqlite3": {"memory", "graph"},
    "psycopg": {"memory"},
    "pgvector": {"memory"},
    "networkx": {"graph"},
    "torch_geometric": {"graph"},
    "matplotlib": {"evaluation"},
    "langchain": {"integrations"},
    "langchain_core": {"integrations"},
    "langgraph": {"integrations"},
    "llama_index": {"integrations"},
    "mcp": {"integrations"},
    "opentelemetry": {"integrations"},
    "prometheus_client": {"integrations"},
    "starlette": {"integrations"},
    "uvicorn": {"integrations"},
    "mlflow": {"integrations"},
    "tensorboard": {"integrations"},
    "trackio": {"integrations"},
    "wandb": {"integrations"},
    "pydantic": {"integrations"},
    "rich": {"cli"},
    "typer": {"cli"},
}
"""Third parties by the layers that may import them."""

PACKAGES = {"memory", "graph", "learning", "policies", "evaluation", "integrations"}
FACES = ["hoptrail", *(f"hoptrail.{name}" for name in sorted({*PACKAGES, "formats", "metrics"}))]
_SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS: dict[str, str] = _SETTINGS["tool"]["setuptools"]["package-dir"]
PARTS = [(layer, part) for layer, parts in LAYERS for part in parts]
MAX_FILE, MAX_FUNCTION, MAX_FOLDER = 500, 70, 17


def height(module: str) -> int | None:
    """Where the part that holds a module stands in LAYERS; None if it stands nowhere.

    A face (`hoptrail.memory`) names its parts lazily, and stands above the last of them.
    """
    name = module.removeprefix("hoptrail.")
    heights = [
        (len(part), at)
        for at, (_, part) in enumerate(PARTS)
        if name == part or name.startswith(part + ".")
    ]
    if heights:
        return max(heights)[1]
    inside = [at for at, (_, part) in enumerate(PARTS) if part.startswith(name + ".")]
    return max(inside, default=None)


def source_files() -> Iterator[tuple[str, Path]]:
    """Each module's name and file, by pyproject's package-dir."""
    for package, folder in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(part for part in parts if part != "__init__")]), file


MODULES = {module for module, _ in source_files()}


def homes(package: str) -> dict[str, str]:
    """The module of each name of a package's face, which its stub lists; none without a face."""
    root = next((r for r in sorted(FOLDERS, key=len, reverse=True) if package.startswith(r)), None)
    if root is None:
        return {}
    stub = ROOT.joinpath(FOLDERS[root], *package[len(root) + 1 :].split("."), "__init__.pyi")
    if not stub.exists():
        return {}
    return {
        alias.name: f"{package}.{node.module}"
        for node in ast.walk(ast.parse(stub.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def home_of(package: str, name: str) -> str:
    """The module that `from package import name` reads, through the faces."""
    if f"{package}.{name}" in MODULES:
        return f"{package}.{name}"
    return homes(package).get(name, f"{package}.{name}")


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module
            for alias in node.names:
                yield node.lineno, home_of(node.module, alias.name)


def complaints(module: str, source: str) -> list[str]:
    """What is wrong with a module's imports; `module` is its full name."""
    if module in {*FACES, "hoptrail.cli"}:
        return []  # a face names its parts, and stands above them all
    own = height(module)
    if own is None:
        return [f"{module} has no layer: give it its place in LAYERS"]
    layer, part = PARTS[own]
    lines = []
    for line, name in imported(ast.parse(source)):
        top = name.partition(".")[0]
        above = height(name) if top == "hoptrail" else None
        if top in PACKAGES:
            lines.append(f"{module}:{line} imports {name}: write hoptrail.{top}")
        elif above is not None and above > own:
            lines.append(f"{module}:{line} imports {name}: {PARTS[above][1]} lies above {part}")
        elif top in CONFINED and layer not in CONFINED[top]:
            lines.append(f"{module}:{line} imports {top}: only {sorted(CONFINED[top])} may")
    return lines


def test_imports_point_down_and_third_parties_stay_behind_their_package() -> None:
    lines = [
        line
        for module, file in source_files()
        for line in complaints(module, file.read_text(encoding="utf-8"))
    ]
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("hoptrail.memory.store", "import hoptrail.graph.graph", "lies above memory.store"),
        ("hoptrail.graph.view", "from hoptrail.policies import search", "policies.search lies"),
        ("hoptrail.errors", "def f():\n    from hoptrail import Memory", "api lies above errors"),
        ("hoptrail.memory.a", "from hoptrail.api import memory", "hoptrail.memory.a has no layer"),
        (
            "hoptrail.formats.a",
            "if 1:\n    import hoptrail.memory.views.view",
            "lies above formats",
        ),
        ("hoptrail.memory.storage.a", "import hoptrail.memory.store", "store lies above"),
        ("hoptrail.memory.encoders.a", "from hoptrail.memory.index import slots", "lies above"),
        ("hoptrail.policies.objectives.a", "import hoptrail.policies.training.run", "lies above"),
        ("hoptrail.evaluation.a", "from hoptrail.cli.main import main", "cli.main lies"),
        ("hoptrail.graph.view", "from memory.store import Store", "write hoptrail.memory"),
        ("hoptrail.policies.search.a", "import faiss", r"imports faiss: only \['memory'\] may"),
        ("hoptrail.api.memory", "from langchain_core.documents import Document", "langchain_core"),
        ("hoptrail.policies.data.a", "from torch_geometric.nn import GATv2Conv", "geometric"),
        ("hoptrail.api.memory", "from hoptrail.cli.commands import demo", "cli.commands lies"),
        ("hoptrail.cli.app", "import hoptrail.cli.commands.query", "cli.commands lies above cli"),
        ("hoptrail.cli.commands.query", "from hoptrail.cli.main import main", "cli.main lies"),
        ("hoptrail.helpers", "", "hoptrail.helpers has no layer"),
    ],
)
def test_a_planted_import_is_caught(module, source, complaint) -> None:
    with pytest.raises(AssertionError, match=complaint):
        assert not complaints(module, source), complaints(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hoptrail.policies.search.a", "from hoptrail.graph.view import GraphView"),
        ("hoptrail.graph.view", "import sqlite3\nfrom hoptrail import Passage\nimport torch"),
        ("hoptrail.cli.main", "from hoptrail import Memory\nimport hoptrail.evaluation.report"),
        ("hoptrail", "from hoptrail.api.memory import Memory"),
    ],
)
def test_an_honest_import_is_let_through(module, source) -> None:
    assert complaints(module, source) == []


FRAMEWORKS = {
    "langchain": {"langchain"},
    "langchain_core": {"langchain"},
    "langgraph": {"langgraph"},
    "llama_index": {"llama_index"},
    "mcp": {"mcp_server"},
    "opentelemetry": {"telemetry"},
    "mcp_types": {"mcp_server"},
    "prometheus_client": {"http_server"},
    "starlette": {"explorer", "http_server", "mcp_server", "web"},
    "mlflow": {"trackers"},
    "tensorboard": {"trackers"},
    "trackio": {"trackers"},
    "wandb": {"trackers"},
    "uvicorn": {"web"},
}
"""Frameworks by the integrations that import them."""
SHARED = {"operations", "web"}
"""Below all integrations: what models may do, and what HTTP servers have in common."""


def test_an_integration_imports_its_framework_and_nothing_of_its_neighbours() -> None:
    lines = []
    for module, file in source_files():
        if not module.startswith("hoptrail.integrations."):
            continue
        own = module.split(".")[2]
        for line, name in imported(ast.parse(file.read_text(encoding="utf-8"))):
            top, *rest = name.split(".")
            if own not in FRAMEWORKS.get(top, {own}):
                lines.append(f"{module}:{line} imports {top}")
            if top == "hoptrail" and rest[0] == "integrations" and rest[1] not in {own, *SHARED}:
                lines.append(f"{module}:{line} imports {name}, a neighbour")
    assert not lines, "\n".join(lines)


def test_files_and_functions_stay_within_the_size_of_a_screenful() -> None:
    lines = []
    for module, file in source_files():
        source = file.read_text(encoding="utf-8")
        if source.count("\n") > MAX_FILE:
            lines.append(f"{module} has {source.count(chr(10))} lines, {MAX_FILE} are allowed")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno
                size = node.end_lineno - node.lineno + 1
                if size > MAX_FUNCTION:
                    lines.append(f"{module}.{node.name} has {size} lines, {MAX_FUNCTION} allowed")
    assert not lines, "\n".join(lines)


def test_a_folder_can_be_taken_in_at_a_glance_and_says_what_is_inside() -> None:
    folders = {file.parent for _, file in source_files()} | {
        file.parent for top in ("tests", "benchmarks") for file in (ROOT / top).rglob("*.py")
    }
    for folder in sorted(folders):
        names = {entry.name for entry in folder.iterdir()} - {"__init__.pyi"}  # of __init__.py
        entries = [name for name in names if not name.startswith((".", "__pycache__"))]
        assert len(entries) <= MAX_FOLDER, f"{folder} has {len(entries)} entries"
    for _, file in source_files():
        if file.name == "__init__.py":
            docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
            assert docstring, f"{file} does not say what is inside"


def run(code: str, folder: Path | str = "/") -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_hoptrail_is_quick_and_loads_nothing_heavy() -> None:
    code = """
import sys, time
start = time.perf_counter()
import hoptrail
import hoptrail.memory, hoptrail.graph, hoptrail.learning, hoptrail.policies
import hoptrail.evaluation, hoptrail.integrations, hoptrail.formats, hoptrail.metrics
spent = time.perf_counter() - start
heavy = {"torch", "transformers", "numpy", "faiss", "networkx", "langchain_core", "rich"}
print(spent, *sorted(heavy & set(sys.modules)))
"""
    spent, *heavy = min((run(code).split() for _ in range(3)), key=lambda words: float(words[0]))
    assert heavy == []
    assert float(spent) < 0.3


def test_what_is_done_every_day_leaves_alone_what_only_training_needs(tmp_path) -> None:
    """Their import takes a second and more, and what is asked takes a tenth of one."""
    code = f"""
import sys, tempfile
tempfile.tempdir = {str(tmp_path / "temporary")!r}
from hoptrail import Memory
from hoptrail.memory.testing.hash_encoder import HashEncoder

with Memory({str(tmp_path / "a.db")!r}, encoder=HashEncoder()) as memory:
    ids = memory.add(["Ada was taught by Mary.", "Mary was born in Jedburgh.", "Jedburgh, a town."])
    for effort in ("fast", "balanced", "thorough"):
        hits = memory.recall("Where was the teacher of Ada born?", effort=effort).passages
        print(len(hits), end=" ")
    print(len(memory.search("Ada")), memory.history(ids[0]) is None, memory.forget({{"a": 1}}))
heavy = {{"torch", "torch_geometric", "transformers", "sentence_transformers", "scipy"}}
heavy |= {{"networkx", "matplotlib", "langchain_core", "onnx", "pydantic"}}
print(*sorted(heavy & set(sys.modules)))
"""
    (tmp_path / "temporary").mkdir()
    assert run(code) == "3 3 3 3 False 0"
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("package", FACES)
def test_public_names_are_found_lazily_and_others_are_refused(package) -> None:
    face = importlib.import_module(package)
    assert set(homes(package)) == set(face.__all__) - {"__version__"}
    assert set(face.__all__) <= set(dir(face))
    for name in face.__all__:
        assert not inspect.ismodule(getattr(face, name))
    with pytest.raises(AttributeError, match="Memmory"):
        _ = face.Memmory


@pytest.mark.parametrize("package", ["graph", "evaluation", "metrics"])
def test_a_function_is_found_beside_the_module_of_its_name(package) -> None:
    name = {"graph": "audit", "evaluation": "evaluate", "metrics": "reliability"}[package]
    code = f"""
import hoptrail.{package}.{name}
from hoptrail.{package} import {name}
print(callable({name}))
"""
    assert run(code) == "True"


def test_a_name_means_the_same_in_every_face() -> None:
    """One name, one meaning: two faces that have a name have the same object under it."""
    meanings: dict[str, set[str]] = {}
    for package in FACES:
        for name, module in homes(package).items():
            meanings.setdefault(name, set()).add(module)
    assert {name: modules for name, modules in meanings.items() if len(modules) > 1} == {}


def test_no_module_is_imported_under_its_folder_s_name() -> None:
    """From the repository's root `import memory` works by accident and doubles every class."""
    names = sorted(module for module in MODULES if not module.endswith("__main__"))
    code = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
print(*sorted({PACKAGES!r} & set(sys.modules)))
"""
    assert run(code, ROOT) == ""
