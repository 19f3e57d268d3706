"""BM25 scores of one query: every slot's sum, and with it the moments and the top k.

Scores are accumulated term at a time, and slots below a threshold that the k-th best is known to
reach are passed over, as in MaxScore (Turtle and Flood 1995); only the choice of the best is
shortened here, since the moments need every sum.

One pass over the postings of the query's terms adds up the scores of all slots. It goes stretch by
stretch, so that the sums of one stay in the processor's own cache while they are made, squared and
compared with the best so far: the mean and the spread over the whole scope, and the best for a
search of usual depth, are then known without looking at them again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.index.slots import DECIMALS, Floats, Scores, Slots

DEPTH = 128
"""The best that are found in passing; a search for more, or under a filter, looks again."""

ENOUGH = 16
"""Postings for each passage wanted after which no more frequent term is asked for a bound."""

BLOCK = 4096
"""Slots whose squares are added up together: few enough for BLAS to stay in one thread, which is
faster than to wait for others and gives the same bits whatever their number."""

Part = tuple[int, NDArray[np.int32], Floats]
"""Some postings of a term: which, their slots `(p,)`, and what it adds to the score of each."""


class Bm25Scores:
    """The scores of a query in every slot; 0 for the dead and for those that share no term."""

    def __init__(self) -> None:
        self._bounds = [0]  # of the stretches
        self._sums: list[Floats] = []  # of each, from its first slot on, in whole blocks
        self._parts: list[Sequence[Part]] = []  # of each
        self._total = self._square = 0.0
        self._candidates: list[tuple[Floats, Slots]] = []  # sums and slots: perhaps among the best
        self._candidate_count = 0  # how many that are
        self._threshold = 0.0  # a score that the last of the best reaches

    def add_postings(self, last: int, parts: Sequence[Part], dead: Slots) -> None:
        """Add up the scores of the slots that follow, up to before `last`.

        Args:
            last: The slot behind them.
            parts: Each term's postings among them; a slot's are added up in this order.
            dead: Those of them that do not count.
        """
        first = self._bounds[-1]
        sums: Floats = np.zeros(0)
        if parts:
            slots = np.concatenate([slots for _, slots, _ in parts], dtype=np.int64)
            slots -= first
            added = np.concatenate([added for _, _, added in parts])
            room = last - first + (first - last) % BLOCK
            sums = np.asarray(np.bincount(slots, added, minlength=room), dtype=np.float64)
            if len(dead):
                sums[dead - first] = 0
            blocks = sums.reshape(-1, BLOCK)
            self._total += float(sums.sum() if len(dead) else added.sum())
            self._square += float((blocks[:, None] @ blocks[:, :, None]).sum())
            self._note_candidates(first, sums)
        self._bounds.append(last)
        self._sums.append(sums)
        self._parts.append(parts)

    def _note_candidates(self, first: int, sums: Floats) -> None:
        """Note which slots of a stretch may be among the best."""
        here = _reaching(sums, self._threshold)
        self._candidates.append((sums[here], here + first))
        self._candidate_count += len(here)
        if self._candidate_count > 4 * DEPTH:
            noted, slots = _joined(self._candidates)
            self._threshold = float(kth(noted, DEPTH))
            leading = _reaching(noted, self._threshold)
            self._candidates, self._candidate_count = (
                [(noted[leading], slots[leading])],
                len(leading),
            )

    def moments(self, size: int) -> tuple[float, float]:
        """The means of the scores and of their squares over `size` slots, the others scoring 0.

        Args:
            size: The living slots of the view.
        """
        return self._total / size, self._square / size

    def of(self, slots: Slots) -> Scores:
        """The scores of some slots, rounded.

        Args:
            slots: `(m,)`.
        """
        order = np.argsort(slots)
        ends = np.searchsorted(slots[order], self._bounds).tolist()
        scores = np.zeros(len(slots))
        for number, sums in enumerate(self._sums):
            if ends[number] < ends[number + 1] and len(sums):
                here = order[ends[number] : ends[number + 1]]
                scores[here] = sums[slots[here] - self._bounds[number]]
        return _rounded(scores)

    def all(self) -> Scores:
        """The scores of all slots, rounded."""
        scores = np.zeros(self._bounds[-1], dtype=np.float32)
        for first, sums in zip(self._bounds[:-1], self._sums, strict=True):
            nonzero = np.flatnonzero(sums)
            scores[first + nonzero] = _rounded(sums[nonzero])
        return scores

    def top_k(self, k: int, allowed: NDArray[np.bool_] | None) -> tuple[Scores, Slots]:
        """The best `k` slots, all that equal the last of them, and perhaps some more, unordered.

        Args:
            k: How many, at least 1.
            allowed: The slots to look among; all by default.
        """
        near = self._candidates
        if allowed is not None or k > DEPTH:
            bound = self._lower_bound(k, allowed)
            near = []
            for first, sums in zip(self._bounds[:-1], self._sums, strict=True):
                here = _reaching(sums, bound)
                near.append((sums[here], here + first))
        exact, slots = _joined(near)
        scores = _rounded(exact)
        if allowed is not None:
            rows = _among(slots, allowed)
            scores, slots = scores[rows], slots[rows]
        if len(scores) > k:
            rows = np.flatnonzero(scores >= kth(scores, k))
            scores, slots = scores[rows], slots[rows]
        if len(scores) and not scores.min():  # below what counts is as good as not there
            scores, slots = scores[scores > 0], slots[scores > 0]
        return scores, slots

    def _lower_bound(self, k: int, allowed: NDArray[np.bool_] | None) -> float:
        """A score that the k-th best reaches; 0 where none is known."""
        by_term: dict[int, list[tuple[int, NDArray[np.int32]]]] = {}
        for number, postings in enumerate(self._parts):
            for term, slots, _ in postings:
                by_term.setdefault(term, []).append((number, slots))
        by_size = sorted(by_term.values(), key=lambda parts: sum(len(part) for _, part in parts))
        bound, seen = 0.0, 0
        for parts in by_size:
            lower = []
            for number, slots in parts:
                seen += len(slots)
                among = slots if allowed is None else slots[_among(slots, allowed)]
                lower.append(self._sums[number][among - self._bounds[number]])
            scores = np.concatenate(lower)
            if len(scores) >= k:
                bound = max(bound, float(kth(scores, k)))
            if bound and seen >= ENOUGH * k:
                break
        return bound


def kth(scores: NDArray[np.floating], k: int) -> np.floating:
    """The k-th largest of at least k scores.

    Args:
        scores: `(m,)`.
        k: In [1, m].
    """
    if len(scores) >= 64 * k:
        # The k-th best of the bests of blocks is no better than the k-th best of all: most of the
        # scores need not be looked at again.
        blocks = len(scores) // (8 * k)
        bests = scores[: blocks * 8 * k].reshape(8 * k, blocks).max(1)
        scores = scores[np.flatnonzero(scores >= np.partition(bests, 7 * k)[7 * k])]
    score: np.floating = np.partition(scores, len(scores) - k)[len(scores) - k]
    return score


def _joined(near: Sequence[tuple[Floats, Slots]]) -> tuple[Floats, Slots]:
    none = np.zeros(0, dtype=np.int64)
    sums = np.concatenate([np.zeros(0), *(sums for sums, _ in near)])
    return sums, np.concatenate([none, *(slots for _, slots in near)])


def _reaching(sums: Floats, bound: float) -> Slots:
    """Where sums reach a bound, but for rounding; where there is any sum if the bound is 0."""
    least = _margin(bound)
    slots: Slots = np.flatnonzero(sums >= least if least > 0 else sums != 0)
    return slots


def _margin(bound: float | np.floating) -> float:
    """What rounding and single precision can make equal to a bound."""
    return float(bound) * (1 - 1e-6) - 1e-5


def _among(slots: NDArray[np.integer], allowed: NDArray[np.bool_]) -> Slots:
    """The positions of the slots that are allowed; one that is newer than the mask is not."""
    in_range = np.flatnonzero(slots < len(allowed))
    among: Slots = in_range[allowed[slots[in_range]]]
    return among


def _rounded(sums: Floats) -> Scores:
    return sums.round(DECIMALS).astype(np.float32)
