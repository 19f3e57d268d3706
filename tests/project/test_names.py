"""A variable says what it holds: none is a bare participle, but for those that are still to go."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTICIPLES = set("found asked held kept given wanted known told made shown taken".split())
PACKAGES = (
    "src/hoptrail",
    "memory",
    "graph",
    "learning",
    "policies",
    "evaluation",
    "integrations",
)
BUDGET = {
    **dict.fromkeys(PACKAGES, 0),
    "benchmarks": 0,
    "examples": 0,
    "scripts": 0,
    "tests": 362,
}
"""How many a folder may have. It only falls: who renames some lowers it."""


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


MIRRORED = {"merge_duplicates"}
"""Functions that the command line names as the library does, since one carries out the other."""


def _modules() -> Iterator[tuple[str, ast.Module]]:
    """The path and the tree of every module of the library."""
    for folder in PACKAGES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))


def _twice(names: Iterator[tuple[str, str]]) -> dict[str, set[str]]:
    """The names that more than one module defines, with those modules."""
    modules: dict[str, set[str]] = {}
    for name, module in names:
        modules.setdefault(name, set()).add(module)
    assert len(modules) > 200
    return {name: files for name, files in modules.items() if len(files) > 1}


FILES_TWICE = set(
    "config evaluate maintenance marginal retriever retrievers schema store tokens view".split()
)
"""Files of one name in two folders. It only shrinks: who renames one takes it out."""


def test_no_file_name_stands_for_two_things() -> None:
    files = ((Path(module).stem, module) for module, _ in _modules())
    twice = _twice(file for file in files if not file[0].startswith("__"))
    assert twice.keys() == FILES_TWICE, f"rename one of each, by what is in it: {twice}"


def test_no_class_name_is_defined_twice() -> None:
    twice = _twice(
        (node.name, module)
        for module, tree in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    assert not twice, f"one name, one meaning: rename one of each, by what it is: {twice}"


def test_no_public_function_of_a_module_has_the_name_of_another_s() -> None:
    twice = _twice(
        (node.name, module)
        for module, tree in _modules()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
    )
    assert twice.keys() <= MIRRORED, f"name each by what it does, and to what: {twice}"


@pytest.mark.parametrize("folder", BUDGET)
def test_no_folder_binds_more_bare_participles_than_its_budget(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    names = {str(file.relative_to(ROOT)): participles(file.read_text()) for file in files}
    names = {file: bound for file, bound in names.items() if bound}
    count = sum(map(len, names.values()))
    assert count <= BUDGET[folder], f"{count}, at most {BUDGET[folder]}: {names}"


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
