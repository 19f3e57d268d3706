"""What a passage keeps of the duplicates that were merged into it.

In a table of its own: metadata is the user's, whatever its keys are called, and merging one more
duplicate into a passage costs one row, however many went into it before.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from hoptrail.errors import FormatError, InputError
from hoptrail.memory.storage import checksums, damaged, records, schema
from hoptrail.types import Metadata, Passage
from hoptrail.values.numbers import real


@dataclass(frozen=True, slots=True)
class Merged:
    """A passage that was merged into another, as it was."""

    id: str
    title: str | None
    text: str
    metadata: Metadata
    cosine: float
    """With the passage that stays; 1 for the same text."""


def merge_record(passage: Passage, cosine: float) -> Merged:
    """What the passage that stays keeps of one that is merged into it.

    Args:
        passage: The one that goes.
        cosine: With the one that stays.
    """
    return Merged(passage.id, passage.title, passage.text, passage.metadata, cosine)


def put_merged(connection: sqlite3.Connection, rowid: int, entries: Iterable[Merged]) -> None:
    """Add to what a passage keeps.

    Args:
        connection: The store's.
        rowid: Of the passage that keeps them.
        entries: What is added, in order.
    """
    written = (json.dumps(asdict(entry), ensure_ascii=False) for entry in entries)
    put_records(connection, rowid, written)


def put_records(connection: sqlite3.Connection, rowid: int, entries: Iterable[str]) -> None:
    """Add to what a passage keeps, as it is stored.

    Args:
        connection: The store's.
        rowid: Of the passage that keeps them.
        entries: Records, in order.
    """
    row = connection.execute(
        "SELECT coalesce(max(position), -1) FROM merges WHERE passage = ?", (rowid,)
    ).fetchone()
    _insert(connection, rowid, row[0] + 1, entries)


def _insert(connection: sqlite3.Connection, rowid: int, first: int, entries: Iterable[str]) -> None:
    """Write records from a position on, with their checksums."""
    rows = ((rowid, position, entry) for position, entry in enumerate(entries, start=first))
    connection.executemany(
        "INSERT INTO merges (passage, position, record, checksum) VALUES (?, ?, ?, ?)",
        ((*row, checksums.of_row(row)) for row in rows),
    )


def move(connection: sqlite3.Connection, sources: Sequence[int], target: int) -> None:
    """Give a passage what others keep, in their order: they are merged into it themselves.

    Args:
        connection: The store's.
        sources: Rowids of those that go.
        target: Rowid of the one that stays.
    """
    row = connection.execute(
        "SELECT coalesce(max(position), -1) FROM merges WHERE passage = ?", (target,)
    ).fetchone()
    after = row[0] + 1
    for part, marks in records.batches(sources):
        entries = connection.execute(
            f"SELECT record FROM merges WHERE passage IN ({marks}) ORDER BY passage, position", part
        ).fetchall()
        connection.execute(f"DELETE FROM merges WHERE passage IN ({marks})", part)
        _insert(connection, target, after, (entry[0] for entry in entries))
        after += len(entries)


def of_key(connection: sqlite3.Connection, stored: str, id: str) -> tuple[Merged, ...]:
    """What a passage of a namespace, as stored, keeps; in the order of merging.

    Args:
        connection: The store's.
        stored: Its namespace, as stored.
        id: The passage's.
    """
    if not schema.applied(connection, schema.MERGES):  # a file that may not be written
        return ()
    rows = connection.execute(
        "SELECT record FROM merges JOIN passages p ON p.rowid = merges.passage "
        "WHERE p.namespace = ? AND p.id = ? ORDER BY position",
        (stored, id),
    )
    return tuple(entry for row in rows if (entry := _loaded(row[0])) is not None)


def _loaded(record: str) -> Merged | None:
    """What a record says; None of one that is damaged, which `verify` names."""
    try:
        return Merged(**damaged.metadata_of(record))
    except (TypeError, ValueError):
        return None


def ids(connection: sqlite3.Connection, rowids: Collection[int]) -> dict[int, tuple[str, ...]]:
    """The ids of what some passages keep, by rowid; of those that keep something.

    Args:
        connection: The store's.
        rowids: Of passages.
    """
    if not schema.applied(connection, schema.MERGES):
        return {}
    ids_of: dict[int, list[str]] = {}
    query = "SELECT passage, json_extract(record, '$.id') FROM merges WHERE json_valid(record)"
    if len(rowids) == 1:
        query += f" AND passage = {next(iter(rowids)):d}"
    for rowid, id_ in connection.execute(query + " ORDER BY passage, position"):
        ids_of.setdefault(rowid, []).append(id_)
    return {rowid: tuple(ids_of[rowid]) for rowid in rowids if rowid in ids_of}


def parse_merged(value: object, where: str) -> tuple[Merged, ...]:
    """What `of_passage` gave; `where` opens the message of an error.

    Args:
        value: As an export has it.
        where: Opens the message of an error.

    Raises:
        FormatError: It is something else.
    """
    if not isinstance(value, list):
        raise FormatError(f"{where}: what was merged must be a list, got {type(value).__name__}")
    entries = []
    for entry in value:
        if not isinstance(entry, Mapping) or entry.keys() != set(Merged.__slots__):
            raise FormatError(
                f"{where}: what was merged must have {', '.join(Merged.__slots__)}, got {entry!r}"
            )
        try:
            records.check_passage(
                Passage(entry["id"], entry["text"], entry["title"], entry["metadata"])
            )
            cosine = real(entry["cosine"], "the cosine")
        except InputError as error:
            raise FormatError(f"{where}: what was merged: {error}") from error
        entries.append(Merged(**{**entry, "cosine": cosine}))
    return tuple(entries)
