"""Vectors of queries asked lately, kept in memory, and how often that spared an encoder's work."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.encoders.vectors import checked_vectors
from hoptrail.memory.encoders.wrapped import WrappedEncoder
from hoptrail.values.numbers import whole

QUERIES_KEPT = 1024
"""What a `Memory` keeps unless it is told otherwise: 1.5 MB with vectors of 384 numbers."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """How often something was looked for in a cache, and found."""

    hits: int
    misses: int
    kept: int
    """How many it holds."""
    room: int
    """How many it may hold."""

    @property
    def rate(self) -> float:
        """Share of what was looked for that was found, in [0, 1]; 0 before anything was."""
        return self.hits / max(1, self.hits + self.misses)


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What the caches of a store have done since it was opened."""

    queries: CacheStats
    """Vectors of queries, those rewritten on a walk too."""
    passages: CacheStats
    """Passages that were read, over the scopes in memory."""


class QueryCache:
    """The vectors of the last queries, by encoder and text. Threads may share one.

    The encoder's fingerprint is part of the key: another encoder never meets this one's vectors.
    A text is known by its hash, so that nothing of it stays in memory.

    Args:
        room: Vectors kept at most; the one not asked for longest goes first. 0 keeps none.

    Raises:
        ConfigError: `room` is no whole number of at least 0.
    """

    def __init__(self, room: int) -> None:
        self.room = whole(room, "queries kept", error=ConfigError)
        self._lock = Lock()
        # All below only with the lock held.
        self._vectors: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._hits = self._misses = 0

    def encode(self, encoder: Encoder, texts: Sequence[str]) -> Vectors:
        """The vectors of texts, `(n, d)`; only those not remembered are encoded, each once.

        Args:
            encoder: The passages'; its query side encodes.
            texts: n of them.

        Raises:
            InputError: The encoder gave something else than vectors.
        """
        encoder = query_side(encoder)
        if not self.room:
            return checked_vectors(encoder.encode(texts), texts, encoder)
        keys = [_key(encoder, text) for text in texts]
        out = np.zeros((len(texts), encoder.dim), dtype=np.float32)
        missing: dict[bytes, str] = {}
        with self._lock:
            for row, key in enumerate(keys):
                vector = self._vectors.get(key)
                if vector is None:
                    missing[key] = texts[row]
                else:
                    self._vectors.move_to_end(key)
                    out[row] = vector
            self._hits += len(keys) - len(missing)
            self._misses += len(missing)
        if not missing:
            return out
        new_texts = list(missing.values())
        # Before they are kept: what is no vector would be given again and again.
        vectors = checked_vectors(encoder.encode(new_texts), new_texts, encoder)
        new = dict(zip(missing, vectors, strict=True))
        for row, key in enumerate(keys):
            if key in new:
                out[row] = new[key]
        with self._lock:
            # Copies: a row would keep the whole batch in memory.
            self._vectors.update({key: vector.copy() for key, vector in new.items()})
            while len(self._vectors) > self.room:
                self._vectors.popitem(last=False)
        return out

    def forked(self) -> None:
        """Be a forked child's: no thread of its parent's has the lock there."""
        self._lock = Lock()

    def clear(self) -> None:
        """Forget every vector; what was counted stays."""
        with self._lock:
            self._vectors.clear()

    @property
    def stats(self) -> CacheStats:
        """What it has done so far."""
        with self._lock:
            return CacheStats(self._hits, self._misses, len(self._vectors), self.room)


class RememberingEncoder(WrappedEncoder):
    """An encoder with a cache before it; itself an `Encoder`, and equal to the one inside."""

    def __init__(self, encoder: Encoder, cache: QueryCache) -> None:
        super().__init__(encoder)
        self._cache = cache

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)`."""
        return self._cache.encode(self.inner, texts)


def _key(encoder: Encoder, text: str) -> bytes:
    named = f"{encoder.fingerprint}\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(named, digest_size=16).digest()
