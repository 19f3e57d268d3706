"""The vectors of a change of encoder on a server: a generation of their own beside those in use.

A vector's row says of which generation it is, and one row of `hoptrail_meta` which of them is in
use. Whoever writes a passage deletes its vectors of every generation, so that it is encoded anew;
the switch writes no vector, and each replica that follows it takes over the other generation.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hoptrail.errors import StoreError
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.storage import damaged, records, store_info
from hoptrail.memory.storage.database import Database
from hoptrail.memory.storage.next_vectors import ReencodingProgress
from hoptrail.memory.storage.postgres import shared_tables
from hoptrail.memory.storage.postgres.server import ALL, Remote, Server

if TYPE_CHECKING:
    from psycopg import Connection

logger = logging.getLogger(__name__)

GENERATION = "generation"
"""Key of the generation of the vectors in use; 0 where it is absent."""
NEXT_GENERATION = "next_generation"
"""Key of the one that is being made."""
LAST_GENERATION = "last_generation"
"""Key of the highest that there ever was."""
AT_ONCE = 5000
"""Vectors that are read together."""
_LEFT = (
    "FROM hoptrail_passages p WHERE NOT EXISTS (SELECT 1 FROM hoptrail_vectors v "
    "WHERE v.namespace = p.namespace AND v.id = p.id AND v.generation = %s)"
)


def generation_in_use(info: Mapping[str, str]) -> int:
    """The generation of the vectors in use.

    Args:
        info: What the server says of the store.
    """
    return int(info.get(GENERATION, "0"))


def pull_generation(
    connection: sqlite3.Connection, remote: Connection[Any], info: Mapping[str, str]
) -> None:
    """Have a replica's vectors be those of the generation in use; the passages are there already.

    Args:
        connection: The replica's, which writes.
        remote: In a transaction that sees one state.
        info: What the server says of the store.
    """
    generation = generation_in_use(info)
    if str(generation) == (store_info.get(connection, GENERATION) or "0"):
        return
    connection.execute("DELETE FROM vectors")
    connection.execute("CREATE TEMP TABLE row_of (namespace TEXT, id TEXT, passage INTEGER)")
    connection.execute("INSERT INTO row_of SELECT namespace, id, rowid FROM main.passages")
    connection.execute("CREATE INDEX temp.row_of_key ON row_of (namespace, id)")
    for key, vectors in _grouped(remote, generation):
        row = connection.execute(
            "SELECT passage FROM row_of WHERE namespace = ? AND id = ?", key
        ).fetchone()
        records.put_vector(connection, row[0], np.stack(vectors))
    connection.execute("DROP TABLE row_of")


def _grouped(
    remote: Connection[Any], generation: int
) -> Iterator[tuple[tuple[str, str], list[Any]]]:
    """Each passage's key and its vectors `(d,)` of a generation."""
    key: tuple[str, str] | None = None
    vectors: list[Any] = []
    with remote.cursor(name="hoptrail_generation", binary=True) as cursor:
        cursor.execute(shared_tables.READ_GENERATION, (generation,))
        while rows := cursor.fetchmany(AT_ONCE):
            for namespace, id_, vector in rows:
                if key is not None and key != (namespace, id_):
                    yield key, vectors
                    vectors = []
                key = namespace, id_
                vectors.append(vector.to_numpy())
    if key is not None:
        yield key, vectors


@dataclass(frozen=True, slots=True)
class SharedPassage:
    """A passage of a server as it was when it was taken to be encoded."""

    namespace: str
    """As stored."""
    id: str
    version: int
    content: str


