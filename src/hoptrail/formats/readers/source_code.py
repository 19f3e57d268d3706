"""Programs: Python by its functions and classes, others by their blocks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from hoptrail.formats.readers.notebooks import fenced
from hoptrail.formats.readers.registry import FileContent
from hoptrail.formats.text_files import read_text


def read_source_code(path: Path) -> FileContent:
    """A program's text, which is cut at its empty lines.

    Raises:
        FormatError: It is not text.
    """
    return FileContent(read_text(path), "plain")


def read_python(path: Path) -> FileContent:
    """A module of Python as a document: its functions and classes stand under their names.

    One that does not parse is read as other programs are.

    Raises:
        FormatError: It is not text.
    """
    text = read_text(path)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return FileContent(
            text, "plain", remarks=("it does not parse, and was read as plain text",)
        )
    lines = text.splitlines()
    definitions = list(_definitions(tree.body))
    starts = [start for start, _ in definitions] + [len(lines)]
    parts = [f"# {path.name}", *_block(lines[: starts[0]])]
    for (start, name), following in zip(definitions, starts[1:], strict=True):
        parts += [f"## {name}", *_block(lines[start:following])]
    return FileContent("\n\n".join(parts))


def _definitions(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    """The first line of each definition, from 0, its decorators among them, and its name."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            yield first - 1, node.name


def _block(lines: list[str]) -> list[str]:
    code = "\n".join(lines)
    return [fenced(code, "python")] if code.strip() else []
