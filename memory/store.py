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
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import EllipsisType, TracebackType
from typing import Literal, Self, get_args

import numpy as np

from hoptrail.errors import DuplicateId, InputError, UnknownId
from hoptrail.memory import fusion, meta, records, schema
from hoptrail.memory.database import Database
from hoptrail.memory.encoder import Encoder, Vectors, require
from hoptrail.memory.reader import Reader, find, list_of_ids
from hoptrail.memory.vector_cache import CachedEncoder
from hoptrail.memory.view import View
from hoptrail.types import Hit, Link, Metadata, Namespace, Passage

OnDuplicate = Literal["error", "replace", "skip"]
Mode = Literal["hybrid", "dense", "sparse"]
Progress = Callable[[int, int], None]

ENCODE_CHUNK = 1024
"""Texts given to the encoder at once, at most: between two reports of progress."""

REPORTS = 16
"""Reports of progress on fewer texts than fill that many chunks, down to 64 texts a chunk."""

VIEWS_KEPT = 32
"""Scopes whose indexes stay in memory; the one not asked for longest goes first."""


class Store(Reader):
    """Passages, links and vectors in one file.

    Threads may share a store: they take turns at its one connection. Processes may share the file.

    Args:
        path: The file; made when absent.
        encoder: Makes the vectors. Without one, passages can be read, deleted and found by
            their words, but not added.
        read_only: Never write to the file.

    Raises:
        StoreUnavailable: The file cannot be opened, or is not a store.
        SchemaMismatch: It was written by a newer version of hoptrail.
        EncoderMismatch: Its vectors were made by another encoder.
    """

    def __init__(
        self, path: str | Path, *, encoder: Encoder | None = None, read_only: bool = False
    ) -> None:
        if not isinstance(path, str | Path) or not str(path):
            raise InputError(f"a store's path must be a string or a Path, got {path!r}")
        self.path = Path(path)
        self.encoder = encoder
        self._db = Database(self.path, read_only=read_only)
        self._views: OrderedDict[Namespace, View] = OrderedDict()  # only with _views_lock held
        self._views_lock = Lock()
        try:
            with self._db.reading() as connection:
                meta.check_encoder(connection, encoder, str(path))
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
        self._db.close()

    def add(
        self,
        passages: Iterable[Passage],
        *,
        on_duplicate: OnDuplicate = "error",
        progress: Progress | None = None,
    ) -> list[str]:
        """Write passages, all of them or none; the ids written, in the order given.

        Args:
            passages: What to write. Their `written_at` is set to now.
            on_duplicate: What to do with an id that its namespace has, or that is given twice:
                refuse the whole batch, let the later replace the earlier, or skip the later.
            progress: Called with (texts encoded, texts in all).

        Raises:
            InputError: A passage cannot be stored.
            DuplicateId: An id is taken and `on_duplicate` is "error".
            EncoderMissing: The store has no encoder.
        """
        records.check_choice(on_duplicate, get_args(OnDuplicate), "on_duplicate")
        encoder = require(self.encoder, "adding passages")
        batch = _batch(passages, on_duplicate)
        with self._db.reading() as connection:
            batch = _untaken(connection, batch, on_duplicate)
        # Encoded before the transaction opens: other writers wait for milliseconds, not minutes.
        vectors = self.encode([p.content for p in batch.values()], progress=progress)
        vector_of = dict(zip(batch, vectors, strict=True))
        with self._db.writing() as connection:
            meta.claim_encoder(connection, encoder, str(self.path))
            batch = _untaken(connection, batch, on_duplicate)  # others may have been faster
            taken = _taken(connection, batch)
            version = meta.bump(connection, len(batch))
            now = time.time()
            for key, passage in batch.items():
                rowid = taken.get(key)
                if rowid is None:
                    rowid = records.insert(connection, passage, version, now)
                else:
                    records.overwrite(connection, rowid, passage, version, now)
                records.put_vector(connection, rowid, vector_of[key])
                version += 1
        return [passage.id for passage in batch.values()]

    def update(
        self,
        id: str,
        *,
        text: str | None = None,
        title: str | EllipsisType | None = ...,
        metadata: Metadata | None = None,
        links: Sequence[Link] | None = None,
        namespace: Namespace = (),
    ) -> Passage:
        """Change what is given of a passage; the passage as it now is.

        A changed content is encoded anew. Metadata and links replace those that were there.

        Raises:
            UnknownId: The passage is not there.
            InputError: A value cannot be stored.
            EncoderMissing: The content changes and the store has no encoder.
        """
        while True:
            old = self.get(id, namespace)
            new = replace(
                old,
                text=old.text if text is None else text,
                title=old.title if isinstance(title, EllipsisType) else title,
                metadata=old.metadata if metadata is None else metadata,
                links=old.links if links is None else tuple(links),
            )
            records.check_passage(new)
            vectors = self.encode([new.content]) if new.content != old.content else None
            with self._db.writing() as connection:
                rowid = find(connection, [id], namespace)[id]
                if records.read(connection, [rowid])[rowid] != old:
                    continue  # someone wrote it while we encoded: start from what they wrote
                if vectors is not None:
                    encoder = require(self.encoder, "encoding passages")
                    meta.claim_encoder(connection, encoder, str(self.path))
                    records.put_vector(connection, rowid, vectors[0])
                version = meta.bump(connection, 1)
                records.overwrite(connection, rowid, new, version, time.time())
                return records.read(connection, [rowid])[rowid]

    def delete(self, ids: Iterable[str], namespace: Namespace = ()) -> int:
        """Delete passages, all of them or none; how many.

        Links that lead to them from elsewhere stay: they lead somewhere again if the id returns.

        Raises:
            UnknownId: One of them is not there; nothing is deleted.
        """
        wanted = list_of_ids(ids)
        with self._db.writing() as connection:
            found = find(connection, wanted, namespace)
            version = meta.bump(connection, len(found))
            for i, (id_, rowid) in enumerate(found.items()):
                records.delete(connection, rowid, id_, namespace, version + i)
        return len(found)

    def view(self, namespace: Namespace = ()) -> View:
        """The scope's indexes in memory, caught up with the last commit."""
        records.encode_namespace(namespace)
        with self._views_lock:
            view = self._views.get(namespace)
            if view is None:
                view = self._views[namespace] = View(self._db, namespace)
            self._views.move_to_end(namespace)
            while len(self._views) > VIEWS_KEPT:
                self._views.popitem(last=False)
        try:
            view.refresh()
        except BaseException:
            with self._views_lock:  # it may be half caught up: the next call starts afresh
                self._views.pop(namespace, None)
            raise
        return view

    def search(
        self, query: str, k: int = 10, *, namespace: Namespace = (), mode: Mode = "hybrid"
    ) -> list[Hit]:
        """The best `k` passages of the scope for a query, best first.

        Args:
            query: What to look for.
            k: How many, at least 1. By words alone fewer may be found: only those that share one.
            namespace: The scope.
            mode: By meaning (dense), by words (sparse), or both.

        Raises:
            InputError: An empty query, a `k` below 1, an unknown mode.
            EncoderMissing: The mode needs vectors and the store has no encoder.
        """
        records.check_string(query, "a query")
        records.check_choice(mode, get_args(Mode), "mode")
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise InputError(f"k must be a whole number of at least 1, got {k!r}")
        vector = None
        if mode != "sparse":
            require(self.encoder, f"{mode} search")
            vector = self.encode_queries([query])[0]
        for _ in range(3):
            view = self.view(namespace)
            scores, slots = fusion.search(view, query, vector, k, mode)
            try:
                passages = view.passages(slots)
            except UnknownId:  # another process deleted one just now: look again
                continue
            return [Hit(p, float(s)) for p, s in zip(passages, scores, strict=True)]
        return []

    def encode(self, texts: Sequence[str], *, progress: Progress | None = None) -> Vectors:
        """The vectors of passages' contents, `(n, d)`, by the store's encoder as given."""
        encoder = require(self.encoder, "encoding passages")
        parts = [np.zeros((0, encoder.dim), dtype=np.float32)]
        chunk = min(ENCODE_CHUNK, max(64, len(texts) // REPORTS))
        for start in range(0, len(texts), chunk):
            part = texts[start : start + chunk]
            if progress and not start:
                progress(0, len(texts))
            parts.append(_checked(encoder.encode(part), len(part), encoder))
            if progress:
                progress(start + len(part), len(texts))
        return np.concatenate(parts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """The vectors of queries, `(n, d)`: never from the disk cache, so that timings are true.

        Raises:
            EncoderMissing: The store has no encoder.
            EncoderMismatch: Another process has written vectors of another one.
        """
        encoder = require(self.encoder, "encoding a query")
        with self._db.reading() as connection:
            meta.check_encoder(connection, encoder, str(self.path))
        if isinstance(encoder, CachedEncoder):
            encoder = encoder.inner
        return _checked(encoder.encode(texts), len(texts), encoder)

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A write transaction on the store's file, for tables that others derive from it."""
        return self._db.writing()

    def migrate(self, owner: str, migrations: Sequence[str]) -> None:
        """Apply an owner's own list of SQL scripts, in order, each once in the file's life.

        Raises:
            InputError: The owner is the store itself.
            SchemaMismatch: The file has seen more of them than the list holds.
        """
        records.check_string(owner, "an owner of migrations")
        if owner == schema.OWNER:
            raise InputError(f"the migrations of {owner!r} are the store's own")
        self._db.migrate(owner, migrations)


Key = tuple[Namespace, str]


def _batch(passages: Iterable[Passage], on_duplicate: OnDuplicate) -> dict[Key, Passage]:
    """The passages by key, checked; those given twice as `on_duplicate` says."""
    if isinstance(passages, Passage | str):
        raise InputError(f"expected a list of passages, got one {type(passages).__name__}")
    batch: dict[Key, Passage] = {}
    for passage in passages:
        records.check_passage(passage)
        key = (passage.namespace, passage.id)
        if key in batch:
            if on_duplicate == "error":
                raise DuplicateId(f"the id {passage.id!r} is given twice in one batch")
            if on_duplicate == "skip":
                continue
            del batch[key]  # so that the later one also keeps its place
        batch[key] = passage
    return batch


def _taken(connection: sqlite3.Connection, batch: Iterable[Key]) -> dict[Key, int]:
    """The rowids of those keys that the store has."""
    by_namespace: dict[Namespace, list[str]] = {}
    for namespace, id_ in batch:
        by_namespace.setdefault(namespace, []).append(id_)
    return {
        (namespace, id_): rowid
        for namespace, ids in by_namespace.items()
        for id_, rowid in records.rowids(
            connection, records.encode_namespace(namespace), ids
        ).items()
    }


def _untaken(
    connection: sqlite3.Connection, batch: dict[Key, Passage], on_duplicate: OnDuplicate
) -> dict[Key, Passage]:
    """The batch as `on_duplicate` lets it be written over what the store has."""
    if on_duplicate == "replace":
        return batch
    taken = _taken(connection, batch)
    if taken and on_duplicate == "error":
        namespace, id_ = next(key for key in batch if key in taken)
        where = f" in namespace {'/'.join(namespace)}" if namespace else ""
        raise DuplicateId(
            f"the id {id_!r} is taken{where} ({len(taken)} of {len(batch)} are): "
            "pass on_duplicate='replace' or 'skip'"
        )
    return {key: passage for key, passage in batch.items() if key not in taken}


def _checked(vectors: Vectors, count: int, encoder: Encoder) -> Vectors:
    """The vectors as float32, if they are what an encoder promises."""
    found = np.asarray(vectors, dtype=np.float32)
    if found.shape != (count, encoder.dim):
        raise InputError(
            f"the encoder should give {(count, encoder.dim)} vectors, got shape {found.shape}"
        )
    if not np.isfinite(found).all():
        raise InputError("the encoder gave a vector with a value that is not finite")
    return found
