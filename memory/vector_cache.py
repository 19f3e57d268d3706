"""Vectors cached on disk by content and encoder, so that no text is ever encoded twice."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from hoptrail.errors import StoreUnavailable
from hoptrail.memory.encoder import Encoder, Vectors
from hoptrail.memory.records import cache_key
from hoptrail.memory.windows import count_tokens, window_of

CHUNK = 256
"""Texts encoded between two commits: what a killed run loses at most."""


def cache_folder() -> Path:
    """`HOPTRAIL_CACHE`, or `~/.cache/hoptrail`."""
    return Path(os.environ.get("HOPTRAIL_CACHE") or Path.home() / ".cache" / "hoptrail")


def erase(keys: Sequence[bytes], folder: Path | None = None) -> int:
    """Erase the vectors of some contents, of every encoder; how many there were.

    Args:
        keys: The contents' `cache_key`.
        folder: The cache; `cache_folder()` by default.

    Raises:
        StoreUnavailable: A file of the cache cannot be written, or is in use: try again.
    """
    return _erase(keys, "key IN (SELECT key FROM given)", folder)


def erase_others(keys: Iterable[bytes], folder: Path | None = None) -> int:
    """Erase the vectors of all contents but these, of every encoder; how many there were.

    Raises:
        StoreUnavailable: As `erase` does.
    """
    return _erase(keys, "key NOT IN (SELECT key FROM given)", folder)


def _erase(keys: Iterable[bytes], which: str, folder: Path | None) -> int:
    given = [(key,) for key in keys]
    erased = 0
    for file in sorted((folder or cache_folder()).glob("vectors-*.db")):
        try:
            with closing(sqlite3.connect(file, timeout=60)) as db:
                db.execute("PRAGMA secure_delete=ON")  # overwritten, not only given free
                db.execute("CREATE TEMP TABLE given (key BLOB PRIMARY KEY) WITHOUT ROWID")
                with db:
                    db.executemany("INSERT OR IGNORE INTO given VALUES (?)", given)
                    erased += db.execute(f"DELETE FROM vectors WHERE {which}").rowcount
                busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the vector cache {file} cannot be purged: {error}") from error
        if busy:
            raise StoreUnavailable(f"the vector cache {file} is being read: purge again later")
    return erased


class CachedEncoder:
    """An encoder that remembers on disk; itself an `Encoder`.

    Args:
        encoder: What encodes the texts that are not in the cache.
        folder: Where to keep vectors; `cache_folder()` by default.
        progress: Called with (done, total) after each chunk.

    Raises:
        StoreUnavailable: The folder cannot be written.
    """

    def __init__(
        self,
        encoder: Encoder,
        folder: Path | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.inner = encoder
        self._progress = progress
        folder = folder or cache_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                folder / f"vectors-{encoder.fingerprint}.db", timeout=60, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, v BLOB)")
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(
                f"the vector cache {folder} cannot be used ({error}): "
                "set HOPTRAIL_CACHE to a folder that can be written"
            ) from error

    @property
    def fingerprint(self) -> str:
        """The inner encoder's."""
        return self.inner.fingerprint

    @property
    def dim(self) -> int:
        """The inner encoder's."""
        return self.inner.dim

    @property
    def window(self) -> int | None:
        """The inner encoder's; None where it names none."""
        return window_of(self.inner)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The inner encoder's count, or an estimate where it has none."""
        return count_tokens(self.inner, texts)

    def close(self) -> None:
        """Close the cache's file."""
        self._db.close()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)`; those not yet cached are encoded and kept."""
        keys = [cache_key(text) for text in texts]
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        where: dict[bytes, list[int]] = {}
        for row, key in enumerate(keys):
            where.setdefault(key, []).append(row)
        missing = self._fill(where, out)
        missing.sort(key=lambda key: -len(texts[where[key][0]]))  # like lengths pad least
        done = len(where) - len(missing)
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            vectors = self.inner.encode([texts[where[key][0]] for key in chunk])
            with self._db:
                self._db.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                    [(k, v.astype("<f4").tobytes()) for k, v in zip(chunk, vectors, strict=True)],
                )
            for key, vector in zip(chunk, vectors, strict=True):
                out[where[key]] = vector
            done += len(chunk)
            if self._progress:
                self._progress(done, len(where))
        return out

    def _fill(self, where: dict[bytes, list[int]], out: Vectors) -> list[bytes]:
        """Write what is cached into `out`; the keys that are not."""
        keys = list(where)
        missing: list[bytes] = []
        for start in range(0, len(keys), 500):
            chunk = keys[start : start + 500]
            marks = ",".join("?" * len(chunk))
            rows = dict(
                self._db.execute(f"SELECT key, v FROM vectors WHERE key IN ({marks})", chunk)
            )
            for key in chunk:
                found = rows.get(key)
                if found is None or len(found) != 4 * self.dim:
                    missing.append(key)
                else:
                    out[where[key]] = np.frombuffer(found, dtype="<f4")
        return missing
