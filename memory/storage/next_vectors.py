"""The vectors of the next encoder, kept beside those in use until every passage has one.

Two tables that are there only meanwhile: `next_vectors`, and `unencoded`, the passages that have
none in it yet. Both follow the passages: what is deleted goes from both in the same transaction,
and whoever writes a passage's vector, in whatever process, puts the passage among the unencoded by
a trigger. So the switch needs no more than that nobody is left there.

Every function runs inside its caller's transaction.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hoptrail.errors import StoreError
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.storage import checksums, damaged, records, schema, store_info


@dataclass(frozen=True, slots=True)
class ReencodingProgress:
    """A change of encoder that has begun and not ended."""

    encoder: str
    """The next one, as described."""
    done: int
    """Passages that have its vector."""
    total: int

    def __str__(self) -> str:
        return f"{self.encoder} ({self.done} of {self.total} passages)"


@dataclass(frozen=True, slots=True)
class UnencodedPassage:
    """A passage as it was when it was taken to be encoded."""

    rowid: int
    version: int
    content: str


def reencoding_progress(connection: sqlite3.Connection) -> ReencodingProgress | None:
    """The change that has begun in this file; None if there is none."""
    encoder = store_info.get(connection, store_info.NEXT)
    if encoder is None:
        return None
    total = passages(connection)
    left = connection.execute("SELECT count(*) FROM unencoded").fetchone()[0]
    return ReencodingProgress(encoder, total - left, total)


def passages(connection: sqlite3.Connection) -> int:
    """How many passages the file holds."""
    return int(connection.execute("SELECT count(*) FROM passages").fetchone()[0])


def begin_change(connection: sqlite3.Connection, described: str, where: str) -> None:
    """Begin the change to an encoder, as described, or find it begun.

    Raises:
        StoreError: The change to another one has begun.
        SchemaMismatch: A newer version of hoptrail began it.
    """
    steps = schema.applied(connection, schema.REENCODING)
    schema.check_schema_version(steps, len(schema.REENCODING_MIGRATIONS), schema.REENCODING, where)
    change = reencoding_progress(connection)
    if change is None:
        schema.migrate(connection, schema.REENCODING, schema.REENCODING_MIGRATIONS, where)
        connection.execute("INSERT INTO unencoded SELECT rowid FROM passages")
        store_info.put_info(connection, store_info.NEXT, described)
    elif change.encoder != described:
        raise StoreError(store_info.other_change(where, str(change), described))


def next_batch(
    connection: sqlite3.Connection, count: int, after: int = 0
) -> list[UnencodedPassage]:
    """Up to `count` passages without a next vector: those after a rowid first, then the others."""
    batch: list[UnencodedPassage] = []
    for where in ("u.passage > ?", "u.passage <= ?"):
        rows = connection.execute(
            "SELECT p.rowid, p.version, p.title, p.text, p.metadata "
            "FROM unencoded u JOIN passages p ON p.rowid = u.passage "
            f"WHERE {where} ORDER BY u.passage LIMIT ?",
            (after, count - len(batch)),
        ).fetchall()
        for rowid, version, title, text, metadata in rows:
            batch.append(
                UnencodedPassage(rowid, version, damaged.content_of_row(title, text, metadata))
            )
    return batch


def put_vectors(
    connection: sqlite3.Connection, batch: Sequence[UnencodedPassage], vectors: Sequence[Vectors]
) -> int:
    """Write the vectors of those that nobody has written since they were taken; how many."""
    now: dict[int, int] = {}
    for part, marks in records.batches([t.rowid for t in batch]):
        rows = connection.execute(
            f"SELECT rowid, version FROM passages WHERE rowid IN ({marks})", part
        )
        now.update(rows.fetchall())
    same = [i for i, t in enumerate(batch) if now.get(t.rowid) == t.version]
    stored = [(batch[i].rowid, vectors[i].astype("<f4").tobytes()) for i in same]
    connection.executemany(
        "INSERT OR REPLACE INTO next_vectors (passage, vector, checksum) VALUES (?, ?, ?)",
        [(rowid, vector, checksums.of_vector(rowid, vector)) for rowid, vector in stored],
    )
    connection.executemany(
        "DELETE FROM unencoded WHERE passage = ?", [(batch[i].rowid,) for i in same]
    )
    _lost(connection, [t for t in batch if now.get(t.rowid) != t.version])
    return len(same)


def _lost(connection: sqlite3.Connection, batch: Sequence[UnencodedPassage]) -> None:
    """Put on record which contents were encoded after they had gone.

    Their vectors may be in the vector cache, written there after a purge had looked.
    """
    passages = records.passages_at(connection, [t.rowid for t in batch], links=False)
    gone = [t for t in batch if t.rowid not in passages or passages[t.rowid].content != t.content]
    records.note_erased(connection, (t.content for t in gone))


def any_left(connection: sqlite3.Connection) -> bool:
    """Whether a passage has no next vector yet."""
    return connection.execute("SELECT 1 FROM unencoded LIMIT 1").fetchone() is not None


def last(connection: sqlite3.Connection) -> int:
    """The highest rowid of the unencoded; 0 if there are none."""
    return int(connection.execute("SELECT coalesce(max(passage), 0) FROM unencoded").fetchone()[0])


def wrong(connection: sqlite3.Connection) -> list[int]:
    """The rowids of passages that count as encoded and have no whole next vector."""
    encoder = store_info.get(connection, store_info.NEXT)
    if encoder is None:
        return []
    size = 4 * (store_info.width(encoder) or 0)
    rows = connection.execute(
        "SELECT p.rowid, n.vector, n.checksum FROM passages p "
        "LEFT JOIN next_vectors n ON n.passage = p.rowid "
        "LEFT JOIN unencoded u ON u.passage = p.rowid WHERE u.passage IS NULL"
    )
    return [
        rowid
        for rowid, vector, checksum in rows
        if not isinstance(vector, bytes)
        or not vector
        or len(vector) % size
        or checksums.of_vector(rowid, vector) != checksum
    ]


def again(connection: sqlite3.Connection, rowids: Iterable[int]) -> None:
    """Have passages encoded again."""
    rowids = list(rowids)
    connection.executemany("DELETE FROM next_vectors WHERE passage = ?", [(r,) for r in rowids])
    connection.executemany(
        "INSERT INTO unencoded VALUES (?) ON CONFLICT DO NOTHING", [(rowid,) for rowid in rowids]
    )


def switch(connection: sqlite3.Connection) -> None:
    """Let the next vectors take the place of those in use, and their encoder that of its own.

    The time it takes hardly grows with the store: tables change their names, nothing is copied.
    """
    encoder = store_info.get(connection, store_info.NEXT)
    assert encoder is not None
    assert not any_left(connection)
    connection.execute("DROP TRIGGER vectors_written")
    _put_aside(connection, "vectors")
    connection.execute("ALTER TABLE next_vectors RENAME TO vectors")
    connection.execute("DROP TABLE unencoded")
    _end(connection)
    store_info.put_info(connection, "encoder", encoder)
    # A view or a snapshot of an earlier version holds vectors of the one before.
    store_info.put_info(connection, store_info.SINCE, str(store_info.bump(connection, 1)))


def drop_change(connection: sqlite3.Connection) -> ReencodingProgress | None:
    """Give a change up, and all vectors that it has made; which one that was."""
    change = reencoding_progress(connection)
    if change is not None:
        connection.execute("DROP TRIGGER vectors_written")
        _put_aside(connection, "next_vectors")
        connection.execute("DROP TABLE unencoded")
        _end(connection)
    return change


def clear(connection: sqlite3.Connection, count: int | None = None) -> bool:
    """Delete vectors that were put aside, so many at most; whether none is left.

    They are in nobody's way but the disk's. A table that is dropped whole is read whole, which
    takes minutes where it is large and not in the system's cache: other writers would wait.
    """
    with _quick_drop(connection):
        for table in aside(connection):
            if count is not None:
                some = f"SELECT passage FROM {table} ORDER BY passage LIMIT ?"
                deleted = connection.execute(
                    f"DELETE FROM {table} WHERE passage IN ({some})", (count,)
                ).rowcount
                if deleted == count:
                    return False
            connection.execute(f"DROP TABLE {table}")
    return True


def aside(connection: sqlite3.Connection) -> list[str]:
    """The tables of vectors that nothing reads any more."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'aside_[0-9]*' "
        "ORDER BY name"
    )
    return [row[0] for row in rows]


def _put_aside(connection: sqlite3.Connection, table: str) -> None:
    """Call a table of vectors something that nobody asks for, until it is cleared."""
    names = aside(connection)
    name = next(n for n in map("aside_{}".format, itertools.count()) if n not in names)
    connection.execute(f"ALTER TABLE {table} RENAME TO {name}")


def _end(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM migrations WHERE owner = ?", (schema.REENCODING,))
    connection.execute("DELETE FROM meta WHERE key = ?", (store_info.NEXT,))


@contextmanager
def _quick_drop(connection: sqlite3.Connection) -> Iterator[None]:
    """Free pages without writing zeros to each, which some builds of SQLite do by default.

    Erasing bytes is what a purge is for, and it rewrites the file.
    """
    before = connection.execute("PRAGMA secure_delete").fetchone()[0]
    connection.execute("PRAGMA secure_delete=FAST")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA secure_delete={before}")
