"""The rows of the table `vectors`: a blob for each passage, of one vector or several.

The first is the passage's as a whole; those of a text longer than the encoder's window are followed
by one for each window (see `windows`). All are little-endian float32, one after another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hoptrail.errors import StoreError
from hoptrail.memory import meta, records
from hoptrail.memory.slots import Slots
from hoptrail.memory.vectors import Vectors


@dataclass(frozen=True, slots=True)
class Stored:
    """The vectors of n passages."""

    main: Vectors
    """`(n, d)`: of each as a whole."""
    windows: Vectors
    """`(e, d)`: of the windows of long ones, in order."""
    owners: Slots
    """`(e,)` whose each is: a row of `main`."""


def whole(blob: bytes | None, width: int) -> bool:
    """Whether a blob is one vector of a width, or several."""
    return bool(blob) and isinstance(blob, bytes) and len(blob) % (4 * width) == 0


def unpacked(
    blobs: Sequence[bytes | None], rowids: Sequence[int], width: int, where: str
) -> Stored:
    """The vectors in the blobs of some passages.

    Raises:
        StoreError: One is not of this width.
    """
    parts: list[bytes] = []
    for blob, rowid in zip(blobs, rowids, strict=True):
        if blob is None or not whole(blob, width):
            raise StoreError(records.no_vector(rowid, where))
        parts.append(blob)
    flat = np.frombuffer(b"".join(parts), dtype="<f4").reshape(-1, width).astype(np.float32)
    if len(flat) == len(parts):
        none = np.zeros((0, width), dtype=np.float32)
        return Stored(flat, none, np.zeros(0, dtype=np.int64))
    counts = np.asarray([len(part) for part in parts]) // (4 * width)
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    owners = np.repeat(np.arange(len(parts), dtype=np.int64), counts - 1)
    return Stored(flat[firsts], np.delete(flat, firsts, axis=0), owners)


def read(connection: sqlite3.Connection, rowids: Sequence[int], width: int, where: str) -> Stored:
    """The vectors of passages; zeros for one that is gone.

    Raises:
        StoreError: One that is there has none of this width.
    """
    blob_of: dict[int, bytes | None] = dict.fromkeys(rowids, bytes(4 * width))
    for part, marks in records.batches(rowids):
        rows = connection.execute(
            "SELECT p.rowid, v.vector FROM passages p LEFT JOIN vectors v ON v.passage = p.rowid "
            f"WHERE p.rowid IN ({marks})",
            part,
        )
        blob_of.update(rows)
    return unpacked([blob_of[rowid] for rowid in rowids], rowids, width, where)


def split_passages(connection: sqlite3.Connection, namespace: str) -> int:
    """How many passages of a scope, as stored, are longer than their encoder's window."""
    width = meta.width(meta.get(connection, "encoder") or "")
    if not width:
        return 0
    row = connection.execute(
        "SELECT count(*) FROM vectors v JOIN passages p ON p.rowid = v.passage "
        "WHERE length(v.vector) > ? AND p.namespace >= ? AND p.namespace < ?",
        (4 * width, *records.scope_range(namespace)),
    ).fetchone()
    return int(row[0])
