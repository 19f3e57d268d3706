"""Jupyter notebooks as Markdown: what was written, and the code; outputs are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hoptrail.errors import FormatError
from hoptrail.formats.readers.files import read_json
from hoptrail.formats.readers.registry import FileContent


def read_notebook(path: Path) -> FileContent:
    """The cells of a notebook in their order, code between fences.

    Raises:
        FormatError: It is no notebook of format 4.
    """
    notebook = read_json(path)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise FormatError(f"{path} is no notebook of format 4: it has no list of cells")
    language = _language(notebook)
    parts = []
    for number, cell in enumerate(cells, start=1):
        kind = cell.get("cell_type") if isinstance(cell, dict) else None
        source = cell.get("source", "") if isinstance(cell, dict) else None
        text = "".join(source) if isinstance(source, list) else source
        if kind not in ("markdown", "code", "raw") or not isinstance(text, str):
            raise FormatError(f"{path}: cell {number} is no cell of Markdown or code")
        if text.strip():
            parts.append(fenced(text, language) if kind == "code" else text)
    return FileContent("\n\n".join(parts))


def fenced(code: str, language: str = "") -> str:
    """Code as a block of Markdown, between fences longer than any in it.

    Args:
        code: Its lines.
        language: Its name, as Markdown has it.
    """
    ticks = 3
    while "`" * ticks in code:
        ticks += 1
    fence = "`" * ticks
    return f"{fence}{language}\n{code.strip(chr(10))}\n{fence}"


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    info = metadata.get("language_info") if isinstance(metadata, dict) else None
    name = info.get("name") if isinstance(info, dict) else None
    return name if isinstance(name, str) and name.isalnum() else ""
