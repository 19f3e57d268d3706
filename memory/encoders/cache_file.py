"""A file of the vector cache: rows by the hash of a content, which nobody depends on.

What is in it can be made again, so nothing that is wrong with it stops a caller. A damaged file is
removed and begun anew; one that cannot be opened, read or written to (full disk, no right to write,
locked by another process, of a newer version) is done without for a while. A warning names it once.
Threads may share one. A fork waits for its statements, and the child opens the file for itself, or
does without it where it was in use all the same (see `hoptrail.memory.forks`).
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import TypeVar

from platformdirs import user_cache_path

from hoptrail.errors import StoreUnavailable
from hoptrail.memory import forks

logger = logging.getLogger(__name__)

T = TypeVar("T")

VERSION = 1
"""Of the tables, in SQLite's header; files of a newer one are left alone."""

KEYS_AT_ONCE = 500
"""Parameters in one statement; SQLite's oldest limit is 999."""

WAIT_SECONDS = 5.0
"""How long another process's writing is waited for."""

PAUSE_SECONDS = 60.0
"""How long a file that failed is done without."""

LONGEST_NAME = 100
"""Characters of a fingerprint in the name of a file; systems allow 255 bytes."""

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database for the files of one."""

_torn: list[sqlite3.Connection] = []  # in use at a fork, in the child: never closed there


def cache_folder() -> Path:
    """`HOPTRAIL_CACHE`, or where the system keeps caches: on Linux `~/.cache/hoptrail`.

    Raises:
        StoreUnavailable: There is neither.
    """
    named = os.environ.get("HOPTRAIL_CACHE")
    if named:
        return Path(named).absolute()
    try:
        used = Path.home() / ".cache" / "hoptrail"
        # What is there stays in use: `XDG_CACHE_HOME` may have been set since.
        return used if used.is_dir() else user_cache_path("hoptrail", appauthor=False)
    except RuntimeError as error:
        raise StoreUnavailable(
            "there is no home folder to keep vectors in: set HOPTRAIL_CACHE to a folder"
        ) from error


def write_whole(file: Path, content: bytes) -> None:
    """Put a file of the cache in its place, whole or not at all; a warning where it cannot be.

    Args:
        file: Its folder is made where it is absent.
        content: Of the file.
    """
    partial = file.with_name(f"{file.stem}-{os.getpid()}-{threading.get_ident()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial.write_bytes(content)
        partial.replace(file)
    except OSError as error:
        logger.warning("%s cannot be kept for later processes: %s", file, error)
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def vectors_file_name(made_by: str) -> str:
    """The name of the file for vectors of an encoder, which a purge looks for in the folder.

    Args:
        made_by: The encoder's fingerprint, and what else there is to tell. One that names a path,
            as "BAAI/bge-m3" does, or is too long for a name stands there as its hash.
    """
    if not made_by.isprintable() or len(made_by) > LONGEST_NAME or {"/", "\\"} & set(made_by):
        made_by = hashlib.sha256(made_by.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"vectors-{made_by}.db"


class CacheFile:
    """Rows of bytes by key, in a file that may fail without harm.

    Args:
        name: Of the file.
        folder: Where it lies; `cache_folder()` by default.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.path: Path | None = None
        self._lock = Lock()
        # All below only with the lock held.
        self._db: sqlite3.Connection | None = None
        self._resumed = {"read": 0.0, "write": 0.0}  # from when on each is tried again
        self._warned = False
        try:
            self.path = (folder or cache_folder()).absolute() / name
        except (OSError, StoreUnavailable) as error:
            self._warn(f"there is no vector cache ({error})")
        forks.register(self)

    def __repr__(self) -> str:
        return f"<CacheFile {self.path}>"

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The rows that are there and readable; nothing is promised of what they hold."""

        def read(db: sqlite3.Connection) -> dict[bytes, bytes]:
            rows: dict[bytes, bytes] = {}
            for start in range(0, len(keys), KEYS_AT_ONCE):
                part = keys[start : start + KEYS_AT_ONCE]
                marks = ",".join("?" * len(part))
                rows.update(db.execute(f"SELECT key, v FROM vectors WHERE key IN ({marks})", part))
            return {key: value for key, value in rows.items() if isinstance(value, bytes)}

        return self._tried("read", read) or {}

    def put(self, rows: Sequence[tuple[bytes, bytes]]) -> bool:
        """Write rows, over those that were there; whether it was done."""

        def write(db: sqlite3.Connection) -> bool:
            with db:
                db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
            return True

        return bool(self._tried("write", write))

    def mean_size(self) -> float:
        """The mean size of a row in bytes; 0 where there are none."""

        def read(db: sqlite3.Connection) -> float:
            return float(db.execute("SELECT avg(length(v)) FROM vectors").fetchone()[0] or 0.0)

        return self._tried("read", read) or 0.0

    def close(self) -> None:
        """Close the file; it is opened again when it is next asked."""
        with forks.without_forks(self), self._lock:
            self._drop()

    def _tried(self, how: str, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What the work gives; None where the file does not serve."""
        with forks.without_forks(self), self._lock:
            if self.path is None or time.monotonic() < self._resumed[how]:
                return None
            if forks.torn(self.path):
                self._warn(f"the vector cache {self.path} was in use at a fork and is not used")
                return None
            for again in (True, False):
                try:
                    if self._db is None:
                        self._db = _opened(self.path)
                    return work(self._db)
                except (sqlite3.Error, OSError) as error:
                    self._drop()
                    if not (again and self._mended(error)):
                        self._resumed[how] = time.monotonic() + PAUSE_SECONDS
                        self._warn(
                            f"the vector cache {self.path} cannot be used ({error}): texts are "
                            "encoded without it, which takes longer"
                        )
                        return None
        return None

    def _mended(self, error: Exception) -> bool:
        """Whether to try again: a damaged file is gone now, or somebody else has replaced it."""
        assert self.path is not None
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF in DAMAGED:
            logger.warning("the vector cache %s is damaged and begun anew: %s", self.path, error)
            return removed(self.path)
        return code == sqlite3.SQLITE_READONLY_DBMOVED or not self.path.exists()

    def _drop(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _forked(self, *, whole: bool) -> Path | None:
        """Let go of what a parent process has opened; see `hoptrail.memory.forks`."""
        self._lock = Lock()
        if whole:
            self._drop()
            return None
        if self._db is not None:
            _torn.append(self._db)
        self._db = None
        return self.path

    def _warn(self, message: str) -> None:
        if not self._warned:
            logger.warning(message)
        self._warned = True


def removed(path: Path) -> bool:
    """Remove a database of the cache with what lies beside it; whether that was possible."""
    try:
        for end in BESIDE:
            path.with_name(path.name + end).unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to a file, made where it is absent; for reading only where it must be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError):  # texts can be guessed from vectors: for the owner alone
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        return _connected(str(path), writing=True)
    except (sqlite3.OperationalError, OSError):
        if not path.is_file():
            raise
        return _connected(f"{path.as_uri()}?mode=ro", writing=False)


