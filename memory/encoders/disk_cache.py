"""Vectors cached on disk by content and encoder, so that no text is ever encoded twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from hoptrail.errors import StoreUnavailable
from hoptrail.memory.content_hash import cache_key
from hoptrail.memory.encoders import cache_file
from hoptrail.memory.encoders.cache_file import CacheFile, vectors_file_name
from hoptrail.memory.encoders.cache_file import cache_folder as cache_folder
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.encoders.vectors import Vectors, sound
from hoptrail.memory.encoders.windows import (
    encode_passages,
    main_vectors,
    windows_of,
)
from hoptrail.memory.encoders.wrapped import WrappedEncoder

CHUNK = 256
"""Texts encoded between two commits: what a killed run loses at most."""


def erase_vectors(keys: Sequence[bytes], folder: Path | None = None) -> int:
    """Erase the vectors of some contents, of every encoder; how many contents had some.

    Args:
        keys: The contents' `cache_key`.
        folder: The cache; `cache_folder()` by default.

    Raises:
        StoreUnavailable: A file of the cache cannot be written, or is in use: try again.
    """
    return _erase(keys, "key IN (SELECT key FROM given)", folder)


def erase_others(keys: Iterable[bytes], folder: Path | None = None) -> int:
    """Erase the vectors of all contents but these, of every encoder; how many had some.

    Raises:
        StoreUnavailable: As `erase_vectors` does.
    """
    return _erase(keys, "key NOT IN (SELECT key FROM given)", folder)


def folders(folder: Path | None = None) -> list[Path]:
    """The folder of a cache, by default the usual one; none where there is none, nor vectors."""
    try:
        return [folder or cache_folder()]
    except StoreUnavailable:
        return []


def _erase(keys: Iterable[bytes], which: str, folder: Path | None) -> int:
    rows = [(key,) for key in keys]
    files = [file for place in folders(folder) for file in sorted(place.glob("vectors-*.db"))]
    return sum(cache_file.erase_rows(rows, which, file) for file in files if file.is_file())


class CachedEncoder(WrappedEncoder):
    """An encoder that remembers on disk; itself an `Encoder`.

    A cache that cannot be used costs time and nothing else: see `cache_file`.

    Args:
        encoder: What encodes the texts that are not in the cache.
        folder: Where to keep vectors; `cache_folder()` by default.
        progress: Called with (done, total) after each chunk.
    """

    def __init__(
        self,
        encoder: Encoder,
        folder: Path | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__(encoder)
        self._progress = progress
        self._file = CacheFile(vectors_file_name(encoder.fingerprint), folder)

    @property
    def folder(self) -> Path | None:
        """Where its file lies; None where there is no place for one."""
        return self._file.path.parent if self._file.path else None

    def close(self) -> None:
        """Close the cache's file."""
        self._file.close()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)`; those not yet cached are encoded and kept.

        Raises:
            InputError: The encoder gave something else than vectors.
        """
        return main_vectors(self.encode_passages(texts), self.dim)

    def encode_passages(self, texts: Sequence[str]) -> list[Vectors]:
        """All vectors of each text, `(m, d)`, as `windows.encode_passages` has them; likewise.

        Raises:
            InputError: The encoder gave something else than vectors.
        """
        text_of = {cache_key(text): text for text in texts}
        keys = list(text_of)
        long = windows_of(self.inner, list(text_of.values()))
        vectors_of = self._cached(keys, {keys[row]: 1 + len(long[row]) for row in long})
        missing = [row for row, key in enumerate(keys) if key not in vectors_of]
        missing.sort(key=lambda row: -len(text_of[keys[row]]))  # like lengths pad least
        done = len(keys) - len(missing)
        for start in range(0, len(missing), CHUNK):
            rows = missing[start : start + CHUNK]
            new = encode_passages(
                self.inner,
                [text_of[keys[row]] for row in rows],
                {at: long[row] for at, row in enumerate(rows) if row in long},
            )
            batch = {keys[row]: vectors for row, vectors in zip(rows, new, strict=True)}
            self._file.put([(key, v.astype("<f4").tobytes()) for key, v in batch.items()])
            vectors_of.update(batch)
            done += len(rows)
            if self._progress:
                self._progress(done, len(keys))
        return [vectors_of[cache_key(text)] for text in texts]

    def _cached(self, keys: Sequence[bytes], long: dict[bytes, int]) -> dict[bytes, Vectors]:
        """What the cache holds of some texts, if it is whole: one vector, or as many as said."""
        vectors_of = {}
        for key, value in self._file.get(keys).items():
            if len(value) != 4 * self.dim * long.get(key, 1):
                continue
            vectors = np.frombuffer(value, dtype="<f4").reshape(-1, self.dim)
            if sound(vectors):
                vectors_of[key] = vectors.astype(np.float32)
        return vectors_of
