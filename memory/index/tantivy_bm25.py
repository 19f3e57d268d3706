"""The sparse index with tantivy to find the candidates: what the extra `hoptrail[tantivy]` adds.

Our own postings stay the truth, also for means and spreads over the whole scope. tantivy finds the
passages that may be best, skipping most of the postings, and these are scored again from ours, so
that scores, ties and deletes are exactly those of `SparseIndex`. That none is missed is checked:

tantivy weighs a term by f / (f + 1.2 n') and we by f / (f + 1.5 n), n = 1 - b + b l / L; its
lengths l are rounded down, and its mean L' is at least L / 1.25 while no more than a quarter of
what it holds is dead. So its score is never below ours, given our weights of the terms, and what it
has not returned scores no better than the last that it has.

It holds the numbers of terms, not words, in memory only, and is made anew from our postings when a
view is opened or too much of it is dead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import MissingExtra
from hoptrail.memory.analysis.analyzer import ENGLISH
from hoptrail.memory.index.bm25 import SparseIndex
from hoptrail.memory.index.slots import DECIMALS, Scores, Slots, SlotTable

FETCHED = 4
"""Candidates for each passage wanted, at first; four times as many while they may not be enough."""

MARGIN = 16
"""Candidates beyond that."""

DEAD = 0.25
"""Part of tantivy's passages that may be dead; what is said above needs it."""

ALLOWED = 8
"""A filter that lets less than one in so many through is served from our postings alone."""

HEAP = 64_000_000
"""Bytes that tantivy may buffer while it takes passages in."""

ROUNDING = 1e-4
"""tantivy adds up in single precision, and we round."""


def tantivy_module() -> Any:
    """tantivy, if it is installed.

    Raises:
        MissingExtra: It is not.
    """
    try:
        import tantivy
    except ImportError as error:
        raise MissingExtra("sparse search by tantivy needs tantivy", "tantivy") from error
    return tantivy


class TantivyIndex(SparseIndex):
    """BM25 over a view's slots, searched by tantivy.

    Args:
        table: The view's slots.
        lock: The view's.
        language: Whose words are stemmed.

    Raises:
        MissingExtra: tantivy is not installed.
    """

    _index: Any  # tantivy.Index: it carries no types
    _writer: Any

    def __init__(self, table: SlotTable, lock: RLock, language: str = ENGLISH) -> None:
        super().__init__(table, lock, language)
        self._tantivy = tantivy_module()
        builder = self._tantivy.SchemaBuilder()
        builder.add_text_field("terms", tokenizer_name="whitespace", index_option="freq")
        builder.add_unsigned_field("slot", fast=True)
        self._schema = builder.build()
        self._clear()

    def add(self, texts: Sequence[str]) -> None:
        """Index the texts of the slots that follow the last one indexed.

        Args:
            texts: Contents of n passages.
        """
        with self._lock:
            first = self._count
            super().add(texts)
            for slot, text in enumerate(texts, first):
                self._write(slot, [self._ids[term] for term in self.terms(text)])

    def remove(self, slots: Slots) -> None:
        """Take slots out; the table has them dead already.

        Args:
            slots: `(m,)`.
        """
        with self._lock:
            super().remove(slots)
            if self._held - self._table.size > DEAD * self._held:
                self._rebuild()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state, in place of adding its texts to an empty index.

        Args:
            state: As `state` gave it.
        """
        with self._lock:
            super().restore(state)
            self._rebuild()

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
            if self._last is not None and self._last[0] == text:
                return super().search(text, k, allowed=allowed)  # every score is known already
            weighted = self._wanted(text)
            among = self._table.alive if allowed is None else self._table.among(allowed)
            if ALLOWED * int(among.sum()) < self._held or not weighted:
                return super().search(text, k, allowed=allowed)
            searcher = self._searcher()
            query = self._query(searcher, weighted)
            fetch = FETCHED * k + MARGIN
            while True:
                hits = searcher.search(query, fetch, count=False).hits
                numbers = searcher.fast_field_values("slot", [address for _, address in hits])
                slots = np.asarray(numbers, dtype=np.int64)
                slots = np.sort(slots[among[slots]])
                scores = self._exact(weighted, slots)
                best = self._table.order(scores, slots)[:k]
                best = best[scores[best] > 0]
                kth = scores[best[-1]] if len(best) == k else 0.0
                if len(hits) < fetch or kth > hits[-1][0] + ROUNDING:
                    return scores[best], slots[best]
                fetch *= 4

    def _clear(self) -> None:
        self._index = self._tantivy.Index(self._schema)
        self._writer = self._index.writer(HEAP, 1)
        self._held = 0  # passages in it, dead ones among them
        self._written = False  # since the last commit

    def _write(self, slot: int, terms: Sequence[int]) -> None:
        document = self._tantivy.Document()
        document.add_text("terms", " ".join(map(str, terms)))
        document.add_unsigned("slot", slot)
        self._writer.add_document(document)
        self._held += 1
        self._written = True

    def _rebuild(self) -> None:
        """Make it anew from our postings of what is alive."""
        self._clear()
        for segment in self._segments:
            terms = np.repeat(segment.terms, segment.df())
            order = np.argsort(segment.slots, kind="stable")
            terms = np.repeat(terms[order], self._pairs.counts[segment.codes[order]])
            slots = np.repeat(segment.slots[order], self._pairs.counts[segment.codes[order]])
            ends = np.searchsorted(slots, np.arange(segment.first, segment.last + 1)).tolist()
            for slot, start, end in zip(
                range(segment.first, segment.last), ends[:-1], ends[1:], strict=True
            ):
                if self._table.alive[slot]:
                    self._write(slot, terms[start:end].tolist())

    def _searcher(self) -> Any:
        if self._written:
            self._writer.commit()
            self._index.reload()
            self._written = False
        return self._index.searcher()

    def _query(self, searcher: Any, weighted: list[tuple[int, float]]) -> Any:
        """A query whose terms have our weights instead of tantivy's own."""
        query, occur = self._tantivy.Query, self._tantivy.Occur
        parts = []
        for term, weight in weighted:
            n = searcher.doc_freq("terms", str(term))
            if n:
                own = float(np.log1p((self._held - n + 0.5) / (n + 0.5))) * (1 + 1.2)
                one = query.term_query(self._schema, "terms", str(term), "freq")
                parts.append((occur.Should, query.boost_query(one, weight / own)))
        return query.boolean_query(parts)

    def _exact(self, weighted: list[tuple[int, float]], slots: Slots) -> Scores:
        """The scores of some slots, ascending, as `matched` has them."""
        sums = np.zeros(len(slots))
        sought = np.asarray([term for term, _ in weighted], dtype=np.int32)
        for segment in self._segments:
            first, last = np.searchsorted(slots, [segment.first, segment.last])
            if first == last:
                continue
            here = slots[first:last]
            for i, place in segment.postings_of(sought):
                own = segment.slots[place]
                at = np.minimum(np.searchsorted(own, here), len(own) - 1)
                hit = np.flatnonzero(own[at] == here)
                codes = segment.codes[place][at[hit]]
                sums[first + hit] += self._parts(weighted[i][1], codes)
        return sums.round(DECIMALS).astype(np.float32)
