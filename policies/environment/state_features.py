"""What the evidence says of a candidate, and what is the same for all candidates of a state.

One function for each `EvidenceFeature` and each `StateFeature`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

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

    evidence: tuple[int, ...]
    """Slots, in the order read."""
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
    def query_ranks(self) -> NDArray[np.float64]:
        """The logarithm of 1 + each candidate's rank for each rewritten query, `(e, m)`."""
        scores = self.pairs[..., PairFeature.QUERY_Z]
        order = np.argsort(-scores, axis=1, kind="stable")
        ranks = np.empty_like(order)
        ranks[np.arange(len(scores))[:, None], order] = np.arange(scores.shape[1])
        log_ranks: NDArray[np.float64] = np.log1p(ranks)
        return log_ranks


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


@EVIDENCE_FEATURES.computes(EvidenceFeature.BEST_QUERY_RANK)
def best_query_rank(context: StateContext) -> NDArray[np.float64]:
    """The best log-rank for any rewritten query; 0 where there is none."""
    if not context.evidence:
        return np.zeros(context.is_evidence.shape)
    ranks: NDArray[np.float64] = context.query_ranks.min(0)
    return ranks


@EVIDENCE_FEATURES.computes(EvidenceFeature.LAST_QUERY_RANK)
def last_query_rank(context: StateContext) -> NDArray[np.float64]:
    """The log-rank for the last rewritten query; 0 where there is none."""
    if not context.evidence:
        return np.zeros(context.is_evidence.shape)
    ranks: NDArray[np.float64] = context.query_ranks[-1]
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
    """The best (scaled) z-score of any candidate for any rewritten query, at least 0."""
    best: np.float32 = context.largest[:, PairFeature.QUERY_Z].max(initial=0.0)
    return best


@STATE_FEATURES.computes(StateFeature.MENTIONED_CANDIDATES)
def mentioned_candidates(context: StateContext) -> np.float32:
    """How many candidates the evidence names."""
    count: np.float32 = context.largest[:, PairFeature.IS_MENTIONED].sum()
    return count
