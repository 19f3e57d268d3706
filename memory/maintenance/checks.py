"""The care of a store's file: checking it, rebuilding what is derived, backing it up, erasing.

Where the passages lie on a server, the file is the worker's replica of them: all of it is derived.

Nothing here changes what a store holds. What other owners derive in the same file (the graph) is
theirs to check and to rebuild; see `hoptrail.graph.maintenance`.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from hoptrail.errors import FormatError, StoreError, StoreUnavailable
from hoptrail.memory import content_hash, forks
from hoptrail.memory.encoders import disk_cache
from hoptrail.memory.index import snapshot
from hoptrail.memory.index.engines.qdrant import erase_collections
from hoptrail.memory.maintenance import soundness
from hoptrail.memory.maintenance.mending import repair
from hoptrail.memory.maintenance.soundness import Problem
from hoptrail.memory.storage import checksums, next_vectors, schema, store_info
from hoptrail.memory.storage.namespaces import EVERYTHING
from hoptrail.memory.storage.validity import EVER
from hoptrail.memory.store import Store
from hoptrail.outputs import output_files

__all__ = ["Problem", "Purged", "backup", "purge", "repair", "verify"]


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

    Args:
        store: Open, and not inside of a transaction.

    Raises:
        StoreUnavailable: The file cannot even be read.
    """
    with store.reading() as connection:
        problems = soundness.file_problems(connection)
    if store.database.is_shared:
        problems = [replace(problem, derived=True) for problem in problems]
        if problems:
            return problems
        problems = [
            Problem("replica", message, derived=True)
            for message in store.database.source_problems()
        ]
    if any(not problem.derived for problem in problems):
        return problems
    try:
        messages = snapshot.snapshot_problems(store.database)
    except StoreUnavailable as error:
        messages = [str(error)]
    return problems + [Problem("snapshot", message, derived=True) for message in messages]


def backup(store: Store, path: str | Path) -> Path:
    """Copy a store, while others read and write, into a new file of one state; its path.

    Args:
        store: Open, and not inside of a transaction.
        path: The new file.

    Raises:
        StoreError: The store is closed.
        StoreUnavailable: There is a file already, or it cannot be written.
    """
    store.database.check()
    target = Path(path).absolute()
    if os.path.lexists(target):
        raise StoreUnavailable(f"{target} is there already: a backup is a new file")
    try:
        output_files.output_path(target)
    except FormatError as error:
        raise StoreUnavailable(f"no backup could be written: {error}") from error
    with store.reading():  # a store that is not there any more is no fault of the target's
        pass
    store.recorder.flush(wait=False)
    try:
        with output_files.scratch(target, store.database.path) as part:
            _copy(store, part)
            os.replace(part, target)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"no backup could be written to {target}: {error}") from error
    return target


def _copy(store: Store, part: Path) -> None:
    """Copy a store's file, as of one moment, into an empty one."""
    with closing(sqlite3.connect(part)) as new:
        if not _copied(store, new):
            with store.reading() as connection:  # which can read what others cannot open
                connection.backup(new)
        new.execute("DELETE FROM snapshots")  # their files are not copied
        store.database.make_independent(new)
        new.commit()
        new.execute("PRAGMA journal_mode=DELETE")  # one file, no log beside it
    with part.open("rb") as file:
        os.fsync(file.fileno())


def _copied(store: Store, new: sqlite3.Connection) -> bool:
    """Copy beside this process's readers and writers; False if the file cannot be read so."""
    with forks.without_forks(store.database):
        old = _opened(f"{store.database.path.as_uri()}?mode=ro")
        if old is None:
            return False
        with closing(old):
            old.backup(new)
    return True


def _opened(uri: str) -> sqlite3.Connection | None:
    """A connection of its own to a file; None if that cannot be read so."""
    try:
        connection = sqlite3.connect(uri, uri=True)
    except sqlite3.OperationalError:
        return None
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        return None
    return connection


