"""The dense index: exact inner products with FAISS, and the moments of all of them for free.

The mean and the spread of a query's cosine over every passage follow from two sums that are kept
up to date, s = sum of v and S = sum of v v^T:  mean = q.s / n,  mean of squares = q^T S q / n.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.memory.encoder import Vectors
from hoptrail.memory.slots import DECIMALS, Scores, Slots, SlotTable, spread

MARGIN = 16
"""Fetched beyond k, so that content can decide between equals at the boundary."""

QUERIES_AT_ONCE = 64
"""Queries whose candidates are scored together: bounds the memory that takes."""


WORTH_THREADS = 500_000_000
"""Multiplications in one search from which more than one thread pays: some 50 ms of one."""

WORTH_BLAS = 2_000_000
"""Multiplications in one matrix product from which BLAS pays."""


class DenseIndex:
    """Vectors by slot, searched exactly.

    Args:
        table: The view's slots; the view adds to it and to this index together.
        lock: The view's.
    """

    _index: Any  # faiss.IndexFlatIP: what SWIG makes carries no types
    _all: Vectors  # FAISS's own memory, not a copy
    _selector: Any  # FAISS's parameters that pass over the dead, while they are right

    def __init__(self, table: SlotTable, lock: RLock) -> None:
        self._table = table
        self._lock = lock
        self._reset(0)

    @property
    def dim(self) -> int:
        """The width of a vector; 0 while there has been none."""
        return self._dim

    def add(self, vectors: Vectors) -> None:
        """Take in the vectors `(n, d)` of the slots that follow the last one."""
        with self._lock:
            if not len(vectors):
                return
            if vectors.shape[1] != self._dim:
                # An emptied store may go on with another encoder; its dead slots keep their place.
                held = self._count
                self._reset(vectors.shape[1])
                self._extend(np.zeros((held, self._dim), dtype=np.float32))
            self._extend(vectors)
            self._move(vectors, 1)

    def remove(self, slots: Slots) -> None:
        """Take slots out; the table has them dead already."""
        with self._lock:
            if len(slots):
                self._move(self._all[slots], -1)
                self._selector = None

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs: the living slots' vectors, in their order, and the sums."""
        with self._lock:
            return {
                "vectors": self._all[self._table.alive],
                "sum": self._sum,
                "outer": self._outer,
            }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state, in place of adding its vectors to an empty index."""
        with self._lock:
            self._reset(state["vectors"].shape[1])
            if self._dim:
                self._extend(state["vectors"])
            self._sum, self._outer = state["sum"], state["outer"]

    def vectors(self, slots: Slots) -> Vectors:
        """The vectors of slots, `(m, d)`."""
        with self._lock:
            found: Vectors = self._all[np.asarray(slots, dtype=np.int64)]
            return found

    def search(
        self, vectors: Vectors, k: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[Scores, Slots]:
        """The nearest living slots of each query, best first, equals by content.

        Args:
            vectors: `(n, d)` L2-normalised queries.
            k: How many for each.
            allowed: `(capacity,)` the slots to look among; all by default.

        Returns:
            Scores `(n, m)` and slots `(n, m)`, m the smaller of k and the slots to look among.
        """
        queries = self._queries(vectors)
        with self._lock:
            among = self._among(allowed)
            k = min(k, among.count)
            scores = np.zeros((len(queries), k), dtype=np.float32)
            slots = np.zeros((len(queries), k), dtype=np.int64)
            if not k:
                return scores, slots
            for start in range(0, len(queries), QUERIES_AT_ONCE):
                rows = np.arange(start, min(start + QUERIES_AT_ONCE, len(queries)))
                self._best(queries, rows, k + MARGIN, among, scores, slots)
            return scores, slots

    def scores_of(self, vectors: Vectors, slots: Slots) -> Scores:
        """The cosines of queries `(n, d)` with some slots `(m,)`: `(n, m)`."""
        queries = self._queries(vectors)
        with self._lock:
            if not len(slots):
                return np.zeros((len(queries), 0), dtype=np.float32)
            return _products(queries, self._all[slots][None]).astype(np.float32)

    def moments(self, vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each query's cosine over all living slots.

        Args:
            vectors: `(n, d)` queries.

        Returns:
            `(n,)` and `(n,)`; zeros when nothing is alive.
        """
        queries = self._queries(vectors).astype(np.float64)
        with self._lock:
            size = self._table.size
            if not size:
                return np.zeros(len(queries)), np.zeros(len(queries))
            mean = queries @ self._sum / size
            square = (_matmul(queries, self._outer) * queries).sum(1) / size
            return mean, spread(mean, square)

    def _best(
        self,
        queries: Vectors,
        rows: NDArray[np.int64],
        fetch: int,
        among: _Among,
        scores: Scores,
        slots: Slots,
    ) -> None:
        """Fill in the best of some queries, fetching more where equals reach the boundary."""
        k, fetch = scores.shape[1], min(fetch, among.count)
        with _threads(len(rows) * self._count * self._dim):
            rough, found = self._index.search(queries[rows], fetch, params=among.params)
        exact = _products(queries[rows], self._all[found])
        unsure = []
        for i, row in enumerate(rows):
            best = self._table.order(exact[i], found[i])[:k]
            scores[row], slots[row] = exact[i, best], found[i, best]
            # What was not fetched is no better than the last fetched, but for FAISS's rounding.
            if fetch < among.count and rough[i, -1] > exact[i, best[-1]] - 1e-5:
                unsure.append(row)
        if unsure:
            self._best(queries, np.asarray(unsure), 4 * fetch, among, scores, slots)

    def _queries(self, vectors: Vectors) -> Vectors:
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        if queries.ndim != 2 or (self._dim and queries.shape[1] != self._dim):
            raise InputError(f"queries must have the shape (n, {self._dim}), got {queries.shape}")
        return queries

    def _among(self, allowed: NDArray[np.bool_] | None) -> _Among:
        """The slots to search: the living, or those of them that are allowed."""
        if allowed is not None:
            chosen = self._table.among(allowed)
            return _Among(int(chosen.sum()), _only(chosen))
        if self._table.size == self._table.capacity:
            return _Among(self._table.size, None)
        if self._selector is None:
            self._selector = _only(self._table.alive)
        return _Among(self._table.size, self._selector)

    def _extend(self, vectors: Vectors) -> None:
        import faiss

        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        self._count += len(vectors)
        # It may have moved.
        flat = faiss.rev_swig_ptr(self._index.get_xb(), self._count * self._dim)
        self._all = flat.reshape(self._count, self._dim)
        self._selector = None

    def _move(self, vectors: Vectors, sign: int) -> None:
        """Add vectors to the sums, or take them out."""
        for start in range(0, len(vectors), 4096):
            part = vectors[start : start + 4096].astype(np.float64)
            self._sum += sign * part.sum(0)
            self._outer += sign * _matmul(part.T, part)

    def _reset(self, dim: int) -> None:
        self._dim = dim
        self._count = 0
        self._all = np.zeros((0, dim), dtype=np.float32)
        self._sum = np.zeros(dim)
        self._outer = np.zeros((dim, dim))
        self._selector = None
        self._index = None
        if dim:
            import faiss

            self._index = faiss.IndexFlatIP(dim)