class ServerChange:
    """A change of the encoder of a store on a server, which hosts may share; see `Reencoding`.

    Args:
        server: With connections of its own, which it closes.
        replica: Of a host that works on it: keeps on record what is in its vector cache in vain.
        described: The next encoder, as described; "" to look at a change or to drop it.
    """

    seconds_between_counts = 30.0
    """How often what is left is counted, which reads the keys of all that are done."""

    def __init__(self, server: Server, replica: Database, described: str) -> None:
        self._server, self._replica, self._described = server, replica, described
        self._after = ("", "")  # the key to go on from

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def begin(self) -> ReencodingProgress | None:
        """Begin the change, or find it begun; None where the store has the encoder already.

        Raises:
            StoreError: The change to another one has begun, or the role sees only a part.
        """
        with self._server.writing() as remote:
            if remote.head.visible != ALL:
                raise StoreError(
                    f"a change of the encoder of {self._server.name} takes the role that made its "
                    f"tables, and {self._server.role!r} sees a part of them"
                )
            info = _info(remote)
            change = _progress(remote, info)
            if change is None and info.get("encoder") == self._described:
                return None
            if change is None:
                generation = str(int(info.get(LAST_GENERATION, "0")) + 1)
                _put(remote, store_info.NEXT, self._described)
                _put(remote, NEXT_GENERATION, generation)
                _put(remote, LAST_GENERATION, generation)
                change = _progress(remote, _info(remote))
                remote.connection.execute("COMMIT")
                logger.info("%s changes its encoder to %s", self._server.name, self._described)
            elif change.encoder != self._described:
                raise StoreError(
                    store_info.other_change(self._server.name, str(change), self._described)
                )
        self._after = self._anywhere()
        return change

    def _anywhere(self) -> tuple[str, str]:
        """The key of some passage, so that several hosts do not take the same ones."""
        with self._replica.reading() as connection:
            row = connection.execute(
                "SELECT namespace, id FROM passages WHERE rowid >= "
                "abs(random()) % (SELECT coalesce(max(rowid), 0) + 1 FROM passages) LIMIT 1"
            ).fetchone()
        return (row[0], row[1]) if row is not None else ("", "")

    def take(self, count: int) -> list[SharedPassage]:
        """Up to so many passages without a next vector, going round; none where all have one."""
        with self._server.reading() as remote:
            generation = self._generation(remote)
            batch = [] if generation is None else self._left(remote, generation, count)
        if batch:
            self._after = batch[-1].namespace, batch[-1].id
        return batch

    def _left(self, remote: Remote, generation: int, count: int) -> list[SharedPassage]:
        batch: list[SharedPassage] = []
        for sign in (">", "<="):
            rows = remote.connection.execute(
                "SELECT p.namespace, p.id, p.version, p.title, p.text, p.metadata::text "
                f"{_LEFT} AND (p.namespace, p.id) {sign} (%s, %s) "
                "ORDER BY p.namespace, p.id LIMIT %s",
                (generation, *self._after, count - len(batch)),
            ).fetchall()
            for namespace, id_, version, *said in rows:
                content = damaged.content_of_row(*said)
                batch.append(SharedPassage(namespace, id_, version, content))
        return batch

    def put(self, batch: Sequence[SharedPassage], vectors: Sequence[Vectors]) -> int:
        """Keep the next vectors of those that nobody has written since; how many."""
        with self._server.writing() as remote:
            generation = self._generation(remote)
            if generation is None:
                return 0  # another has just switched
            there = {
                (namespace, id_): version
                for namespace, id_, version in remote.connection.execute(
                    "SELECT p.namespace, p.id, p.version FROM hoptrail_passages p "
                    "JOIN unnest(%s::text[], %s::text[]) AS k (namespace, id) "
                    "ON k.namespace = p.namespace AND k.id = p.id",
                    ([one.namespace for one in batch], [one.id for one in batch]),
                )
            }
            same = [i for i, t in enumerate(batch) if there.get((t.namespace, t.id)) == t.version]
            _insert(remote, generation, [batch[i] for i in same], [vectors[i] for i in same])
            remote.connection.execute("COMMIT")
        lost = [t.content for t in batch if there.get((t.namespace, t.id)) != t.version]
        if lost:  # a purge may have looked into the cache before they were written there
            with self._replica.writing(derived=True) as connection:
                records.note_erased(connection, lost)
        return len(same)

    def progress(self) -> ReencodingProgress | None:
        """How far the change is that the store is in; None if it is in none."""
        with self._server.reading() as remote:
            return _progress(remote, _info(remote))

    def check(self) -> None:
        """Nothing to look for: a batch is on the server whole or not at all."""

    def switch(self, most: int, encode: Callable[[Sequence[SharedPassage]], list[Vectors]]) -> int:
        """Have the next vectors be in use; how many were made for it, or -1 if too many are left.

        Args:
            most: Passages that may be encoded while other writers wait.
            encode: Makes their vectors.
        """
        with self._server.writing() as remote:
            generation = self._generation(remote)
            if generation is None:
                return 0
            batch = self._left(remote, generation, most + 1)
            if len(batch) > most:
                return -1
            if batch:
                _insert(remote, generation, batch, encode(batch))
            version = remote.head.version + 1
            _end(remote)
            _put(remote, GENERATION, str(generation))
            _put(remote, "encoder", self._described)
            _put(remote, store_info.SINCE, str(version))
            remote.commit(version)
        logger.info("%s has the encoder %s now", self._server.name, self._described)
        return len(batch)

    def drop(self) -> ReencodingProgress | None:
        """Give the change up; which one that was."""
        with self._server.writing() as remote:
            change = _progress(remote, _info(remote))
            if change is not None:
                _end(remote)
                remote.connection.execute("COMMIT")
        return change

    def clear(self, count: int) -> bool:
        """Delete vectors of no generation that is of use, so many at most; whether none is left."""
        with self._server.writing() as remote:
            info = _info(remote)
            used = [generation_in_use(info), int(info.get(NEXT_GENERATION, "-1"))]
            deleted = remote.connection.execute(
                "DELETE FROM hoptrail_vectors WHERE (namespace, id, generation, part) IN ("
                "SELECT namespace, id, generation, part FROM hoptrail_vectors "
                "WHERE generation < %s OR (generation > %s AND generation < %s) "
                "OR generation > %s LIMIT %s)",
                (min(used) if used[1] >= 0 else used[0], used[0], used[1], max(used), count),
            ).rowcount
            if deleted:
                remote.connection.execute("COMMIT")
        return deleted < count

    def passages(self) -> int:
        """How many passages the store holds."""
        with self._server.reading() as remote:
            return _count(remote)

    def _generation(self, remote: Remote) -> int | None:
        """The generation that is being made; None if another process has ended the change well.

        Raises:
            StoreError: It was dropped.
        """
        info = _info(remote)
        if info.get(store_info.NEXT) == self._described:
            return int(info[NEXT_GENERATION])
        if info.get("encoder") == self._described:
            return None
        raise StoreError(
            f"the change of {self._server.name} to encoder {self._described} was dropped"
        )


