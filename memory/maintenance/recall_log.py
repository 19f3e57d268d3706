"""A log of recalls, if a memory is to keep one: when, what was asked, and what came back.

It is off until somebody says how many recalls it is to keep, which stands in the file; the oldest
go first. Rows name passages by rowid and go with them, in the same transaction, as those of
`hoptrail.memory.feedback` do: a passage that is deleted or written over takes along that it was
returned, and a recall of which nothing that it returned is left goes as a whole, with its question.

A recall writes nothing by itself: entries wait in memory and are written together, in one small
transaction that moves no version. If the process is killed, those are lost, and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hoptrail.errors import StoreError
from hoptrail.memory import forks
from hoptrail.memory.feedback import alive_since
from hoptrail.memory.storage import schema
from hoptrail.memory.storage.log_tables import MIGRATIONS, OWNER, cut_log
from hoptrail.memory.storage.namespaces import (
    Scope,
    ScopeLike,
    decode_namespace,
    encode_namespace,
)
from hoptrail.memory.store import Store
from hoptrail.types import Namespace
from hoptrail.values.numbers import whole

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST = 1_000_000
"""Recalls that a log may be told to keep."""
WAITING = 64
"""Recalls that wait in memory before they are written."""
SECONDS = 60.0
"""After which the next one writes them, however few they are."""
PATIENCE = 1.0
"""Seconds that closing waits for another writer."""


@dataclass(frozen=True, slots=True)
class LoggedQuestion:
    """A recall as it is written to the log."""

    id: str
    question: str
    namespace: Namespace
    """The scope that was asked."""
    effort: str
    asked_at: float
    """Seconds since 1970."""
    milliseconds: float
    version: int
    """Of the store when it was walked."""
    returned: tuple[tuple[int, float], ...]
    """Rowid and score of what came back, best first."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A recall as it stands in the log."""

    id: str
    question: str
    namespace: Namespace
    """The scope that was asked."""
    effort: str
    asked_at: float
    """Seconds since 1970."""
    milliseconds: float
    returned: tuple[tuple[int, float], ...]
    """Rowid and score of what came back and is still as it was, best first."""


class RecallLog:
    """The log of recalls in a store's file. Threads may share one.

    Args:
        store: The memory's.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        # All only with the lock held.
        self._waiting: list[LoggedQuestion] = []
        self._due = 0.0
        self._kept = self.kept
        forks.register(self)

    def _forked(self, *, whole: bool) -> None:
        """Be a forked child's, where it is refused; see `hoptrail.memory.forks`."""
        self._lock = threading.Lock()

    @property
    def kept(self) -> int:
        """How many recalls the file is to keep; 0 where it keeps none."""
        with self._store.reading() as connection:
            if not schema.applied(connection, OWNER):
                return 0
            return int(connection.execute("SELECT kept FROM log_bound").fetchone()[0])

    def keep(self, most: int) -> None:
        """Say how many recalls are kept from now on; the oldest beyond that go.

        Args:
            most: 0 for none: what is there is deleted.

        Raises:
            InputError: It is no such number.
            StoreError: The store is read-only.
        """
        most = whole(most, "recalls to keep", most=MOST)
        self._store.migrate(OWNER, MIGRATIONS)
        self.flush()
        with self._lock:
            self._kept = most
            if not most:
                self._waiting.clear()
        with self._store.transaction() as connection:
            connection.execute("UPDATE log_bound SET kept = ?", (most,))
            cut_log(connection)

    def note(self, recall: LoggedQuestion) -> None:
        """Put a recall into the log, if one is kept; one that returned nothing leaves no trace.

        Args:
            recall: What was asked and came back.
        """
        if not self._kept or not recall.returned or self._store.read_only:
            return
        now = time.monotonic()
        with self._lock:
            if not self._waiting:
                self._due = now + SECONDS
            self._waiting.append(recall)
            is_due = len(self._waiting) >= WAITING or now >= self._due
        if is_due:
            self.flush(wait=False)

    def flush(self, *, wait: bool = True) -> bool:
        """Write what waits; whether nothing is left to be written.

        What cannot be written now, on a full disk or beside another writer, waits for next time,
        the oldest giving way.

        Args:
            wait: For other writers; else leave it for later if there is one.
        """
        if self._store.database.busy is not None:
            return False
        with self._lock:
            recalls, self._waiting = self._waiting, []
        if not recalls:
            return True
        try:
            with self._store.transaction(wait=wait) as connection:
                for recall in recalls:
                    _insert(connection, recall)
                cut_log(connection)
        except StoreError:
            with self._lock:
                self._waiting = [*recalls, *self._waiting][-max(WAITING, self._kept) :]
                self._due = time.monotonic() + SECONDS
            return False
        return True

    def close(self) -> None:
        """Write what is left; another writer gets a moment to end, or else it is lost."""
        latest = time.monotonic() + PATIENCE
        while not self.flush(wait=False) and time.monotonic() < latest:
            time.sleep(0.02)

    def entries(self, namespace: ScopeLike = (), *, last: int) -> list[LogEntry]:
        """The latest recalls of a scope that are in the log, the latest first.

        A recall of a wider scope is not among them: it may name what lies outside.

        Args:
            namespace: The scope: every namespace that begins with it.
            last: How many at most.
        """
        if not self._store.read_only:
            self.flush()
        with self._store.reading() as connection:
            if not schema.applied(connection, OWNER):
                return []
            rows = connection.execute(
                "SELECT number, id, question, namespace, effort, asked_at, milliseconds "
                "FROM log_recalls WHERE namespace >= ? AND namespace < ? "
                "ORDER BY number DESC LIMIT ?",
                (*Scope.parse(namespace).bounds, last),
            ).fetchall()
            return [
                LogEntry(
                    id,
                    question,
                    decode_namespace(space),
                    effort,
                    asked_at,
                    milliseconds,
                    _returned(connection, number),
                )
                for number, id, question, space, effort, asked_at, milliseconds in rows
            ]

    def forget(self, namespace: ScopeLike = ()) -> int:
        """Delete the log of recalls that asked a scope; how many. A purge erases their bytes.

        Args:
            namespace: The scope: every namespace that begins with it.

        Raises:
            StoreError: The store is read-only.
        """
        scope = Scope.parse(namespace)
        self.flush()
        with self._store.transaction() as connection:
            if not schema.applied(connection, OWNER):
                return 0
            return connection.execute(
                "DELETE FROM log_recalls WHERE namespace >= ? AND namespace < ?", scope.bounds
            ).rowcount


def _insert(connection: Connection, recall: LoggedQuestion) -> None:
    """Write a recall without what was deleted or written over since."""
    alive = alive_since(connection, [rowid for rowid, _ in recall.returned], recall.version)
    if not alive:
        return
    number = connection.execute(
        "INSERT INTO log_recalls (id, namespace, question, effort, asked_at, milliseconds) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            recall.id,
            encode_namespace(recall.namespace),
            recall.question,
            recall.effort,
            recall.asked_at,
            recall.milliseconds,
        ),
    ).lastrowid
    connection.executemany(
        "INSERT INTO log_returned (recall, position, passage, score) VALUES (?, ?, ?, ?)",
        [
            (number, place, rowid, score)
            for place, (rowid, score) in enumerate(recall.returned)
            if rowid in alive
        ],
    )


def _returned(connection: Connection, number: int) -> tuple[tuple[int, float], ...]:
    rows: Sequence[tuple[int, float]] = connection.execute(
        "SELECT passage, score FROM log_returned WHERE recall = ? ORDER BY position", (number,)
    ).fetchall()
    return tuple(rows)
