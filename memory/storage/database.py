"""The SQLite file under a store: its transactions, and its errors in our words.

One connection writes, and whoever writes holds it; each reading has a connection of its own, of a
pool. So within a process as between processes readers wait for nobody, and writers queue, each for
the few milliseconds that its statements need (texts are encoded outside).

The order of locks, in which no two threads can wait for each other:

1. `Store.changing`, while a store goes on to another encoder;
2. the writer's, here;
3. a view's, while it is searched or caught up;
4. those of small things (counts, caches), within which nothing else is taken.

Whoever holds a later one takes an earlier one only without waiting (`writing(wait=False)`).

State that a thread leaves behind when it is interrupted, at whatever step, is put right by whoever
comes next: each transaction begins by undoing what is open.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hoptrail.errors import SchemaMismatch, StoreBusy, StoreError, StoreUnavailable
from hoptrail.memory import forks
from hoptrail.memory.guarded import guarded
from hoptrail.memory.storage import connections, schema
from hoptrail.memory.storage.connections import ReadOnlyFile
from hoptrail.memory.storage.readers import Readers

BUSY_SECONDS = 30.0
"""How long a writer waits for another, of this process or another one."""

SMALL = 1000
"""Rows changed, up to which a transaction is surely in memory yet."""

# What SQLite says of wrong SQL or broken constraints is the caller's mistake, not the file's state.
_MISTAKES = (sqlite3.IntegrityError, sqlite3.InterfaceError)

_inherited: list[sqlite3.Connection] = []  # of the parent process: closing them would hurt it


class _Thread(threading.local):
    """What this thread reads with."""

    connection: sqlite3.Connection | None = None


class Database:
    """A store's file, opened and brought to the present schema.

    Args:
        path: The file; made when absent, unless `read_only`.
        read_only: Never write to it.
        patience: Seconds that it waits for other writers.

    Raises:
        StoreUnavailable: It cannot be opened, or is not a store.
        SchemaMismatch: It was written by a newer version.
    """

    is_shared = False
    """Whether it is a replica of what others share on a server."""
    purge_due = False
    """Whether what it was copied from was purged, and the copy is still to be."""

    def __init__(
        self, path: Path, *, read_only: bool = False, patience: float = BUSY_SECONDS
    ) -> None:
        self.path = connections.database_path(path, read_only=read_only)
        self.name = str(self.path)
        """What messages call it."""
        self.read_only = read_only
        self._patience = patience
        self._pid = os.getpid()
        self._thread = _Thread()
        self._known = {schema.OWNER: len(schema.MIGRATIONS)}  # migrations, by owner
        if not read_only:
            self._known |= {owner: len(migrations) for owner, migrations in schema.LISTS}
        self._tables = -1  # SQLite's count of changes of tables, when they were last recognised
        self._closed = False
        self._lock = threading.RLock()  # the writer's
        # The next four only by the thread that has the writer's lock.
        self._owner: int | None = None  # that thread
        self._depth = 0  # its transactions, one inside another
        self._changes = 0  # rows that were changed before
        self._connection: sqlite3.Connection | None = None  # what writes
        file = ReadOnlyFile(self.path, patience) if read_only else None
        self._readers = Readers(self.path, file, self._recheck, patience)
        forks.check_locks(self.path)
        forks.register(self)
        self._open()
        self._file = self._file_now()  # what is open, whatever its path comes to name

    def require_file(self, what: str) -> None:
        """Refuse, where the truth lies on a server, what only a store that is one file can do.

        Args:
            what: Is wanted, as the beginning of a sentence in the singular.

        Raises:
            StoreError: It does.
        """
        if self.is_shared:
            raise StoreError(
                f"{what} needs a store that is one file, and this one is {self.name}: "
                "docs/guides/postgresql.md says what to do there"
            )

    def source_problems(self) -> list[str]:
        """Where it is not what it was copied from, a sentence each; a file was from nothing."""
        return []

    def purge_source(self) -> None:
        """Purge what it was copied from; a file was from nothing."""

    def purged(self) -> None:
        """Have it known that it was purged itself."""

    def give_up(self) -> None:
        """Have it copied anew from where it was copied from, by whoever opens it next."""

    def make_independent(self, copy: sqlite3.Connection) -> None:
        """Have a copy of the file be a store of its own.

        Args:
            copy: A connection to it that writes.
        """

    @property
    def derives(self) -> bool:
        """Whether what can be made anew from the passages may be written to its file."""
        return not self.read_only

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def busy(self) -> str | None:
        """What this thread has open: "read", "write" or nothing."""
        if self._owner == threading.get_ident():
            return "write"
        return None if self._thread.connection is None else "read"

    def check(self) -> None:
        """Refuse to be used where it cannot be; takes no lock.

        Raises:
            StoreError: It is closed, or was opened by the process that this one was forked from.
        """
        self.check_process()
        if self._closed:
            raise StoreError(f"the store {self.name} is closed")

    def check_process(self) -> None:
        """Refuse to be used in a forked child; takes no lock.

        Raises:
            StoreError: It was opened by the process that this one was forked from.
        """
        if os.getpid() != self._pid:
            raise StoreError(
                f"the store {self.name} was opened before a fork: open it in the child process"
            )

    def close(self) -> None:
        """Close the file once whoever writes is done; a second time does nothing.

        Raises:
            StoreError: This thread has a transaction open, or the file is a parent process's.
        """
        self.check_process()
        if self.busy == "write":
            raise StoreError(
                f"the store {self.name} cannot be closed in a transaction: close it afterwards"
            )
        self._closed = True
        self._readers.close()
        with suppress(StoreUnavailable), self._writer():
            self._close_writer()

    @guarded
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent state of the file, however many statements of this thread read it."""
        self.check()
        thread = self._thread
        with self._errors("read"):
            if self._owner == threading.get_ident():
                assert self._connection is not None
                yield self._connection
            elif thread.connection is not None:
                yield thread.connection
            else:
                with forks.without_forks(self), self._snapshot() as connection:
                    try:
                        thread.connection = connection
                        yield connection
                    finally:
                        thread.connection = None

    @guarded
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """The last committed state of the file, kept for a while: this thread may write meanwhile.

        Use it within `inside`. Within a `reading` of this thread it is the same state.
        """
        self.check()
        lent: tuple[int, sqlite3.Connection] | None = None
        try:
            if self._thread.connection is not None:
                yield self._thread.connection
                return
            with self.inside():
                self._check_file()
                lent = self._readers.begun()
                connection = lent[1]
            yield connection
        finally:
            if lent is not None:
                with forks.without_forks(self):
                    self._readers.give_back(lent)

    @guarded
    def inside(self) -> Iterator[None]:
        """Statements on a `snapshot`: what goes wrong with it is said in our words."""
        self.check()
        with self._errors("read"), forks.without_forks(self):
            yield

    @guarded
    def writing(
        self, *, wait: bool | float = True, checked: bool = True, derived: bool = False
    ) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it or nothing. One inside another is undone on its own.

        Args:
            wait: For other writers, `BUSY_SECONDS` at most; or fail at once if there is one; or
                wait so many seconds for another thread, and fail at once for a process.
            checked: Look at the rows that written rows belong to; not to is for a transaction that
                knows they are there, and deletes nothing.
            derived: Nothing is written but what can be made anew from the passages. Of no meaning
                here; a database that others share need not be asked for it.

        Raises:
            StoreError: It is closed, or open read-only.
        """
        self.check()
        if self.read_only and not (derived and self.derives):
            raise StoreError(f"the store {self.name} is open read-only")
        if self._thread.connection is not None:  # it would not see what it writes
            raise StoreError(f"the store {self.name} cannot be written to while it is read")
        with self._errors("written"):
            if self._owner == threading.get_ident():
                with self._step() as connection:
                    yield connection
            else:
                with self._writer(wait=wait) as connection:
                    try:
                        self._begin(connection, wait=wait, checked=checked)
                        yield connection
                        self.check_process()
                        connection.execute("COMMIT")
                    finally:
                        if os.getpid() == self._pid and connection.in_transaction:
                            connection.execute("ROLLBACK")

    def migrate(
        self, owner: str, migrations: Sequence[schema.Migration], *, wait: bool = True
    ) -> None:
        """Apply an owner's migrations that the file has not seen, in their order.

        Raises:
            SchemaMismatch: The file has seen more of them, or is read-only and lacks some.
        """
        with self.reading() as connection:
            steps = schema.applied(connection, owner)
        schema.check_schema_version(steps, len(migrations), owner, self.name)
        self._known[owner] = len(migrations)
        if steps == len(migrations):
            return
        if not self.derives:
            raise SchemaMismatch(
                f"{self.name} has schema {steps} of {owner!r}, {len(migrations)} is needed and the "
                "store is read-only: open it once for writing"
            )
        with self.writing(wait=wait, derived=True) as connection:
            schema.migrate(connection, owner, migrations, self.name)

    def compact(self) -> None:
        """Rewrite the file without what was deleted, and empty its log.

        Raises:
            StoreError: It is read-only or in a transaction, or another process is in the way.
        """
        self.check()
        if not self.derives or self.busy:
            state = "in a transaction" if self.derives else "open read-only"
            raise StoreError(f"the store {self.name} is {state}")
        with self._errors("compacted"), self._writer() as connection:
            self._check_file()
            connection.execute("VACUUM")
            if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise StoreError(
                    f"the log of {self.name} could not be emptied while another process or thread "
                    "reads: try again when it is done"
                )

    def _forked(self, *, whole: bool) -> Path | None:
        """Let go of what a parent process has opened; see `hoptrail.memory.forks`."""
        opened, writer = self._readers.forked(), self._connection
        if writer is not None:
            opened.append(writer)
            # What a large transaction has written to the log already, the parent goes on with.
            whole &= not writer.in_transaction or writer.total_changes - self._changes < SMALL
        self._connection = None
        for connection in opened:
            if whole:
                with suppress(sqlite3.Error):
                    connection.close()
            else:
                _inherited.append(connection)
        return None if whole else self.path

    def _open(self) -> None:
        """Open what is needed first, so that what is wrong with the file is said at once."""
        try:
            with forks.without_forks(self):
                if self.read_only:
                    self._readers.give_back(self._readers.begun())
                else:
                    self._connection = connections.open_writer(self.path, self._patience)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.name} cannot be opened as a store: {error}") from error

    def _file_now(self) -> tuple[int, int] | None:
        """What tells the file at the path from every other one; None if there is none."""
        try:
            entry = os.stat(self.path)
        except OSError:
            return None
        return entry.st_dev, entry.st_ino

    def _check_file(self) -> None:
        """Refuse to go on with a file that nobody would find again at its path.

        Raises:
            StoreUnavailable: It was removed, moved, or another was put in its place.
        """
        if (now := self._file_now()) != self._file:
            what = "is not there any more" if now is None else "is another file than was opened"
            raise StoreUnavailable(f"the store {self.name} {what}: open it again where it is")

    def _begin(self, connection: sqlite3.Connection, *, wait: bool | float, checked: bool) -> None:
        self._check_file()
        if connection.in_transaction:  # whoever began it was interrupted
            connection.execute("ROLLBACK")
        milliseconds = int(1000 * self._patience) if wait is True else 0
        connection.execute(f"PRAGMA busy_timeout={milliseconds}")
        connection.execute(f"PRAGMA foreign_keys={'ON' if checked else 'OFF'}")
        self._changes = connection.total_changes
        connection.execute("BEGIN IMMEDIATE")
        self._recheck(connection, always=True)

    @guarded
    def _step(self) -> Iterator[sqlite3.Connection]:
        """A transaction inside one of this thread."""
        connection, depth = self._connection, self._depth
        assert connection is not None
        name, done = f"step_{depth}", False
        try:
            self._depth = depth + 1
            connection.execute(f"SAVEPOINT {name}")
            yield connection
            connection.execute(f"RELEASE {name}")
            done = True
        finally:
            self._depth = depth
            if not done and connection.in_transaction:  # a full disk has already undone it
                with suppress(sqlite3.Error):  # that it never began is no other error
                    connection.execute(f"ROLLBACK TO {name}")
                    connection.execute(f"RELEASE {name}")

    @guarded
    def _writer(self, *, wait: bool | float = True) -> Iterator[sqlite3.Connection]:
        """What writes, for this thread alone; not for one that has it.

        The lock is let go of whether or not it was seen to be taken: an interrupt may come between.
        """
        me = threading.get_ident()
        try:
            if not self._lock.acquire(timeout=self._patience if wait is True else float(wait)):
                raise StoreBusy(
                    f"the store {self.name} could not be written: database is locked by another "
                    "thread, which has a transaction open"
                )
            self._owner = me
            with forks.without_forks(self):
                if self._connection is None:
                    if not self._closed:
                        self._connection = connections.open_writer(self.path, self._patience)
                    else:
                        raise StoreUnavailable(f"the store {self.name} is closed")
                yield self._connection
                if self._closed:  # meanwhile, and nobody else may come
                    self._close_writer()
        finally:
            if self._owner == me:  # no call between here and the release: nothing interrupts
                self._owner, self._depth = None, 0
            try:  # noqa: SIM105, which would be a call
                self._lock.release()
            except RuntimeError:
                pass

    def _close_writer(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @guarded
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """A state of the file, and a connection that reads it."""
        lent: tuple[int, sqlite3.Connection] | None = None
        self._check_file()
        try:
            lent = self._readers.begun()
            yield lent[1]
        finally:
            if lent is not None:
                self._readers.give_back(lent)

    def _recheck(self, connection: sqlite3.Connection, *, always: bool = False) -> None:
        """Refuse a file that a newer version has changed since it was opened.

        Reading, only if tables are not as they were: that is all that it could not understand.
        """
        tables = connection.execute("PRAGMA schema_version").fetchone()[0]
        if always or tables != self._tables:
            for owner, steps in connection.execute("SELECT owner, steps FROM migrations"):
                schema.check_schema_version(steps, self._known.get(owner, steps), owner, self.name)
            self._tables = tables

    @guarded
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except _MISTAKES:
            raise
        except sqlite3.ProgrammingError:
            self.check_process()
            raise
        except sqlite3.Error as error:
            kind = StoreBusy if _is_busy(error) else StoreUnavailable
            raise kind(f"the store {self.name} could not be {what}: {error}") from error


def _is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds what was asked for; extended codes end in the plain one."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
