"""What a passage that was read says of a candidate: one function for each `PairFeature`.

A value depends on the two passages and the question, never on what else is there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.policies.environment.candidate_features import QuestionContext
from hoptrail.policies.environment.feature_inputs import (
    CandidateRows,
    ReadPassages,
    Reals,
    indicators,
    union_of,
)
from hoptrail.policies.environment.feature_names import Array, FeatureFunctions, PairFeature
from hoptrail.policies.environment.terms import Ids, Incidence

EARLY = 100
"""A mention that begins after so many characters counts half of one that begins the text."""


@dataclass(frozen=True, slots=True)
class MentionMatrices:
    """Which read mentions which candidate and how, and the other way round, `(r, n)` each."""

    mentioned: Array
    """1 where the read names the candidate's title."""
    question_idf: Array
    """The largest share of the question's idf in the text around such a mention."""
    earliness: Array
    """1 for a mention at the begin of the read, less the later the first one is."""
    mentioning: Array
    """1 where the candidate names the read's title."""
    rarity: Array
    """The fewer passages name the read's title, the more."""


@dataclass(frozen=True)
class PairInputs:
    """What the features of n candidates beside r reads are computed from."""

    question: QuestionContext
    reads: ReadPassages
    candidates: CandidateRows

    @property
    def shape(self) -> tuple[int, int]:
        """`(r, n)`."""
        return len(self.reads.reads), len(self.candidates.slots)

    @cached_property
    def position(self) -> dict[int, int]:
        """By slot, which row a candidate is."""
        return {slot: i for i, slot in enumerate(self.candidates.slots)}

    @cached_property
    def query_cosines(self) -> Vectors:
        """Of the candidates with the query that each read leads to, `(r, n)`."""
        cosines: Vectors = self.reads.queries @ self.candidates.vectors.T
        return cosines

    @cached_property
    def idf(self) -> Array:
        """By term."""
        return self.question.pool.scope.lexicon.idf()

    @cached_property
    def read_terms(self) -> tuple[Ids, Reals]:
        """The u terms of the reads `(u,)`, and 1 where a read holds one, `(r, u)`."""
        return union_of(self.reads.terms)

    @cached_property
    def term_weights(self) -> Reals:
        """The idf of these terms, `(u,)`."""
        return self.idf[self.read_terms[0]].astype(np.float64)

    def terms_among_read(self, holds: Incidence) -> Reals:
        """1 where a passage holds one of these terms, `(u, n)`.

        Args:
            holds: The terms of n passages.
        """
        terms, _ = self.read_terms
        return indicators(holds, self.question.lookup.places(terms, holds.items), len(terms)).T

    @cached_property
    def candidate_terms(self) -> Reals:
        """1 where a candidate holds one of these terms, `(u, n)`."""
        return self.terms_among_read(self.candidates.holds)

    @cached_property
    def mentions(self) -> MentionMatrices:
        """Who names whom."""
        matrices = MentionMatrices(*np.zeros((5, *self.shape), dtype=np.float32))
        for row, read in enumerate(self.reads.reads):
            for mention, idf in zip(read.mentions, read.question_idf_near_mention, strict=True):
                column = self.position.get(mention.target)
                if column is not None:
                    at = row, column
                    early = 1.0 / (1.0 + mention.start / EARLY)
                    matrices.mentioned[at] = 1.0
                    matrices.question_idf[at] = max(matrices.question_idf[at], idf)
                    matrices.earliness[at] = max(matrices.earliness[at], early)
            for source in read.mentioned_by & self.position.keys():
                at = row, self.position[source]
                matrices.mentioning[at] = 1.0
                matrices.rarity[at] = 1.0 / math.log(2.0 + len(read.mentioned_by))
        return matrices

    def links(self, weights: Sequence[dict[int, float]]) -> Array:
        """The weight of the links between reads and candidates, `(r, n)`; 0 for none.

        Args:
            weights: For each read, the weight by slot at the other end.
        """
        matrix = np.zeros(self.shape, dtype=np.float32)
        for row, by_slot in zip(matrix, weights, strict=True):
            for slot in by_slot.keys() & self.position.keys():
                row[self.position[slot]] = by_slot[slot]
        return matrix


PAIR_FEATURES = FeatureFunctions[PairFeature, PairInputs](PairFeature)
_computes = PAIR_FEATURES.computes


def pair_features(inputs: PairInputs) -> Array:
    """The features of n candidates beside r reads, `(r, n, len(PairFeature))`.

    Args:
        inputs: Candidates, reads and the question.
    """
    return PAIR_FEATURES.matrix(inputs, inputs.shape)


@_computes(PairFeature.QUERY_Z)
def query_z(inputs: PairInputs) -> Reals:
    """Cosine with the query that the read leads to, in standard deviations over the scope."""
    return _standardised(inputs.query_cosines, inputs.reads.query_moments)


