"""The care of a store's file: checking it, rebuilding what is derived, backing it up, erasing.

Nothing here changes what a store holds. What other owners derive in the same file (the graph) is
theirs to check and to rebuild; see `hoptrail.graph.upkeep`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hoptrail import outputs
from hoptrail.errors import FormatError, StoreUnavailable
from hoptrail.memory import meta, pending, records, schema, snapshot, vector_cache, vector_rows
from hoptrail.memory.store import Store
from hoptrail.memory.vectors import sound

SHOWN = 20
"""Problems of one kind that are named one by one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a store's files that is not as it should be."""

    what: str
    """`file`, `reference`, `passage`, `vector`, `encoder`, `snapshot`, `version`, or `graph`."""
    message: str
    derived: bool
    """Whether `repair` can make it anew from the passages."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did."""

    contents: int
    """Contents deleted or written over since the last purge."""
    cached_vectors: int
    """Vectors of them erased from the cache."""
    snapshots: int
    """Index files removed; they come again by themselves."""
    bytes_before: int
    """Of the store's file and its log."""
    bytes_after: int
    unrecorded: bool
    """Contents may have been deleted before stores kept record of them, and their vectors still be
    in the cache: `whole_cache` erases them."""


def verify(store: Store) -> list[Problem]:
    """Everything that is wrong with a store's own tables, vectors and snapshots.

    Raises:
        StoreUnavailable: The file cannot even be read.
    """
    with store.reading() as connection:
        problems = [
            Problem("file", str(row[0]), derived="index" in str(row[0]))
            for row in connection.execute(f"PRAGMA integrity_check({SHOWN})")
            if row[0] != "ok"
        ]
        if any(not problem.derived for problem in problems):
            return problems  # what a damaged file says further means nothing
        for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check"):
            message = f"a row of {table} ({rowid}) belongs to no row of {parent}"
            problems.append(Problem("reference", message, derived=True))
        problems += _passage_problems(connection)
        problems += _vector_problems(connection)
        problems += _encoder_problems(connection)
        problems += _version_problems(connection)
    return problems + [
        Problem("snapshot", message, derived=True) for message in snapshot.problems(store.database)
    ]


def repair(store: Store) -> list[str]:
    """Make anew what is derived from the passages, where it is wrong; what was done.

    Raises:
        EncoderMissing: Vectors are wrong and the store has no encoder.
        StoreUnavailable: The file is damaged beyond what can be derived: restore a backup.
    """
    done: list[str] = []
    with store.transaction() as connection:
        connection.execute("REINDEX")
        if orphans := schema.remove_orphans(connection):
            done.append(f"removed {orphans} rows that belonged to no passage")
        highest = max(
            connection.execute(f"SELECT coalesce(max(version), 0) FROM {table}").fetchone()[0]
            for table in ("passages", "tombstones")
        )
        if highest > meta.version(connection):
            meta.put(connection, "version", str(highest))
            done.append(f"moved the version on to {highest}")
        if again := pending.wrong(connection):
            pending.again(connection, again)
            done.append(f"{len(again)} passages are to be encoded again by the next encoder")
        wrong = _wrong_vectors(connection)
        found = records.read(connection, wrong, links=False)
    if wrong:
        vectors = store.encode_passages([found[rowid].content for rowid in wrong])
        with store.transaction() as connection:
            if store.encoder is not None:
                meta.check_encoder(connection, store.encoder, str(store.path))
            now = records.read(connection, wrong, links=False)
            version = meta.bump(connection, len(wrong))
            for i, (rowid, vector) in enumerate(zip(wrong, vectors, strict=True)):
                if rowid in now and now[rowid].content == found[rowid].content:
                    records.put_vector(connection, rowid, vector)
                    # As a new version, so that views that hold the old one take it in.
                    connection.execute(
                        "UPDATE passages SET version = ? WHERE rowid = ?", (version + i, rowid)
                    )
        done.append(f"encoded {len(wrong)} passages anew")
    if snapshot.problems(store.database):
        done.append(f"removed {snapshot.drop_all(store.database)} index files")
    return done


def backup(store: Store, path: str | Path) -> Path:
    """Copy a store, while others read and write, into a new file of one state; its path.

    Raises:
        StoreUnavailable: There is a file already, or it cannot be written.
    """
    target = Path(path).absolute()
    if os.path.lexists(target):
        raise StoreUnavailable(f"{target} is there already: a backup is a new file")
    try:
        outputs.checked(target)
    except FormatError as error:
        raise StoreUnavailable(f"no backup could be written: {error}") from error
    store.recorder.flush(wait=False)
    try:
        with outputs.scratch(target, store.database.path) as part:
            _copy(store, part)
            os.replace(part, target)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"no backup could be written to {target}: {error}") from error
    return target


def _copy(store: Store, part: Path) -> None:
    """Copy a store's file, as of one moment, into an empty one."""
    uri = f"{store.database.path.as_uri()}?mode=ro"
    with closing(sqlite3.connect(part)) as new:
        try:
            with closing(sqlite3.connect(uri, uri=True)) as old:
                old.backup(new)  # beside this process's readers and writers
        except sqlite3.OperationalError:
            with store.reading() as connection:  # which can read what others cannot open
                connection.backup(new)
        new.execute("DELETE FROM snapshots")  # their files are not copied
        new.commit()
        new.execute("PRAGMA journal_mode=DELETE")  # one file, no log beside it
    with part.open("rb") as file:
        os.fsync(file.fileno())


