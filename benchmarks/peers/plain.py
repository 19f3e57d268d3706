"""Vectors by themselves, and bm25s with and without FAISS: what a program builds by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.peer import Index, Scored, SharedEncoder, reciprocal_rank, top
from hoptrail.types import Passage

POOL = 100
"""Hits of each ranking that a fusion sees."""


class VectorIndex:
    """A matrix, and one product for each question."""

    def __init__(self, passages: Sequence[Passage], encoder: SharedEncoder) -> None:
        self._ids = [passage.id for passage in passages]
        self._encoder = encoder
        self._vectors = encoder.passages([passage.content for passage in passages])

    def search(self, text: str, k: int) -> Scored:
        """The best k by cosine."""
        return top(self._vectors @ self._encoder.question(text), self._ids, k)

    def save(self, folder: Path) -> None:
        """The matrix and the ids."""
        np.save(folder / "vectors.npy", self._vectors)
        (folder / "ids.json").write_text(json.dumps(self._ids), encoding="utf-8")


class RawVectors:
    """What every ratio of times is to."""

    name = "raw vectors"
    requires: tuple[str, ...] = ()
    settings = "numpy, float32, exact"
    persists: str | None = None

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """A matrix of the passages' vectors."""
        return VectorIndex(passages, encoder)


class WordIndex:
    """bm25s as its documentation sets it up: stemmer, English stop words, Lucene's BM25."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        import bm25s
        import Stemmer

        self._bm25s = bm25s
        self._stemmer = Stemmer.Stemmer("english")
        self._ids = [passage.id for passage in passages]
        self._retriever = bm25s.BM25()
        texts = [passage.content for passage in passages]
        self._retriever.index(self._tokens(texts), show_progress=False)

    def _tokens(self, texts: list[str]) -> Any:
        return self._bm25s.tokenize(
            texts, stopwords="en", stemmer=self._stemmer, show_progress=False
        )

    def search(self, text: str, k: int) -> Scored:
        """The best k by words; those that share none are left out."""
        k = min(k, len(self._ids))
        rows, scores = self._retriever.retrieve(self._tokens([text]), k=k, show_progress=False)
        pairs = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return [(self._ids[row], score) for row, score in pairs if score > 0]

    def save(self, folder: Path) -> None:
        """By bm25s's own means, and the ids."""
        self._retriever.save(folder / "bm25s", show_progress=False)
        (folder / "ids.json").write_text(json.dumps(self._ids), encoding="utf-8")


class Bm25s:
    """Words alone."""

    name = "bm25s"
    requires = ("bm25s", "PyStemmer")
    settings = "Lucene's BM25 (k1 1.5, b 0.75), English stop words, Snowball stemmer"
    persists: str | None = "save() of the whole index"

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """An index of the passages' words."""
        return WordIndex(passages)


class WordsAndVectors:
    """Both rankings of a question, fused."""

    def __init__(self, passages: Sequence[Passage], encoder: SharedEncoder) -> None:
        import faiss

        self._faiss = faiss
        self._encoder = encoder
        self._words = WordIndex(passages)
        self._ids = [passage.id for passage in passages]
        self._index = faiss.IndexFlatIP(encoder.dim)
        self._index.add(encoder.passages([passage.content for passage in passages]))

    def search(self, text: str, k: int) -> Scored:
        """The best k by the sum of reciprocal ranks."""
        vector = self._encoder.question(text)[None]
        scores, rows = self._index.search(vector, min(POOL, len(self._ids)))
        pairs = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        dense = [(self._ids[row], score) for row, score in pairs if row >= 0]
        return reciprocal_rank([self._words.search(text, POOL), dense], k)

    def save(self, folder: Path) -> None:
        """By both libraries' own means."""
        self._words.save(folder)
        self._faiss.write_index(self._index, str(folder / "vectors.faiss"))


class Bm25sFaiss:
    """Words and vectors, fused by reciprocal rank."""

    name = "bm25s + FAISS"
    requires = ("bm25s", "PyStemmer", "faiss-cpu")
    settings = f"bm25s as above, IndexFlatIP, reciprocal rank fusion (60) of {POOL} hits each"
    persists: str | None = "save() and write_index() of the whole indexes"

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """Both indexes."""
        return WordsAndVectors(passages, encoder)
