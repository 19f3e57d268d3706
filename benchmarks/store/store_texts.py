"""Texts and vectors of any number, by seed: what the store's benchmarks run on beyond real data.

Words are drawn by Zipf's law, p(r) = c / (r + 30)^1.07 over 200,000 made-up words: as in English
without its stop words, the commonest word stands in a quarter of the passages and most words in
few. A passage's vector is the mean of fixed random vectors of its words, so that passages that
share words are near each other, as they are to a real encoder.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.types import Passage

WORDS = 200_000
LENGTH = 60
"""Words of a passage, on average; a quarter of that is the spread."""
ASKED = 8
"""Words of a query."""


def vocabulary() -> list[str]:
    """Made-up words, the commonest first, all different."""
    syllables = [a + b for a, b in itertools.product("bdfgklmnprstvz", "aeiou")]
    spellings = itertools.chain(
        itertools.product(syllables, repeat=2), itertools.product(syllables, repeat=3)
    )
    return ["".join(parts) for parts in itertools.islice(spellings, WORDS)]


class Texts:
    """A stream of passages and queries that a seed decides."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._words = np.array(vocabulary(), dtype=object)
        weight = 1.0 / (np.arange(WORDS) + 30.0) ** 1.07
        self._upto = np.cumsum(weight / weight.sum())

    def texts(self, count: int) -> list[str]:
        """Texts of passages."""
        sizes = self._rng.normal(LENGTH, LENGTH / 4, count).clip(10, 4 * LENGTH).astype(int)
        words = self._draw(int(sizes.sum()))
        ends = np.cumsum(sizes).tolist()
        return [" ".join(words[e - n : e]) for e, n in zip(ends, sizes.tolist(), strict=True)]

    def passages(self, count: int, first: int = 0, titled: bool = False) -> Iterator[Passage]:
        """Passages with ids from `first` on."""
        for i, text in enumerate(self.texts(count), first):
            title = " ".join(text.split(" ", 3)[:2]).title() if titled else None
            yield Passage(id=f"p{i}", text=text, title=title)

    def queries(self, count: int) -> list[str]:
        """Words as common as those of the passages."""
        words = self._draw(count * ASKED)
        return [" ".join(words[i : i + ASKED]) for i in range(0, len(words), ASKED)]

    def _draw(self, count: int) -> list[str]:
        ranks = np.searchsorted(self._upto, self._rng.random(count))
        drawn: list[str] = self._words[np.minimum(ranks, WORDS - 1)].tolist()
        return drawn


class WordVectors:
    """An encoder that costs next to nothing: the mean of its words' random vectors."""

    def __init__(self, dim: int = 384, seed: int = 0) -> None:
        self.dim = dim
        self.fingerprint = f"word-vectors-{dim}-{seed}"
        rng = np.random.default_rng(seed)
        self._vectors = rng.standard_normal((WORDS, dim), dtype=np.float32)
        self._number = {word: i for i, word in enumerate(vocabulary())}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`(n, dim)` float32, L2-normalised."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            rows = [i for word in text.lower().split() if (i := self._number.get(word)) is not None]
            row[:] = self._vectors[rows].sum(0) if rows else 1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
