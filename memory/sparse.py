"""The sparse index: BM25 over postings that grow and shrink with the store.

score(q, p) = sum over the terms t of q of  count(t in q) * idf(t) * f / (f + k1 (1 - b + b l / L))
with f the count of t in p, l the length of p in terms, L the mean length, and
idf(t) = ln(1 + (N - n + 1/2) / (n + 1/2)) for the n of N passages that hold t.

Source: Robertson and Zaragoza 2009, with Lucene's idf and without the constant k1 + 1. Counts are
kept rather than weights: N, n and L move with every passage written, and a weight would be stale.
Postings lie in segments of falling size, each sorted by term; a new one is merged into the last
while that is not much larger, so that a passage is moved O(log N) times in its life.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.analyze import Analyzer
from hoptrail.memory.slots import DECIMALS, Scores, Slots, SlotTable, spread

K1 = 1.5
B = 0.75

_STOP = -1


@dataclass(frozen=True, slots=True)
class Segment:
    """Postings of some passages: which terms, and for each its slots and counts."""

    terms: NDArray[np.int64]
    """`(u,)` ascending."""
    starts: NDArray[np.int64]
    """`(u + 1,)`: the postings of terms[i] are starts[i]:starts[i + 1]."""
    slots: NDArray[np.int32]
    """`(p,)` ascending within a term."""
    counts: NDArray[np.float32]
    """`(p,)` how often the term is in the passage."""

    def owners(self) -> NDArray[np.int64]:
        """The term of each posting, `(p,)`."""
        return np.repeat(self.terms, np.diff(self.starts))


_EMPTY = Segment(
    np.zeros(0, dtype=np.int64),
    np.zeros(1, dtype=np.int64),
    np.zeros(0, dtype=np.int32),
    np.zeros(0, dtype=np.float32),
)


class SparseIndex:
    """BM25 over a view's slots.

    Args:
        table: The view's slots; the view adds to it and to this index together.
        lock: The view's.
    """

    def __init__(self, table: SlotTable, lock: RLock) -> None:
        self._table = table
        self._lock = lock
        self._analyzer = Analyzer()
        self._ids: dict[str, int] = {}  # of terms, in the order they came
        self._words: dict[str, int] = {}  # words as written (folded) to term id
        self._df = np.zeros(0, dtype=np.int64)
        self._lengths = np.zeros(0, dtype=np.int64)
        self._total = 0  # of the living slots' lengths
        self._segments: list[Segment] = []
        self._dead = 0  # postings of dead slots, until they are merged away
        self._norm: NDArray[np.float64] | None = None
        self._last: tuple[str, Scores] | None = None

    def add(self, texts: Sequence[str]) -> None:
        """Index the texts of the slots that follow the last one indexed."""
        with self._lock:
            first, count = len(self._lengths), len(texts)
            if not count:
                return
            flat: list[int] = []
            lengths = np.zeros(count, dtype=np.int64)
            for row, text in enumerate(texts):
                ids = self._learn(text)
                flat.extend(ids)
                lengths[row] = len(ids)
            owners = np.repeat(np.arange(count), lengths)
            pairs, counts = np.unique(
                np.asarray(flat, dtype=np.int64) * count + owners, return_counts=True
            )
            segment = _segment(pairs // count, pairs % count + first, counts)
            self._df = np.concatenate(
                [self._df, np.zeros(len(self._ids) - len(self._df), dtype=np.int64)]
            )
            self._df[segment.terms] += np.diff(segment.starts)
            self._lengths = np.concatenate([self._lengths, lengths])
            self._total += int(lengths.sum())
            self._segments.append(segment)
            self._merge()
            self._forget()

    def remove(self, slots: Slots) -> None:
        """Take slots out; the table has them dead already."""
        with self._lock:
            if not len(slots):
                return
            gone = np.zeros(len(self._lengths), dtype=np.bool_)
            gone[slots] = True
            for segment in self._segments:
                hit = np.flatnonzero(gone[segment.slots])
                at = np.searchsorted(segment.starts, hit, side="right") - 1
                np.subtract.at(self._df, segment.terms[at], 1)
                self._dead += len(hit)
            self._total -= int(self._lengths[slots].sum())
            if self._dead * 2 > sum(len(s.slots) for s in self._segments):
                self._segments = [self._joined(self._segments)]
                self._dead = 0
            self._forget()

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs: the living slots' postings, as slots 0..n-1, and their terms."""
        with self._lock:
            whole = self._joined(self._segments or [_EMPTY])
            alive = self._table.alive
            names = list(self._ids)
            terms = "\n".join(names[i] for i in whole.terms.tolist())
            return {
                "terms": np.frombuffer(terms.encode(), dtype=np.uint8),
                "starts": whole.starts,
                "slots": (np.cumsum(alive) - 1)[whole.slots].astype(np.int32),
                "counts": whole.counts,
                "lengths": self._lengths[alive],
            }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state, in place of adding its texts to an empty index."""
        with self._lock:
            terms = state["terms"].tobytes().decode()
            self._ids = {term: i for i, term in enumerate(terms.split("\n") if terms else [])}
            self._df = np.diff(state["starts"])
            self._lengths = state["lengths"]
            self._total = int(self._lengths.sum())
            self._segments = [
                Segment(np.arange(len(self._ids)), state["starts"], state["slots"], state["counts"])
            ]
            self._forget()

    def terms(self, text: str) -> list[str]:
        """The terms of a text, in order, repeated as they are."""
        with self._lock:
            found = (self._analyzer.term(word) for word in self._analyzer.words(text))
            return [term for term in found if term is not None]

    def idf(self, term: str) -> float:
        """How rare a term is among the scope's passages; highest for one that none holds."""
        with self._lock:
            known = self._ids.get(term)
            n = 0 if known is None else int(self._df[known])
            return float(np.log1p((self._table.size - n + 0.5) / (n + 0.5)))

    def scores(self, text: str) -> Scores:
        """The score of every slot, `(capacity,)`, read-only; 0 for the dead."""
        with self._lock:
            if self._last is not None and self._last[0] == text:
                return self._last[1]
            found = self._score(text)
            found.setflags(write=False)
            self._last = (text, found)
            return found

    def scores_of(self, text: str, slots: Slots) -> Scores:
        """The scores of some slots, `(m,)`."""
        return self.scores(text)[slots]

    def search(
        self, text: str, k: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[Scores, Slots]:
        """The best slots that share a term with the text, at most `k`: scores and slots.

        Args:
            text: The query.
            k: How many.
            allowed: `(capacity,)` the slots to look among; all by default.
        """
        with self._lock:
            scores = self.scores(text)
            slots = np.flatnonzero(scores > 0)
            if allowed is not None:
                slots = slots[self._table.among(allowed)[slots]]
            if len(slots) > k:
                held = scores[slots]
                # All that equal the k-th stay in, so that content decides between them.
                slots = slots[held >= np.partition(held, len(held) - k)[len(held) - k]]
            best = slots[self._table.order(scores[slots], slots)[:k]]
            return scores[best], best

    def moments(self, scores: Scores) -> tuple[float, float]:
        """Mean and standard deviation over the living slots of scores that `scores` gave."""
        size = self._table.size
        if not size:
            return 0.0, 0.0
        exact = scores.astype(np.float64)  # the dead score 0, and add nothing
        mean = exact.sum() / size
        return float(mean), float(spread(mean, np.square(exact).sum() / size))

    def _learn(self, text: str) -> list[int]:
        """The term ids of a text; new words and terms are taken in."""
        words = self._analyzer.words(text)
        known = self._words
        try:
            ids = [known[word] for word in words]
        except KeyError:
            for word in words:
                if word not in known:
                    term = self._analyzer.term(word)
                    known[word] = (
                        _STOP if term is None else self._ids.setdefault(term, len(self._ids))
                    )
            ids = [known[word] for word in words]
        return [i for i in ids if i != _STOP]

    def _score(self, text: str) -> Scores:
        capacity = len(self._lengths)
        # Terms are added up in the order of their names: a passage's sum then has the same bits
        # whenever its words were first seen, and whichever segment holds it.
        wanted = [
            (self._ids[term], times * self.idf(term))
            for term, times in sorted(Counter(self.terms(text)).items())
            if term in self._ids
        ]
        slots: list[NDArray[np.int32]] = []
        counts: list[NDArray[np.float32]] = []
        weights: list[float] = []
        ids = np.asarray([i for i, _ in wanted], dtype=np.int64)
        for segment in self._segments:
            at = np.searchsorted(segment.terms, ids)
            for (i, weight), where in zip(wanted, at.tolist(), strict=True):
                if where < len(segment.terms) and segment.terms[where] == i:
                    part = slice(segment.starts[where], segment.starts[where + 1])
                    slots.append(segment.slots[part])
                    counts.append(segment.counts[part])
                    weights.append(weight)
        if not slots:
            return np.zeros(capacity, dtype=np.float32)
        owners = np.concatenate(slots)
        count = np.concatenate(counts).astype(np.float64)
        weight_of = np.repeat(weights, [len(s) for s in slots])
        parts = weight_of * count / (count + self._norms()[owners])
        found = np.bincount(owners, parts, minlength=capacity)
        if self._table.size < capacity:
            found[~self._table.alive[:capacity]] = 0
        return found.round(DECIMALS).astype(np.float32)

    def _norms(self) -> NDArray[np.float64]:
        """k1 (1 - b + b l / L) of every slot."""
        norm = self._norm
        if norm is None:
            mean = max(self._total, 1) / max(self._table.size, 1)
            norm = self._norm = np.asarray(K1 * (1 - B + B * self._lengths / mean))
        return norm

    def _forget(self) -> None:
        self._norm = None
        self._last = None

    def _merge(self) -> None:
        """Merge from the end while a segment is less than twice as large as the next."""
        segments = self._segments
        while len(segments) > 1 and len(segments[-2].slots) < 2 * len(segments[-1].slots):
            last = segments.pop()
            joined = self._joined([segments[-1], last])
            self._dead -= len(segments[-1].slots) + len(last.slots) - len(joined.slots)
            segments[-1] = joined

    def _joined(self, segments: Sequence[Segment]) -> Segment:
        """One segment out of several, older first; the dead are left out."""
        terms = np.concatenate([s.owners() for s in segments])
        slots = np.concatenate([s.slots for s in segments])
        counts = np.concatenate([s.counts for s in segments])
        alive = self._table.alive[slots]
        order = np.argsort(terms[alive], kind="stable")
        return _segment(terms[alive][order], slots[alive][order], counts[alive][order])


def _segment(
    terms: NDArray[np.int64], slots: NDArray[np.integer], counts: NDArray[np.number]
) -> Segment:
    """A segment of postings that are sorted by term, then slot."""
    unique, starts = np.unique(terms, return_index=True)
    return Segment(
        unique,
        np.append(starts, len(terms)).astype(np.int64),
        slots.astype(np.int32),
        counts.astype(np.float32),
    )
