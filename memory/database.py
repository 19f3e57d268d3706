"""The SQLite file under a store: opening it, its transactions, and its errors in our words.

One connection and one lock a store: threads take turns, each for the few milliseconds that its
statements need (texts are encoded outside). Processes share the file through SQLite's WAL mode:
readers never wait, writers queue.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hoptrail.errors import SchemaMismatch, StoreError, StoreUnavailable
from hoptrail.memory import damaged, schema

BUSY_SECONDS = 30.0
"""How long a writer waits for another process's."""

# What SQLite says of wrong SQL or broken constraints is the caller's mistake, not the file's state.
_MISTAKES = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


class Database:
    """A store's file, opened and brought to the present schema.

    Args:
        path: The file; made when absent, unless `read_only`.
        read_only: Never write to it.

    Raises:
        StoreUnavailable: It cannot be opened, or is not a store.
        SchemaMismatch: It was written by a newer version.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path.absolute()  # still the same file when the working folder changes
        self.read_only = read_only
        self.lock = threading.RLock()
        """Held by whoever uses the connection. The store's views use it too: one lock, no order
        in which two could be taken wrongly."""
        # All below only with the lock held.
        self._depth = 0  # transactions open
        self._writing = False  # whether the outermost one writes
        self._known = {schema.OWNER: len(schema.MIGRATIONS)}  # migrations, by owner
        self._tables = -1  # SQLite's count of changes of tables, when they were last recognised
        if not read_only:
            self._known |= {owner: len(migrations) for owner, migrations in schema.LISTS}
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = self._open()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._connection is None

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        with self.lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @property
    def busy(self) -> str | None:
        """What this thread has open: "read", "write" or nothing. Ask with the lock held."""
        if not self._depth:
            return None
        return "write" if self._writing else "read"

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent state of the file, however many statements read it."""
        with self.lock, self._errors("read"):
            connection = self._usable()
            if self._depth:
                yield connection
                return
            connection.execute("BEGIN")
            self._depth += 1
            try:
                self._recheck(connection)
                yield connection
            finally:
                self._depth -= 1
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def writing(self, *, wait: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it or nothing. One inside another is undone on its own.

        Args:
            wait: For other writers, `BUSY_SECONDS` at most; else fail at once if there is one.
        """
        with self.lock, self._errors("written"):
            connection = self._usable()
            if self.read_only:
                raise StoreError(f"the store {self.path} is open read-only")
            if self.busy == "read":  # it would be undone when the reading ends
                raise StoreError(f"the store {self.path} cannot be written to while it is read")
            depth = self._depth
            name = f"step_{depth}"
            if depth:
                connection.execute(f"SAVEPOINT {name}")
            else:
                _begin(connection, wait=wait)
            self._depth, self._writing = depth + 1, True
            try:
                if not depth:
                    self._recheck(connection)
                yield connection
                connection.execute(f"RELEASE {name}" if depth else "COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has already undone it
                    connection.execute(f"ROLLBACK TO {name}" if depth else "ROLLBACK")
                    if depth:
                        connection.execute(f"RELEASE {name}")
                raise
            finally:
                self._depth, self._writing = depth, depth > 0

    @contextmanager
    def unchecked(self) -> Iterator[None]:
        """Have SQLite write rows without a look at the rows that they belong to.

        For a transaction that knows they are there, and deletes nothing.
        """
        with self.lock:
            connection = self._usable()
            connection.execute("PRAGMA foreign_keys=OFF")
            try:
                yield
            finally:
                connection.execute("PRAGMA foreign_keys=ON")

    def migrate(self, owner: str, migrations: Sequence[str]) -> None:
        """Apply an owner's migrations that the file has not seen, in their order.

        Raises:
            SchemaMismatch: The file has seen more of them, or is read-only and lacks some.
        """
        with self.reading() as connection:
            steps = schema.applied(connection, owner)
        schema.check(steps, len(migrations), owner, str(self.path))
        with self.lock:
            self._known[owner] = len(migrations)
        if steps == len(migrations):
            return
        if self.read_only:
            raise SchemaMismatch(
                f"{self.path} has schema {steps} of {owner!r}, {len(migrations)} is needed and the "
                "store is read-only: open it once for writing"
            )
        with self.writing() as connection:
            schema.migrate(connection, owner, migrations, str(self.path))

    def compact(self) -> None:
        """Rewrite the file without what was deleted, and empty its log.

        Raises:
            StoreError: It is read-only or in a transaction, or another process is in the way.
        """
        with self.lock, self._errors("compacted"):
            connection = self._usable()
            if self.read_only or self._depth:
                state = "open read-only" if self.read_only else "in a transaction"
                raise StoreError(f"the store {self.path} is {state}")
            connection.execute("VACUUM")
            if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise StoreError(
                    f"the log of {self.path} could not be emptied while another process reads: "
                    "try again when it is done"
                )

    def _recheck(self, connection: sqlite3.Connection) -> None:
        """Refuse a file that a newer version has changed since it was opened.

        Reading, only if tables are not as they were: that is all that it could not understand.
        """
        tables = connection.execute("PRAGMA schema_version").fetchone()[0]
        if self._writing or tables != self._tables:
            for owner, steps in connection.execute("SELECT owner, steps FROM migrations"):
                schema.check(steps, self._known.get(owner, steps), owner, str(self.path))
            self._tables = tables

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"the store {self.path} is closed")
        if os.getpid() != self._pid:
            raise StoreError(
                f"the store {self.path} was opened before a fork: open it in the child process"
            )
        return self._connection

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except _MISTAKES:
            raise
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the store {self.path} could not be {what}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        self._check_path()
        uri = self.path.as_uri()
        connection: sqlite3.Connection | None = None
        try:
            if not self.read_only:
                connection = _connect(f"{uri}?mode=rwc")
                self._initialise(connection)
                return connection
            try:
                connection = _connect(f"{uri}?mode=ro")
                self._recognise(connection)
            except sqlite3.OperationalError:
                # WAL wants a folder it can write to; a file nobody writes can do without.
                if connection is not None:
                    connection.close()
                connection = _connect(f"{uri}?immutable=1")
                self._recognise(connection)
            return connection
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise StoreUnavailable(f"{self.path} cannot be opened as a store: {error}") from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise

    def _check_path(self) -> None:
        """What SQLite would only call `unable to open database file`, said plainly."""
        if "\0" in str(self.path):  # SQLite would open what is before it
            raise StoreUnavailable(f"{str(self.path)!r} is no path for a store")
        try:
            if self.path.is_dir():
                raise StoreUnavailable(f"{self.path} is a folder: a store is one file")
            if not self.path.parent.is_dir():
                raise StoreUnavailable(
                    f"the store {self.path} cannot be made: there is no folder {self.path.parent}"
                )
            if self.read_only and not self.path.exists():
                raise StoreUnavailable(f"there is no store at {self.path}")
        except OSError as error:  # a path too long
            raise StoreUnavailable(f"{str(self.path)!r} is no path for a store: {error}") from error

    def _recognise(self, connection: sqlite3.Connection) -> bool:
        """Whether the file is a store; False for one that is still empty.

        Raises:
            StoreUnavailable: It is a database of something else.
            SchemaMismatch: Its tables are newer, or it may not be brought up to date.
        """
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if found == schema.APPLICATION_ID:
            steps = schema.applied(connection, schema.OWNER)
            schema.check(steps, len(schema.MIGRATIONS), schema.OWNER, str(self.path))
            if self.read_only and steps < len(schema.MIGRATIONS):
                raise SchemaMismatch(
                    f"{self.path} has schema {steps}, {len(schema.MIGRATIONS)} is needed and the "
                    "store is read-only: open it once for writing"
                )
            return True
        if found or tables or self.read_only:
            raise StoreUnavailable(f"{self.path} is an SQLite database but no hoptrail store")
        return False

    def _initialise(self, connection: sqlite3.Connection) -> None:
        self._recognise(connection)  # before anything is written to a file that is not ours
        _wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._recognise(connection):
                connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
                connection.execute(
                    "CREATE TABLE migrations (owner TEXT PRIMARY KEY, steps INTEGER NOT NULL) "
                    "WITHOUT ROWID"
                )
            for owner, migrations in schema.LISTS:
                schema.migrate(connection, owner, migrations, str(self.path))
            schema.mend(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = damaged.text_of  # one damaged row is not to stop all reading
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _begin(connection: sqlite3.Connection, *, wait: bool) -> None:
    if not wait:
        connection.execute("PRAGMA busy_timeout=0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    finally:
        if not wait:
            connection.execute(f"PRAGMA busy_timeout={int(1000 * BUSY_SECONDS)}")


def _wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not wait for others here, so we do."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
