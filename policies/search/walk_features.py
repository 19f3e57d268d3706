"""What a walk says of how sure it may be: of each passage of its ranking, and of each prefix.

Nothing here depends on the width or the axes of the encoder's vectors. How large the memory is
counts by itself, and z-scores are taken relative to √(2 ln n), where the best of n passages lies by
chance alone. `hoptrail.policies.networks.score_calibration` names the features, and makes
probabilities of them. `hoptrail.policies.networks.feedback_ranking` names those that a ranking
learned from feedback weighs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.policies.environment.candidates import CandidatePool
from hoptrail.policies.environment.terms import Incidence
from hoptrail.policies.networks.feedback_ranking import RANKING_FEATURES
from hoptrail.policies.networks.score_calibration import (
    PASSAGE_FEATURES,
    PREFIX_FEATURES,
    WalkFeatures,
)
from hoptrail.policies.search.beam import Episode
from hoptrail.policies.search.scoring import Reals, Scores

DEPTH = 50
"""Passages of a ranking that are looked at, at least, however few are returned: what is not among
the first k has its share in whether they suffice."""
NO_MASS = 1e-3
"""Read mass below which it makes no difference."""
FEW_MASS = 1e-2
"""Read mass below which networks cannot be said to disagree."""
NO_QUERY = -5.0
"""The z-score of a passage that every query of the walk had read already."""


def walk_features(episode: Episode, slots: Sequence[int], scores: Scores) -> WalkFeatures:
    """The features of what a walk ranked.

    Args:
        episode: A walk that is over.
        slots: Its ranking, at least `DEPTH` of it where the scope holds as many.
        scores: By slot; what is missing scores 0.
    """
    pool, count = episode.pool, len(slots)
    mass = np.asarray([episode.read_mass.get(slot, 0.0) for slot in slots])
    spread = np.asarray([episode.disagreement.get(slot, 0.0) for slot in slots])
    added = _question_terms(pool, slots)
    chance = math.sqrt(2 * math.log(max(pool.scope.view.size, 2)))
    first, best = _query_z(pool, slots)
    uncovered = 1 - added[:DEPTH].sum() if len(pool.terms) else 0.0
    values = (
        _log(mass),
        _log(np.asarray([scores.get(slot, 0.0) for slot in slots])),
        spread / (mass + FEW_MASS),
        best - chance,
        added,
        np.full(count, uncovered),
        np.full(count, first[:DEPTH].max(initial=NO_QUERY) - chance),
        np.full(count, math.log(max(_candidates_allowed(pool), 1))),
    )
    of_prefixes = _log(_stopped(episode, slots)), np.cumsum(added)
    return WalkFeatures(
        dict(zip(PASSAGE_FEATURES, values, strict=True)),
        dict(zip(PREFIX_FEATURES, of_prefixes, strict=True)),
    )


def ranking_features(episode: Episode, slots: Sequence[int], scores: Scores) -> dict[str, Reals]:
    """What a ranking learned from feedback may weigh, by the names of `RANKING_FEATURES`, `(n,)`.

    Args:
        episode: A walk that is over.
        slots: The first n of its ranking, as it is without one.
        scores: By slot; what is missing scores 0.
    """
    pool, mass, at = episode.pool, episode.read_mass, np.asarray(slots, dtype=np.int64)
    first, best = _query_z(pool, slots)
    sparse, dense, _ = pool.z_scores(slots)
    values = (
        _log(np.asarray([mass.get(slot, 0.0) for slot in slots])),
        _log(np.asarray([scores.get(slot, 0.0) for slot in slots])),
        best,
        _question_terms(pool, slots),
        sparse.astype(np.float64),
        dense.astype(np.float64),
        first,
        _log(np.asarray([_mass_beside(episode, slot) for slot in slots])),
        np.log(pool.scope.view.sparse.lengths(at) + 1.0),
        np.log1p(np.arange(len(at))),
    )
    return dict(zip(RANKING_FEATURES, values, strict=True))


def _mass_beside(episode: Episode, slot: int) -> float:
    """The greatest read mass of a passage that a link, or a step of a sequence, joins to one."""
    graph, mass = episode.pool.scope.graph, episode.read_mass
    linked = (*graph.links(slot), *graph.back_links(slot))
    return max((mass.get(other, 0.0) for other, _, _ in linked), default=0.0)


def _candidates_allowed(pool: CandidatePool) -> int:
    """How many passages could have been read."""
    return pool.scope.view.size if pool.allowed is None else int(pool.allowed.sum())


def _log(shares: Reals) -> Reals:
    logarithms: Reals = np.log(np.clip(shares, 0, 1) + NO_MASS)
    return logarithms


def _question_terms(pool: CandidatePool, slots: Sequence[int]) -> Reals:
    """The share of the question's idf that each adds to those before it, `(n,)`."""
    lexicon = pool.scope.lexicon
    idf = lexicon.idf()[pool.terms].astype(np.float64)
    if not len(idf):
        return np.zeros(len(slots))
    holds = Incidence.of([passage.terms for passage in lexicon.passage_terms(list(slots))])
    at = np.minimum(np.searchsorted(pool.terms, holds.items), len(idf) - 1)
    in_question = pool.terms[at] == holds.items
    # Pairs lie by passage: of each term the first is by the passage that holds it first.
    terms, first = np.unique(at[in_question], return_index=True)
    by = holds.rows[in_question][first]
    added = np.bincount(by, weights=idf[terms], minlength=len(slots))
    return added / max(float(idf.sum()), 1e-9)


def _query_z(pool: CandidatePool, slots: Sequence[int]) -> tuple[Reals, Reals]:
    """Cosines with the first query, and with the best of all queries asked, in deviations.

    A query that was made of a passage lies near to it, whatever was asked: it does not count there.
    """
    at = np.asarray(slots, dtype=np.int64)
    first, best = np.zeros(len(at)), np.full(len(at), NO_QUERY)
    vectors = [query.vector for query in pool.queries.values()]
    all_cosines = pool.scope.view.dense.cosines_of(vectors, at)
    for (evidence, query), cosines in zip(pool.queries.items(), all_cosines, strict=True):
        z = (cosines.astype(np.float64) - query.mean) / max(query.spread, 1e-9)
        own: NDArray[np.bool_] = np.isin(at, list(evidence))
        best = np.where(own, best, np.maximum(best, z))
        if not evidence:
            first = z
    return first, best


def _stopped(episode: Episode, slots: Sequence[int]) -> Reals:
    """The probability that a walk reads nothing but the first so many and then stops, `(n,)`."""
    place = {slot: rank for rank, slot in enumerate(slots)}
    ends = np.zeros(len(slots) + 1)
    for terminal in episode.terminals:
        last = max((place.get(slot, len(slots)) for slot in terminal.prefix.evidence), default=0)
        ends[last] += math.exp(terminal.log_prob)
    stopped: Reals = np.cumsum(ends[:-1])
    return stopped
