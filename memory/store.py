"""The store: passages, their links and their vectors in one SQLite file, the source of truth.

Every write is one transaction and moves a `version` that never goes back; whatever is derived
(the indexes of a `View`, the tables of the graph) remembers the version it stands for and asks for
what is newer. A passage is known inside by its rowid, which an update keeps and a delete retires.

A method that names one passage takes its exact namespace; one that ranges over passages takes a
scope, which holds every namespace that begins with it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from hoptrail.errors import (
    InputError,
    StoreError,
    StoreUnavailable,
)
from hoptrail.memory import forks
from hoptrail.memory.analysis import analyzer
from hoptrail.memory.encoders.query_cache import CacheInfo, CacheStats, QueryCache
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.guarded import guarded
from hoptrail.memory.index import ann_types, sparse_types
from hoptrail.memory.index.ann_types import IndexName
from hoptrail.memory.index.engines.qdrant import QdrantEngine, QdrantIndex, named_index
from hoptrail.memory.index.learned.routed_ivf import RoutedIvf
from hoptrail.memory.index.learned.router import Router
from hoptrail.memory.index.sparse_types import SparseName
from hoptrail.memory.passages.batches import OnDuplicate, Upserted
from hoptrail.memory.passages.usage import Recorder
from hoptrail.memory.searching import Mode, Searcher
from hoptrail.memory.storage import schema, store_info
from hoptrail.memory.storage.database import Database
from hoptrail.memory.storage.namespaces import Scope, ScopeLike
from hoptrail.memory.views.open_views import Views
from hoptrail.memory.views.view import View
from hoptrail.values.flags import flag
from hoptrail.values.progress import Progress
from hoptrail.values.server_urls import names_server, without_passwords
from hoptrail.values.strings import check_string

if TYPE_CHECKING:
    pass

__all__ = ["Mode", "OnDuplicate", "Progress", "Store", "Upserted"]


class Store(Searcher):
    """Passages, links and vectors in one file.

    Threads may share a store, and processes its file: who reads waits for nobody, and writers take
    turns.

    Args:
        path: The file; made when absent. Or the URL of a PostgreSQL database that many hosts share,
            `postgresql://user@host/database` (`hoptrail[postgres]`).
        encoder: Makes the vectors. Without one, passages can be read, deleted and found by
            their words, but not added.
        read_only: Never write to the file, or to the server; a worker's replica follows it all the
            same.
        track_usage: Count what searches and recalls return; see `hoptrail.memory.passages.usage`.
        queries_kept: Vectors of queries that stay in memory; 0, the default, encodes every one,
            so that timings are true.
        index: The kind of dense index: "auto" by size, "flat" for exact search whatever the size,
            one of those in `hoptrail.memory.index.ann_types`, a router, whose shards are the
            lists of an inverted file, or a `QdrantIndex` (`qdrant:FOLDER`, `qdrant:http://…`).
        sparse: The sparse index: "auto" and "own" are ours, "tantivy" has that search before ours.
        language: Whose stemmer words go through, by Snowball's name ("german"), or "none". It is
            recorded when the file is made, English by default; None is whatever it has.
        clock: Tells the time, in seconds since 1970; another one than the computer's is for tests.

    Raises:
        ConfigError: There is no such kind of index or language, or the file has another language.
        MissingExtra: It needs an extra that is not installed.
        StoreUnavailable: The file cannot be opened, or is not a store.
        SchemaMismatch: It was written by a newer version of hoptrail.
        EncoderMismatch: Its vectors were made by another encoder.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        encoder: Encoder | None = None,
        read_only: bool = False,
        track_usage: bool = True,
        queries_kept: int = 0,
        index: IndexName | Router | QdrantIndex = "auto",
        sparse: SparseName = "auto",
        language: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(path, str | Path) or not str(path):
            raise InputError(f"a store's path must be a string or a Path, got {path!r}")
        if encoder is not None:
            store_info.describe_encoder(encoder)  # before a file is made for what is no encoder
        read_only = flag(read_only, "read_only")
        track_usage = flag(track_usage, "track_usage")
        self.encoder = encoder
        self._clock = clock
        self.queries = QueryCache(queries_kept)
        """The vectors of the last queries."""
        kind = _checked_index(index)
        self._sparse = sparse_types.checked_sparse_name(sparse)
        if language is not None:
            analyzer.checked_language(language)
        self._db = _database(path, read_only=read_only)
        self.path = self._db.path
        self.changing = RLock()
        """Held while it goes on to another encoder; first in the order of
        `hoptrail.memory.storage.database`."""
        self.recorder = Recorder(self._db, clock, on=track_usage)
        """Counts what is returned."""
        try:
            self.engine: QdrantEngine | None = None
            """What holds its vectors beside it; None where no other engine does."""
            self._index: IndexName | RoutedIvf | QdrantEngine
            if isinstance(kind, QdrantIndex):
                self._db.require_file("an index in Qdrant")  # which knows passages by their rows
                self._index = self.engine = QdrantEngine(kind, self._db)
            else:
                self._index = kind
            self._views = Views(
                self._db,
                lambda scope: View(self._db, scope, self._clock, self._index, self._sparse),
            )
            forks.register(self)
            with self._db.reading() as connection:
                store_info.check_encoder(connection, encoder, self.name)
            if language is not None:
                self._claim_language(language)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            self._db.check()
        except StoreError:
            state = "closed" if self._db.closed else "opened before a fork"
            return f"<Store {self.name}: {state}>"
        with self._db.reading() as connection:
            encoder = store_info.get(connection, "encoder") or "none yet"
            return (
                f"<Store {self.name}: {len(self)} passages, {len(self.namespaces())} namespaces, "
                f"version {self.version}, encoder {encoder}{', read-only' * self.read_only}>"
            )

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise StoreError(
            f"a Store cannot be copied or pickled: open {self.name!r} again where it is needed"
        )

    def _forked(self, *, whole: bool) -> None:
        """Be a forked child's, where it is refused; see `hoptrail.memory.forks`."""
        self.changing = RLock()
        self._views.forked()
        self.recorder.forked()
        self.queries.forked()

    def close(self) -> None:
        """Close the file, once other threads' writes are done; views of it read nothing then.

        Raises:
            StoreError: This thread has a transaction open, or a parent process opened the store.
        """
        self._db.check_process()
        if not self._db.closed and self._db.busy is None:
            self.recorder.close()
            if self.engine is not None:
                self.engine.close()
        self._db.close()

    @property
    def language(self) -> str:
        """Whose stemmer words go through; "none" for no stemming."""
        with self._db.reading() as connection:
            return store_info.language(connection)

    def take_language(self, language: str) -> None:
        """Have a language if none was settled yet: an import into a new store brings its own.

        Args:
            language: By Snowball's name, or "none".

        Raises:
            ConfigError: There is no such language.
        """
        analyzer.checked_language(language)
        with self._db.reading() as connection:
            undecided = store_info.undecided(connection)
        if undecided:
            self._claim_language(language)
            self._views.clear()

    def _claim_language(self, language: str) -> None:
        """Settle the language of a new store; of another, see that it is this one."""
        with self._db.reading() as connection:
            if not store_info.undecided(connection) or self.read_only:
                store_info.check_language(connection, language, self.name)
                return
        with self._db.writing() as connection:
            store_info.claim_language(connection, language, self.name)

    def view(self, namespace: ScopeLike = ()) -> View:
        """The scope's indexes in memory, caught up with the last commit.

        Args:
            namespace: The scope: every namespace that begins with it.
        """
        with self.pinned(namespace) as view:
            return view

    @guarded
    def pinned(self, namespace: ScopeLike = (), encoder: Encoder | None = None) -> Iterator[View]:
        """The scope's view, caught up with the last commit and kept as it is meanwhile.

        Whatever others write or delete, its passages can be read until the block ends. Several
        threads may have one view pinned; who needs it newer waits a moment, then gets another one.

        Args:
            namespace: The scope.
            encoder: The one that the view's vectors must be by.

        Raises:
            StoreError: This thread has a write transaction open.
            EncoderMismatch: The store's vectors are another encoder's.
        """
        scope = Scope.parse(namespace)
        self._db.check()
        # On a full disk, or while another writes, what has expired stays in the file: the view
        # leaves it out all the same, and a reader waits for nobody.
        if not self.read_only and self._db.busy is None:
            with suppress(StoreUnavailable):
                self.sweep(wait=False)
        with self._views.pinned(scope, encoder) as view:
            yield view

    def cache_info(self) -> CacheInfo:
        """How often vectors of queries and passages were found in memory, since it was opened."""
        views = self._views.stats()
        passages = CacheStats(
            sum(view.hits for view in views),
            sum(view.misses for view in views),
            sum(view.kept for view in views),
            sum(view.room for view in views),
        )
        return CacheInfo(self.queries.stats, passages)

    def transaction(
        self, *, wait: bool | float = True, derived: bool = False
    ) -> AbstractContextManager[sqlite3.Connection]:
        """A write transaction on the store's file: all that is written inside, or nothing.

        Args:
            wait: For other writers; see `Database.writing`.
            derived: Nothing is written but what can be made anew from the passages.
        """
        return self._db.writing(wait=wait, derived=derived)

    def migrate(
        self, owner: str, migrations: Sequence[schema.Migration], *, wait: bool = True
    ) -> None:
        """Apply an owner's own list of migrations, in order, each once in the file's life.

        Args:
            owner: Who the tables belong to.
            migrations: SQL scripts, or functions of a connection, oldest first; only ever appended
                to.
            wait: For other writers; else fail at once if there is one.

        Raises:
            InputError: The owner is the store itself.
            SchemaMismatch: The file has seen more of them than the list holds.
        """
        check_string(owner, "an owner of migrations")
        if owner == schema.OWNER:
            raise InputError(f"the migrations of {owner!r} are the store's own")
        self._db.migrate(owner, migrations, wait=wait)


def _checked_index(index: IndexName | Router | QdrantIndex) -> IndexName | RoutedIvf | QdrantIndex:
    """A kind of dense index, as a caller gave it.

    Raises:
        ConfigError: There is no such kind.
    """
    if isinstance(index, Router):
        return RoutedIvf(index)
    if isinstance(index, QdrantIndex):
        return index
    return named_index(index) or ann_types.checked_index_name(index)


def _database(path: str | Path, *, read_only: bool) -> Database:
    """What is behind a path: a file, or a replica of what a server holds."""
    if not names_server(path):
        return Database(Path(path), read_only=read_only)
    if isinstance(path, Path):
        shown_path = without_passwords(str(path))
        raise InputError(f"the URL of a server must be a string, got the path {shown_path!r}")
    from hoptrail.memory.storage.postgres.replica import ReplicatedDatabase

    return ReplicatedDatabase(path, read_only=read_only)
