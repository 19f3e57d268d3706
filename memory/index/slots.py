"""The rows that a view's indexes share: a slot for every passage, and the order of equals."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

A = TypeVar("A", bound=np.generic)
Floats = NDArray[np.float64]
Slots = NDArray[np.int64]
Scores = NDArray[np.float32]

DECIMALS = 6
"""Scores are rounded to this before they are compared: sums of floats in another order differ by
less, so that a shuffled corpus gives the same ranking."""


class SlotTable:
    """Slots 0..n-1, given out in order and never again; a slot is alive until its passage goes.

    Not locked: the view that owns it is.
    """

    def __init__(self) -> None:
        self._rowids = np.zeros(0, dtype=np.int64)
        self._keys = np.zeros(0, dtype=np.uint64)
        self._alive = np.zeros(0, dtype=np.bool_)
        self.capacity = 0
        """Slots given out, dead ones among them."""
        self.size = 0
        """Slots alive."""

    @property
    def rowids(self) -> NDArray[np.int64]:
        """The store's rowid of each slot, `(capacity,)`."""
        return _read_only(self._rowids[: self.capacity])

    @property
    def keys(self) -> NDArray[np.uint64]:
        """The content's hash of each slot, `(capacity,)`."""
        return _read_only(self._keys[: self.capacity])

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which slots are alive, `(capacity,)`."""
        return _read_only(self._alive[: self.capacity])

    def add(self, rowids: NDArray[np.int64], keys: NDArray[np.uint64]) -> Slots:
        """Give out a slot to each, alive.

        Args:
            rowids: `(n,)` of passages.
            keys: `(n,)` 64 bits of the hashes of their contents.
        """
        first, last = self.capacity, self.capacity + len(rowids)
        if last > len(self._rowids):
            room = max(last, 2 * len(self._rowids))
            # New arrays, not resized ones: a caller may hold a slice of the old.
            self._rowids = grown(self._rowids, room)
            self._keys = grown(self._keys, room)
            self._alive = grown(self._alive, room)
        self._rowids[first:last] = rowids
        self._keys[first:last] = keys
        self._alive[first:last] = True
        self.capacity = last
        self.size += len(rowids)
        return np.arange(first, last, dtype=np.int64)

    def mark_deleted(self, slots: Slots) -> None:
        """Mark living slots as dead.

        Args:
            slots: `(m,)`, each alive.
        """
        self._alive = self._alive.copy()
        self._alive[slots] = False
        self.size -= len(slots)

    def among(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which slots are alive and allowed, `(capacity,)`; newer than the mask are not.

        Args:
            allowed: Up to `(capacity,)`.
        """
        mask = self._alive[: self.capacity].copy()
        mask[: len(allowed)] &= allowed[: self.capacity]
        mask[len(allowed) :] = False
        return mask

    def order(self, scores: NDArray[np.floating], slots: Slots) -> NDArray[np.int64]:
        """Positions that sort slots best first; equals by content, then by age.

        Args:
            scores: `(m,)`, already rounded.
            slots: `(m,)`.
        """
        return np.lexsort((self._rowids[slots], self._keys[slots], -scores))


def _read_only(array: NDArray[A]) -> NDArray[A]:
    array.setflags(write=False)
    return array


def grown(array: NDArray[A], room: int) -> NDArray[A]:
    """A copy of an array `(n,)` with room for more, which are zeros.

    Args:
        array: `(n,)`.
        room: Its length afterwards, at least n.
    """
    out = np.zeros(room, dtype=array.dtype)
    out[: len(array)] = array
    return out


def spread(mean: Floats, square: Floats) -> Floats:
    """Standard deviation out of the mean and the mean of squares, elementwise.

    Where all scores are equal, what is left of the difference is rounding: it counts as 0.

    Args:
        mean: Of anything.
        square: The mean of its squares.
    """
    variance = square - mean * mean
    noise = 1e-12 * (1.0 + square)
    std: Floats = np.sqrt(np.where(variance > noise, variance, 0.0))
    return std
