"""What a server holds of passages, read in the order of their versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hoptrail.memory.storage.postgres import shared_tables

if TYPE_CHECKING:
    from psycopg import Connection

AT_ONCE = 500
"""Passages that are read together."""


def server_passages(
    remote: Connection[Any], since: int, generation: int
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Each passage that was written after a version, as a row, with all its vectors `(d,)`.

    Args:
        remote: In a transaction that sees one state.
        since: The version.
        generation: Of the vectors in use.
    """
    with remote.cursor(name="hoptrail_passages") as cursor:
        cursor.execute(shared_tables.READ_PASSAGES, (since,))
        before = since
        while rows := cursor.fetchmany(AT_ONCE):
            last = rows[-1][2]
            vectors: dict[tuple[str, str], list[Any]] = {}
            for stored, id_, vector in remote.execute(
                shared_tables.READ_VECTORS, (before, last, generation), binary=True
            ):
                vectors.setdefault((stored, id_), []).append(vector.to_numpy())
            for row in rows:
                yield row, vectors.get((row[0], row[1]), [])
            before = last
