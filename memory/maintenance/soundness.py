"""What is wrong with a store's file: looked for everywhere, changed nowhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from hoptrail.errors import StoreError
from hoptrail.memory import feedback
from hoptrail.memory.encoders.vectors import sound
from hoptrail.memory.passages import vector_rows
from hoptrail.memory.storage import checksums, damaged, next_vectors, schema, store_info
from hoptrail.types import Link, Passage

SHOWN = 20
"""Problems of one kind that are named one by one."""

DERIVED = ("graph_", "snapshots", "vectors", "next_vectors", "unencoded", "aside_", "erased")
"""How the names of tables begin that can be made anew from the passages, or be spared."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a store's files that is not as it should be."""

    what: str
    """`file`, `reference`, `passage`, `vector`, `encoder`, `snapshot`, `version`, `graph`, or
    `replica`: it is not what its server holds."""
    message: str
    derived: bool
    """Whether `repair` can make it anew, from the passages or from the server that has them."""


def file_problems(connection: sqlite3.Connection) -> list[Problem]:
    """All that is wrong inside of the file, in a read transaction.

    Args:
        connection: The store's.
    """
    problems = _file_problems(connection)
    if any(not problem.derived for problem in problems):
        return problems  # what a damaged file says further means nothing
    parts: list[tuple[str, Callable[[sqlite3.Connection], list[Problem]]]] = [
        ("reference", _reference_problems),
        ("passage", _passage_problems),
        ("vector", _vector_problems),
        ("encoder", _encoder_problems),
        ("version", _version_problems),
        ("file", _row_problems),
        ("feedback", _feedback_problems),
    ]
    for what, part in parts:
        try:
            problems += part(connection)
        except (sqlite3.Error, StoreError, ValueError, TypeError, OverflowError) as error:
            # Of the file all that is wrong so far can be made anew, and may be why.
            anew = what in ("reference", "vector", "encoder", "version", "feedback") or (
                what == "file" and bool(problems)
            )
            problems.append(Problem(what, f"it cannot be read: {error}", anew))
    return problems


def derived(table: str) -> bool:
    """Whether a table can be made anew from the passages.

    Args:
        table: Its name.
    """
    return table.startswith(DERIVED)


def tables(connection: sqlite3.Connection) -> list[str]:
    """The names of the file's own tables, those of word indexes but the parts that SQLite keeps.

    Args:
        connection: The store's.
    """
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*' "
        "AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [str(row[0]) for row in rows]


def integrity(connection: sqlite3.Connection, table: str | None = None) -> list[str]:
    """What SQLite says is wrong with its structures, of one table or of all the file.

    Args:
        connection: The store's.
        table: Its name; None for all of the file.
    """
    argument = SHOWN if table is None else f'"{table}"'
    try:
        rows = connection.execute(f"PRAGMA integrity_check({argument})").fetchall()
    except sqlite3.Error as error:
        return [str(error)]
    return [str(row[0]) for row in rows if row[0] != "ok"][:SHOWN]


def has_sound_structure(connection: sqlite3.Connection, prefix: str) -> bool:
    """Whether SQLite can follow the structure of all tables whose names begin like this.

    Args:
        connection: The store's.
        prefix: What their names begin with.
    """
    return not any(
        integrity(connection, table) for table in tables(connection) if table.startswith(prefix)
    )


def wrong_vectors(connection: sqlite3.Connection) -> list[int]:
    """The rowids of passages whose vector is missing, of another length, or not as written.

    Args:
        connection: The store's.
    """
    width = store_info.width(store_info.get(connection, "encoder") or "")
    wrong = []
    rows = connection.execute(
        "SELECT p.rowid, v.vector, v.checksum FROM passages p "
        "LEFT JOIN vectors v ON v.passage = p.rowid ORDER BY p.rowid"
    )
    for rowid, vector, checksum in rows:
        if (
            not vector_rows.holds_vectors(vector, width or 1)
            or checksums.of_vector(rowid, vector) != checksum
            or (width and not sound(np.frombuffer(vector, dtype="<f4").reshape(-1, width)))
        ):
            wrong.append(rowid)
    return wrong


def _file_problems(connection: sqlite3.Connection) -> list[Problem]:
    """What SQLite says of its structures, and whether tables are declared as they should be."""
    problems = []
    if messages := integrity(connection):
        by_table = {table: integrity(connection, table) for table in tables(connection)}
        named = {message for part in by_table.values() for message in part}
        for table, part in by_table.items():
            problems += [
                Problem("file", f"{table}: {message}", derived(table) or _of_index(message))
                for message in part
            ]
        # What is no table's is a list of free pages, or the index of a word index.
        problems += [
            Problem("file", m, derived=bool(named) or _spare(m)) for m in messages if m not in named
        ]
    problems += [
        Problem(
            "file",
            f"the {kind} {name} is not declared as it should be",
            derived=kind != "table" or name in schema.SPARE,
        )
        for kind, name, _ in schema.misdeclared_tables(connection)
    ]
    return problems


