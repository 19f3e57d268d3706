"""A variable says what it holds: none is a bare participle, but for those that are still to go."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTICIPLES = set("found asked held kept given wanted known told made shown taken".split())
BUDGET = {
    "src/hoptrail": 0,
    "memory": 0,
    "graph": 0,
    "learning": 0,
    "policies": 0,
    "evaluation": 0,
    "integrations": 0,
}
"""How many a package may have. It only falls: who renames some lowers it."""


def _named(tree: ast.AST) -> Iterator[str]:
    """The locals and parameters that a module binds; a class's fields are part of its interface."""
    fields = {
        id(statement.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Store)
            and id(node) not in fields
        ):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def participles(source: str) -> list[str]:
    return [name for name in _named(ast.parse(source)) if name in PARTICIPLES]


STILL_TWICE = set("Document Prefix Stage TokenEncoder".split())
"""Class names that two modules define. It only shrinks: who renames one takes it out."""


def class_names() -> dict[str, set[str]]:
    """The modules that define each class of the library, by its name."""
    modules: dict[str, set[str]] = {}
    for folder in ("src/hoptrail", *(package for package in BUDGET if "/" not in package)):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef):
                    modules.setdefault(node.name, set()).add(str(file.relative_to(ROOT)))
    return modules


def test_no_class_name_is_defined_twice() -> None:
    names = class_names()
    assert len(names) > 200
    twice = {name: files for name, files in names.items() if len(files) > 1}
    new = {name: files for name, files in twice.items() if name not in STILL_TWICE}
    assert not new, f"one name, one meaning: rename one of each, by what it is: {new}"


@pytest.mark.parametrize("package", BUDGET)
def test_no_package_binds_more_bare_participles_than_its_budget(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    names = {str(file.relative_to(ROOT)): participles(file.read_text()) for file in files}
    names = {file: bound for file, bound in names.items() if bound}
    count = sum(map(len, names.values()))
    assert count <= BUDGET[package], f"{count}, at most {BUDGET[package]}: {names}"


def test_locals_parameters_and_loops_count_and_fields_do_not() -> None:
    source = """
class Hit:
    asked: str | None = None

def rank(given, *, kept=()):
    found = [held for held in given]
    for known in found:
        rows = known.shown
"""
    assert sorted(participles(source)) == ["found", "given", "held", "kept", "known"]
