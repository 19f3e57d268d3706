"""What a stage works out of every vector of a view, kept while the view lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.views.view import View

R = TypeVar("R", bound=np.generic)

ROWS_AT_ONCE = 20_000
"""Vectors read together: bounds the memory that takes."""


class SlotRows(Generic[R]):
    """A row for each slot, made of its vector; a slot never changes, so only new ones are made.

    Args:
        make: Rows `(n, ...)` of vectors `(n, d)`, each of its own vector alone.
    """

    def __init__(self, make: Callable[[Vectors], NDArray[R]]) -> None:
        self._make = make
        self._known: WeakKeyDictionary[View, NDArray[R]] = WeakKeyDictionary()

    def of(self, view: View) -> NDArray[R]:
        """The rows of all slots, `(capacity, ...)`, dead ones among them."""
        with view.lock:
            before = self._known.get(view)
            first = 0 if before is None else len(before)
            if before is not None and first == view.capacity:
                return before
            parts = [] if before is None else [before]
            for start in range(first, view.capacity, ROWS_AT_ONCE):
                slots = np.arange(start, min(start + ROWS_AT_ONCE, view.capacity))
                parts.append(self._make(view.dense.vectors(slots)))
            if not parts:
                parts = [self._make(np.zeros((0, max(view.dense.dim, 1)), dtype=np.float32))]
            rows = self._known[view] = np.concatenate(parts)
            return rows
