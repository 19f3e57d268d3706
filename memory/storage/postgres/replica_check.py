"""Where a replica does not hold what the server does, though both are of one version."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hoptrail.memory.storage.postgres.server_passages import server_passages

if TYPE_CHECKING:
    from psycopg import Connection

_HERE = (
    "SELECT p.version, p.title, p.text, p.metadata, p.written_at, p.expires_at, p.document, "
    "p.valid_from, p.valid_until, v.vector FROM passages p "
    "LEFT JOIN vectors v ON v.passage = p.rowid WHERE p.namespace = ? AND p.id = ?"
)


def differences(
    connection: sqlite3.Connection, remote: Connection[Any], generation: int
) -> Iterator[str]:
    """What a replica lacks, has too much, or has otherwise; a sentence for each passage.

    Args:
        connection: The replica's, in a transaction.
        remote: In a transaction that sees the state that the replica stands for.
        generation: Of the vectors in use.
    """
    count = 0
    for row, vectors in server_passages(remote, -1, generation):
        here = connection.execute(_HERE, row[:2]).fetchone()
        if here is None:
            yield f"passage {row[1]!r} of the server is missing"
            continue
        count += 1
        if not _equal(here, row, vectors):
            yield f"passage {row[1]!r} is not as the server has it"
    (size,) = connection.execute("SELECT count(*) FROM passages").fetchone()
    if size > count:
        yield f"{size - count} passages are not on the server"


def _equal(here: Sequence[Any], there: Sequence[Any], vectors: Sequence[Any]) -> bool:
    """Whether a replica's row is a passage of the server's, with its vectors."""
    *columns, blob = here
    version, title, text, metadata, _, _, *times = there[2:]
    same = columns[:3] == [version, title, text] and columns[4:] == times
    flat = np.concatenate([np.asarray(one, dtype="<f4") for one in vectors] or [np.empty(0, "<f4")])
    return same and json.loads(columns[3]) == json.loads(metadata) and (blob or b"") == bytes(flat)
