"""Qdrant as the second engine for search by meaning: it proposes, the store decides.

The store stays the truth. Qdrant holds a point for each passage and follows the store's versions:
what was written since the mark is put in, what was deleted since is taken out, then the mark moves
on. A process that is killed in between leaves an older mark, and the next one does the rest again.
Where the mark is another encoder's, or of a history that the store does not have, the points are
made anew; where Qdrant cannot be used, vectors are compared one by one, and a warning says so.

What it proposes is looked up in the view and scored there from the stored vectors, as with every
kind of dense index: what was deleted, is in another namespace or fails a filter never comes back,
and no score is Qdrant's.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

import numpy as np

from hoptrail.errors import ConfigError, HoptrailError, MissingExtra, StoreUnavailable
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.engines.points import (
    EdgePoints,
    Mark,
    PointCollection,
    ServerPoints,
    server_client,
)
from hoptrail.memory.storage import store_info
from hoptrail.memory.storage.database import Database
from hoptrail.memory.storage.namespaces import SEPARATOR

logger = logging.getLogger(__name__)

SCHEME = "qdrant:"
"""Begins the name of an index that is Qdrant's, before a folder or a server's address."""

API_KEY = "QDRANT_API_KEY"
"""Environment variable with the key of a server that wants one."""

ROWS_AT_ONCE = 2000
"""Points that are written together, at the most."""

NUMBERS_AT_ONCE = 1_000_000
"""Of their vectors, likewise: a server takes 32 MB at a time, as text."""

AGAIN = 30.0
"""Seconds after which a Qdrant that could not be used is tried again."""

GONE_BACK = 10.0
"""Seconds that the points may be ahead of the store, as they are of a process that reads it a
moment later than another; then the store's file is an older one than they followed."""


@dataclass(frozen=True, slots=True)
class QdrantIndex:
    """Where a store's vectors are searched: a folder, or a Qdrant server.

    Args:
        location: A folder of this machine, for the embedded edition, which one process has at a
            time; or a server's address, which begins with `http://` or `https://`.
        api_key: Of a server that wants one; by default what QDRANT_API_KEY says in the environment.
    """

    location: str | Path
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.location, str | Path) or not str(self.location):
            raise ConfigError(
                f"Qdrant is in a folder or at the address of a server, got {self.location!r}: "
                f"{SCHEME}FOLDER or {SCHEME}http://HOST:6333"
            )

    @property
    def on_server(self) -> bool:
        """Whether it is a server's address."""
        return str(self.location).startswith(("http://", "https://"))

    @property
    def place(self) -> str:
        """The folder as an absolute path, or the address."""
        return str(self.location) if self.on_server else str(Path(self.location).absolute())

    def collection(self, name: str) -> PointCollection:
        """A collection there, which need not exist yet.

        Args:
            name: Of the collection.

        Raises:
            MissingExtra: What speaks to Qdrant is not installed.
        """
        if not self.on_server:
            return EdgePoints(Path(self.place) / name)
        client = server_client(self.place, self.api_key or os.environ.get(API_KEY) or None)
        return ServerPoints(self.place, name, client)


