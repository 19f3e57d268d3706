"""What the question alone says of a candidate: one function for each `CandidateFeature`.

A value depends on its passage and the question, never on what else is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hoptrail.policies.environment.candidates import RANKING_DEPTH, CandidatePool
from hoptrail.policies.environment.feature_inputs import (
    EPSILON,
    CandidateRows,
    Reals,
    TermLookup,
    indicators,
)
from hoptrail.policies.environment.feature_names import Array, CandidateFeature, FeatureFunctions
from hoptrail.policies.environment.terms import Incidence, PassageTerms

UNRANKED = RANKING_DEPTH + 50
"""The rank of what a ranking does not hold: well behind the last that it holds."""
UNVISITED = 1e-3
"""Share of the best candidate's visits below which it makes no difference."""
USUAL_LOG_LENGTH = 4.0
"""The logarithm of the length that counts as 0: of about 50 terms."""


class QuestionContext:
    """What is the same for all candidates of one question.

    Args:
        pool: The question's.
    """

    def __init__(self, pool: CandidatePool) -> None:
        self.pool = pool
        self.lookup = TermLookup(pool.scope.lexicon)
        rankings = [{slot: i for i, slot in enumerate(ranking)} for ranking in pool.rankings]
        self.hybrid_ranks, self.dense_ranks, self.sparse_ranks = rankings
        self.pagerank_ranks = {slot: i for i, slot in enumerate(pool.pagerank_ranking)}

    def covered(self, holds: Incidence) -> Array:
        """Which of n passages holds which of the question's t terms, `(n, t)` of 0 and 1.

        Args:
            holds: The passages' terms.
        """
        terms = self.pool.terms
        places = self.lookup.places(terms, holds.items)
        return indicators(holds, places, len(terms)).astype(np.float32)


@dataclass(frozen=True)
class CandidateInputs:
    """What the features of n candidates are computed from."""

    question: QuestionContext
    rows: CandidateRows
    passages: Sequence[PassageTerms]
    """What the lexicon knows of each, in the order of `rows`."""
    covered: Array
    """`(n, t)`: 1 where a candidate holds a term of the question."""

    @property
    def pool(self) -> CandidatePool:
        """The question's."""
        return self.question.pool

    @cached_property
    def z_scores(self) -> tuple[Array, Array, Array]:
        """Sparse and dense z-scores, and cosines, `(n,)` each."""
        return self.pool.z_scores(self.rows.slots)

    @cached_property
    def hybrid_z(self) -> Array:
        """Sparse and dense z-scores together, `(n,)`."""
        sparse, dense, _ = self.z_scores
        return sparse + dense

    @cached_property
    def first_cosines(self) -> Array:
        """With the first query, `(n,)`."""
        slots = np.asarray(self.rows.slots, dtype=np.int64)
        return self.pool.scope.view.dense.cosines(self.pool.query(()).vector, slots)

    @cached_property
    def idf(self) -> Array:
        """By term."""
        return self.pool.scope.lexicon.idf()

    @cached_property
    def question_idf(self) -> Array:
        """Of each of the question's terms, `(t,)`."""
        return self.idf[self.pool.terms]

    @cached_property
    def total_idf(self) -> float:
        """Of the question."""
        return float(self.question_idf.sum()) + EPSILON

    @cached_property
    def title_matches(self) -> NDArray[np.bool_]:
        """For each pair of `rows.titles` whether the question holds the term."""
        return self.question.lookup.places(self.pool.terms, self.rows.titles.items) >= 0

    @cached_property
    def title_shared_idf(self) -> Reals:
        """Idf of the terms that a title shares with the question, `(n,)`."""
        titles = self.rows.titles
        return titles.sums(self.idf[titles.items] * self.title_matches)

    def log_ranks(self, ranks: Mapping[int, int]) -> Reals:
        """The logarithm of 1 + the rank of each candidate, `(n,)`.

        Args:
            ranks: By slot, from 0.
        """
        log_ranks: Reals = np.log1p([ranks.get(slot, UNRANKED) for slot in self.rows.slots])
        return log_ranks


CANDIDATE_FEATURES = FeatureFunctions[CandidateFeature, CandidateInputs](CandidateFeature)
_computes = CANDIDATE_FEATURES.computes


def candidate_features(inputs: CandidateInputs) -> Array:
    """The features of n candidates, `(n, len(CandidateFeature))`.

    Args:
        inputs: The candidates and the question.
    """
    return CANDIDATE_FEATURES.matrix(inputs, (len(inputs.rows.slots),))


@_computes(CandidateFeature.SPARSE_Z)
def sparse_z(inputs: CandidateInputs) -> Array:
    """BM25 in standard deviations over the scope."""
    return inputs.z_scores[0]


@_computes(CandidateFeature.DENSE_Z)
def dense_z(inputs: CandidateInputs) -> Array:
    """Cosine in standard deviations over the scope."""
    return inputs.z_scores[1]


