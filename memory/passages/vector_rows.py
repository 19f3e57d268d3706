"""The rows of the table `vectors`: a blob for each passage, of one vector or several.

The first is the passage's as a whole; those of a text longer than the encoder's window are followed
by one for each window (see `windows`). All are little-endian float32, one after another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.slots import Slots
from hoptrail.memory.storage import damaged, records, store_info
from hoptrail.memory.storage.namespaces import Scope


@dataclass(frozen=True, slots=True)
class Stored:
    """The vectors of n passages."""

    main: Vectors
    """`(n, d)`: of each as a whole."""
    windows: Vectors
    """`(e, d)`: of the windows of long ones, in order."""
    owners: Slots
    """`(e,)` whose each is: a row of `main`."""


def holds_vectors(blob: object, width: int) -> bool:
    """Whether a blob is one vector of a width, or several.

    Args:
        blob: As stored.
        width: Of one vector.
    """
    return isinstance(blob, bytes) and bool(blob) and len(blob) % (4 * width) == 0


def unpacked_vectors(
    connection: sqlite3.Connection, blobs: Sequence[object], rowids: Sequence[int], width: int
) -> Stored:
    """The vectors in the blobs of some passages.

    Zeros for one that is damaged or missing, which a warning names: its passage is found by its
    words until `repair` has encoded it anew.

    Args:
        connection: The store's.
        blobs: What the file has of each.
        rowids: Of the passages.
        width: Of a vector; 0 to take that of the first.
    """
    width = width or next((len(blob) // 4 for blob in blobs if isinstance(blob, bytes)), 0)
    parts: list[bytes] = []
    for blob, rowid in zip(blobs, rowids, strict=True):
        if width and isinstance(blob, bytes) and holds_vectors(blob, width) and _finite(blob):
            parts.append(blob)
        else:
            damaged.warn_of_vector(connection, rowid)
            parts.append(bytes(4 * width))
    flat = np.frombuffer(b"".join(parts), dtype="<f4").astype(np.float32)
    flat = flat.reshape(sum(map(len, parts)) // (4 * width) if width else len(parts), width)
    if len(flat) == len(parts):
        none = np.zeros((0, width), dtype=np.float32)
        return Stored(flat, none, np.zeros(0, dtype=np.int64))
    counts = np.asarray([len(part) for part in parts]) // (4 * width)
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    owners = np.repeat(np.arange(len(parts), dtype=np.int64), counts - 1)
    return Stored(flat[firsts], np.delete(flat, firsts, axis=0), owners)


def _finite(blob: bytes) -> bool:
    return bool(np.isfinite(np.frombuffer(blob, dtype="<f4")).all())


def read_vectors(connection: sqlite3.Connection, rowids: Sequence[int], width: int) -> Stored:
    """The vectors of passages; zeros for one that is gone, or has none that is whole.

    Args:
        connection: The store's.
        rowids: n of them.
        width: Of one vector.
    """
    blob_of: dict[int, object] = dict.fromkeys(rowids, bytes(4 * width))
    for part, marks in records.batches(rowids):
        rows = connection.execute(
            "SELECT p.rowid, v.vector FROM passages p LEFT JOIN vectors v ON v.passage = p.rowid "
            f"WHERE p.rowid IN ({marks})",
            part,
        )
        blob_of.update(rows)
    return unpacked_vectors(connection, [blob_of[rowid] for rowid in rowids], rowids, width)


def split_passages(connection: sqlite3.Connection, scope: Scope) -> int:
    """How many passages of a scope are longer than their encoder's window.

    Args:
        connection: The store's.
        scope: Which passages.
    """
    width = store_info.width(store_info.get(connection, "encoder") or "")
    if not width:
        return 0
    row = connection.execute(
        "SELECT count(*) FROM vectors v JOIN passages p ON p.rowid = v.passage "
        "WHERE length(v.vector) > ? AND p.namespace >= ? AND p.namespace < ?",
        (4 * width, *scope.bounds),
    ).fetchone()
    return int(row[0])