def purge(store: Store, *, cache: Path | None = None, whole_cache: bool = False) -> Purged:
    """Erase the bytes of what was deleted, expired or written over, from every file of the store.

    The file is rewritten without free pages, its log is emptied, index files are removed (they are
    built again when next needed), and vectors of those contents leave the vector cache. Backups
    and exports are the caller's own. A graph in the file is to be synced before.

    Args:
        store: Not in a transaction.
        cache: The folder of the vector cache; its usual one by default.
        whole_cache: Erase every vector in the cache of a content that this store does not hold,
            on record or not. Other stores' are among them, and made again when next needed.

    Raises:
        StoreError: Another process reads or writes, so that old bytes had to stay: purge again.
    """
    store.sweep()
    store.queries.clear()  # rewritten queries are made from passages
    before = _size(store.path)
    with store.reading() as connection:
        keys = [row[0] for row in connection.execute("SELECT content FROM erased")]
    living = set(_living_keys(store)) if keys or whole_cache else set()
    if whole_cache:
        cached = vector_cache.erase_others(living, cache)
    else:
        cached = vector_cache.erase(sorted(set(keys) - living), cache)
    snapshots = snapshot.drop_all(store.database)
    with store.transaction() as connection:
        connection.executemany("DELETE FROM erased WHERE content = ?", [(key,) for key in keys])
        connection.execute("UPDATE tombstones SET id = ''")
        pending.clear(connection)
        if whole_cache:
            connection.execute("DELETE FROM meta WHERE key = 'unrecorded'")
        unrecorded = meta.get(connection, "unrecorded") is not None
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%USING fts5%'"
        ).fetchall()
        for (table,) in tables:  # a word index keeps what was deleted until it is merged away
            connection.execute(f"INSERT INTO {table} ({table}) VALUES ('rebuild')")
    store.database.compact()
    return Purged(len(keys), cached, snapshots, before, _size(store.path), unrecorded)


def _living_keys(store: Store) -> Iterator[bytes]:
    return (records.cache_key(passage.content) for passage in store.passages())


def _size(path: Path) -> int:
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _passage_problems(connection: sqlite3.Connection) -> list[Problem]:
    """Passages that no caller could have written."""
    problems = []
    rows = connection.execute("SELECT rowid FROM passages ORDER BY rowid").fetchall()
    for part, _ in records.batches([row[0] for row in rows]):
        if _readable(connection, part) is None:
            continue
        for rowid in part:
            if message := _readable(connection, [rowid]):
                problems.append(Problem("passage", f"passage {rowid}: {message}", derived=False))
                if len(problems) == SHOWN:
                    return problems
    return problems


def _readable(connection: sqlite3.Connection, rowids: Sequence[int]) -> str | None:
    """What is wrong with one of some passages; None if nothing is."""
    try:
        for passage in records.read(connection, rowids).values():
            records.check_passage(passage)
    except (ValueError, TypeError, AttributeError) as error:  # InputError and JSON's among them
        return str(error)
    return None


def _wrong_vectors(connection: sqlite3.Connection) -> list[int]:
    """The rowids of passages whose vector is missing, of another width, or not of length 1."""
    width = meta.width(meta.get(connection, "encoder") or "")
    wrong = []
    rows = connection.execute(
        "SELECT p.rowid, v.vector FROM passages p LEFT JOIN vectors v ON v.passage = p.rowid "
        "ORDER BY p.rowid"
    )
    for rowid, vector in rows:
        if not vector_rows.whole(vector, width or 1) or (
            width and not sound(np.frombuffer(vector, dtype="<f4").reshape(-1, width))
        ):
            wrong.append(rowid)
    return wrong


def _vector_problems(connection: sqlite3.Connection) -> list[Problem]:
    wrong = _wrong_vectors(connection)
    problems = [
        Problem("vector", f"passage {rowid} has no vector of its encoder's", derived=True)
        for rowid in wrong[:SHOWN]
    ]
    if len(wrong) > SHOWN:
        problems.append(Problem("vector", f"and {len(wrong) - SHOWN} more", derived=True))
    return problems


def _encoder_problems(connection: sqlite3.Connection) -> list[Problem]:
    """What is wrong with the vectors of the next encoder, while the store changes to one."""
    wrong = pending.wrong(connection)
    if not wrong:
        return []
    message = f"{len(wrong)} passages, such as {wrong[0]}, have no vector of the next encoder's"
    return [Problem("encoder", message, derived=True)]


def _version_problems(connection: sqlite3.Connection) -> list[Problem]:
    newest = meta.version(connection)
    found = connection.execute(
        "SELECT max(version) FROM (SELECT max(version) AS version FROM passages "
        "UNION ALL SELECT max(version) FROM tombstones)"
    ).fetchone()[0]
    if found is None or found <= newest:
        return []
    message = f"the version is {newest} and a row has {found}"
    return [Problem("version", message, derived=True)]