def purge(store: Store, *, cache: Path | None = None, whole_cache: bool = False) -> Purged:
    """Erase the bytes of what was deleted, expired or written over, from every file of the store.

    Of a store on a server that is its tables, for all who share it, and the files of this host.

    The file is rewritten without free pages, its log is emptied, index files are removed, as are
    points in Qdrant (both are made again when next needed), and vectors of those contents leave the
    vector caches that the store was ever written with. Backups and exports are the caller's own. A
    graph in the file is to be synced before. What one obstacle keeps is on record for the next
    purge; all else is erased.

    Args:
        store: Not in a transaction.
        cache: The folder of the vector cache; its usual one by default.
        whole_cache: Erase every vector in the cache of a content that this store does not hold,
            on record or not. Other stores' are among them, and made again when next needed.

    Raises:
        StoreError: The store is read-only, or another process reads or writes, so that old bytes
            had to stay: purge again. Or the role may not purge its server.
    """
    if store.read_only:
        raise StoreError(f"the store {store.path} is open read-only")
    store.sweep()
    obstacles: list[StoreError] = []
    try:
        store.database.purge_source()
    except StoreError as error:
        obstacles.append(error)
    return _purge_files(store, cache, whole_cache, obstacles)


def follow_purge(store: Store) -> None:
    """Erase from a replica's files what a purge of its server is to leave nowhere.

    Args:
        store: On a server, in no transaction. A graph in it is to be synced before.

    Raises:
        StoreError: Another process reads or writes, so that old bytes had to stay.
    """
    _purge_files(store, None, False, [])


def _purge_files(
    store: Store, cache: Path | None, whole_cache: bool, obstacles: list[StoreError]
) -> Purged:
    """Erase from the files of this host what was deleted; what was in the way before is raised."""
    store.queries.clear()  # rewritten queries are made from passages
    before = _size(store.database.path)
    output_files.sweep(store.database.path.parent)
    output_files.sweep(Path(tempfile.gettempdir()))
    with store.reading() as connection:
        keys = [row[0] for row in connection.execute("SELECT content FROM erased")]
        folders = {*disk_cache.folders(cache), *store_info.caches(connection)}
    cached = _erase_cached(store, keys, folders, whole_cache, obstacles)
    snapshots = 0
    try:
        snapshots = snapshot.drop_all(store.database)
    except StoreError as error:
        obstacles.append(error)
    try:
        if store.engine is not None:
            store.engine.erase()
        else:
            erase_collections(store.database)
    except StoreError as error:
        obstacles.append(error)
    with store.transaction(derived=True) as connection:
        _erase_rows(connection, [] if obstacles else keys)
        if whole_cache and not obstacles:
            connection.execute("DELETE FROM meta WHERE key = 'unrecorded'")
        unrecorded = store_info.get(connection, "unrecorded") is not None
    store.database.compact()
    if obstacles:
        raise obstacles[0]
    store.database.purged()
    return Purged(len(keys), cached, snapshots, before, _size(store.database.path), unrecorded)


def _erase_cached(
    store: Store,
    keys: Sequence[bytes],
    folders: Iterable[Path],
    whole_cache: bool,
    obstacles: list[StoreError],
) -> int:
    """Erase cached vectors from every folder that lets it; how many."""
    if not keys and not whole_cache:
        return 0
    living = set(_living_keys(store))
    gone = sorted(set(keys) - living)
    erased = 0
    for folder in sorted(folders):
        try:
            if whole_cache:
                erased += disk_cache.erase_others(living, folder)
            else:
                erased += disk_cache.erase_vectors(gone, folder)
        except StoreError as error:
            obstacles.append(error)
    return erased


def _erase_rows(connection: sqlite3.Connection, keys: Iterable[bytes]) -> None:
    """Erase what rows say of what was deleted: these contents, its ids, namespaces and words."""
    connection.executemany("DELETE FROM erased WHERE content = ?", [(key,) for key in keys])
    graves = connection.execute(
        "SELECT version, passage FROM tombstones WHERE id != '' OR namespace != ''"
    ).fetchall()
    connection.executemany(
        "UPDATE tombstones SET namespace = '', id = '', checksum = ? WHERE version = ?",
        [(checksums.of_row((version, passage, "", "")), version) for version, passage in graves],
    )
    next_vectors.clear(connection)
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%USING fts5%'"
    ).fetchall()
    for (table,) in tables:  # a word index keeps what was deleted until it is merged away
        try:
            connection.execute(f"INSERT INTO {table} ({table}) VALUES ('rebuild')")
        except sqlite3.DatabaseError:
            if not soundness.derived(table):
                raise
            schema.forget_owner(connection, "graph", "graph_", readable=False)  # made when needed


def _living_keys(store: Store) -> Iterator[bytes]:
    everything = EVERYTHING.at(EVER)
    return (content_hash.cache_key(passage.content) for passage in store.passages(everything))


def _size(path: Path) -> int:
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
