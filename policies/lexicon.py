"""What is known of passages whatever the question: terms and mentions as arrays, kept by slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.view import GraphView
from hoptrail.memory.view import View
from hoptrail.types import Passage

Ids = NDArray[np.int32]

REMEMBERED = 50_000
"""Passages known at once."""
IDF_STEPS = 1024
"""The idf is rounded to steps of 1 / 1024, whose sums float32 holds exactly: they do not depend on
the order in which the terms were met."""


@dataclass(frozen=True, slots=True)
class Known:
    """What features need of one passage."""

    passage: Passage
    terms: Ids
    """Numbers of its different terms, ascending."""
    title: Ids
    """Of its title's terms."""
    length: int
    """Its terms, repeats counted."""
    targets: Ids
    """Slots of the passages that it mentions, ascending."""
    mentions: int
    """How many places in it name a passage."""
    mentioned: int
    """How many places name it."""


class Lexicon:
    """Numbers the terms that it meets, and remembers which terms a passage holds.

    The numbers are private to one lexicon; nothing that leaves a pool depends on them.
    """

    def __init__(self, view: View, graph: GraphView) -> None:
        self.view, self.graph = view, graph
        self._number: dict[str, int] = {}
        self._idf = np.zeros(1024, dtype=np.float32)
        self._known: dict[int, Known] = {}

    def ids(self, text: str) -> Ids:
        """The numbers of the different terms of a text, ascending, `(t,)`."""
        return self._ids(self.view.sparse.terms(text))

    def idf(self) -> NDArray[np.float32]:
        """Inverse document frequency by number, `(terms so far,)`."""
        return self._idf[: len(self._number)]

    def known(self, slots: Sequence[int]) -> list[Known]:
        """What is known of the passages of these slots; read from the store in one go."""
        missing = [slot for slot in slots if slot not in self._known]
        if len(self._known) + len(missing) > REMEMBERED:
            self._known.clear()
            missing = list(slots)
        for slot, passage in zip(missing, self.view.passages(missing), strict=True):
            self._known[slot] = self._learn(slot, passage)
        return [self._known[slot] for slot in slots]

    def _learn(self, slot: int, passage: Passage) -> Known:
        terms = self.view.sparse.terms(passage.content)
        mentions = self.graph.out_mentions(slot)
        return Known(
            passage=passage,
            terms=self._ids(terms),
            title=self.ids(passage.title) if passage.title else np.zeros(0, np.int32),
            length=len(terms),
            targets=np.unique(np.asarray([m.target for m in mentions], dtype=np.int32)),
            mentions=len(mentions),
            mentioned=len(self.graph.in_mentions(slot)),
        )

    def _ids(self, terms: list[str]) -> Ids:
        found = {self._number_of(term) for term in terms}
        return np.fromiter(sorted(found), dtype=np.int32, count=len(found))

    def _number_of(self, term: str) -> int:
        number = self._number.get(term)
        if number is None:
            number = self._number[term] = len(self._number)
            if number == len(self._idf):
                self._idf = np.concatenate([self._idf, np.zeros_like(self._idf)])
            self._idf[number] = round(self.view.sparse.idf(term) * IDF_STEPS) / IDF_STEPS
        return number


@dataclass(frozen=True, slots=True)
class Incidence:
    """Which of n passages hold which items (terms by number, or slots), as m pairs."""

    rows: NDArray[np.int64]
    """`(m,)`, ascending."""
    items: Ids
    """`(m,)`, each once a passage."""
    n: int

    @classmethod
    def of(cls, lists: Sequence[Ids]) -> Incidence:
        """The items of each passage, in their order."""
        rows = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
        items = np.concatenate(lists) if lists else np.zeros(0, np.int32)
        return cls(rows, items, len(lists))

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """What a value for each pair `(m,)` adds up to in each passage, `(n,)`."""
        found = np.bincount(self.rows, weights=values, minlength=self.n)
        return found.astype(np.float64, copy=False)
