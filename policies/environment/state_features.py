"""What the evidence says of a candidate, and what is the same for all candidates of a state.

One function for each `EvidenceFeature` and each `StateFeature`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hoptrail.policies.environment.candidates import StateQuery
from hoptrail.policies.environment.feature_inputs import EPSILON
from hoptrail.policies.environment.feature_names import (
    Array,
    EvidenceFeature,
    FeatureFunctions,
    PairFeature,
    StateFeature,
)


@dataclass(frozen=True)
class StateContext:
    """What the features of one state with m candidates are computed from.

    The evidence is e passages, the question has t terms.
    """

    query: StateQuery
    """What is asked for next."""
    query_cosines: Array
    """`(m,)`: of the candidates with it."""
    evidence: tuple[int, ...]
    """Slots, in whatever order."""
    named: frozenset[int]
    """Slots of the passages that the question names."""
    idf: Array
    """`(t,)` of the question's terms."""
    covered_by_evidence: Array
    """`(t,)`: 1 where a passage of the evidence holds the term."""
    covered: Array
    """`(m, t)`: 1 where the candidate does."""
    is_evidence: NDArray[np.bool_]
    """`(m,)`."""
    pairs: Array
    """`(e, m, len(PairFeature))`: the candidates beside each passage of the evidence."""
    largest: Array
    """`(m, len(PairFeature))`: the largest of these over the evidence; 0 without any."""

    @cached_property
    def total_idf(self) -> float:
        """Of the question."""
        return float(self.idf.sum()) + EPSILON

    @cached_property
    def open_idf(self) -> Array:
        """`(t,)`: the idf of what the evidence does not hold, 0 for what it does."""
        left_open: Array = (1.0 - self.covered_by_evidence) * self.idf
        return left_open

    @cached_property
    def total_open_idf(self) -> float:
        """Of the question."""
        return float(self.open_idf.sum())

    @cached_property
    def added_idf(self) -> Array:
        """What each candidate covers of it, `(m,)`."""
        sums: Array = (self.covered * self.open_idf).sum(1)
        return sums

    @cached_property
    def query_z(self) -> Array:
        """Their cosines with the query in standard deviations over the scope, `(m,)`."""
        z: Array = (self.query_cosines - self.query.mean) / (self.query.spread + EPSILON)
        return z

    @cached_property
    def open_query_z(self) -> Array:
        """Those of what was not read, the best first."""
        descending: Array = -np.sort(-self.query_z[~self.is_evidence])
        return descending

    @cached_property
    def read_query_ranks(self) -> NDArray[np.float64]:
        """Log-ranks for the query that each passage of the evidence leads to, `(e, m)`."""
        return log_ranks(self.pairs[..., PairFeature.QUERY_Z])


def log_ranks(scores: Array) -> NDArray[np.float64]:
    """The logarithm of 1 + the rank of each column within its row, `(r, m)`.

    Args:
        scores: `(r, m)`; the best has rank 0, and of equals the first.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty_like(order)
    ranks[np.arange(len(scores))[:, None], order] = np.arange(scores.shape[1])
    logarithms: NDArray[np.float64] = np.log1p(ranks)
    return logarithms


EVIDENCE_FEATURES = FeatureFunctions[EvidenceFeature, StateContext](EvidenceFeature)
STATE_FEATURES = FeatureFunctions[StateFeature, StateContext](StateFeature)


def evidence_features(context: StateContext) -> Array:
    """What the evidence says of each candidate, `(m, len(EvidenceFeature))`.

    Args:
        context: The state.
    """
    return EVIDENCE_FEATURES.matrix(context, context.is_evidence.shape)


def state_features(context: StateContext) -> Array:
    """What is the same for all candidates, `(len(StateFeature),)`.

    Args:
        context: The state.
    """
    return STATE_FEATURES.matrix(context, ())


@EVIDENCE_FEATURES.computes(EvidenceFeature.IS_EVIDENCE)
def is_evidence(context: StateContext) -> NDArray[np.bool_]:
    """Whether it was read."""
    return context.is_evidence


@EVIDENCE_FEATURES.computes(EvidenceFeature.NEW_IDF_SHARE)
def new_idf_share(context: StateContext) -> Array:
    """Share of the question's idf that it would add."""
    return context.added_idf / context.total_idf


