"""The windows of long passages beside the dense index: a passage scores by the best of its vectors.

score(q, p) = max over the vectors v of p of q . v, where the index itself has the first vector of
each passage, that of the whole, and this the others, moved towards it. Of every query the product
with every window is made, exactly, whatever the kind of index: what costs is the long texts, and
nothing where there are none. See `windows` for where they come from.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.slots import DECIMALS, Scores, Slots
from hoptrail.memory.index.vector_table import Mask, VectorTable

ROWS_AT_ONCE = 16_384
"""Windows that are multiplied at once."""

QUERIES_AT_ONCE = 32
"""Queries that are: both bound the memory that takes."""

EXACT_AT_ONCE = 4096
"""Products that are rounded together, each of its own sum."""

ROUNDING = 1e-4
"""More than single precision takes off the product of two unit vectors."""

_GENERATIONS = itertools.count()


class SlotWindows:
    """The vectors of windows by the slot of their passage.

    Not locked: the index that owns it is.

    Args:
        dim: The width of a vector.
    """

    def __init__(self, dim: int) -> None:
        self._rows = VectorTable(dim)
        self._slots: Slots = np.zeros(0, dtype=np.int64)  # of long passages, ascending
        self._starts: Slots = np.zeros(1, dtype=np.int64)  # of their rows, and the end
        self._dead = 0  # rows of slots that were removed
        self.generation = next(_GENERATIONS)
        """Another one whenever rows got other places; else they are only added to."""

    def __len__(self) -> int:
        return len(self._rows) - self._dead

    def add(self, vectors: Vectors, slots: Slots) -> None:
        """Take in the windows `(e, d)` of new slots `(e,)`, those of one together, ascending.

        Args:
            vectors: `(e, d)`.
            slots: `(e,)` whose windows they are.
        """
        if not len(slots):
            return
        new, counts = np.unique(slots, return_counts=True)
        self._rows.append(vectors)
        self._slots = np.concatenate([self._slots, new])
        self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(counts)])

    def remove(self, slots: Slots, alive: Mask) -> None:
        """Note that slots are dead; their rows go with many others.

        Args:
            slots: `(m,)`.
            alive: `(capacity,)` the living slots.
        """
        if not len(self._slots):
            return
        at, long = self._find(slots)
        self._dead += int((self._starts[at[long] + 1] - self._starts[at[long]]).sum())
        if 2 * self._dead > len(self._rows):
            self.restore(self.state(alive, renumber=False))

    def state(self, alive: Mask, *, renumber: bool = True) -> dict[str, NDArray[Any]]:
        """What `restore` needs, of the living slots; those renumbered in their order.

        Args:
            alive: `(capacity,)` the living slots.
            renumber: Count the living slots from 0.
        """
        if not len(self):
            return {}
        living = alive[self._slots]
        of_row = np.repeat(np.arange(len(self._slots)), np.diff(self._starts))
        alive_rows = living[of_row]
        slots = self._slots[of_row][alive_rows]
        if renumber:
            slots = (np.cumsum(alive) - 1)[slots]
        return {"windows": self._rows.those(alive_rows), "window_slots": slots}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take a state over, in place of all that is here; one without windows empties it.

        Args:
            state: As `state` gave it.
        """
        dim = self._rows.dim
        SlotWindows.__init__(self, dim)
        if "windows" in state:
            slots, counts = np.unique(state["window_slots"], return_counts=True)
            self._rows = VectorTable(dim, state["windows"])
            self._slots = slots.astype(np.int64)
            self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def since(self, first: int) -> tuple[Vectors, Slots]:
        """The windows from a place on, with those of dead slots: vectors `(w, d)`, slots `(w,)`.

        Args:
            first: How many are known, of this `generation`.
        """
        slots = np.repeat(self._slots, np.diff(self._starts))[first:]
        return self._rows.take(np.arange(first, len(self._rows))), slots

    def raised(
        self, queries: Vectors, slots: Slots, scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Scores `(n, m)` of slots `(m,)`, those of long passages raised to the best of theirs.

        Args:
            queries: `(n, d)`.
            slots: `(m,)`.
            scores: `(n, m)`, of the passages as wholes; written over.
        """
        if not len(self):
            return scores
        at, long = self._find(slots)
        columns = np.flatnonzero(long)
        if not len(columns):
            return scores
        at = at[columns]
        begins, counts = self._starts[at], self._starts[at + 1] - self._starts[at]
        firsts = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) + np.repeat(begins - firsts, counts)
        parts = [
            products(queries, self._rows.take(rows[start : start + EXACT_AT_ONCE])[None])
            for start in range(0, len(rows), EXACT_AT_ONCE)
        ]
        best = np.maximum.reduceat(np.concatenate(parts, axis=1), firsts, axis=1)
        scores[:, columns] = np.maximum(scores[:, columns], best)
        return scores

    def contenders(
        self, queries: Vectors, least: Scores, count: int, allowed: Mask | None, alive: Mask
    ) -> Iterator[Slots]:
        """For each query the slots whose windows may bring them among the best.

        Args:
            queries: `(n, d)`.
            least: `(n,)` what a score must reach.
            count: How many are looked for.
            allowed: `(capacity,)` the slots to look among; all by default.
            alive: `(capacity,)` the living slots.
        """
        may = (alive if allowed is None else alive & allowed)[self._slots]
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            best = self._best(queries[part])
            best[:, ~may] = -np.inf
            for row, bound in zip(best, least[part], strict=True):
                if len(row) > count:
                    bound = max(bound, np.partition(row, -count)[-count])
                yield self._slots[(row >= bound - ROUNDING) & may]

    def _best(self, queries: Vectors) -> Scores:
        """The best product of each long passage, `(n, long)`, but for rounding."""
        out = np.empty((len(queries), len(self._slots)), dtype=np.float32)
        first = 0
        while first < len(self._slots):
            bound = self._starts[first] + ROWS_AT_ONCE
            last = max(first + 1, int(np.searchsorted(self._starts, bound, side="right")) - 1)
            begin, end = self._starts[first], self._starts[last]
            rows = self._rows.between(begin, end)
            offsets = self._starts[first:last] - begin
            out[:, first:last] = np.maximum.reduceat(queries @ rows.T, offsets, axis=1)
            first = last
        return out

    def _find(self, slots: Slots) -> tuple[Slots, Mask]:
        """Where slots `(m,)` are among the long ones, and which of them are."""
        at = np.searchsorted(self._slots, slots)
        long = at < len(self._slots)
        long[long] = self._slots[at[long]] == slots[long]
        return at, long


def products(queries: Vectors, vectors: Vectors) -> NDArray[np.float64]:
    """Rounded cosines of `(n, d)` queries with `(n or 1, m, d)` vectors: `(n, m)`.

    Each is its own sum of d products, so that it does not depend on what else is asked: a matrix
    product's bits change with the shape of the batch.

    Args:
        queries: `(n, d)`.
        vectors: `(n, m, d)`, or `(1, m, d)` the same for all.
    """
    product = vectors.astype(np.float64) * queries[:, None].astype(np.float64)
    total: NDArray[np.float64] = product.sum(-1).round(DECIMALS)
    return total
