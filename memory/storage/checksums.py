"""Checksums of rows, so that what is not as it was written can be named.

CRC-32: it finds every single flipped bit and every burst shorter than itself, and what is looked
for is damage, not forgery. A passage's covers all that it is, its links too; a vector's covers the
number of its passage, so that two vectors that changed places are found.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence

PASSAGE = "namespace, id, title, text, metadata, written_at, expires_at, document, version"
"""The columns of a passage that its checksum covers, in this order."""

VALIDITY = "valid_from, valid_until"
"""Those that it covers where one is set: a row from before there were any stays sound."""

Link = tuple[object, ...]
"""Target, kind and weight, as stored."""


def of_row(values: Iterable[object]) -> int:
    """The checksum of values of a row, as SQLite gives them."""
    checksum = 0
    for value in values:
        if isinstance(value, str):
            raw = value.encode("utf-8", "surrogateescape")  # also what is no UTF-8
            checksum = zlib.crc32(raw, zlib.crc32(b"t%d:" % len(raw), checksum))
        else:
            checksum = zlib.crc32(repr(value).encode() + b";", checksum)
    return checksum


def of_passage(
    columns: Sequence[object], links: Iterable[Link], validity: Sequence[object] = (None, None)
) -> int:
    """The checksum of a passage.

    Args:
        columns: The values of `PASSAGE`.
        links: Its links, in their order.
        validity: The values of `VALIDITY`.
    """
    interval = () if all(end is None for end in validity) else ("valid", *validity)
    return of_row([*columns, *(value for link in links for value in link), *interval])


def of_vector(rowid: int, vector: bytes) -> int:
    """The checksum of a passage's vector."""
    return zlib.crc32(vector, rowid & 0xFFFFFFFF)


def seal(connection: sqlite3.Connection, rowids: Sequence[int], validity: str = VALIDITY) -> None:
    """Write the checksums of passages as they now are, inside the caller's transaction.

    Args:
        connection: The store's.
        rowids: Of the passages.
        validity: Its columns, or what stands for them in a file that has none yet.
    """
    for rowid in rowids:
        row = connection.execute(
            f"SELECT {validity}, {PASSAGE} FROM passages WHERE rowid = ?", (rowid,)
        ).fetchone()
        links = connection.execute(
            "SELECT target, kind, weight FROM links WHERE source = ? ORDER BY position", (rowid,)
        )
        if row is not None:
            connection.execute(
                "UPDATE passages SET checksum = ? WHERE rowid = ?",
                (of_passage(row[2:], links, row[:2]), rowid),
            )


def add_checksums(connection: sqlite3.Connection) -> None:
    """Give the tables their checksums, those of the rows that are there too: a migration."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    vectors = [table for table in ("vectors", "next_vectors") if table in tables]
    for table in ("passages", "meta", "tombstones", "erased", *vectors):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER")
    rowids = [row[0] for row in connection.execute("SELECT rowid FROM passages")]
    seal(connection, rowids, validity="NULL, NULL")
    for table in vectors:
        rows = connection.execute(f"SELECT passage, vector FROM {table}").fetchall()
        connection.executemany(
            f"UPDATE {table} SET checksum = ? WHERE passage = ?",
            [(of_vector(rowid, vector), rowid) for rowid, vector in rows],
        )
    for table in ROWS.keys() - set(FROM_THE_BEGINNING):
        key, columns = ROWS[table]
        rows = connection.execute(f"SELECT {key}, {columns} FROM {table}").fetchall()
        connection.executemany(
            f"UPDATE {table} SET checksum = ? WHERE {key} = ?",
            [(of_row(row[1:]), row[0]) for row in rows],
        )


ROWS = {
    "meta": ("key", "key, value"),
    "tombstones": ("version", "version, passage, namespace, id"),
    "erased": ("content", "content"),
    "merges": ("passage", "passage, position, record"),
}
"""The other tables whose rows have a checksum: what names one, and the columns that it covers."""

SPARE = ("tombstones", "erased")
"""Those of them that can do without a row that is damaged."""

FROM_THE_BEGINNING = ("merges",)
"""Those of them that never were without."""


def wrong_rows(connection: sqlite3.Connection) -> Iterator[tuple[str, object]]:
    """The rows of these tables that are not as they were written, by table and key."""
    there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    for table, (key, columns) in ROWS.items():
        if table not in there:  # in a file that may not be written
            continue
        for row in connection.execute(f"SELECT {key}, checksum, {columns} FROM {table}"):
            if of_row(row[2:]) != row[1]:
                yield table, row[0]
