"""Guides, README and examples import from faces only, and what they import is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
BELOW = "memory graph learning policies evaluation integrations formats metrics".split()
FACES = {"hoptrail", *(f"hoptrail.{name}" for name in BELOW)}


def programs(file: Path) -> list[str]:
    """The Python of a file: its blocks of code, or all of it."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        return [text]
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def imports(file: Path) -> list[tuple[str, str | None]]:
    """What a file imports of hoptrail: the module, and the name where it takes one from it."""
    pairs: list[tuple[str, str | None]] = []
    for program in programs(file):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.ImportFrom):
                pairs += [(node.module or "", alias.name) for alias in node.names]
            elif isinstance(node, ast.Import):
                pairs += [(alias.name, None) for alias in node.names]
    return [pair for pair in pairs if pair[0].partition(".")[0] == "hoptrail"]


@pytest.mark.parametrize("file", [*PAGES, *EXAMPLES], ids=lambda file: file.name)
def test_what_users_read_imports_from_faces_only(file) -> None:
    for module, name in imports(file):
        assert module in FACES, f"{file.name} imports {name} from {module}: import it from a face"
        face = importlib.import_module(module)
        assert name is None or name in face.__all__, f"{module} has no {name}"
        assert name is None or getattr(face, name) is not None


def test_pages_and_examples_import_something() -> None:
    """Else the test above would hold of blocks that it did not find."""
    assert sum(len(imports(file)) for file in PAGES) > 30
    assert sum(len(imports(file)) for file in EXAMPLES) > 5


def test_the_reference_names_objects_by_their_faces() -> None:
    """Modules are shown for what their docstring says; what lies in them, by its public name."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            module, _, last = name.rpartition(".")
            if module in FACES and last in importlib.import_module(module).__all__:
                continue
            assert importlib.import_module(name).__doc__, f"{page.name}: {name} is in no face"