@EVIDENCE_FEATURES.computes(EvidenceFeature.OPEN_IDF_SHARE)
def open_idf_share(context: StateContext) -> Array:
    """Share of what is open that it would add."""
    return context.added_idf / (context.total_open_idf + EPSILON)


@EVIDENCE_FEATURES.computes(EvidenceFeature.NEXT_QUERY_Z)
def next_query_z(context: StateContext) -> Array:
    """Cosine with the state's query, in standard deviations over the scope."""
    return context.query_z


@EVIDENCE_FEATURES.computes(EvidenceFeature.NEXT_QUERY_COSINE)
def next_query_cosine(context: StateContext) -> Array:
    """Cosine with the state's query."""
    return context.query_cosines


@EVIDENCE_FEATURES.computes(EvidenceFeature.NEXT_QUERY_RANK)
def next_query_rank(context: StateContext) -> NDArray[np.float64]:
    """The log-rank for the state's query."""
    ranks: NDArray[np.float64] = log_ranks(context.query_z.round(4)[None])[0]
    return ranks


@EVIDENCE_FEATURES.computes(EvidenceFeature.BEST_QUERY_RANK)
def best_query_rank(context: StateContext) -> NDArray[np.float64]:
    """The best log-rank for a query that one passage read leads to; 0 where nothing was read."""
    if not context.evidence:
        return np.zeros(context.is_evidence.shape)
    ranks: NDArray[np.float64] = context.read_query_ranks.min(0)
    return ranks


@STATE_FEATURES.computes(StateFeature.NOTHING_READ)
def nothing_read(context: StateContext) -> bool:
    """Whether the walk begins."""
    return not context.evidence


@STATE_FEATURES.computes(StateFeature.READS)
def reads(context: StateContext) -> int:
    """Passages of the evidence."""
    return len(context.evidence)


@STATE_FEATURES.computes(StateFeature.OPEN_IDF)
def open_idf(context: StateContext) -> float:
    """Share of the question's idf that no passage read holds."""
    return context.total_open_idf / context.total_idf


@STATE_FEATURES.computes(StateFeature.QUESTION_TERMS)
def question_terms(context: StateContext) -> int:
    """Different terms of the question."""
    return len(context.idf)


@STATE_FEATURES.computes(StateFeature.NAMED)
def named(context: StateContext) -> int:
    """Passages that the question names."""
    return len(context.named)


@STATE_FEATURES.computes(StateFeature.NAMED_UNREAD)
def named_unread(context: StateContext) -> int:
    """Those of them that are not read."""
    return len(context.named.difference(context.evidence))


@STATE_FEATURES.computes(StateFeature.BEST_QUERY_Z)
def best_query_z(context: StateContext) -> np.float32:
    """The best (scaled) z-score for a query that one passage read leads to, at least 0."""
    best: np.float32 = context.largest[:, PairFeature.QUERY_Z].max(initial=0.0)
    return best


@STATE_FEATURES.computes(StateFeature.BEST_NEXT_QUERY_Z)
def best_next_query_z(context: StateContext) -> float:
    """The best z-score of what was not read for the state's query; 0 where all was read."""
    return float(context.open_query_z[0]) if len(context.open_query_z) else 0.0


@STATE_FEATURES.computes(StateFeature.NEXT_QUERY_MARGIN)
def next_query_margin(context: StateContext) -> float:
    """How far it lies above the fifth, or above the last of fewer."""
    best = context.open_query_z[:5]
    return float(best[0] - best[-1]) if len(best) else 0.0


@STATE_FEATURES.computes(StateFeature.MENTIONED_CANDIDATES)
def mentioned_candidates(context: StateContext) -> np.float32:
    """How many candidates the evidence names."""
    count: np.float32 = context.largest[:, PairFeature.IS_MENTIONED].sum()
    return count
