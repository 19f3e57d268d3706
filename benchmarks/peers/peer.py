"""What every peer is to this comparison, and the encoder that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from hoptrail.evaluation.benchmark import Ranking
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_side import for_questions
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.types import Namespace, Passage, Question

Scored = list[tuple[str, float]]
"""Ids of passages with their scores, best first."""


class SharedEncoder:
    """The one encoder of a comparison, in the forms in which its systems ask for it.

    Vectors of passages come from the disk's cache where it has them, so that no peer's time to
    index holds an encoder's; questions are encoded anew each time, by the encoder's export to
    ONNX Runtime where there is one, as hoptrail's own recalls do it.

    Args:
        encoder: Of passages; its query side is derived from it.
        folder: Where vectors are cached; the usual place by default.
    """

    def __init__(self, encoder: Encoder, folder: Path | None = None) -> None:
        self.inner = encoder
        self.cached = CachedEncoder(encoder, folder)
        self.questions = for_questions(encoder)
        self.phrases = CachedEncoder(self.questions, folder)
        """For names and sentences, of which a corpus has many times as many as passages."""

    @property
    def dim(self) -> int:
        """The width of a vector."""
        return self.inner.dim

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(n, d)` of passages; that of a long one is the mean over its windows."""
        return self.cached.encode(texts)

    def question(self, text: str) -> Vectors:
        """The vector `(d,)` of a question, encoded now."""
        return self.questions.encode([text])[0]

    def lists(self, texts: Sequence[str]) -> list[list[float]]:
        """Vectors of passages as lists of floats, as frameworks want them."""
        return [vector.tolist() for vector in self.passages(texts)]


class Index(Protocol):
    """One peer's index over the passages of one namespace."""

    def search(self, text: str, k: int) -> Scored:
        """The best k passages for a question."""

    def save(self, folder: Path) -> None:
        """Write what has to lie on disk to search again, by the peer's own means."""


class Peer(Protocol):
    """A system to compare with.

    `requires` are distributions without which it is skipped, `settings` what it was set to, and
    `persists` how it keeps what was written, or None where it does not.
    """

    name: str
    requires: tuple[str, ...]
    settings: str
    persists: str | None

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """Index passages of one namespace.

        Args:
            passages: In the order of their corpus.
            encoder: Makes all vectors.
            folder: An empty one, for what lies on disk from the start.
        """


class PeerRetriever:
    """A peer with an index for each namespace, as `hoptrail.evaluation.benchmark.run` asks it.

    Args:
        name: Of the peer.
        indexes: By namespace.
    """

    def __init__(self, name: str, indexes: Mapping[Namespace, Index]) -> None:
        self.name = name
        self._indexes = indexes

    def rank(self, question: Question, k: int) -> Ranking:
        """The peer's ranking; where it gives less than k, it is shorter."""
        best: dict[str, float] = {}
        for id_, score in self._indexes[question.namespace].search(question.text, k):
            best.setdefault(id_, float(score))
        return Ranking(tuple(best), tuple(best.values()))


def top(scores: Vectors, ids: Sequence[str], k: int) -> Scored:
    """The k highest scores with their ids, best first.

    Args:
        scores: One for each id.
        ids: Of passages.
        k: How many.
    """
    k = min(k, len(ids))
    if not k:
        return []
    rows = np.argpartition(-scores, k - 1)[:k]
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return [(ids[row], float(scores[row])) for row in rows]


def reciprocal_rank(rankings: Sequence[Scored], k: int, constant: int = 60) -> Scored:
    """Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).

    Args:
        rankings: Best first.
        k: How many to give.
        constant: Of the formula, the paper's by default.
    """
    sums: dict[str, float] = {}
    for ranking in rankings:
        for rank, (id_, _) in enumerate(ranking, start=1):
            sums[id_] = sums.get(id_, 0.0) + 1.0 / (constant + rank)
    return sorted(sums.items(), key=lambda pair: -pair[1])[:k]
