"""The terms of passages as sorted integer arrays, kept while a view lasts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hoptrail.memory.view import View
from hoptrail.types import Passage

Ids = NDArray[np.int32]

IDF_STEPS = 1024
"""The idf is rounded to steps of 1 / 1024, whose sums float32 holds exactly: they do not depend on
the order in which the terms were met."""


class Lexicon:
    """Numbers the terms that it meets, and remembers which terms a passage holds.

    The numbers are private to one lexicon; nothing that leaves a pool depends on them.
    """

    def __init__(self, view: View, *, remembered: int = 50_000) -> None:
        self.view = view
        self._number: dict[str, int] = {}
        self._idf = np.zeros(1024, dtype=np.float32)
        self.of_slot = lru_cache(remembered)(self._of_slot)

    def ids(self, text: str) -> Ids:
        """The numbers of the different terms of a text, ascending, `(t,)`."""
        return self._ids(self.view.sparse.terms(text))

    def idf(self) -> NDArray[np.float32]:
        """Inverse document frequency by number, `(terms so far,)`."""
        return self._idf[: len(self._number)]

    def _of_slot(self, slot: int) -> tuple[Ids, Ids, int, Passage]:
        """A passage's terms, its title's terms, its length in terms, and itself."""
        passage = self.view.passages([slot])[0]
        terms = self.view.sparse.terms(passage.content)
        title = self.ids(passage.title) if passage.title else np.zeros(0, np.int32)
        return self._ids(terms), title, len(terms), passage

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


def incidence(rows: list[Ids], width: int) -> sparse.csr_matrix:
    """Which row holds which term: `(len(rows), width)` float32 of zeros and ones."""
    indptr = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=indptr[1:])
    columns = np.concatenate(rows) if rows else np.zeros(0, np.int32)
    data = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_matrix((data, columns, indptr), shape=(len(rows), width))
