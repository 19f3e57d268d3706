"""Imports point one way, third parties stay where they belong, `import hoptrail` is light."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import hoptrail

ROOT = Path(__file__).resolve().parents[2]

LAYERS = (
    ("ground", {"errors", "types", "values", "outputs", "formats", "metrics"}),
    ("memory", {"memory"}),
    ("graph", {"graph"}),
    ("learning", {"learning"}),
    ("policies", {"policies"}),
    ("api", {"api"}),
    ("evaluation", {"evaluation"}),
    ("integrations", {"integrations"}),
    ("cli", {"cli", "__main__"}),
)
"""Lowest first; what may be imported is the same layer or a lower one."""

CONFINED = {
    "Stemmer": {"memory"},
    "markdown_it": {"ground"},
    "yaml": {"ground"},
    "faiss": {"memory"},
    "tantivy": {"memory"},
    "sqlite3": {"memory", "graph"},
    "networkx": {"graph"},
    "torch_geometric": {"graph"},
    "matplotlib": {"evaluation"},
    "langchain_core": {"integrations"},
    "langgraph": {"integrations"},
    "llama_index": {"integrations"},
    "mcp": {"integrations"},
    "rich": {"cli"},
}
"""Third parties by the layers that may import them."""

PACKAGES = {"memory", "graph", "learning", "policies", "evaluation", "integrations"}
_LEVEL = {part: height for height, (_, parts) in enumerate(LAYERS) for part in parts}
MAX_FILE, MAX_FUNCTION = 500, 70


def level(part: str) -> int | None:
    """How high a part of hoptrail lies."""
    return _LEVEL.get(part)


def source_files() -> Iterator[tuple[str, Path]]:
    """Each module's name and file, by pyproject's package-dir."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package, folder in settings["tool"]["setuptools"]["package-dir"].items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(part for part in parts if part != "__init__")]), file


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module
            for alias in node.names:
                home = hoptrail._MODULE_OF.get(alias.name) if node.module == "hoptrail" else None
                yield node.lineno, home or f"{node.module}.{alias.name}"


def complaints(module: str, source: str) -> list[str]:
    """What is wrong with a module's imports; `module` is its full name."""
    if module == "hoptrail":  # the trunk names everything, lazily
        return []
    own = level(module.split(".")[1])
    if own is None:
        return [f"{module} has no layer: give it its place in LAYERS"]
    layer = LAYERS[own][0]
    found = []
    for line, name in imported(ast.parse(source)):
        top, _, rest = name.partition(".")
        part = rest.partition(".")[0]
        if top in PACKAGES:
            found.append(f"{module}:{line} imports {name}: write hoptrail.{top}")
        elif top == "hoptrail" and (level(part) or 0) > own:
            found.append(f"{module}:{line} imports {name}: {part} lies above {layer}")
        elif top in CONFINED and layer not in CONFINED[top]:
            found.append(f"{module}:{line} imports {top}: only {sorted(CONFINED[top])} may")
    return found


def test_imports_point_down_and_third_parties_stay_behind_their_package() -> None:
    found = [
        line
        for module, file in source_files()
        for line in complaints(module, file.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("hoptrail.memory.store", "import hoptrail.graph.graph", "graph lies above memory"),
        ("hoptrail.graph.view", "from hoptrail.policies import search", "policies lies above"),
        ("hoptrail.errors", "def f():\n    from hoptrail import Memory", "api lies above ground"),
        ("hoptrail.memory.a", "from hoptrail.api import memory", "api lies above memory"),
        (
            "hoptrail.formats.jsonl",
            "if TYPE_CHECKING:\n    import hoptrail.memory.views.view",
            "memory lies",
        ),
        (
            "hoptrail.evaluation.a",
            "from hoptrail.cli.main import main",
            "cli lies above evaluation",
        ),
        ("hoptrail.graph.a", "from memory.store import Store", "write hoptrail.memory"),
        ("hoptrail.policies.a", "import faiss", r"imports faiss: only \['memory'\] may"),
        ("hoptrail.api.memory", "from langchain_core.documents import Document", "langchain_core"),
        ("hoptrail.policies.a", "from torch_geometric.nn import GATv2Conv", "torch_geometric"),
        ("hoptrail.api.memory", "from hoptrail.cli import demo", "cli lies above api"),
        ("hoptrail.helpers", "", "hoptrail.helpers has no layer"),
    ],
)
def test_a_planted_import_is_caught(module, source, complaint) -> None:
    with pytest.raises(AssertionError, match=complaint):
        assert not complaints(module, source), complaints(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hoptrail.policies.a", "from hoptrail.graph.view import GraphView"),
        ("hoptrail.graph.a", "import sqlite3\nfrom hoptrail import Passage\nimport torch"),
        ("hoptrail.cli.main", "from hoptrail import Memory\nimport hoptrail.evaluation.report"),
        ("hoptrail", "from hoptrail.api.memory import Memory"),
    ],
)
def test_an_honest_import_is_let_through(module, source) -> None:
    assert complaints(module, source) == []


def test_files_and_functions_stay_within_the_size_of_a_screenful() -> None:
    found = []
    for module, file in source_files():
        source = file.read_text(encoding="utf-8")
        if source.count("\n") > MAX_FILE:
            found.append(f"{module} has {source.count(chr(10))} lines, {MAX_FILE} are allowed")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno
                size = node.end_lineno - node.lineno + 1
                if size > MAX_FUNCTION:
                    found.append(f"{module}.{node.name} has {size} lines, {MAX_FUNCTION} allowed")
    assert not found, "\n".join(found)


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
spent = time.perf_counter() - start
heavy = {"torch", "transformers", "numpy", "faiss", "networkx", "langchain_core", "rich"}
print(spent, *sorted(heavy & set(sys.modules)))
"""
    spent, *heavy = min((run(code).split() for _ in range(3)), key=lambda words: float(words[0]))
    assert heavy == []
    assert float(spent) < 0.3


def test_public_names_are_found_lazily_and_others_are_refused() -> None:
    assert set(hoptrail._MODULE_OF) | {"__version__"} == set(hoptrail.__all__)
    assert set(hoptrail.__all__) <= set(dir(hoptrail))
    for name in hoptrail.__all__:
        assert getattr(hoptrail, name) is not None
    with pytest.raises(AttributeError, match="module 'hoptrail' has no attribute 'Memmory'"):
        _ = hoptrail.Memmory


def test_no_module_is_imported_under_its_folder_s_name() -> None:
    """From the repository's root `import memory` works by accident and doubles every class."""
    names = sorted(module for module, _ in source_files() if not module.endswith("__main__"))
    code = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
print(*sorted({PACKAGES!r} & set(sys.modules)))
"""
    assert run(code, ROOT) == ""