def _of_index(message: str) -> bool:
    return " index " in message


def _spare(message: str) -> bool:
    lower = message.lower()
    return "index" in lower or "never used" in lower or "freelist" in lower


def _reference_problems(connection: sqlite3.Connection) -> list[Problem]:
    rows = connection.execute("PRAGMA foreign_key_check")
    return [
        Problem(
            "reference", f"a row of {table} ({rowid}) belongs to no row of {parent}", derived=True
        )
        for table, rowid, parent, _ in islice(rows, SHOWN)
    ]


def wrong_passages(connection: sqlite3.Connection) -> Iterator[int]:
    """The rowids of passages that are not as they were written.

    Args:
        connection: The store's.
    """
    return (rowid for rowid, _, _ in _wrong_passages(connection))


def _passage_problems(connection: sqlite3.Connection) -> list[Problem]:
    problems = []
    for rowid, columns, links in islice(_wrong_passages(connection), SHOWN):
        message = f"passage {rowid}: {columns[1]!r} is not as it was written"
        if reason := _reason(columns, links):
            message += f", {reason}"
        problems.append(Problem("passage", message, derived=False))
    return problems


def _wrong_passages(
    connection: sqlite3.Connection,
) -> Iterator[tuple[int, list[Any], list[checksums.Link]]]:
    """The rowid, the columns and the links of each passage that is not as it was written."""
    rows = connection.execute(
        f"SELECT rowid, checksum, {checksums.VALIDITY}, {checksums.PASSAGE} FROM passages "
        "ORDER BY rowid"
    )
    links = _Links(connection)
    for rowid, checksum, first, last, *columns in rows:
        its_links = links.of(rowid)
        if checksums.of_passage(columns, its_links, (first, last)) != checksum:
            yield rowid, [*columns, first, last], its_links


def _reason(columns: list[Any], links: list[checksums.Link]) -> str | None:
    """What nobody could have written of a passage, if it is that."""
    _, id_, title, text, metadata, written_at, expires_at, *_, first, last = columns
    try:
        damaged.check_text(title, text)
        values = damaged.metadata_of(metadata)
        its_links = tuple(Link(*link) for link in links)  # type: ignore[arg-type]
        passage = Passage(id_, text, title, values, (), its_links, written_at, expires_at)
        damaged.check_rest(replace(passage, valid_from=first, valid_until=last))
    except (ValueError, TypeError) as error:
        return str(error)
    return None


class _Links:
    """The links of passages that are asked for in ascending order."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._rows: Iterator[tuple[Any, ...]] = connection.execute(
            "SELECT source, target, kind, weight FROM links ORDER BY source, position"
        )
        self._next = next(self._rows, None)

    def of(self, rowid: int) -> list[checksums.Link]:
        """Those of a passage."""
        links: list[checksums.Link] = []
        while self._next is not None and self._next[0] <= rowid:
            if self._next[0] == rowid:
                links.append(self._next[1:])
            self._next = next(self._rows, None)
        return links


def _vector_problems(connection: sqlite3.Connection) -> list[Problem]:
    wrong = wrong_vectors(connection)
    problems = [
        Problem("vector", f"passage {rowid} has no vector of its encoder's", derived=True)
        for rowid in wrong[:SHOWN]
    ]
    if len(wrong) > SHOWN:
        problems.append(Problem("vector", f"and {len(wrong) - SHOWN} more", derived=True))
    return problems


def _encoder_problems(connection: sqlite3.Connection) -> list[Problem]:
    """What is wrong with the vectors of the next encoder, while the store changes to one."""
    wrong = next_vectors.wrong(connection)
    if not wrong:
        return []
    message = f"{len(wrong)} passages, such as {wrong[0]}, have no vector of the next encoder's"
    return [Problem("encoder", message, derived=True)]


def _version_problems(connection: sqlite3.Connection) -> list[Problem]:
    newest, highest = store_info.newest_version(connection), store_info.highest_version(connection)
    if highest <= newest:
        return []
    return [Problem("version", f"the version is {newest} and a row has {highest}", derived=True)]


def _feedback_problems(connection: sqlite3.Connection) -> list[Problem]:
    """Recalls that were judged, and what was said of them is not as it was written."""
    recalls = feedback.damaged_recalls(connection)
    return [
        Problem("feedback", f"a row of recall {number} in {table} is not as written", derived=True)
        for number, table in islice(recalls.items(), SHOWN)
    ]


def _row_problems(connection: sqlite3.Connection) -> list[Problem]:
    """Rows of the small tables that are not as they were written."""
    problems = []
    for table, key in islice(checksums.wrong_rows(connection), SHOWN):
        version = (table, key) == ("meta", "version")
        message = f"the row {key!r} of {table} is not as it was written"
        anew = version or table in checksums.SPARE
        problems.append(Problem("version" if version else "file", message, anew))
    return problems
