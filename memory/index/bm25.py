"""The sparse index: BM25 over postings that grow and shrink with the store.

score(q, p) = sum over the terms t of q of  count(t in q) * idf(t) * f / (f + k1 (1 - b + b l / L))
with f the count of t in p, l the length of p in terms, L the mean length, and
idf(t) = ln(1 + (N - n + 1/2) / (n + 1/2)) for the n of N passages that hold t.

Source: Robertson and Zaragoza 2009, with Lucene's idf and without the constant k1 + 1. Counts are
kept rather than weights: N, n and L move with every passage written, and a weight would be stale.
Postings lie in segments of falling size; a new one is merged into the last while that is not much
larger, so that a passage is moved O(log N) times in its life, and no further than to `FULL`
postings, so that neither a merge nor a delete touches all there is. A query costs what its terms'
postings cost, and nothing for the passages that hold none of them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.analysis.analyzer import ENGLISH, Analyzer
from hoptrail.memory.index.bm25_scores import Bm25Scores, Part
from hoptrail.memory.index.postings import Segment, TfLengthCodes, join_segments, make_segment
from hoptrail.memory.index.slots import Scores, Slots, SlotTable, grown, spread

K1 = 1.5
B = 0.75

FULL = 4_000_000
"""Postings above which a segment is not merged any more: a delete looks through one segment."""

_STOP = -1


class SparseIndex:
    """BM25 over a view's slots.

    Args:
        table: The view's slots; the view adds to it and to this index together.
        lock: The view's.
        language: Whose words are stemmed; see `hoptrail.memory.analysis.analyzer`.
    """

    def __init__(self, table: SlotTable, lock: RLock, language: str = ENGLISH) -> None:
        self._table = table
        self._lock = lock
        self._analyzer = Analyzer(language)
        self._ids: dict[str, int] = {}  # of terms, in the order they came
        self._words: dict[str, int] = {}  # words as written (folded) to term id
        self._df = np.zeros(0, dtype=np.int64)  # by term id, with room for more
        self._lengths = np.zeros(0, dtype=np.int64)  # by slot, with room for more
        self._count = 0  # slots indexed, dead ones among them
        self._total = 0  # of the living slots' lengths
        self._pairs = TfLengthCodes()
        self._segments: list[Segment] = []
        self._dead: list[int] = []  # postings of dead slots in each segment
        self._norm: NDArray[np.float64] | None = None  # by code of a pair
        self._last: tuple[str, Bm25Scores] | None = None
        self._dead_slots: Slots | None = None

    def add(self, texts: Sequence[str]) -> None:
        """Index the texts of the slots that follow the last one indexed.

        Args:
            texts: Contents of n passages.
        """
        with self._lock:
            if not len(texts):
                return
            flat: list[int] = []
            lengths = np.zeros(len(texts), dtype=np.int64)
            for row, text in enumerate(texts):
                ids = self._learn(text)
                flat.extend(ids)
                lengths[row] = len(ids)
            owners = np.repeat(np.arange(len(texts)), lengths)
            terms = np.asarray(flat, dtype=np.int64)
            new = make_segment(self._count, owners, terms, lengths, self._pairs)
            self._take(new, lengths)
            self._total += int(lengths.sum())
            self._merge()
            self._forget()

    def remove(self, slots: Slots) -> None:
        """Take slots out; the table has them dead already.

        Args:
            slots: `(m,)`.
        """
        with self._lock:
            if not len(slots):
                return
            for i, segment in enumerate(self._segments):
                within = slots[(slots >= segment.first) & (slots < segment.last)]
                if not len(within):
                    continue
                places = segment.places(within)
                np.subtract.at(self._df, segment.terms_at(places), 1)
                self._dead[i] += len(places)
                if 2 * self._dead[i] > len(segment):
                    self._segments[i] = segment.only(self._table.alive[segment.slots])
                    self._dead[i] = 0
            self._total -= int(self._lengths[slots].sum())
            self._forget()

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs: the living slots' postings, as slots 0..n-1, and their terms."""
        with self._lock:
            alive = self._table.alive
            number = (np.cumsum(alive) - 1).astype(np.int32)
            in_use = self._df[: len(self._ids)] > 0
            term_number = (np.cumsum(in_use) - 1).astype(np.int32)
            names = "\n".join(itertools.compress(self._ids, in_use.tolist()))
            segments = [
                part.only(alive[part.slots]) if dead else part
                for part, dead in zip(self._segments, self._dead, strict=True)
            ]
            bounds = np.append(0, np.cumsum(alive))
            return {
                "terms": np.frombuffer(names.encode(), dtype=np.uint8),
                "lengths": self._lengths[: self._count][alive],
                "counts_of_codes": self._pairs.counts,
                "lengths_of_codes": self._pairs.lengths,
                "first": np.asarray([bounds[s.first] for s in segments], dtype=np.int64),
                "last": np.asarray([bounds[s.last] for s in segments], dtype=np.int64),
                "own_terms": _one([term_number[s.terms] for s in segments], np.int32),
                "own_df": _one([s.df() for s in segments], np.int64),
                "term_counts": np.asarray([len(s.terms) for s in segments], dtype=np.int64),
                "slots": _one([number[s.slots] for s in segments], np.int32),
                "codes": _one([s.codes for s in segments], np.int32),
            }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state, in place of adding its texts to an empty index.

        Its arrays are only read, so that they may be those of a file.

        Args:
            state: As `state` gave it.
        """
        with self._lock:
            terms = state["terms"].tobytes().decode()
            self._ids = {term: i for i, term in enumerate(terms.split("\n") if terms else [])}
            self._df = np.zeros(len(self._ids), dtype=np.int64)
            self._lengths = state["lengths"]
            self._count = len(self._lengths)
            self._total = int(self._lengths.sum())
            self._pairs.restore(state["counts_of_codes"], state["lengths_of_codes"])
            at_term, at_posting = 0, 0
            bounds = zip(state["first"].tolist(), state["last"].tolist(), strict=True)
            for (first, last), count in zip(bounds, state["term_counts"].tolist(), strict=True):
                own = slice(at_term, at_term + count)
                df = state["own_df"][own]
                starts = np.append(0, np.cumsum(df))
                place = slice(at_posting, at_posting + int(starts[-1]))
                self._segments.append(
                    Segment(
                        first,
                        last,
                        state["own_terms"][own],
                        starts,
                        state["slots"][place],
                        state["codes"][place],
                    )
                )
                self._df[self._segments[-1].terms] += df
                at_term, at_posting = own.stop, place.stop
            self._dead = [0] * len(self._segments)
            self._forget()

    def lengths(self, slots: Slots) -> Slots:
        """How many terms the passages at slots `(m,)` have, repeats too: `(m,)`."""
        with self._lock:
            lengths: Slots = self._lengths[slots]
            return lengths

    def terms(self, text: str) -> list[str]:
        """The terms of a text, repeated as they are.

        Args:
            text: A query, or a passage's content.
        """
        with self._lock:
            terms = (self._analyzer.term(word) for word in self._analyzer.words(text))
            return [term for term in terms if term is not None]

    def words(self, text: str) -> list[str]:
        """The words of a text, folded, wholes and parts among them.

        Args:
            text: A query, or a passage's content.
        """
        return self._analyzer.words(text)

    def term(self, word: str) -> str | None:
        """The term that a word of `words` stands for; None for a stop word.

        Args:
            word: One of `words`.
        """
        with self._lock:
            return self._analyzer.term(word)

    def idf(self, term: str) -> float:
        """How rare a term is among the scope's passages; highest for one that none holds.

        Args:
            term: As `terms` gives it.
        """
        return float(self.idfs([term])[0])

    def idfs(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """`idf` of several terms, `(m,)`.

        Args:
            terms: m of them, as `terms` gives them.
        """
        with self._lock:
            ids = [self._ids.get(term) for term in terms]
            n = np.asarray([0 if i is None else self._df[i] for i in ids], dtype=np.int64)
            return np.log1p((self._table.size - n + 0.5) / (n + 0.5))

    def scores(self, text: str) -> Scores:
        """The score of every slot, `(capacity,)`, read-only; 0 for the dead.

        Args:
            text: The query.
        """
        with self._lock:
            scores = self.query_scores(text).all()
            scores.setflags(write=False)
            return scores

    def scores_of(self, text: str, slots: Slots) -> Scores:
        """The scores of some slots, `(m,)`.

        Args:
            text: The query.
            slots: `(m,)`.
        """
        with self._lock:
            return self.query_scores(text).of(slots)

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
            scores, slots = self.query_scores(text).top_k(k, allowed)
            best = self._table.order(scores, slots)[:k]
            return scores[best], slots[best]

    def query_scores(self, text: str) -> Bm25Scores:
        """What the text scores in every slot; kept until another is asked for.

        Args:
            text: The query.
        """
        with self._lock:
            if self._last is None or self._last[0] != text:
                self._last = text, self._score(text)
            return self._last[1]

    def moments(self, text: str) -> tuple[float, float]:
        """Mean and standard deviation of a text's scores over all living slots.

        Args:
            text: The query.
        """
        with self._lock:
            size = self._table.size
            if not size:
                return 0.0, 0.0
            mean, square = (np.asarray(of) for of in self.query_scores(text).moments(size))
            return float(mean), float(spread(mean, square))

    def _learn(self, text: str) -> list[int]:
        """The term ids of a text; new words and terms are taken in."""
        words = self._analyzer.words(text)
        ids_of = self._words
        try:
            ids = [ids_of[word] for word in words]
        except KeyError:
            for word in words:
                if word not in ids_of:
                    term = self._analyzer.term(word)
                    ids_of[word] = (
                        _STOP if term is None else self._ids.setdefault(term, len(self._ids))
                    )
            ids = [ids_of[word] for word in words]
        return [i for i in ids if i != _STOP]

    def _wanted(self, text: str) -> list[tuple[int, float]]:
        """The known terms of a query, each with its weight."""
        # Terms are added up in the order of their names: a passage's sum then has the same bits
        # whenever its words were first seen, and whichever segment holds it.
        return [
            (self._ids[term], times * self.idf(term))
            for term, times in sorted(Counter(self.terms(text)).items())
            if term in self._ids
        ]

    def _score(self, text: str) -> Bm25Scores:
        weighted = self._wanted(text)
        sought = np.asarray([term for term, _ in weighted], dtype=np.int32)
        if self._dead_slots is None:
            self._dead_slots = np.flatnonzero(~self._table.alive[: self._count])
        # Of a frequent term what it adds is worked out once for each code.
        frequent = 4 * self._df[sought] > len(self._pairs.counts)
        by_code = [
            self._parts(weight, None) if often else None
            for (_, weight), often in zip(weighted, frequent.tolist(), strict=True)
        ]
        scores = Bm25Scores()
        for segment in self._segments:
            parts: list[Part] = []
            for i, place in segment.postings_of(sought):
                table, codes = by_code[i], segment.codes[place]
                added = self._parts(weighted[i][1], codes) if table is None else table.take(codes)
                parts.append((i, segment.slots[place], added))
            first, last = self._dead_slots.searchsorted((segment.first, segment.last))
            scores.add_postings(segment.last, parts, self._dead_slots[first:last])
        return scores

    def _parts(self, weight: float, codes: NDArray[np.int32] | None) -> NDArray[np.float64]:
        """What a term of this weight adds to a score: for each code, or for all there are."""
        norms, counts = self._norms(), self._pairs.counts
        if codes is not None:
            norms, counts = norms[codes], counts[codes]
        scores: NDArray[np.float64] = weight * counts / (counts + norms)
        return scores

    def _norms(self) -> NDArray[np.float64]:
        """k1 (1 - b + b l / L) for each code."""
        if self._norm is None:
            mean = max(self._total, 1) / max(self._table.size, 1)
            self._norm = np.asarray(K1 * (1 - B + B * self._pairs.lengths / mean))
        return self._norm

    def _forget(self) -> None:
        self._norm = None
        self._last, self._dead_slots = None, None

    def _take(self, new: Segment, lengths: Slots) -> None:
        """Append a segment and the lengths of its slots."""
        if len(self._ids) > len(self._df):
            self._df = grown(self._df, 2 * len(self._ids))
        if new.last > len(self._lengths):
            self._lengths = grown(self._lengths, max(new.last, 2 * len(self._lengths)))
        self._df[new.terms] += new.df()
        self._lengths[new.first : new.last] = lengths
        self._count = new.last
        self._segments.append(new)
        self._dead.append(0)

    def _merge(self) -> None:
        """Merge from the end while a segment is less than twice as large as the next."""
        segments = self._segments
        while len(segments) > 1:
            small = len(segments[-2]) < 2 * len(segments[-1]) or not len(segments[-1])
            if not small or len(segments[-2]) + len(segments[-1]) > FULL:
                break
            segments[-2:] = [join_segments(segments[-2:], self._table.alive)]
            self._dead[-2:] = [0]


def _one(parts: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    """Arrays one behind the other."""
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
