"""How a store's file is opened: made and brought to the present schema, or only read.

A file that may be written has one connection that writes and others that read, each in a state of
its own (SQLite's WAL mode): no reader waits for a writer, in whatever thread or process.

A file that may only be read is read with SQLite's own locks wherever these work, and beside a
writer they do. Where the folder cannot be written and no writer has the file open, they cannot be
made: then it is read where it lies if its medium is read-only too, else from a private copy, with
the log that lies beside it; and looked at again before each reading.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path

from hoptrail.errors import InputError, SchemaMismatch, StoreError, StoreUnavailable
from hoptrail.memory.storage import damaged, schema

JUST_NOW = 50_000_000
"""Nanoseconds in which a file may change twice and bear the same time."""

COPIES = 20
"""Tries to copy a file that another process is writing."""


def _encodable(text: str) -> bool:
    """Whether the file system has a name for it; one of bytes that are no text has."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def database_path(path: Path, *, read_only: bool) -> Path:
    """The file behind a path, wherever the working folder goes later.

    Raises:
        StoreUnavailable: It is no path for a store; said plainly, where SQLite would only call it
            `unable to open database file`, or open another file.
    """
    text = str(path)
    if text == ":memory:" or text.startswith("file:"):
        raise StoreUnavailable(
            f"a store is one file, got {text!r}: give the path of a file, in a temporary folder "
            "(tempfile.TemporaryDirectory) where nothing is to stay"
        )
    if not _encodable(text):
        raise InputError(f"a path must be valid Unicode, got {text!r}")
    if "\0" in text:  # SQLite would open what is before it
        raise StoreUnavailable(f"{text!r} is no path for a store")
    try:
        path = path.absolute().resolve()
        if path.is_dir():
            raise StoreUnavailable(f"{path} is a folder: a store is one file")
        if path.exists() and not path.is_file():
            raise StoreUnavailable(f"{path} is no regular file: a store is one file")
        if not path.parent.is_dir():
            raise StoreUnavailable(
                f"the store {path} cannot be made: there is no folder {path.parent}"
            )
        if read_only and not path.exists():
            raise StoreUnavailable(f"there is no store at {path}")
    except (OSError, RuntimeError) as error:  # a path too long, a link to itself
        raise StoreUnavailable(f"{text!r} is no path for a store: {error}") from error
    except StoreError:
        raise
    return path


