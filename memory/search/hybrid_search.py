"""One-hop search over a view: dense, sparse, or both fused into one ranking.

The default fusion is the sum of z-scores,

    hybrid(i) = z(dense_i) + z(sparse_i),  z(x) = (x - mean) / std over every living passage;

others are in `fusion`. The means and spreads are exact over the whole scope, not over what was
fetched: a passage's score then does not depend on how deep the search went, and the two sides weigh
the same in every query.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.index.slots import Floats, Scores, Slots
from hoptrail.memory.search.fusion import SUM, Fusion, FusionInputs, fused_scores
from hoptrail.memory.views.view import View

Mask = NDArray[np.bool_]

DEPTH = 100
"""Passages that each side brings to the union, at least."""

TOP = 10
"""Hits of each side that a query's features look at."""

LEAST_STD = 1e-5
"""A smaller spread is rounding, not a difference."""


def search(
    view: View,
    text: str,
    vector: Vectors | None,
    k: int,
    mode: str = "hybrid",
    *,
    rule: Fusion = SUM,
    depth: int = DEPTH,
    allowed: Mask | None = None,
) -> tuple[Scores, Slots]:
    """The best `k` living slots for a query: scores and slots, best first.

    A hybrid search ranks the union of both sides' best.

    Args:
        view: The scope.
        text: The query.
        vector: Its vector, `(d,)` L2-normalised; may be None when the mode is "sparse".
        k: How many.
        mode: "hybrid", "dense" or "sparse".
        rule: How a hybrid search makes one score of two.
        depth: How many each side brings to a hybrid search, if k is not more.
        allowed: `(capacity,)` the slots to look among; all by default. The means and spreads are
            the whole scope's all the same, so that a filter changes no passage's score.

    Returns:
        `(n,)` each; n is at most k.
    """
    if mode == "sparse":
        return view.sparse.search(text, k, allowed=allowed)
    assert vector is not None
    if mode == "dense":
        scores, slots = view.dense.search(vector[None], k, allowed=allowed)
        return scores[0], slots[0]
    pool, inputs = fusion_inputs(view, text, vector, depth=max(depth, k), allowed=allowed)
    # With no lock held: a rule may be the caller's own, and take its time.
    fused = fused_scores(rule, inputs)
    best = view.order(fused, pool)[:k]
    return fused[best].astype(np.float32), pool[best]


def fusion_inputs(
    view: View, text: str, vector: Vectors, *, depth: int = DEPTH, allowed: Mask | None = None
) -> tuple[Slots, FusionInputs]:
    """The union of both sides' best for a query, and what both say of it.

    Args:
        view: The scope; pinned, where others may write meanwhile.
        text: The query.
        vector: Its vector, `(d,)` L2-normalised.
        depth: How many each side brings.
        allowed: `(capacity,)` the slots to look among; all by default.

    Returns:
        The pool's slots `(m,)`, ascending, and what a fusion takes of them.
    """
    with view.lock:
        near, worded = both_best(view, text, vector, depth, allowed)
        pool = np.union1d(near, worded)
        dense, sparse = standardised(view, text, vector, pool)
        ranks = [_ranks(best, pool) for best in (near, worded)]
        features = partial(_features, view, text, [dense, sparse], ranks)
        return pool, FusionInputs(dense, sparse, ranks[0], ranks[1], features)


def _ranks(best: Slots, pool: Slots) -> Floats:
    """The ranks of a pool's sorted slots `(m,)` in a list of some of them, best first."""
    ranks = np.full(len(pool), np.inf)
    ranks[np.searchsorted(pool, best)] = np.arange(1, len(best) + 1)
    return ranks


def _features(view: View, text: str, scores: list[Floats], ranks: list[Floats]) -> Floats:
    """What `FEATURES` names of a query, from both sides' z-scores and ranks `(m,)`."""
    with view.lock:
        terms = view.sparse.terms(text)
        highest = max(np.log1p((view.size + 0.5) / 0.5), 1e-9)  # the idf of what no passage holds
        idfs = np.asarray([view.sparse.idf(term) for term in terms] or [0.0]) / highest
    values: list[float] = [np.log1p(len(terms)), idfs.mean(), idfs.max()]
    values.append(float((idfs > 1 - 1e-9).mean()))
    for side, rank in zip(scores, ranks, strict=True):
        top = np.sort(side[rank <= TOP])[::-1]
        values += [float(top[0]), float(top[0] - top[-1])] if len(top) else [0.0, 0.0]
    values.append(float(((ranks[0] <= TOP) & (ranks[1] <= TOP)).sum() / TOP))
    return np.asarray(values, dtype=np.float64)


def hybrid_scores(view: View, text: str, vector: Vectors, slots: Slots) -> Scores:
    """The default hybrid scores of some living slots, `(m,)`, whatever else is in a pool.

    Args:
        view: The scope.
        text: The query.
        vector: Its vector, `(d,)` L2-normalised.
        slots: `(m,)`.
    """
    with view.lock:
        dense, sparse = standardised(view, text, vector, slots)
        none = np.full(len(slots), np.inf)  # the sum looks at no rank
        features = partial(_features, view, text, [dense, sparse], [none, none])
        inputs = FusionInputs(dense, sparse, none, none, features)
        return fused_scores(SUM, inputs).astype(np.float32)


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
        view.sparse.query_scores(text)  # the moments need all of it: the search may use it too
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
