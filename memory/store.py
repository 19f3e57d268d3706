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
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, get_args

from hoptrail.errors import EncoderMismatch, InputError, StoreUnavailable, UnknownId
from hoptrail.memory import (
    analyze,
    cleaning,
    dense_kinds,
    filters,
    fusion_rules,
    meta,
    records,
    schema,
    sparse_kinds,
)
from hoptrail.memory import fusion as one_ranking
from hoptrail.memory.bulk import OnDuplicate, Upserted
from hoptrail.memory.database import Database
from hoptrail.memory.dense_kinds import IndexName
from hoptrail.memory.encoder import Encoder, Vectors, require
from hoptrail.memory.remembering import CacheInfo, Looked, QueryCache
from hoptrail.memory.sparse_kinds import SparseName
from hoptrail.memory.statistics import Recorder
from hoptrail.memory.vector_cache import CachedEncoder
from hoptrail.memory.view import View
from hoptrail.memory.writer import Progress, Writer
from hoptrail.numbers import whole
from hoptrail.types import Filter, Hit, Namespace

if TYPE_CHECKING:
    from hoptrail.memory.funnel import Funnel

__all__ = ["Mode", "OnDuplicate", "Progress", "Store", "Upserted"]

Mode = Literal["hybrid", "dense", "sparse"]

VIEWS_KEPT = 32
"""Scopes whose indexes stay in memory; the one not asked for longest goes first."""


