"""Small deterministic parts for tests: ours, and those of people who build on the memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.testing.conformance import StoreConformance, failures
from hoptrail.memory.testing.protocol import Clock, PassageStore

__all__ = ["Clock", "HashEncoder", "PassageStore", "StoreConformance", "failures"]

_WORD = re.compile(r"\w+")


class HashEncoder:
    """A bag of hashed words, for tests only: instant, needs no weights, knows no language.

    Every word has a direction drawn from its hash; a text is their normalised sum, so that texts
    that share words are near. A memory never chooses it by itself.

    Args:
        dim: Width of a vector, at least 1.

    Raises:
        InputError: `dim` is below 1.
    """

    def __init__(self, dim: int = 32) -> None:
        if dim < 1:
            raise InputError(f"dim must be at least 1, got {dim}")
        self._dim = dim
        self._words: dict[str, NDArray[np.int64]] = {}
        self.texts_encoded = 0
        """How many texts were encoded so far: tests of caches look at it."""

    @property
    def fingerprint(self) -> str:
        """Names the width, which is all that sets two of them apart."""
        return f"hash-{self._dim}"

    @property
    def dim(self) -> int:
        """The width of a vector."""
        return self._dim

    def __repr__(self) -> str:
        return f"<HashEncoder {self._dim} dim>"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)` float32, L2-normalised.

        Args:
            texts: n of them.
        """
        out = np.zeros((len(texts), self._dim), dtype=np.float32)
        for row, text in enumerate(texts):
            # Whole numbers add up to the same sum in any order: equal bags, equal bits.
            total = sum(
                (self._word(w) for w in _WORD.findall(text.casefold())),
                np.zeros(self._dim, dtype=np.int64),
            )
            if not total.any():
                total = self._word("\0" + text)
            vector = total.astype(np.float64)
            out[row] = vector / np.linalg.norm(vector)
        self.texts_encoded += len(texts)
        return out

    def _word(self, word: str) -> NDArray[np.int64]:
        vector = self._words.get(word)
        if vector is None:
            digest = hashlib.shake_128(word.encode("utf-8", "surrogatepass")).digest(self._dim)
            vector = np.frombuffer(digest, dtype=np.uint8).astype(np.int64) * 2 - 255
            self._words[word] = vector
        return vector