class QdrantEngine:
    """The points of one store, for all its views. Threads may share it.

    Args:
        index: Where they lie.
        database: The store's; that a collection holds its vectors is put on record there.
    """

    def __init__(self, index: QdrantIndex, database: Database) -> None:
        self.index = index
        self._db = database
        self._lock = RLock()
        self._followed = -1  # the version that the points are known to hold
        self._down_until = 0.0
        self._ahead_since: float | None = None
        self._points: PointCollection | None = None
        self._points = self._collection()

    def __repr__(self) -> str:
        return f"qdrant, version {self._followed}"

    @property
    def usable(self) -> bool:
        """Whether its points are the store's as it was when a view last caught up."""
        return self._followed >= 0 and not self._is_down()

    def follow(self, connection: sqlite3.Connection, newest: int) -> None:
        """Have the points hold what a state of the store does; a warning if that cannot be done.

        Args:
            connection: Reads that state.
            newest: Its version.
        """
        with self._lock:
            if self._followed >= newest or self._is_down():
                return
            try:
                self._catch_up(connection, newest)
            except StoreUnavailable as error:
                self._give_up(error)

    def nearest(self, queries: Vectors, count: int, scope: str) -> list[list[tuple[int, float]]]:
        """Rowids near to each query, best first; none where Qdrant cannot be used.

        Args:
            queries: `(n, d)`.
            count: How many for each.
            scope: The namespace that theirs begin with, as stored.
        """
        points = self._points
        if points is not None and not self._is_down():
            try:
                return points.nearest(queries, count, scope)
            except StoreUnavailable as error:
                self._give_up(error)
        return [[] for _ in queries]

    def erase(self) -> int:
        """Erase all points of the store, in every place on record; in how many collections.

        They are made anew when next needed.

        Raises:
            StoreUnavailable: A place cannot be used; what others had is erased.
        """
        with self._lock:
            self.close()
            try:
                return erase_collections(self._db, self.index)
            finally:
                self._points = self._collection()

    def close(self) -> None:
        """Let go of the folder or the server."""
        with self._lock:
            points, self._points, self._followed = self._points, None, -1
            if points is not None:
                points.close()

    def _collection(self) -> PointCollection | None:
        """The store's collection; None where a store that is only read has none."""
        prefix = f"hoptrail-{hashlib.sha256(bytes(self._db.path.resolve())).hexdigest()[:16]}-"
        with self._db.reading() as connection:
            names = store_info.collections(connection).get(self.index.place, [])
        name = next((name for name in names if name.startswith(prefix)), None)
        if name is None and self._db.read_only:
            logger.warning(
                "the vectors of %s are not in Qdrant at %s yet, and the store is read-only: they "
                "are compared one by one",
                self._db.path,
                self.index.place,
            )
            return None
        if name is None:
            with self._db.writing() as connection:
                name = store_info.note_collection(connection, self.index.place, prefix)
        return self.index.collection(name)

    def _catch_up(self, connection: sqlite3.Connection, newest: int) -> None:
        points = self._points
        described = store_info.get(connection, "encoder") or ""
        dim = store_info.width(described) or 0
        if points is None or not dim:
            return
        encoder = f"{described} since {store_info.encoder_since(connection)}"
        mark = points.mark()
        if mark is not None and mark.encoder == encoder and mark.version > newest:
            now = time.monotonic()
            self._ahead_since = self._ahead_since or now
            if now - self._ahead_since < GONE_BACK:
                self._followed = -1  # another process has written since: soon this one reads that
                return
            mark = None
        self._ahead_since = None
        if mark is None or mark.encoder != encoder or not _has_history(connection, mark):
            logger.info("the vectors of %s are put into Qdrant, all of them", self._db.path)
            points.make(dim)
            mark = Mark(encoder, 0, 0)
            points.put_mark(mark, dim)  # now: another process then joins in, and makes none anew
        if mark.version < newest:
            self._take_out(points, connection, mark)
            self._put_in(points, connection, mark, dim)
            points.put_mark(Mark(encoder, newest, _rowid_of(connection, newest)), dim)
            points.settle()
        self._followed = newest

    def _take_out(
        self, points: PointCollection, connection: sqlite3.Connection, mark: Mark
    ) -> None:
        cursor = connection.execute(
            "SELECT passage FROM tombstones WHERE version > ?", (mark.version,)
        )
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            points.delete([row[0] for row in rows])

    def _put_in(
        self, points: PointCollection, connection: sqlite3.Connection, mark: Mark, dim: int
    ) -> None:
        """Write what came since the mark, which moves on with every batch."""
        cursor = connection.execute(
            "SELECT p.rowid, p.namespace, p.version, v.vector FROM passages p "
            "JOIN vectors v ON v.passage = p.rowid WHERE p.version > ? ORDER BY p.version",
            (mark.version,),
        )
        while rows := cursor.fetchmany(max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // dim))):
            whole = [row for row in rows if _holds_vector(row[3], dim)]
            flat = b"".join(row[3][: 4 * dim] for row in whole)
            vectors = np.frombuffer(flat, dtype="<f4").astype(np.float32).reshape(-1, dim)
            if whole:
                points.upsert(
                    [row[0] for row in whole], vectors, [_scopes(row[1]) for row in whole]
                )
            points.put_mark(Mark(mark.encoder, rows[-1][2], rows[-1][0]), dim)

    def _is_down(self) -> bool:
        return time.monotonic() < self._down_until

    def _give_up(self, error: StoreUnavailable) -> None:
        """Do without for a while."""
        self._followed, self._down_until = -1, time.monotonic() + AGAIN
        logger.warning("%s: vectors are compared one by one meanwhile", error)


def named_index(name: str) -> QdrantIndex | None:
    """The index that a name such as `qdrant:FOLDER` stands for; None where it is no such name.

    Args:
        name: As a caller gave it.
    """
    if not isinstance(name, str) or not name.startswith(SCHEME):
        return None  # also what is of no kind at all: the caller says so
    return QdrantIndex(name.removeprefix(SCHEME))


def erase_collections(database: Database, index: QdrantIndex | None = None) -> int:
    """Erase every collection that holds a store's vectors, wherever it is on record; how many.

    Args:
        database: The store's.
        index: One of the places, with its key.

    Raises:
        StoreUnavailable: A place cannot be used; it stays on record, and others were erased.
    """
    with database.reading() as connection:
        named = store_info.collections(connection)
    erased = 0
    obstacle: HoptrailError | None = None
    for place, names in named.items():
        where = index if index is not None and index.place == place else QdrantIndex(place)
        for name in names:
            try:
                points = where.collection(name)
                points.drop()
                points.close()
                erased += 1
            except (StoreUnavailable, MissingExtra) as error:
                obstacle = error
    if obstacle is not None:
        raise StoreUnavailable(f"vectors in Qdrant must go: {obstacle}") from obstacle
    return erased


def _has_history(connection: sqlite3.Connection, mark: Mark) -> bool:
    """Whether a state of a store follows the one that a mark is of, as far as can be told."""
    rowid = _rowid_of(connection, mark.version)
    return rowid in (0, mark.rowid)


def _rowid_of(connection: sqlite3.Connection, version: int) -> int:
    """The rowid of the passage that has a version; 0 if none has it."""
    row = connection.execute("SELECT rowid FROM passages WHERE version = ?", (version,)).fetchone()
    return int(row[0]) if row else 0


def _holds_vector(blob: object, dim: int) -> bool:
    """Whether a blob begins with a vector of finite numbers."""
    if not isinstance(blob, bytes) or len(blob) < 4 * dim:
        return False
    return bool(np.isfinite(np.frombuffer(blob[: 4 * dim], dtype="<f4")).all())


def _scopes(namespace: object) -> Sequence[str]:
    """The scopes that a stored namespace is in, but for that of everything."""
    stored = str(namespace)
    ends = [at + 1 for at, letter in enumerate(stored) if letter == SEPARATOR]
    return [stored[:end] for end in ends]