class Store(Writer):
    """Passages, links and vectors in one file.

    Threads may share a store: they take turns at its one connection. Processes may share the file.

    Args:
        path: The file; made when absent.
        encoder: Makes the vectors. Without one, passages can be read, deleted and found by
            their words, but not added.
        read_only: Never write to the file.
        statistics: Count what searches and recalls return; see `hoptrail.memory.statistics`.
        queries_kept: Vectors of queries that stay in memory; 0, the default, encodes every one,
            so that timings are true.
        index: The kind of dense index: "auto" by size, "flat" for exact search whatever the size,
            or one of those in `hoptrail.memory.dense_kinds`.
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
        statistics: bool = True,
        queries_kept: int = 0,
        index: IndexName = "auto",
        sparse: SparseName = "auto",
        language: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(path, str | Path) or not str(path):
            raise InputError(f"a store's path must be a string or a Path, got {path!r}")
        if encoder is not None:
            meta.describe(encoder)  # before a file is made for what is no encoder
        self.path = Path(path)
        self.encoder = encoder
        self._clock = clock
        self.queries = QueryCache(queries_kept)
        """The vectors of the last queries."""
        self._index = dense_kinds.checked(index)
        self._sparse = sparse_kinds.checked(sparse)
        if language is not None:
            analyze.checked(language)
        self._db = Database(self.path, read_only=read_only)
        self.recorder = Recorder(self._db, clock, on=statistics)
        """Counts what is returned."""
        self._views: OrderedDict[Namespace, View] = OrderedDict()  # only with _views_lock held
        self._views_lock = Lock()
        try:
            with self._db.reading() as connection:
                meta.check_encoder(connection, encoder, str(path))
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
        if self._db.closed:
            return f"<Store {self.path}: closed>"
        with self._db.reading() as connection:
            encoder = meta.get(connection, "encoder") or "none yet"
            return (
                f"<Store {self.path}: {len(self)} passages, {len(self.namespaces())} namespaces, "
                f"version {self.version}, encoder {encoder}{', read-only' * self.read_only}>"
            )

    def close(self) -> None:
        """Close the file; views of it can no longer read passages."""
        if not self._db.closed:
            self.recorder.close()
        self._db.close()

    @property
    def language(self) -> str:
        """Whose stemmer words go through; "none" for no stemming."""
        with self._db.reading() as connection:
            return meta.language(connection)

    def take_language(self, language: str) -> None:
        """Have a language if none was settled yet: an import into a new store brings its own.

        Raises:
            ConfigError: There is no such language.
        """
        analyze.checked(language)
        with self._db.reading() as connection:
            undecided = meta.undecided(connection)
        if undecided:
            self._claim_language(language)
            with self._views_lock:
                self._views.clear()

    def _claim_language(self, language: str) -> None:
        """Settle the language of a new store; of another, see that it is this one."""
        with self._db.reading() as connection:
            if not meta.undecided(connection) or self.read_only:
                meta.check_language(connection, language, str(self.path))
                return
        with self._db.writing() as connection:
            meta.claim_language(connection, language, str(self.path))

    def view(self, namespace: Namespace = ()) -> View:
        """The scope's indexes in memory, caught up with the last commit.

        Args:
            namespace: The scope: every namespace that begins with it.
        """
        records.encode_namespace(namespace)
        # On a full disk, or while another process writes, what has expired stays in the file: the
        # view leaves it out all the same, and a reader waits for nobody.
        with self._db.lock, suppress(StoreUnavailable):
            if not self.read_only and self._db.busy is None:
                self.sweep(wait=False)
        with self._views_lock:
            view = self._views.get(namespace)
            if view is None:
                view = self._views[namespace] = View(
                    self._db, namespace, self._clock, self._index, self._sparse
                )
            self._views.move_to_end(namespace)
            while len(self._views) > VIEWS_KEPT:
                self._views.popitem(last=False)
        try:
            return self._refreshed(view)
        except BaseException:
            with self._views_lock:  # it may be half caught up: the next call starts afresh
                self._views.pop(namespace, None)
            raise

    def _refreshed(self, view: View) -> View:
        """The view caught up, or one of the same scope where the encoder has changed."""
        while True:
            try:
                view.refresh()
            except EncoderMismatch:
                view = view.renewed()
                with self._views_lock:
                    self._views[view.scope] = view
            else:
                return view

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        namespace: Namespace = (),
        mode: Mode = "hybrid",
        filter: Filter | None = None,
        fusion: str | fusion_rules.Rule | None = None,
        funnel: Funnel | None = None,
    ) -> list[Hit]:
        """The best `k` passages of the scope for a query, best first.

        Args:
            query: What to look for.
            k: How many, at least 1. By words alone fewer may be found: only those that share one.
            namespace: The scope.
            mode: By meaning (dense), by words (sparse), or both.
            filter: Only passages that fulfil it; see `hoptrail.memory.filters`.
            fusion: How a hybrid search makes one score of two, if not by the sum of z-scores:
                "reciprocal-rank", "min-rank", or a rule of `hoptrail.memory.fusion_rules`.
            funnel: Stages to search by in place of a mode; see `hoptrail.memory.funnel`.

        Raises:
            InputError: An empty query, a `k` below 1, an unknown mode, no filter, a fusion or a
                funnel with a mode that it does not go with.
            EncoderMissing: The mode needs vectors and the store has no encoder.
        """
        records.check_string(query, "a query")
        records.check_choice(mode, get_args(Mode), "mode")
        rule = None if fusion is None else fusion_rules.rule_of(fusion)
        if mode != "hybrid" and (rule or funnel):
            raise InputError(f"a fusion or a funnel takes the place of the mode, got mode {mode!r}")
        if funnel is not None:
            if rule:
                raise InputError(
                    "a funnel's first stage says how it fuses: give Search(fusion=...)"
                )
            return list(funnel.search(self, query, k, namespace=namespace, filter=filter).hits)
        whole(k, "k", least=1)
        condition = None if filter is None else filters.parse(filter)
        for _ in range(3):
            view, vector = self._asked_once(query, mode, namespace)
            with view.lock:
                allowed = view.allowed(filter)
                if rule is None or vector is None:
                    scores, slots = one_ranking.search(
                        view, query, vector, k, mode, allowed=allowed
                    )
                else:
                    scores, slots = fusion_rules.search(
                        view, query, vector, k, rule, allowed=allowed
                    )
                try:
                    passages = view.passages(slots)
                except UnknownId:  # another process deleted one just now: look again
                    continue
            if condition and not filters.passages_mask(condition, passages).all():
                continue  # or changed one
            self.recorder.note(view.rowids[slots].tolist())
            own = cleaning.apart(passages)
            return [Hit(p, float(s)) for p, s in zip(own, scores, strict=True)]
        return []

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """The vectors of queries, `(n, d)`: from memory if it keeps them, never from the disk.

        Args:
            texts: n of them.

        Raises:
            EncoderMissing: The store has no encoder.
            EncoderMismatch: Another process has written vectors of another one.
        """
        return self._encode_queries(require(self.encoder, "encoding a query"), texts)

    def view_of(self, encoder: Encoder, namespace: Namespace = ()) -> View:
        """The scope's view, its vectors by this encoder: what it encodes may be asked of them.

        Args:
            encoder: What encoded, or will encode, the queries.
            namespace: The scope.

        Raises:
            EncoderMismatch: The store's vectors are another's.
        """
        while True:
            with self._db.reading() as connection:
                meta.check_encoder(connection, encoder, str(self.path))
            view = self.view(namespace)
            if view.fits(encoder):
                return view

    def asked(self, texts: Sequence[str], namespace: Namespace = ()) -> tuple[View, Vectors]:
        """A scope's view, and vectors of queries `(n, d)` by the encoder that made its own.

        Raises what `encode_queries` raises.
        """
        while True:
            encoder = require(self.encoder, "encoding a query")
            try:
                vectors = self._encode_queries(encoder, texts)
            except EncoderMismatch:
                if self.encoder is encoder:
                    raise
                continue  # another thread has just changed it
            view = self.view(namespace)
            if view.fits(encoder):  # likewise
                return view, vectors

    def _asked_once(
        self, query: str, mode: Mode, namespace: Namespace
    ) -> tuple[View, Vectors | None]:
        if mode == "sparse":
            return self.view(namespace), None
        require(self.encoder, f"{mode} search")
        view, vectors = self.asked([query], namespace)
        return view, vectors[0]

    def _encode_queries(self, encoder: Encoder, texts: Sequence[str]) -> Vectors:
        with self._db.reading() as connection:
            meta.check_encoder(connection, encoder, str(self.path))
        if isinstance(encoder, CachedEncoder):
            encoder = encoder.inner
        return self.queries.encode(encoder, texts)

    def cache_info(self) -> CacheInfo:
        """How often vectors of queries and passages were found in memory, since it was opened."""
        with self._views_lock:
            views = [view.looked for view in self._views.values()]
        passages = Looked(
            sum(view.hits for view in views),
            sum(view.misses for view in views),
            sum(view.kept for view in views),
            sum(view.room for view in views),
        )
        return CacheInfo(self.queries.looked, passages)

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A write transaction on the store's file, for tables that others derive from it."""
        return self._db.writing()

    def migrate(self, owner: str, migrations: Sequence[str]) -> None:
        """Apply an owner's own list of SQL scripts, in order, each once in the file's life.

        Args:
            owner: Who the tables belong to.
            migrations: All of its scripts, oldest first; only ever appended to.

        Raises:
            InputError: The owner is the store itself.
            SchemaMismatch: The file has seen more of them than the list holds.
        """
        records.check_string(owner, "an owner of migrations")
        if owner == schema.OWNER:
            raise InputError(f"the migrations of {owner!r} are the store's own")
        self._db.migrate(owner, migrations)