@_computes(CandidateFeature.HYBRID_Z)
def hybrid_z(inputs: CandidateInputs) -> Array:
    """The sum of both."""
    return inputs.hybrid_z


@_computes(CandidateFeature.COSINE)
def cosine(inputs: CandidateInputs) -> Array:
    """With the question."""
    return inputs.z_scores[2]


@_computes(CandidateFeature.SPARSE_SHARE)
def sparse_share(inputs: CandidateInputs) -> NDArray[np.floating]:
    """BM25 as a share of the best in the scope."""
    return inputs.pool.sparse_scores[inputs.rows.slots] / (inputs.pool.best_sparse + EPSILON)


@_computes(CandidateFeature.HYBRID_RANK)
def hybrid_rank(inputs: CandidateInputs) -> Reals:
    """Log-rank by the fusion of both scores."""
    return inputs.log_ranks(inputs.question.hybrid_ranks)


@_computes(CandidateFeature.DENSE_RANK)
def dense_rank(inputs: CandidateInputs) -> Reals:
    """Log-rank by cosine."""
    return inputs.log_ranks(inputs.question.dense_ranks)


@_computes(CandidateFeature.SPARSE_RANK)
def sparse_rank(inputs: CandidateInputs) -> Reals:
    """Log-rank by BM25."""
    return inputs.log_ranks(inputs.question.sparse_ranks)


@_computes(CandidateFeature.TITLE_WORDS_NAMED)
def title_words_named(inputs: CandidateInputs) -> list[int]:
    """Length of the title where the question names it, in words."""
    return [inputs.pool.named.get(slot, 0) for slot in inputs.rows.slots]


@_computes(CandidateFeature.TITLE_TERM_SHARE)
def title_term_share(inputs: CandidateInputs) -> Reals:
    """Share of the title's terms that the question holds."""
    lengths = [max(1, len(passage.title)) for passage in inputs.passages]
    return inputs.rows.titles.sums(inputs.title_matches) / lengths


@_computes(CandidateFeature.TITLE_IDF_SHARE)
def title_idf_share(inputs: CandidateInputs) -> Reals:
    """Share of the title's idf that the question holds."""
    return inputs.title_shared_idf / inputs.rows.title_idf


@_computes(CandidateFeature.QUESTION_IDF_IN_TITLE)
def question_idf_in_title(inputs: CandidateInputs) -> Reals:
    """Share of the question's idf that the title holds."""
    return inputs.title_shared_idf / inputs.total_idf


@_computes(CandidateFeature.MENTIONS_OUT)
def mentions_out(inputs: CandidateInputs) -> Reals:
    """Places in it that name a passage."""
    return _log_counts([passage.mentions for passage in inputs.passages])


@_computes(CandidateFeature.MENTIONS_IN)
def mentions_in(inputs: CandidateInputs) -> Reals:
    """Places that name it."""
    return _log_counts([passage.mentioned for passage in inputs.passages])


@_computes(CandidateFeature.LENGTH)
def length(inputs: CandidateInputs) -> Reals:
    """In terms, around a usual length."""
    return _log_counts([passage.length for passage in inputs.passages]) - USUAL_LOG_LENGTH


@_computes(CandidateFeature.QUESTION_IDF_COVERED)
def question_idf_covered(inputs: CandidateInputs) -> Array:
    """Share of the question's idf that it holds."""
    shares: Array = (inputs.covered * inputs.question_idf).sum(1) / inputs.total_idf
    return shares


@_computes(CandidateFeature.HYBRID_BELOW_BEST)
def hybrid_below_best(inputs: CandidateInputs) -> Array:
    """How far its hybrid score lies below the best in the scope."""
    return inputs.hybrid_z - inputs.pool.best_hybrid


@_computes(CandidateFeature.PAGERANK_SHARE)
def pagerank_share(inputs: CandidateInputs) -> Reals:
    """Logarithm of its visits, as a share of the best candidate's."""
    shares = inputs.pool.pagerank_shares
    log_shares: Reals = np.log([shares.get(slot, 0.0) + UNVISITED for slot in inputs.rows.slots])
    return log_shares


@_computes(CandidateFeature.PAGERANK_RANK)
def pagerank_rank(inputs: CandidateInputs) -> Reals:
    """Log-rank by these visits."""
    return inputs.log_ranks(inputs.question.pagerank_ranks)


@_computes(CandidateFeature.FIRST_QUERY_Z)
def first_query_z(inputs: CandidateInputs) -> Array:
    """Cosine with the first query, in standard deviations over the scope."""
    first = inputs.pool.query(())
    z: Array = (inputs.first_cosines - first.mean) / (first.spread + EPSILON)
    return z


@_computes(CandidateFeature.FIRST_QUERY_COSINE)
def first_query_cosine(inputs: CandidateInputs) -> Array:
    """Cosine with the first query."""
    return inputs.first_cosines


def _log_counts(counts: Sequence[int]) -> Reals:
    log_counts: Reals = np.log1p(counts)
    return log_counts