def _connected(where: str, *, writing: bool) -> sqlite3.Connection:
    db = sqlite3.connect(
        where, timeout=WAIT_SECONDS, check_same_thread=False, uri=where.startswith("file:")
    )
    try:
        db.text_factory = bytes  # a row that is no vector may be no text either
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise sqlite3.NotSupportedError(f"a newer version of hoptrail wrote it: {version}")
        if writing:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, v BLOB)")
            if version != VERSION:
                db.execute(f"PRAGMA user_version={VERSION}")
        db.execute("SELECT key, v FROM vectors LIMIT 1").fetchone()
    except BaseException:
        db.close()
        raise
    return db


class _Erasing:
    """Stands for the connection by which a file of the cache is erased from."""

    def __init__(self, path: Path) -> None:
        self._path = path
        forks.register(self)

    def _forked(self, *, whole: bool) -> Path | None:
        return None if whole else self._path


def erase_rows(keys: Sequence[tuple[bytes]], which: str, path: Path) -> int:
    """Erase rows of a file of the cache; how many there were.

    Args:
        keys: They fill the table `given`.
        which: The condition on a row, which may look there.
        path: Of the file; one that is damaged beyond reading is removed whole.

    Raises:
        StoreUnavailable: It cannot be written, or is in use: try again.
    """
    try:
        with (
            forks.without_forks(_Erasing(path.absolute())),
            closing(sqlite3.connect(path, timeout=60)) as db,
        ):
            db.execute("PRAGMA secure_delete=ON")  # overwritten, not only given free
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'vectors'").fetchone():
                return 0
            db.execute("CREATE TEMP TABLE given (key BLOB PRIMARY KEY) WITHOUT ROWID")
            with db:
                db.executemany("INSERT OR IGNORE INTO given VALUES (?)", keys)
                erased = db.execute(f"DELETE FROM vectors WHERE {which}").rowcount
            busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED and removed(path):
            logger.warning("the vector cache %s was damaged and is removed: %s", path, error)
            return 0
        raise StoreUnavailable(f"the vector cache {path} cannot be purged: {error}") from error
    if busy:
        raise StoreUnavailable(f"the vector cache {path} is being read: purge again later")
    return erased