def _info(remote: Remote) -> dict[str, str]:
    return dict(remote.connection.execute("SELECT key, value FROM hoptrail_meta").fetchall())


def _put(remote: Remote, key: str, value: str) -> None:
    remote.connection.execute(shared_tables.PUT_META, (key, value))


def _end(remote: Remote) -> None:
    keys = (store_info.NEXT, NEXT_GENERATION)
    remote.connection.execute("DELETE FROM hoptrail_meta WHERE key IN (%s, %s)", keys)


def _count(remote: Remote) -> int:
    row = remote.connection.execute("SELECT count(*) FROM hoptrail_passages").fetchone()
    return int(row[0]) if row else 0


def _progress(remote: Remote, info: Mapping[str, str]) -> ReencodingProgress | None:
    if store_info.NEXT not in info:
        return None
    left = remote.connection.execute(
        f"SELECT count(*) {_LEFT}", (int(info[NEXT_GENERATION]),)
    ).fetchone()
    total = _count(remote)
    return ReencodingProgress(info[store_info.NEXT], total - (left[0] if left else 0), total)


def _insert(
    remote: Remote, generation: int, batch: Sequence[SharedPassage], vectors: Sequence[Vectors]
) -> None:
    """Write the vectors of passages in the place of those of that generation."""
    keys = [(one.namespace, one.id, generation) for one in batch]
    rows = [
        (one.namespace, one.id, part, vector, generation)
        for one, several in zip(batch, vectors, strict=True)
        for part, vector in enumerate(np.atleast_2d(several.astype(np.float32)))
    ]
    with remote.connection.cursor() as cursor:
        cursor.executemany(
            "DELETE FROM hoptrail_vectors WHERE namespace = %s AND id = %s AND generation = %s",
            keys,
        )
        cursor.executemany(shared_tables.PUT_VECTOR, rows)
