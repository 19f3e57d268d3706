"""One ranking out of two: by meaning and by words.

hybrid(i) = z(dense_i) + z(sparse_i),  z(x) = (x - mean) / std over every living passage.

The means and spreads are exact over the whole scope, not over what was fetched: a passage's score
then does not depend on how deep the search went, and the two sides weigh the same in every query.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.index.slots import DECIMALS, Scores, Slots
from hoptrail.memory.views.view import View

Mask = NDArray[np.bool_]

DEPTH = 100
"""Passages that each side brings to the union, at least."""

LEAST_STD = 1e-5
"""A smaller spread is rounding, not a difference."""


def search(
    view: View,
    text: str,
    vector: Vectors | None,
    k: int,
    mode: str,
    *,
    allowed: Mask | None = None,
) -> tuple[Scores, Slots]:
    """The best `k` living slots for a query: scores and slots, best first.

    Args:
        view: The scope.
        text: The query.
        vector: Its vector `(d,)`; may be None when the mode is "sparse".
        k: How many.
        mode: "hybrid", "dense" or "sparse".
        allowed: `(capacity,)` the slots to look among; all by default.
    """
    if mode == "sparse":
        return view.sparse.search(text, k, allowed=allowed)
    assert vector is not None
    if mode == "dense":
        scores, slots = view.dense.search(vector[None], k, allowed=allowed)
        return scores[0], slots[0]
    return hybrid(view, text, vector, k, allowed=allowed)


def hybrid(
    view: View,
    text: str,
    vector: Vectors,
    k: int,
    *,
    depth: int = DEPTH,
    allowed: Mask | None = None,
) -> tuple[Scores, Slots]:
    """The best `k` slots of the union of both sides' best, by the sum of their z-scores.

    Args:
        view: The scope.
        text: The query.
        vector: Its vector, `(d,)` L2-normalised.
        k: How many.
        depth: How many each side brings, if k is not more.
        allowed: `(capacity,)` the slots to look among; all by default. The means and spreads are
            the whole scope's all the same, so that a filter changes no passage's score.
    """
    with view.lock:
        near, worded = both_best(view, text, vector, max(depth, k), allowed)
        pool = np.union1d(near, worded)
        scores = hybrid_scores(view, text, vector, pool)
        best = view.order(scores, pool)[:k]
        return scores[best], pool[best]


def hybrid_scores(view: View, text: str, vector: Vectors, slots: Slots) -> Scores:
    """The hybrid scores of some living slots, `(m,)`, exact whatever else is in the pool.

    Args:
        view: The scope.
        text: The query.
        vector: Its vector, `(d,)` L2-normalised.
        slots: `(m,)`.
    """
    with view.lock:
        dense, sparse = standardised(view, text, vector, slots)
        return (dense + sparse).round(DECIMALS).astype(np.float32)


def both_best(
    view: View, text: str, vector: Vectors, depth: int, allowed: Mask | None = None
) -> tuple[Slots, Slots]:
    """The best `depth` living slots by meaning and by words, each best first.

    Args:
        view: The scope.
        text: The query.
        vector: Its vector, `(d,)` L2-normalised.
        depth: How many each side brings.
        allowed: `(capacity,)` the slots to look among; all by default.
    """
    with view.lock:
        view.sparse.matched(text)  # the moments need all of it: the search may use it too
        _, near = view.dense.search(vector[None], depth, allowed=allowed)
        _, worded = view.sparse.search(text, depth, allowed=allowed)
        return near[0], worded


def standardised(
    view: View, text: str, vector: Vectors, slots: Slots
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The z-scores of some living slots, `(m,)` by meaning and by words, over the whole scope.

    Args:
        view: The scope.
        text: The query.
        vector: Its vector, `(d,)` L2-normalised.
        slots: `(m,)`.
    """
    with view.lock:
        means, stds = view.dense.moments(vector[None])
        dense = view.dense.scores_of(vector[None], slots)[0]
        words = view.sparse.scores_of(text, slots)
        return (
            standard(dense, float(means[0]), float(stds[0])),
            standard(words, *view.sparse.moments(text)),
        )


def standard(scores: Scores, mean: float, std: float) -> NDArray[np.float64]:
    """z-scores; zeros where nothing differs from the mean.

    Args:
        scores: `(m,)`.
        mean: Over the whole scope.
        std: Likewise, at least 0.
    """
    if std < LEAST_STD:
        return np.zeros(len(scores))
    return (scores.astype(np.float64) - mean) / std
