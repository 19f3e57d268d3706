"""Where passages come from and how often they are recalled: counted in memory, written in batches.

A recall writes nothing by itself. What it returned is added up by rowid and written when a number
of recalls or seconds is full, or when the store is closed, in one small transaction that moves no
version, so that no index has to look. If another process writes at that moment, the counts wait;
if this one is killed, what was not yet written is lost, and nothing else.

When a passage came and how often it was changed is counted by triggers in the same transactions.
The rows belong to their passages and go with them.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any

from hoptrail.errors import FormatError, StoreError
from hoptrail.memory.passages import cleaning, provenance, versions
from hoptrail.memory.passages.provenance import Merged
from hoptrail.memory.storage import damaged, records, schema
from hoptrail.memory.storage.database import Database
from hoptrail.memory.storage.namespaces import (
    Scope,
    ScopeLike,
    decode_namespace,
    encode_namespace,
)
from hoptrail.memory.storage.validity import EVER
from hoptrail.types import Namespace, Passage

if TYPE_CHECKING:
    from hoptrail.memory.passages.reads import PassageReads

RECALLS_KEPT = 256
"""Searches and recalls that are counted in memory before the counts are written."""

SECONDS_KEPT = 60.0
"""Seconds after which the next one writes them, however few they are."""

PATIENCE = 1.0
"""Seconds that closing waits for another writer: a search is not to hang behind a long import."""

SOURCE = "source"
"""The key of the metadata that says where a passage is from."""

_paused: ContextVar[bool] = ContextVar("_paused", default=False)


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted of a passage."""

    added_at: float | None = None
    """Seconds since 1970; None if it was there before this was counted."""
    updates: int = 0
    """Times that its text, title, metadata or expiry was changed."""
    recalls: int = 0
    """Times that a search or a recall returned it."""
    recalled_at: float | None = None
    """The last of them; None for never."""


@dataclass(frozen=True, slots=True)
class History:
    """Where a passage comes from, and what became of it."""

    namespace: Namespace
    id: str
    written_at: float
    """Last; it is `added_at` if it was never changed."""
    counts: Counts
    source: str | None
    """The `source` of its metadata: of a document, its path."""
    merged_from: tuple[str, ...]
    """Ids of the duplicates that it keeps."""
    merged: tuple[Merged, ...] = ()
    """These duplicates, as they were; empty where many passages are told of at once."""
    chain: tuple[Passage, ...] = ()
    """The passages that took each other's place up to this one and after, and what each said
    before, the oldest first; this one alone where there is no other, and empty where many passages
    are told of at once."""

    @property
    def used_at(self) -> float:
        """When it was last written or recalled."""
        return max(self.written_at, self.counts.recalled_at or 0.0)


