"""An inverted index of learned weights: postings as BM25 has them, with an impact in each.

BM25 keeps counts, since its weights move with every passage that is written. Learned weights do
not: a passage's is rounded to a whole number of 8 bits, its impact, and that is the posting's code
(Anh and Moffat 2002, impact-ordered indexes). A query costs what its terms' postings cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.index.postings import Segment, join_segments, segment_of
from hoptrail.memory.index.slots import Scores
from hoptrail.memory.search.learned_sparse.sparse_encoder import Terms

STEP = 1 / 64
"""A weight in impacts; 255 of them are the most that a posting says."""
MOST_SEGMENTS = 8
"""Segments above which all are joined."""


class ImpactIndex:
    """The impacts of a view's slots, which grow with it."""

    def __init__(self) -> None:
        self.count = 0
        """Slots that are indexed, dead ones among them."""
        self._segments: list[Segment] = []

    def __len__(self) -> int:
        """The number of postings."""
        return sum(len(segment) for segment in self._segments)

    def add(self, last: int, slots: Sequence[int], terms: Sequence[Terms]) -> None:
        """Index the living slots from `count` up to one.

        Args:
            last: The slot behind the last one.
            slots: n of them that live, ascending.
            terms: Of each its terms and weights.
        """
        owners = np.repeat(np.asarray(slots, dtype=np.int32), [len(one) for one, _ in terms])
        names = np.concatenate([one for one, _ in terms] or [np.zeros(0, dtype=np.int32)])
        weights = np.concatenate([one for _, one in terms] or [np.zeros(0, dtype=np.float32)])
        impacts = impacts_of(weights)
        some = impacts > 0
        segment = segment_of(self.count, last, names[some], owners[some], impacts[some])
        self._segments.append(segment)
        self.count = last

    def join(self, alive: NDArray[np.bool_]) -> None:
        """Join the segments where there are many; the dead go.

        Args:
            alive: `(capacity,)` the living slots.
        """
        if len(self._segments) > MOST_SEGMENTS:
            self._segments = [join_segments(self._segments, alive)]

    def scores(self, query: Terms, capacity: int) -> Scores:
        """The score of every slot, `(capacity,)`; what is dead may have one.

        Args:
            query: Terms and weights.
            capacity: Slots in all.
        """
        terms, weights = query
        scores = np.zeros(capacity, dtype=np.float64)
        for segment in self._segments:
            for i, place in segment.postings_of(terms):
                # A slot stands once among a term's postings.
                scores[segment.slots[place]] += float(weights[i]) * STEP * segment.codes[place]
        return scores.astype(np.float32)


def impacts_of(weights: NDArray[np.float32]) -> NDArray[np.int32]:
    """Weights as whole numbers of 8 bits.

    Args:
        weights: `(n,)`, at least 0.
    """
    impacts: NDArray[np.int32] = np.clip(np.rint(weights / STEP), 0, 255).astype(np.int32)
    return impacts