def connect(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    """A connection in autocommit mode, for any thread.

    Args:
        path: The file.
        mode: What its URI says, such as `mode=ro`.
        patience: Seconds that it waits for other connections' locks.
    """
    connection = sqlite3.connect(
        f"{path.as_uri()}?{mode}",
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = damaged.decode_text  # one damaged row is not to stop all reading
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def recognise(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> bool:
    """Whether a file is a store; False for one that is still empty.

    Raises:
        StoreUnavailable: It is a database of something else.
        SchemaMismatch: Its tables are newer, or it may not be brought up to date.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application == schema.APPLICATION_ID:
        steps = schema.applied(connection, schema.OWNER)
        schema.check_schema_version(steps, len(schema.MIGRATIONS), schema.OWNER, str(path))
        if read_only and steps < len(schema.MIGRATIONS):
            raise SchemaMismatch(
                f"{path} has schema {steps}, {len(schema.MIGRATIONS)} is needed and the "
                "store is read-only: open it once for writing"
            )
        return True
    if application or tables or read_only:
        raise StoreUnavailable(f"{path} is an SQLite database but no hoptrail store")
    return False


def open_writer(path: Path, patience: float) -> sqlite3.Connection:
    """The connection that writes, to a file of the present schema, made when absent.

    A file that is up to date is not written to: opening waits for no writer.

    Raises:
        StoreUnavailable: It is a database of something else.
        SchemaMismatch: Its tables are newer.
        sqlite3.Error: It cannot be opened.
    """
    connection = connect(path, "mode=rwc", patience)
    try:
        ours = recognise(connection, path, read_only=False)  # before a byte of another's changes
        _log_ahead(connection, patience)
        connection.execute("PRAGMA synchronous=FULL")
        if not (ours and _up_to_date(connection) and _well_declared(connection)):
            _make(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path, patience: float) -> sqlite3.Connection:
    """A connection that reads beside the one that writes."""
    connection = connect(path, "mode=rw", patience)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _up_to_date(connection: sqlite3.Connection) -> bool:
    return all(
        schema.applied(connection, owner) >= len(migrations) for owner, migrations in schema.LISTS
    )


def _well_declared(connection: sqlite3.Connection) -> bool:
    return all(kind == "table" for kind, _, _ in schema.misdeclared_tables(connection))


def _make(connection: sqlite3.Connection, path: Path) -> None:
    """Make what tables there are not yet, once all who do the same have had their turn."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        if not recognise(connection, path, read_only=False):
            connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
            connection.execute(
                "CREATE TABLE migrations (owner TEXT PRIMARY KEY, steps INTEGER NOT NULL) "
                "WITHOUT ROWID"
            )
        for owner, migrations in schema.LISTS:
            schema.migrate(connection, owner, migrations, str(path))
        schema.mend(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _log_ahead(connection: sqlite3.Connection, patience: float) -> None:
    """Switch to WAL; SQLite does not wait for others here, so we do."""
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


Signature = tuple[tuple[int, int, int, int] | None, ...]


class ReadOnlyFile:
    """A store's file that is only read: opens connections to it as it is now.

    Args:
        path: The file.
        patience: Seconds that a connection waits for locks.
    """

    def __init__(self, path: Path, patience: float) -> None:
        self.path = path
        self._patience = patience
        self._lock = threading.Lock()
        # All below only with the lock held.
        self._state = 0  # grows whenever connections opened before are of no use any more
        self._locks = False  # whether SQLite's own locks work
        self._seen: Signature | None = None  # the files when they were last looked at
        self._source: tuple[Path, str] = path, "mode=ro"
        self._copy: weakref.finalize[[Path, int], ReadOnlyFile] | None = None

    def state(self, *, again: bool = False) -> int:
        """A number that stays the same as long as open connections see what the file holds.

        Args:
            again: Look at the file again: a connection has failed.

        Raises:
            StoreUnavailable: It cannot be read, or is no store.
        """
        with self._lock:
            if again or not (self._locks or self._seen == self._signature()):
                self._state += 1
                self._look()
            return self._state

    def connect(self) -> sqlite3.Connection:
        """A connection to what `state` found."""
        with self._lock:
            path, mode = self._source
        connection = connect(path, mode, self._patience)
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA temp_store=MEMORY")  # there may be no place for files
        return connection

    def close(self) -> None:
        """Remove the private copy, if there is one."""
        if self._copy is not None:
            self._copy()

    def _look(self) -> None:
        """Find out how the file can be read now."""
        self._locks = False
        try:
            self._try(self.path, "mode=ro")
        except sqlite3.OperationalError:
            pass
        else:
            self._locks, self._source = True, (self.path, "mode=ro")
            return
        before = self._signature()
        if self._medium_is_read_only() and not self._log_size():
            self._try(self.path, "immutable=1")
            self._source, self._seen = (self.path, "immutable=1"), before
            return
        self._read_copy()

    def _try(self, path: Path, mode: str) -> None:
        connection = connect(path, mode, self._patience)
        try:
            recognise(connection, self.path, read_only=True)
        finally:
            connection.close()

    def _read_copy(self) -> None:
        """Go on with a copy of the file and its log, of one state."""
        folder = Path(tempfile.mkdtemp(prefix="hoptrail-"))
        old, self._copy = self._copy, weakref.finalize(self, _remove, folder, os.getpid())
        if old is not None:
            old()
        try:
            for _ in range(COPIES):
                before = self._signature()
                for file in self._files():
                    with suppress(FileNotFoundError):
                        shutil.copyfile(file, folder / file.name)
                if before == self._signature():
                    break
                for file in folder.iterdir():
                    file.unlink()
                time.sleep(0.05)
            else:
                raise StoreUnavailable(
                    f"{self.path} is being written, and the folder {self.path.parent} does not "
                    "allow to read beside a writer: make it writable, or read a backup"
                )
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path} lies in a folder that cannot be written and has to be copied to be "
                f"read, which failed: {error}"
            ) from error
        self._try(folder / self.path.name, "mode=rw")
        self._source, self._seen = (folder / self.path.name, "mode=rw"), before
        newest = max((times for file in before if file for times in file[2:]), default=0)
        if time.time_ns() - newest < JUST_NOW:
            self._seen = None  # it may change again, and look as it does now

    def _files(self) -> list[Path]:
        return [self.path, *(Path(f"{self.path}{end}") for end in ("-wal", "-journal"))]

    def _signature(self) -> Signature:
        """What changes whenever the file or its log is written."""
        signature: list[tuple[int, int, int, int] | None] = []
        for file in self._files():
            try:
                seen = file.stat()
            except OSError:
                signature.append(None)
            else:
                signature.append((seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
        return tuple(signature)

    def _log_size(self) -> int:
        return sum(file.stat().st_size for file in self._files()[1:] if file.exists())

    def _medium_is_read_only(self) -> bool:
        return hasattr(os, "statvfs") and bool(os.statvfs(self.path).f_flag & os.ST_RDONLY)


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a child shares it with its parent
        shutil.rmtree(folder, ignore_errors=True)
