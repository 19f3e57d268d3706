"""Terms and mentions of passages, which no question changes: as arrays, kept by slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.view import GraphView
from hoptrail.memory.index.slots import grown
from hoptrail.memory.views.view import View
from hoptrail.types import Passage

Ids = NDArray[np.int32]

REMEMBERED = 50_000
"""Passages known at once."""
IDF_STEPS = 1024
"""The idf is rounded to steps of 1 / 1024, whose sums float32 holds exactly: they do not depend on
the order in which the terms were met."""
_STOP = -1


@dataclass(frozen=True, slots=True)
class PassageTerms:
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

    Words are remembered too, since to find a stem takes longer than to look one up.

    The numbers are private to one lexicon; nothing that leaves a pool depends on them.
    """

    def __init__(self, view: View, graph: GraphView) -> None:
        self.view, self.graph = view, graph
        self._number: dict[str, int] = {}  # of terms
        self._of_word: dict[str, int] = {}  # the same by the words that stand for them
        self._idf = np.zeros(1024, dtype=np.float32)  # by number, with room for more
        self._unweighed: list[str] = []  # the last terms, whose idf nobody has asked for yet
        self._passage_terms: dict[int, PassageTerms] = {}

    def ids(self, text: str) -> Ids:
        """The numbers of the different terms of a text, ascending, `(t,)`.

        Args:
            text: In words.
        """
        return _different(self._numbers(text))

    def idf(self) -> NDArray[np.float32]:
        """Inverse document frequency by number, `(terms so far,)`."""
        size = len(self._number)
        if self._unweighed:
            if size > len(self._idf):
                self._idf = grown(self._idf, 2 * size)
            new_idf = self.view.sparse.idfs(self._unweighed) * IDF_STEPS
            self._idf[size - len(new_idf) : size] = np.round(new_idf) / IDF_STEPS
            self._unweighed = []
        return self._idf[:size]

    def passage_terms(self, slots: Sequence[int]) -> list[PassageTerms]:
        """The terms and mentions of some passages; those that are new are read in one go.

        Args:
            slots: Of the passages.
        """
        missing = [slot for slot in slots if slot not in self._passage_terms]
        if len(self._passage_terms) + len(missing) > REMEMBERED:
            self._passage_terms.clear()
            missing = list(slots)
        if missing:
            self._learn(missing)
        return [self._passage_terms[slot] for slot in slots]

    def _learn(self, slots: list[int]) -> None:
        place, named = self.graph.mentioned(slots)
        bounds = np.searchsorted(place, np.arange(1, len(slots)))
        targets = np.split(named.astype(np.int32), bounds)
        mentions, mentioned = (counts.tolist() for counts in self.graph.mention_counts(slots))
        for i, passage in enumerate(self.view.passages(slots)):
            numbers = self._numbers(passage.content)
            self._passage_terms[slots[i]] = PassageTerms(
                passage=passage,
                terms=_different(numbers),
                title=self.ids(passage.title) if passage.title else np.zeros(0, np.int32),
                length=len(numbers),
                targets=targets[i],
                mentions=mentions[i],
                mentioned=mentioned[i],
            )

    def _numbers(self, text: str) -> list[int]:
        """The numbers of a text's terms, repeats too."""
        words = self.view.sparse.words(text)
        by_word = self._of_word
        try:
            numbers = [by_word[word] for word in words]
        except KeyError:
            for word in words:
                if word not in by_word:
                    by_word[word] = self._number_of(word)
            numbers = [by_word[word] for word in words]
        return [number for number in numbers if number != _STOP]

    def _number_of(self, word: str) -> int:
        term = self.view.sparse.term(word)
        if term is None:
            return _STOP
        if term not in self._number:
            self._number[term] = len(self._number)
            self._unweighed.append(term)
        return self._number[term]


def _different(numbers: list[int]) -> Ids:
    """Each once, ascending."""
    different = sorted(set(numbers))
    return np.asarray(different, dtype=np.int32)


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
        """The items of each passage, in their order.

        Args:
            lists: For each of n passages, its different items.
        """
        rows = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
        items = np.concatenate(lists) if lists else np.zeros(0, np.int32)
        return cls(rows, items, len(lists))

    def plus(self, other: Incidence) -> Incidence:
        """Its passages, and behind them those of another.

        Args:
            other: Over the same items.
        """
        return Incidence(
            np.concatenate([self.rows, other.rows + self.n]),
            np.concatenate([self.items, other.items]),
            self.n + other.n,
        )

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The sum over each passage's pairs, `(n,)`.

        Args:
            values: `(m,)`, one for each pair.
        """
        totals = np.bincount(self.rows, weights=values, minlength=self.n)
        return totals.astype(np.float64, copy=False)
