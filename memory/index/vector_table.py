"""The vectors behind the slots, and the exact search over them: what every score comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.index.slots import Scores, Slots

Mask = NDArray[np.bool_]

ROWS_AT_ONCE = 1 << 16
"""Vectors that are copied out at once."""

WORTH_THREADS = 500_000_000
"""Multiplications in one search from which more than one thread pays: some 50 ms of one."""


class VectorTable:
    """Vectors by slot: those of a snapshot where they lie, and behind them those that came since.

    Not locked: the index that owns it is.

    Args:
        dim: The width of a vector.
        base: `(n, dim)` float32, contiguous; it is kept, not copied, and never written to.
    """

    def __init__(self, dim: int, base: Vectors | None = None) -> None:
        self.dim = dim
        self._base = np.zeros((0, dim), dtype=np.float32) if base is None else base
        self._tail = np.zeros((0, dim), dtype=np.float32)
        self._count = len(self._base)

    def __len__(self) -> int:
        return self._count

    def append(self, vectors: Vectors) -> None:
        """Take in the vectors `(n, dim)` of the next slots.

        Args:
            vectors: `(n, dim)`.
        """
        first = self._count - len(self._base)
        last = first + len(vectors)
        if last > len(self._tail):
            # Of the room to spare no page is in memory before it is written to.
            grown = np.empty((max(last, 2 * len(self._tail)), self.dim), dtype=np.float32)
            grown[:first] = self._tail[:first]
            self._tail = grown
        self._tail[first:last] = vectors
        self._count += len(vectors)

    def parts(self) -> list[tuple[int, Vectors]]:
        """All vectors in contiguous arrays, each with its first slot; at least one."""
        in_base = len(self._base)
        tail = self._tail[: self._count - in_base]
        if not in_base or not len(tail):
            return [(0, self._base if in_base else tail)]
        return [(0, self._base), (in_base, tail)]

    def take(self, slots: Slots) -> Vectors:
        """The vectors of slots, which may have any shape.

        Args:
            slots: Of any shape.
        """
        parts = self.parts()
        if len(parts) == 1:
            vectors: Vectors = parts[0][1][slots]
            return vectors
        (_, base), (first, tail) = parts
        vectors = np.empty((*slots.shape, self.dim), dtype=np.float32)
        early = slots < first
        vectors[early] = base[slots[early]]
        vectors[~early] = tail[slots[~early] - first]
        return vectors

    def between(self, first: int, last: int) -> Vectors:
        """The vectors of neighbouring slots; no copy where all are of one part.

        Args:
            first: The first slot.
            last: The one behind the last.
        """
        for start, part in self.parts():
            if start <= first and last <= start + len(part):
                return part[first - start : last - start]
        return self.take(np.arange(first, last))

    def those(self, chosen: Mask) -> Vectors:
        """The vectors of the chosen slots, in their order; no copy where it is all of a part.

        Args:
            chosen: `(capacity,)`.
        """
        parts = self.parts()
        if len(parts) == 1 and chosen.all():
            return parts[0][1]
        return np.concatenate([part[chosen[first : first + len(part)]] for first, part in parts])

    def batches(self, slots: Slots) -> Iterator[tuple[Slots, Vectors]]:
        """Slots `(m,)` with their vectors, a portion at a time.

        Args:
            slots: `(m,)`.
        """
        for start in range(0, len(slots), ROWS_AT_ONCE):
            portion = slots[start : start + ROWS_AT_ONCE]
            yield portion, self.take(portion)

    def selectors(self, chosen: Mask) -> list[Any]:
        """FAISS's selectors of the chosen slots, one for each part.

        Args:
            chosen: `(capacity,)`.
        """
        return [selector(chosen[first : first + len(part)]) for first, part in self.parts()]

    def search(
        self, queries: Vectors, count: int, selectors: Sequence[Any] | None
    ) -> tuple[Scores, Slots]:
        """The inner products and slots of the nearest, best first, `(n, count)` each.

        Args:
            queries: `(n, dim)`.
            count: How many for each; there are as many to choose from.
            selectors: What `selectors` gave for the slots to look among; all if None.
        """
        import faiss

        rough, rows_of = [], []
        for i, (first, part) in enumerate(self.parts()):
            # As IndexFlatIP does it, on memory that need not be its own.
            size = (len(queries), min(count, len(part)))
            products, rows = np.empty(size, dtype=np.float32), np.empty(size, dtype=np.int64)
            with threads(len(queries) * len(part) * self.dim):
                faiss.knn_inner_product(
                    faiss.swig_ptr(queries),
                    faiss.swig_ptr(part),
                    self.dim,
                    len(queries),
                    len(part),
                    size[1],
                    faiss.swig_ptr(products),
                    faiss.swig_ptr(rows),
                    selectors[i] if selectors else None,
                )
            rough.append(products)
            rows_of.append(np.where(rows < 0, rows, rows + first))
        if len(rough) == 1:
            return rough[0], rows_of[0]
        products, slots = np.concatenate(rough, axis=1), np.concatenate(rows_of, axis=1)
        products[slots < 0] = -np.inf
        best = np.argsort(-products, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(products, best, 1), np.take_along_axis(slots, best, 1)


def selector(chosen: Mask) -> Any:
    """FAISS's selector of the rows that are chosen.

    Args:
        chosen: `(n,)`.
    """
    import faiss

    return faiss.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))


@contextmanager
def threads(products: int) -> Iterator[None]:
    """Keep a small search in its own thread.

    Where other programs want the cores too, waiting for FAISS's other threads to be scheduled took
    15 to 40 ms, for a search that one thread does in 1.5 ms. OpenMP's number is per thread: nobody
    else's is changed.

    Args:
        products: How many products of vectors a search makes.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(before if products >= WORTH_THREADS else 1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
