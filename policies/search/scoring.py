"""How a candidate gets its score: every formula of a walk over texts, each a pure function.

Beam search adds up how probable it is that a passage is read next, over the prefixes s that it
expanded. This is the read mass (`add_read_mass`):

    read_mass(i) = Σ over s of π(s) · π(i | s)

Search has a say in what the policy is not sure of (`search_fit`, `blend_with_search`), where
p(i) = min(read_mass(i), 1), r are the passages read, h(i) is the hybrid score for the question in
standard deviations, and cos the cosine of the terms of two passages, weighted by idf:

    fit(i)   = h(i) + SIMILARITY_WEIGHT · Σ over r of p(r) · cos(r, i) / Σ over r of p(r)
    score(i) = read_mass(i) · exp(SEARCH_WEIGHT · (1 - p(i)) · (fit(i) - max fit))

It is search for the question, and for more like what was read for it, as in relevance feedback
(Rocchio 1971). Effort `thorough` then multiplies by a fit z(i) with what was read
(`rerank`; `hoptrail.policies.search.reranker` gives z), leaving the total as it was:

    score'(i) = score(i) · exp(weight · z(i)) · Σ score / Σ score · exp(weight · z)

Where a memory's passages differ much in length, as turns of a user and an assistant's pages do, the
policy and both kinds of search favour long ones, which touch on everything. The second step is then
another (`blend_by_length`), with l(i) the length in terms, over the candidates of the policy and of
the question's own rankings:

    score(i) = exp(Σ over f of LENGTH_WEIGHTS[f] · f(i)),  total as the read mass,
    f of log(read_mass(i) + FLOOR), sparse z(i), dense z(i), log(l(i) + 5)

A policy that learned a ranking from feedback (`hoptrail.policies.networks.feedback_ranking`) orders
the first passages anew in the end. Their scores stay the same numbers, each that of the place that
a passage has now (`reorder`), so that scores fall along every ranking.

A recall that explores ranks what it drew first instead of the second step (`rank_first`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Scores = dict[int, float]
"""By slot."""

SEARCH_WEIGHT = 0.3
"""What a standard deviation of the hybrid score counts in the log of a score that is near 0."""
SIMILARITY_WEIGHT = 10.0
"""How many of these deviations it is worth to have all terms in common with what was read."""


LENGTH_SPREAD = 1.0
"""Standard deviation of the logarithm of passages' lengths from which on they differ much: many a
passage is e times as long as many another. 0.5 on MuSiQue and HotpotQA, 0.4 on LoCoMo, 1.0 to 1.4
on conversations with an assistant."""
FEWEST_PASSAGES = 100
"""A memory of fewer has no such deviation to speak of."""
LENGTH_WEIGHTS = np.asarray([0.2, 0.4, 0.3, -0.85])
"""A conditional logit of the supporting passages among the candidates, on the 269 train questions
of `beam500k`, of which the policy has seen none: 0.19, 0.42, 0.30, -0.87."""
FLOOR = 1e-3
"""Read mass of what the policy did not think of."""


def add_read_mass(
    read_mass: Mapping[int, float],
    slots: NDArray[np.int64],
    log_prefix: float,
    log_read: NDArray[np.float64],
) -> Scores:
    """The read mass with that of one more prefix.

    Args:
        read_mass: Of the prefixes before, by slot.
        slots: `(m,)` the candidates of the prefix's state.
        log_prefix: log π(s).
        log_read: `(m,)` log π(i | s).
    """
    return _plus(read_mass, slots, np.exp(log_prefix + log_read))


def add_disagreement(
    disagreement: Mapping[int, float],
    slots: NDArray[np.int64],
    log_prefix: float,
    spread: NDArray[np.float64],
) -> Scores:
    """How far the networks disagree on the read mass, with what one more prefix adds.

    Args:
        disagreement: Of the prefixes before, by slot.
        slots: `(m,)` the candidates of the prefix's state.
        log_prefix: log π(s).
        spread: `(m,)` standard deviation of the networks' π(i | s).
    """
    return _plus(disagreement, slots, np.exp(log_prefix) * spread)


def _plus(total: Mapping[int, float], slots: NDArray[np.int64], mass: Reals) -> Scores:
    by_slot = dict(total)
    for slot, added in zip(slots.tolist(), mass.tolist(), strict=True):
        by_slot[slot] = by_slot.get(slot, 0.0) + added
    return by_slot


def search_fit(hybrid_z: Reals, term_cosines: NDArray[np.float32], read_mass: Reals) -> Reals:
    """How well candidates fit the question and what was read for it, `(n,)`.

    Args:
        hybrid_z: `(n,)` hybrid scores for the question, in standard deviations.
        term_cosines: `(r, n)` of the candidates with the passages read.
        read_mass: `(r,)` of the passages read.
    """
    weights = np.minimum(read_mass, 1)
    if not weights.sum() > 0:
        return hybrid_z
    fit: Reals = hybrid_z + SIMILARITY_WEIGHT * (weights @ term_cosines) / weights.sum()
    return fit


def blend_with_search(read_mass: Mapping[int, float], fit: Reals) -> Scores:
    """Scores from the read mass, and from search where the policy is not sure.

    Args:
        read_mass: By slot.
        fit: `(n,)` of the same candidates in the same order, from `search_fit`.
    """
    probability = np.minimum(np.asarray(list(read_mass.values())), 1)
    factors = np.exp(SEARCH_WEIGHT * (1 - probability) * (fit - fit.max(initial=-np.inf)))
    return {
        slot: mass * factor
        for (slot, mass), factor in zip(read_mass.items(), factors.tolist(), strict=True)
    }


def log_lengths(lengths: NDArray[np.int64]) -> Reals | None:
    """The logarithms of passages' lengths, `(n,)`; None where they do not differ much.

    Args:
        lengths: `(n,)` terms of all passages of a scope.
    """
    logarithms: Reals = np.log(lengths + 5.0)
    if len(logarithms) < FEWEST_PASSAGES or logarithms.std() < LENGTH_SPREAD:
        return None
    return logarithms


def blend_by_length(read_mass: Reals, sparse_z: Reals, dense_z: Reals, log_length: Reals) -> Reals:
    """Scores `(n,)` of candidates whose lengths differ much; their total is that of the read mass.

    Args:
        read_mass: `(n,)`, 0 of what the policy did not think of.
        sparse_z: `(n,)` BM25 for the question, in standard deviations.
        dense_z: `(n,)` cosines with it, in standard deviations.
        log_length: `(n,)` from `log_lengths`.
    """
    columns = np.stack([np.log(read_mass + FLOOR), sparse_z, dense_z, log_length])
    fit = LENGTH_WEIGHTS @ columns
    odds = np.exp(fit - fit.max(initial=-np.inf))
    scores: Reals = odds * (read_mass.sum() / max(odds.sum(), 1e-30))
    return scores


def rerank(scores: Mapping[int, float], slots: Sequence[int], z: Reals, weight: float) -> Scores:
    """Scores after reranking; their total stays.

    Args:
        scores: By slot.
        slots: The n candidates that were reranked, at least one. The others count as ones that
            fit as badly as the worst of these, and so stay behind them.
        z: `(n,)` their fit, in standard deviations.
        weight: How much it counts.
    """
    factors = np.exp(weight * z)
    by_slot, worst = dict(zip(slots, factors.tolist(), strict=True)), float(factors.min())
    reranked = {slot: score * by_slot.get(slot, worst) for slot, score in scores.items()}
    before, after = math.fsum(scores.values()), math.fsum(reranked.values())
    share = before / after if after else 1.0
    return {slot: score * share for slot, score in reranked.items()}


def rank_first(scores: Mapping[int, float], slots: Iterable[int]) -> Scores:
    """Scores that put some candidates before all others, in a given order.

    Args:
        scores: By slot.
        slots: Those that come first; one that is named again keeps its first place.
    """
    first = list(dict.fromkeys(slots))
    top = max(scores.values(), default=0.0)
    return {**scores, **{slot: top + len(first) - i for i, slot in enumerate(first)}}


def reorder(scores: Mapping[int, float], slots: Sequence[int]) -> Scores:
    """Scores that put some candidates in another order: each gets that of the place that it takes.

    Args:
        scores: By slot.
        slots: Some of them, in their new order.
    """
    places = sorted((scores[slot] for slot in slots), reverse=True)
    return {**scores, **dict(zip(slots, places, strict=True))}


def round_score(score: float) -> float:
    """The score to five digits: beyond them, it depends on the order of a network's sums.

    Args:
        score: At least 0.
    """
    return float(f"{score:.4e}")
