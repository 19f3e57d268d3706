"""Tables as CSV: a passage a row where there is a column of texts, else the table as it stands."""

from __future__ import annotations

import csv
from io import StringIO
from itertools import pairwise
from pathlib import Path

from hoptrail.errors import FormatError
from hoptrail.formats.readers.files import read_bytes
from hoptrail.formats.readers.registry import FileContent
from hoptrail.formats.text_files import MAX_MARKDOWN, decoded
from hoptrail.types import Passage

TEXT, TITLE, ID = "text", "title", "id"
"""Columns with a meaning, in any case; all others are metadata."""


def read_csv_table(path: Path) -> FileContent:
    """A table whose first row names its columns.

    With a column `text` each row is a passage, `id` and `title` as they say and all else metadata.
    Without one the whole is one document: a table in Markdown, whose parts repeat the header.

    Raises:
        FormatError: It is no such table, or not UTF-8.
    """
    text = decoded(read_bytes(path).removeprefix(b"\xef\xbb\xbf"), str(path))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text)
    try:
        rows = [
            (reader.line_num, row)
            for reader in [csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)]
            for row in reader
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise FormatError(f"{path} is no table: {error}") from error
    if len(rows) < 2:
        raise FormatError(f"{path} holds no row below its header")
    (_, header), *body = rows
    names = [name.strip() for name in header]
    if len(set(names)) < len(names) or not all(names):
        raise FormatError(f"{path}: its first row must name each column once, got {names!r}")
    for line, row in body:
        if len(row) != len(names):
            raise FormatError(f"{path}, line {line}: {len(row)} cells under {len(names)} columns")
    folded = {name.lower(): at for at, name in enumerate(names)}
    if TEXT in folded:
        return _records(path, names, folded, body)
    lines = [_line(names), _line(["---"] * len(names)), *(_line(row) for _, row in body)]
    markdown = f"# {path.stem}\n\n" + "\n".join(lines)
    if len(markdown) > MAX_MARKDOWN:
        raise FormatError(
            f"{path} has more than {MAX_MARKDOWN:,} characters: name a column 'text', so that each "
            "row is a passage, or divide it"
        )
    return FileContent(markdown)


def _records(
    path: Path, names: list[str], folded: dict[str, int], body: list[tuple[int, list[str]]]
) -> FileContent:
    own = {folded[name] for name in (TEXT, TITLE, ID) if name in folded}
    records, empty = [], 0
    for line, row in body:
        if not row[folded[TEXT]].strip():
            empty += 1
            continue
        records.append(
            Passage(
                (row[folded[ID]].strip() if ID in folded else "") or f"line {line}",
                row[folded[TEXT]],
                (row[folded[TITLE]].strip() if TITLE in folded else "") or None,
                {
                    name: row[at]
                    for at, name in enumerate(names)
                    if at not in own and row[at].strip()
                },
            )
        )
    ids = sorted(record.id for record in records)
    twice = next((one for one, other in pairwise(ids) if one == other), None)
    if twice is not None:
        raise FormatError(f"{path}: two rows have the id {twice!r}")
    remarks = (f"{empty} rows without text",) if empty else ()
    return FileContent(records=tuple(records), remarks=remarks)


def _delimiter(text: str) -> str:
    """What divides the columns: the sign that the first line has most of."""
    first = text.lstrip().split("\n", 1)[0]
    return max(",;\t|", key=first.count)


def _line(cells: list[str]) -> str:
    said = (" ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(said)} |"
