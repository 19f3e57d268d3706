"""What a stage works out of every vector of a view, kept while the view lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.encoders.vectors import unit
from hoptrail.memory.index.slots import Floats, Scores, Slots
from hoptrail.memory.views.view import View

R = TypeVar("R", bound=np.generic)

ROWS_AT_ONCE = 20_000
"""Vectors read together: bounds the memory that takes."""


@dataclass(frozen=True, slots=True)
class _WindowRows(Generic[R]):
    """The rows of a view's windows."""

    generation: int
    """Of the windows; see `DenseIndex.windows_generation`."""
    rows: NDArray[R]
    """`(w, ...)`, of the windows' vectors brought to length 1."""
    lengths: NDArray[np.float32]
    """`(w,)` of the vectors: below 1, since a window's is moved towards that of the whole."""
    slots: Slots
    """`(w,)` whose windows they are."""


class SlotRows(Generic[R]):
    """A row for each slot and for each window of a long passage, made of its vector.

    A slot never changes, so only new ones are made.

    Args:
        make: Rows `(n, ...)` of vectors `(n, d)`, each of its own vector alone.
    """

    def __init__(self, make: Callable[[Vectors], NDArray[R]]) -> None:
        self._make = make
        self._rows: WeakKeyDictionary[View, NDArray[R]] = WeakKeyDictionary()
        self._window_rows: WeakKeyDictionary[View, _WindowRows[R]] = WeakKeyDictionary()

    def of(self, view: View) -> NDArray[R]:
        """The rows of all slots, `(capacity, ...)`, dead ones among them.

        Args:
            view: The scope.
        """
        with view.lock:
            before = self._rows.get(view)
            first = 0 if before is None else len(before)
            if before is not None and first == view.capacity:
                return before
            parts = [] if before is None else [before]
            for start in range(first, view.capacity, ROWS_AT_ONCE):
                slots = np.arange(start, min(start + ROWS_AT_ONCE, view.capacity))
                parts.append(self._make(view.dense.vectors(slots)))
            if not parts:
                parts = [self._make(np.zeros((0, max(view.dense.dim, 1)), dtype=np.float32))]
            rows = self._rows[view] = np.concatenate(parts)
            return rows

    def raised(
        self,
        view: View,
        slots: Slots,
        scores: Scores,
        score: Callable[[NDArray[R]], Floats | Scores],
    ) -> Scores:
        """Scores of slots `(m,)`, those of long passages raised to the best of their windows.

        Args:
            view: The scope.
            slots: `(m,)`.
            scores: `(m,)`, of the slots' own rows.
            score: Gives the scores `(n,)` of rows `(n, ...)`, each in proportion to its vector.

        Returns:
            `(m,)`; the scores themselves where no passage is long.
        """
        with view.lock:
            windows = self._windows(view)
            if windows is None:
                return scores
            in_question = np.zeros(view.capacity, dtype=np.bool_)
            in_question[slots] = True
            here = np.flatnonzero(in_question[windows.slots])
            if not len(here):
                return scores
            best = np.full(view.capacity, -np.inf, dtype=scores.dtype)
            window_scores = score(windows.rows[here]) * windows.lengths[here]
            np.maximum.at(best, windows.slots[here], window_scores)
            return np.maximum(scores, best[slots])

    def _windows(self, view: View) -> _WindowRows[R] | None:
        """The rows of all windows, None if there are none; only with the view's lock held."""
        before, generation = self._window_rows.get(view), view.dense.windows_generation
        if before is not None and before.generation != generation:
            before = None
        vectors, slots = view.dense.windows_since(0 if before is None else len(before.slots))
        if not len(slots):
            return before
        rows, lengths = self._make(unit(vectors)), np.linalg.norm(vectors, axis=1)
        if before is not None:
            rows = np.concatenate([before.rows, rows])
            lengths = np.concatenate([before.lengths, lengths])
            slots = np.concatenate([before.slots, slots])
        windows = self._window_rows[view] = _WindowRows(generation, rows, lengths, slots)
        return windows
