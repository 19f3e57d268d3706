"""Postings: which passages hold a term and how often, in immutable segments.

A posting names a slot and a code; codes number the different pairs of (count of the term in the
passage, length of the passage), which are few. What BM25 makes of a posting depends on nothing
else of the passage, so that a query computes it once for each pair and looks it up for each
posting; and neither number ever changes for a slot, so that postings are never rewritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.index.slots import Slots, grown

Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Segment:
    """Postings of the slots `first` to `last`, sorted by term, then slot."""

    first: int
    last: int
    """The slot behind its last one."""
    terms: Numbers
    """`(u,)` ascending."""
    starts: NDArray[np.int64]
    """`(u + 1,)`: the postings of terms[i] are starts[i]:starts[i + 1]."""
    slots: Numbers
    """`(p,)` ascending within a term."""
    codes: Numbers
    """`(p,)`, as `TfLengthCodes` numbers them."""

    def __len__(self) -> int:
        return len(self.slots)

    def postings_of(self, sought: Numbers) -> list[tuple[int, slice]]:
        """Where the postings of some terms lie: position in `sought`, place.

        Args:
            sought: `(t,)` terms, ascending or not.
        """
        if not len(self.terms):
            return []
        at = self.terms.searchsorted(sought)
        at[at == len(self.terms)] = 0
        has_term = (self.terms[at] == sought).tolist()
        first, last = self.starts[at].tolist(), self.starts[at + 1].tolist()
        return [(i, slice(first[i], last[i])) for i, present in enumerate(has_term) if present]

    def df(self) -> NDArray[np.int64]:
        """How many postings each of its terms has, `(u,)`."""
        return np.diff(self.starts)

    def places(self, slots: Slots) -> NDArray[np.int64]:
        """The postings of some slots.

        Args:
            slots: `(m,)`.
        """
        if len(slots) == 1:
            return np.flatnonzero(self.slots == slots[0])
        sought = np.zeros(self.last - self.first, dtype=np.bool_)
        sought[slots[(slots >= self.first) & (slots < self.last)] - self.first] = True
        return np.flatnonzero(sought[self.slots - self.first])

    def terms_at(self, places: NDArray[np.int64]) -> Numbers:
        """The terms of postings.

        Args:
            places: `(m,)`, positions among the postings.
        """
        terms: Numbers = self.terms[np.searchsorted(self.starts, places, side="right") - 1]
        return terms

    def only(self, keep: NDArray[np.bool_]) -> Segment:
        """The segment with only some of its postings, `(p,)`; terms without any are left out.

        Args:
            keep: `(p,)`, which postings stay.
        """
        owners = np.repeat(self.terms, self.df())[keep]
        return _sorted(self.first, self.last, owners, self.slots[keep], self.codes[keep])


class TfLengthCodes:
    """Numbers the pairs of (count, length) that occur. Not locked: the index that owns it is."""

    def __init__(self) -> None:
        self._code_of: dict[int, int] = {}  # by count << 32 | length
        self._count = np.zeros(0, dtype=np.int64)
        self._length = np.zeros(0, dtype=np.int64)

    @property
    def counts(self) -> NDArray[np.int64]:
        """By code."""
        return self._count[: len(self._code_of)]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """By code."""
        return self._length[: len(self._code_of)]

    def codes(self, counts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Numbers:
        """The codes of pairs `(p,)`; new ones are taken in.

        Args:
            counts: `(p,)` how often a term stands in a passage.
            lengths: `(p,)` the passage's terms in all.
        """
        different, which = np.unique(counts << 32 | lengths, return_inverse=True)
        code_of = self._code_of
        codes = [code_of.setdefault(pair, len(code_of)) for pair in different.tolist()]
        if len(code_of) > len(self._count):
            room = max(1024, 2 * len(code_of))
            self._count, self._length = grown(self._count, room), grown(self._length, room)
        self._count[codes] = different >> 32
        self._length[codes] = different & 0xFFFFFFFF
        return np.asarray(codes, dtype=np.int32)[which]

    def restore(self, counts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Take over the pairs of another, by code; they may be read-only.

        Args:
            counts: By code.
            lengths: By code.
        """
        self._count, self._length = counts.copy(), lengths.copy()
        self._code_of = {pair: code for code, pair in enumerate((counts << 32 | lengths).tolist())}


def make_segment(
    first: int,
    owners: NDArray[np.int64],
    terms: NDArray[np.int64],
    lengths: Slots,
    pairs: TfLengthCodes,
) -> Segment:
    """The segment of new slots.

    Args:
        first: The slot of the first.
        owners: `(n,)` which of them each word that was met belongs to, from 0.
        terms: `(n,)` the terms of these words.
        lengths: How many words each of the new slots has.
        pairs: Numbers the pairs that occur.
    """
    span = max(len(lengths), 1)
    met, counts = np.unique(terms * span + owners, return_counts=True)
    rows = met % span
    return _sorted(
        first,
        first + len(lengths),
        (met // span).astype(np.int32),
        (rows + first).astype(np.int32),
        pairs.codes(counts, lengths[rows]),
    )


def segment_of(first: int, last: int, terms: Numbers, slots: Numbers, codes: Numbers) -> Segment:
    """The segment of postings in any order of terms, whose slots ascend within each.

    Args:
        first: The slot of the first.
        last: The slot behind the last one.
        terms: `(p,)`.
        slots: `(p,)`.
        codes: `(p,)`, whose meaning is the caller's.
    """
    order = np.argsort(terms, kind="stable")
    return _sorted(first, last, terms[order], slots[order], codes[order])


def join_segments(segments: Sequence[Segment], alive: NDArray[np.bool_]) -> Segment:
    """One segment out of neighbours, lower slots first; the dead are left out.

    Args:
        segments: Neighbours, at least one.
        alive: `(capacity,)` the living slots.
    """
    terms = np.concatenate([np.repeat(s.terms, s.df()) for s in segments])
    slots = np.concatenate([s.slots for s in segments])
    codes = np.concatenate([s.codes for s in segments])
    if not alive[segments[0].first : segments[-1].last].all():
        keep = alive[slots]
        terms, slots, codes = terms[keep], slots[keep], codes[keep]
    return segment_of(segments[0].first, segments[-1].last, terms, slots, codes)


def _sorted(first: int, last: int, terms: Numbers, slots: Numbers, codes: Numbers) -> Segment:
    """A segment of postings that are sorted by term, then slot."""
    begins = np.append(0, np.flatnonzero(terms[1:] != terms[:-1]) + 1)[: len(terms)]
    return Segment(first, last, terms[begins], np.append(begins, len(terms)), slots, codes)