@_computes(PairFeature.QUERY_COSINE)
def query_cosine(inputs: PairInputs) -> Vectors:
    """Cosine with the query that the read leads to."""
    return inputs.query_cosines


@_computes(PairFeature.IS_MENTIONED)
def is_mentioned(inputs: PairInputs) -> Array:
    """Whether the read names its title."""
    return inputs.mentions.mentioned


@_computes(PairFeature.QUESTION_IDF_NEAR_MENTION)
def question_idf_near_mention(inputs: PairInputs) -> Array:
    """Share of the question's idf in the text around that mention."""
    return inputs.mentions.question_idf


@_computes(PairFeature.MENTION_EARLINESS)
def mention_earliness(inputs: PairInputs) -> Array:
    """How early in the read it is named."""
    return inputs.mentions.earliness


@_computes(PairFeature.MENTIONS_READ)
def mentions_read(inputs: PairInputs) -> Array:
    """Whether it names the read's title."""
    return inputs.mentions.mentioning


@_computes(PairFeature.MENTIONS_READ_RARITY)
def mentions_read_rarity(inputs: PairInputs) -> Array:
    """How few others do."""
    return inputs.mentions.rarity


@_computes(PairFeature.TERM_COSINE)
def term_cosine(inputs: PairInputs) -> Reals:
    """Cosine of the two passages' terms, weighted by idf."""
    _, read = inputs.read_terms
    weights = inputs.term_weights
    products: Reals = (read * (weights * weights)) @ inputs.candidate_terms
    return products / (inputs.reads.norm[:, None] * inputs.candidates.norm)


@_computes(PairFeature.NEW_SHARED_IDF)
def new_shared_idf(inputs: PairInputs) -> Reals:
    """Idf of the terms that both hold and the question does not."""
    terms, read = inputs.read_terms
    unasked = inputs.question.lookup.places(inputs.question.pool.terms, terms) < 0
    shared: Reals = (read * (inputs.term_weights * unasked)) @ inputs.candidate_terms
    return shared


@_computes(PairFeature.PASSAGE_COSINE)
def passage_cosine(inputs: PairInputs) -> Vectors:
    """Cosine of the two passages."""
    cosines: Vectors = inputs.reads.vectors @ inputs.candidates.vectors.T
    return cosines


@_computes(PairFeature.TITLE_IDF_IN_READ)
def title_idf_in_read(inputs: PairInputs) -> Reals:
    """Share of its title's idf that the read holds."""
    _, read = inputs.read_terms
    titles = inputs.terms_among_read(inputs.candidates.titles)
    shares: Reals = (read * inputs.term_weights) @ titles / inputs.candidates.title_idf
    return shares


@_computes(PairFeature.LATENT_QUERY_Z)
def latent_query_z(inputs: PairInputs) -> Reals:
    """Cosine with question + read as vectors, in standard deviations over the scope."""
    cosines: Vectors = inputs.reads.latent @ inputs.candidates.vectors.T
    return _standardised(cosines, inputs.reads.latent_moments)


@_computes(PairFeature.SAME_TITLE)
def same_title(inputs: PairInputs) -> NDArray[np.bool_]:
    """Whether both have the same title."""
    numbers = inputs.candidates.title_number
    same: NDArray[np.bool_] = inputs.reads.title_number[:, None] == numbers
    return same & (numbers > 0)


@_computes(PairFeature.SHARED_MENTIONS)
def shared_mentions(inputs: PairInputs) -> Reals:
    """How many titles both name."""
    slots, read = union_of(inputs.reads.names)
    if not len(slots):
        return np.zeros(inputs.shape)
    names = inputs.candidates.names
    at = np.minimum(np.searchsorted(slots, names.items), len(slots) - 1)
    columns = np.where(slots[at] == names.items, at, -1)
    counts: Reals = np.log1p(read @ indicators(names, columns, len(slots)).T)
    return counts


@_computes(PairFeature.LINKS_FROM_READ)
def links_from_read(inputs: PairInputs) -> Array:
    """Logarithm of the heaviest link from the read."""
    return inputs.links(inputs.reads.links_out)


@_computes(PairFeature.LINKS_TO_READ)
def links_to_read(inputs: PairInputs) -> Array:
    """Logarithm of the heaviest link to the read."""
    return inputs.links(inputs.reads.links_in)


def _standardised(cosines: Vectors, moments: Reals) -> Reals:
    """In standard deviations from the mean, `(r, n)`.

    Args:
        cosines: `(r, n)`.
        moments: `(r, 2)` mean and deviation.
    """
    return (cosines - moments[:, :1]) / moments[:, 1:]