@dataclass(frozen=True, slots=True)
class _Among:
    """What a search looks through."""

    count: int
    """How many slots."""
    params: Any
    """FAISS's parameters that pass over the others; None if there are none."""


def _only(chosen: NDArray[np.bool_]) -> Any:
    """FAISS's parameters that pass over all slots but these, `(capacity,)`."""
    import faiss

    bits = np.packbits(chosen, bitorder="little")
    return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))


@contextmanager
def _threads(products: int) -> Iterator[None]:
    """Keep a small search in its own thread.

    Where other programs want the cores too, waiting for FAISS's other threads to be scheduled took
    15 to 40 ms, for a search that one thread does in 1.5 ms. OpenMP's number is per thread: nobody
    else's is changed.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(before if products >= WORTH_THREADS else 1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _matmul(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """`a @ b`, small ones without BLAS: its threads cost what `_threads` tells of."""
    if a.shape[0] * a.shape[1] * b.shape[1] >= WORTH_BLAS:
        return a @ b
    product: NDArray[np.float64] = np.einsum("ij,jk->ik", a, b)
    return product


def _products(queries: Vectors, vectors: Vectors) -> NDArray[np.float64]:
    """Rounded cosines of `(n, d)` queries with `(n or 1, m, d)` vectors: `(n, m)`.

    Each is its own sum of d products, so that it does not depend on what else is asked: a matrix
    product's bits change with the shape of the batch.
    """
    product = vectors.astype(np.float64) * queries[:, None].astype(np.float64)
    total: NDArray[np.float64] = product.sum(-1).round(DECIMALS)
    return total