class Recorder:
    """Counts what is returned to callers. Threads may share one.

    Args:
        database: Where the counts go.
        clock: Tells the time.
        on: Whether anything is counted; nothing is in a file that may not be written.
    """

    def __init__(self, database: Database, clock: Callable[[], float], *, on: bool = True) -> None:
        self.on = on and not database.read_only
        self._db = database
        self._clock = clock
        self._flushing = RLock()  # held while counts are written; nothing is waited for meanwhile
        self._lock = Lock()
        # Both only with the lock held.
        self._kept: dict[int, tuple[int, float]] = {}  # by rowid: times, and the last
        self._due = (RECALLS_KEPT, math.inf)  # recalls left, and the time at the latest

    def note(self, rowids: Iterable[int]) -> None:
        """Count passages as returned, once each.

        Args:
            rowids: Of the passages.
        """
        if not self.on or _paused.get():
            return
        now = self._clock()
        with self._lock:
            for rowid in rowids:
                times = self._kept.get(rowid, (0, now))[0]
                self._kept[rowid] = times + 1, now
            left, latest = self._due[0] - 1, min(self._due[1], now + SECONDS_KEPT)
            self._due = left, latest
        if left <= 0 or now >= latest:
            self.flush(wait=False)

    @property
    def is_paused(self) -> bool:
        """Whether this thread or task only looks."""
        return _paused.get()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing that this thread or task asks for meanwhile."""
        token = _paused.set(True)
        try:
            yield
        finally:
            _paused.reset(token)

    def flush(self, *, wait: bool = True) -> bool:
        """Write the counts; whether nothing is left to be written.

        What cannot be written now, on a full disk or beside another writer, is kept for next time.

        Args:
            wait: For other writers; else leave it for later if there is one.
        """
        if self._db.busy is not None:
            return False
        try:
            if not self._flushing.acquire(blocking=wait):
                return False  # another thread is at it
            counts = self.unwritten()
            with self._lock:
                self._due = (RECALLS_KEPT, math.inf)
            if counts:
                self._write(counts, wait)
                self._forget(counts)
        except StoreError:
            return False
        finally:  # also where an interrupt came before it was seen to be taken
            try:  # noqa: SIM105, which would be a call
                self._flushing.release()
            except RuntimeError:
                pass
        return True

    def steady(self) -> AbstractContextManager[object]:
        """While this is held, each count is either in the file or kept here."""
        return nullcontext() if self._db.busy == "write" else self._flushing

    def _forget(self, written: Mapping[int, tuple[int, float]]) -> None:
        """Take away what has been written; others may have counted meanwhile."""
        with self._lock:
            for rowid, (times, _) in written.items():
                more, last = self._kept.get(rowid, (0, 0.0))
                if more > times:
                    self._kept[rowid] = more - times, last
                else:
                    self._kept.pop(rowid, None)

    def _write(self, counts: Mapping[int, tuple[int, float]], wait: bool) -> None:
        with self._db.writing(wait=wait) as connection:
            connection.executemany(
                # Of a passage that is gone by now there is nothing to say.
                "INSERT INTO statistics (passage, recalls, recalled_at) "
                "SELECT rowid, ?, ? FROM passages WHERE rowid = ? "
                "ON CONFLICT (passage) DO UPDATE SET recalls = recalls + excluded.recalls, "
                "recalled_at = max(coalesce(recalled_at, 0), excluded.recalled_at)",
                [(times, last, rowid) for rowid, (times, last) in counts.items()],
            )

    def forked(self) -> None:
        """Be a forked child's: no thread of its parent's has a lock there."""
        self._flushing, self._lock = RLock(), Lock()

    def close(self) -> None:
        """Write what is left; another writer gets a moment to end, or else the counts are lost."""
        latest = time.monotonic() + PATIENCE
        while not self.flush(wait=False) and time.monotonic() < latest:
            time.sleep(0.02)

    def unwritten(self) -> dict[int, tuple[int, float]]:
        """The counts that are not yet written: times and the last, by rowid."""
        with self._lock:
            return dict(self._kept)


def note(store: PassageReads, passages: Iterable[Passage]) -> None:
    """Count passages as returned; those that are gone are left out.

    Args:
        store: Holds the counts.
        passages: That were returned to a caller.
    """
    by_space: dict[Namespace, list[str]] = {}
    for passage in passages:
        by_space.setdefault(passage.namespace, []).append(passage.id)
    rowids: list[int] = []
    with store.reading() as connection:
        for space, ids in by_space.items():
            stored = encode_namespace(space)
            rowids += records.rowids(connection, stored, ids, store.clock()).values()
    store.recorder.note(rowids)


def history(store: PassageReads, id: str, namespace: ScopeLike = ()) -> History:
    """Where a passage comes from, and what became of it.

    Args:
        store: Holds the passage.
        id: The passage's.
        namespace: Exactly the passage's.

    Raises:
        UnknownId: It is not there.
    """
    place = Scope.parse(namespace).at(EVER)
    if not store.has(id, place):
        store.get(id, place)  # which says so
    where = "p.namespace = ? AND p.id = ?"
    entry = next(_histories(store, where, (place.encoded, id)))
    now = store.clock()
    with store.reading() as connection:
        merged = provenance.of_key(connection, place.encoded, id)
        rowid_of = records.rowids(connection, place.encoded, [id], now)
        chain = versions.chain(connection, rowid_of[id], now) if rowid_of else []
    return replace(entry, merged=merged, chain=tuple(cleaning.apart(chain)))


def histories(store: PassageReads, namespace: ScopeLike = ()) -> Iterator[History]:
    """That of each of the scope's passages, by namespace and id, of one state of the store.

    Args:
        store: Holds the passages.
        namespace: The scope: every namespace that begins with it.
    """
    scope = Scope.parse(namespace)
    condition, times = scope.moment.condition(store.clock(), "p.")
    where = f"p.namespace >= ? AND p.namespace < ? AND {condition}"
    return _histories(store, where, (*scope.bounds, *times))


def _histories(store: PassageReads, where: str, values: tuple[object, ...]) -> Iterator[History]:
    with store.recorder.steady(), store.reading() as connection:
        unwritten = store.recorder.unwritten()
        counted = schema.applied(connection, schema.STATISTICS) > 0
        columns = "s.added_at, s.updates, s.recalls, s.recalled_at"
        join = "LEFT JOIN statistics s ON s.passage = p.rowid"
        rows = connection.execute(
            f"SELECT p.rowid, p.namespace, p.id, p.written_at, p.metadata, "
            f"{columns if counted else 'NULL, NULL, NULL, NULL'} "
            f"FROM passages p {join if counted else ''} WHERE {where} ORDER BY p.namespace, p.id",
            values,
        ).fetchall()
        merged = provenance.ids(connection, [row[0] for row in rows])
    for rowid, stored, id_, written_at, metadata, added_at, updates, recalls, recalled_at in rows:
        more, later = unwritten.get(rowid, (0, None))
        source = damaged.metadata_or_none(metadata).get(SOURCE)
        yield History(
            decode_namespace(stored),
            id_,
            written_at,
            Counts(added_at, updates or 0, (recalls or 0) + more, later or recalled_at),
            source if isinstance(source, str) else None,
            merged.get(rowid, ()),
        )


def counts_record(connection: sqlite3.Connection, passage: Passage) -> dict[str, Any] | None:
    """What is counted of a passage, as JSON values; None if nothing ever was.

    Args:
        connection: The store's.
        passage: One that is there.
    """
    if not schema.applied(connection, schema.STATISTICS):
        return None
    row = connection.execute(
        "SELECT s.added_at, s.updates, s.recalls, s.recalled_at FROM statistics s "
        "JOIN passages p ON p.rowid = s.passage WHERE p.namespace = ? AND p.id = ?",
        (encode_namespace(passage.namespace), passage.id),
    ).fetchone()
    return None if row is None else asdict(Counts(*row))


def counts_of(record: object, where: str) -> Counts:
    """The counts that `counts_record` gave; `where` opens the message of an error.

    Args:
        record: As an export has it.
        where: Opens the message of an error.

    Raises:
        FormatError: They are none.
    """
    if not isinstance(record, Mapping) or record.keys() - Counts.__slots__:
        raise FormatError(f"{where}: the counts must be {', '.join(Counts.__slots__)}")
    counts = Counts(**record)
    times = (counts.added_at, counts.recalled_at)
    sound = all(
        time is None
        or (isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < 1e12)
        for time in times
    ) and all(type(n) is int and 0 <= n < 2**63 for n in (counts.updates, counts.recalls))
    if not sound:
        raise FormatError(f"{where}: counts are whole numbers, and times in seconds, got {record}")
    return counts


def put_counts(connection: sqlite3.Connection, rowid: int, counts: Counts) -> None:
    """Write a passage's counts, over those that were there.

    Args:
        connection: The store's.
        rowid: The passage's.
        counts: What is written.
    """
    connection.execute(
        "INSERT OR REPLACE INTO statistics VALUES (?, ?, ?, ?, ?)",
        (rowid, counts.added_at, counts.updates, counts.recalls, counts.recalled_at),
    )
