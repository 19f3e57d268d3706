"""The features by name: the label that a saved policy knows each by, and what it is divided by.

To add one, write an entry at the end of its group here, and the function that computes it where
`FeatureFunctions` of the group is: `candidate_features`, `pair_features` or `state_features`. A
policy names the columns that it reads, so that one trained before an entry was added decides as it
did; a label is written in saved policies and never changes.

Scales bring the columns to about the same size, ones that are shares or cosines have none. They
need not be exact, since a network standardises what it reads, and are kept because the weights of
saved policies were trained with them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]


class FeatureColumn(IntEnum):
    """A column of a group of features; its value is its place in the group."""

    label: str
    """The name in saved policies."""
    scale: float
    """What the raw value is divided by."""

    def __new__(cls, label: str, scale: float = 1.0) -> Self:
        """The next column of the group."""
        column = int.__new__(cls, len(cls.__members__))
        column._value_ = len(cls.__members__)
        column.label, column.scale = label, scale
        return column


class CandidateFeature(FeatureColumn):
    """What the question alone says of a candidate."""

    SPARSE_Z = "sparse z-score", 5.0  # most passages share no term: the best lie far out
    DENSE_Z = "dense z-score", 3.0  # cosines are nearly normal: the best lie nearer
    HYBRID_Z = "hybrid z-score", 6.0  # the sum of the two above
    COSINE = "cosine"
    SPARSE_SHARE = "share of the best sparse score"
    HYBRID_RANK = "hybrid rank"  # as a logarithm, like all ranks: at most 5.1
    DENSE_RANK = "dense rank"
    SPARSE_RANK = "sparse rank"
    TITLE_WORDS_NAMED = "words of its title that the question names"
    TITLE_TERM_SHARE = "share of its title's terms in the question"
    TITLE_IDF_SHARE = "the same by idf"
    QUESTION_IDF_IN_TITLE = "share of the question's idf that its title covers"
    MENTIONS_OUT = "mentions out"  # as a logarithm, like all counts of a passage
    MENTIONS_IN = "mentions in"
    LENGTH = "length"
    QUESTION_IDF_COVERED = "share of the question's idf that it covers"
    HYBRID_BELOW_BEST = "hybrid z-score below the best", 6.0  # as the hybrid z-score
    PAGERANK_SHARE = "visits of a random walk from the question", 4.0  # a logarithm from -6.9 to 0
    PAGERANK_RANK = "rank by these visits"
    FIRST_QUERY_Z = "z-score for the first query", 3.0  # as the dense z-score
    FIRST_QUERY_COSINE = "cosine with the first query"


class PairFeature(FeatureColumn):
    """What a passage that was read says of a candidate."""

    QUERY_Z = "z-score for the query that it alone leads to", 3.0  # as the dense z-score
    QUERY_COSINE = "cosine with the query that it alone leads to"
    IS_MENTIONED = "is mentioned by the read"
    QUESTION_IDF_NEAR_MENTION = "question terms around that mention"
    MENTION_EARLINESS = "how early it is mentioned"
    MENTIONS_READ = "mentions the read"
    MENTIONS_READ_RARITY = "rarity of that"
    TERM_COSINE = "weighted term cosine with the read"
    NEW_SHARED_IDF = "idf of new terms shared with the read", 20.0  # a sum over a handful of terms
    PASSAGE_COSINE = "cosine with the read"
    TITLE_IDF_IN_READ = "share of its title's idf in the read"
    LATENT_QUERY_Z = "z-score for question + read", 3.0  # as the dense z-score
    SAME_TITLE = "same title as the read"
    SHARED_MENTIONS = "titles that both mention"  # a logarithm
    LINKS_FROM_READ = "links from the read"  # the logarithm of the heaviest
    LINKS_TO_READ = "links to the read"


AVERAGED = (
    PairFeature.QUERY_Z,
    PairFeature.QUERY_COSINE,
    PairFeature.TERM_COSINE,
    PairFeature.PASSAGE_COSINE,
)
"""Those whose mean over the evidence says more than the largest alone."""


class EvidenceFeature(FeatureColumn):
    """What the evidence as a whole says of a candidate."""

    IS_EVIDENCE = "is evidence"
    NEW_IDF_SHARE = "share of the question's idf that it covers and the evidence does not"
    OPEN_IDF_SHARE = "share of what the evidence leaves open that it covers"
    NEXT_QUERY_Z = "z-score for the next query", 3.0  # as the dense z-score
    NEXT_QUERY_COSINE = "cosine with the next query"
    NEXT_QUERY_RANK = "rank for the next query"  # as a logarithm, among what is open
    BEST_QUERY_RANK = "best rank for a query that one read leads to"  # likewise


class StateFeature(FeatureColumn):
    """What is the same for all candidates of a state."""

    NOTHING_READ = "nothing is read"
    READS = "passages read", 4.0  # as many as a trail has hops
    OPEN_IDF = "share of the question's idf left open"
    QUESTION_TERMS = "terms of the question", 20.0  # a long question
    NAMED = "passages named", 4.0  # as the passages read
    NAMED_UNREAD = "passages named and not read", 4.0  # as the passages named
    BEST_QUERY_Z = "best z-score for a query that one read leads to"  # scaled already
    BEST_NEXT_QUERY_Z = "best z-score for the next query", 3.0  # as the dense z-score
    NEXT_QUERY_MARGIN = "how far the best lies above the fifth for the next query"
    MENTIONED_CANDIDATES = "candidates that the evidence mentions", 10.0  # of a few passages


COLUMNS = (
    *(f"alone: {feature.label}" for feature in CandidateFeature),
    *(f"beside the evidence, largest: {feature.label}" for feature in PairFeature),
    *(f"beside the evidence, mean: {feature.label}" for feature in AVERAGED),
    *(f"evidence: {feature.label}" for feature in EvidenceFeature),
    *(f"overall: {feature.label}" for feature in StateFeature),
)
"""The name of each column of `StateInput.x`. A policy keeps the names of those that it reads, so
that one trained before a column was added still decides as it did."""
WIDTH = len(COLUMNS)
FEATURES_VERSION = 2
"""Changes when a column changes its meaning under the same name: a policy is bound to it."""

ColumnT = TypeVar("ColumnT", bound=FeatureColumn)
InputsT = TypeVar("InputsT")


class FeatureFunctions(Generic[ColumnT, InputsT]):
    """The function that computes each column of a group, from what they all need.

    Args:
        group: The enum of the columns.
    """

    def __init__(self, group: type[ColumnT]) -> None:
        self.group = group
        self._functions: dict[ColumnT, Callable[[InputsT], ArrayLike]] = {}

    def computes(
        self, feature: ColumnT
    ) -> Callable[[Callable[[InputsT], Any]], Callable[[InputsT], Any]]:
        """Decorates the function of a column.

        Args:
            feature: Its column. The function returns raw values, which are divided by the scale
                here.
        """

        def register(function: Callable[[InputsT], Any]) -> Callable[[InputsT], Any]:
            self._functions[feature] = function
            return function

        return register

    def matrix(self, inputs: InputsT, shape: tuple[int, ...]) -> Array:
        """All columns of the group.

        Args:
            inputs: What the functions need.
            shape: Of the values of one column.

        Returns:
            `(*shape, len(group))`.
        """
        columns = np.empty((*shape, len(self.group)), dtype=np.float32)
        for feature in self.group:
            columns[..., feature] = np.asarray(self._functions[feature](inputs)) / feature.scale
        return columns
