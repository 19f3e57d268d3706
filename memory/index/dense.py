"""The dense index: nearest passages by inner product, and the moments of all products for free.

Up to a size every vector is compared. Above it, or if a kind was asked for by name, an approximate
index proposes candidates; they are scored from the stored vectors all the same, so that a
passage's score and the order of equals never depend on the kind.

A passage longer than the encoder's window has a vector for each of its windows beside the one for
the whole, and the best of them, moved towards the whole, is its score: see `windows`.

The mean and the spread of a query's cosine over every passage follow from two sums that are kept
up to date, s = sum of v and S = sum of v v^T:  mean = q.s / n,  mean of squares = q^T S q / n.
They are those of the passages as wholes, long ones too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.encoders.windows import leaning
from hoptrail.memory.index.ann import DRIFT, Approximate, Selection
from hoptrail.memory.index.ann_types import AnnIndexType, IndexName, kind_for
from hoptrail.memory.index.dense_windows import ROUNDING, SlotWindows, products
from hoptrail.memory.index.engines.engine_search import EngineSearch
from hoptrail.memory.index.slots import Scores, Slots, SlotTable, spread
from hoptrail.memory.index.vector_table import Mask, VectorTable

MARGIN = 16
"""Fetched beyond k, so that content can decide between equals at the boundary."""

SCORED_AT_ONCE = 8192
"""Candidates of several queries that are scored together: bounds the memory that takes."""

EXACT_AMONG = 20_000
"""Slots that a filter lets through up to which each is compared, whatever the kind."""

EXACT_SHARE = 0.25
"""Of the slots to look among; where a search would fetch more of them, each is compared."""

WORTH_BLAS = 2_000_000
"""Multiplications in one matrix product from which BLAS pays."""


class DenseIndex:
    """Vectors by slot, searched by inner product.

    Args:
        table: The view's slots; the view adds to it and to this index together.
        lock: The view's.
        index: The kind: "auto" by size, "flat" for exact whatever the size, or one of the
            approximate kinds, by name or as it is, which are used from `LEAST` passages on; or
            what another engine proposes.
    """

    def __init__(
        self,
        table: SlotTable,
        lock: RLock,
        index: IndexName | AnnIndexType | EngineSearch = "auto",
    ) -> None:
        self._table = table
        self._lock = lock
        self._engine = index if isinstance(index, EngineSearch) else None
        self._name: IndexName | AnnIndexType
        self._name = "flat" if isinstance(index, EngineSearch) else index
        self._approximate: Approximate | EngineSearch | None = None
        self._living: _Among | None = None  # all that live, while that is right
        self._reset(0)

    def __repr__(self) -> str:
        kind = "exact" if self._approximate is None else repr(self._approximate)
        return f"<DenseIndex of {self._table.size} passages: {kind}>"

    @property
    def dim(self) -> int:
        """The width of a vector; 0 while there has been none."""
        return self._rows.dim

    @property
    def approximate(self) -> Approximate | EngineSearch | None:
        """What proposes candidates; None where every vector is compared."""
        return self._approximate

    def add(
        self, vectors: Vectors, windows: Vectors | None = None, owners: Slots | None = None
    ) -> None:
        """Take in the vectors `(n, d)` of the slots that follow the last one.

        Args:
            vectors: Of each passage as a whole.
            windows: `(e, d)` of the windows of long ones.
            owners: `(e,)` whose each is: a row of `vectors`, ascending.
        """
        with self._lock:
            if not len(vectors):
                return
            if vectors.shape[1] != self.dim:
                # An emptied store may go on with another encoder; its dead slots keep their place.
                count = len(self._rows)
                self._reset(vectors.shape[1])
                self._rows.append(np.zeros((count, self.dim), dtype=np.float32))
                self._caught_up = count
            if windows is not None and owners is not None:
                near = leaning(windows, vectors[owners])
                self._windows.add(near, owners + len(self._rows))
            self._rows.append(vectors)
            self._move(vectors, 1)
            self._living = None

    def remove(self, slots: Slots) -> None:
        """Take slots out; the table has them dead already.

        Args:
            slots: `(m,)`.
        """
        with self._lock:
            if len(slots):
                self._move(self._rows.take(slots), -1)
                self._windows.remove(slots, self._table.alive)
                self._living = None
                if self._approximate is not None:
                    self._approximate.removed(int((slots < self._caught_up).sum()))

    def settle(self) -> bool:
        """Make the approximate index fit what is there; whether that meant to train one.

        A search does it too, if nobody has before.
        """
        with self._lock:
            if self._engine is not None:
                self._approximate = self._engine if self._engine.usable else None
                return False
            old, size = self._approximate, self._table.size
            assert not isinstance(old, EngineSearch)
            kind = kind_for(self._name, size, old.kind if old else None)
            if kind is None and old is None:
                return False
            new = int(self._table.alive[self._caught_up :].sum())
            if kind is None or old is None or old.kind is not kind or old.drift(new) > DRIFT:
                self._approximate, self._living = None, None
                self._caught_up = len(self._rows)
                if kind is None:
                    return False
                reason = "there is none" if old is None else f"in place of {old!r}"
                self._approximate = Approximate.build(kind, self._rows, self._table.alive, reason)
                return True
            if self._caught_up < len(self._rows):
                old.catch_up(self._rows, self._caught_up, self._table.alive)
                self._caught_up = len(self._rows)
            return False

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs: the living slots' vectors, in their order, the sums, the index."""
        with self._lock:
            self.settle()
            alive = self._table.alive
            state = {"vectors": self._rows.those(alive), "sum": self._sum, "outer": self._outer}
            state |= self._windows.state(alive)
            if self._approximate is not None:
                state |= self._approximate.state(alive)
            return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state, in place of adding its vectors to an empty index.

        Its vectors stay where they lie, which may be a file.

        Args:
            state: As `state` gave it.
        """
        with self._lock:
            vectors = state["vectors"]
            self._reset(vectors.shape[1], vectors)
            self._sum, self._outer = state["sum"].copy(), state["outer"].copy()
            self._windows.restore(state)
            self._caught_up = len(vectors)
            if "faiss" in state and self._engine is None:
                own = [self._name] if isinstance(self._name, AnnIndexType) else []
                self._approximate = Approximate.restore(state, self.dim, own)

    def vectors(self, slots: Slots) -> Vectors:
        """The vectors of slots, `(m, d)`: of each passage as a whole.

        Args:
            slots: `(m,)`.
        """
        with self._lock:
            return self._rows.take(np.asarray(slots, dtype=np.int64))

    @property
    def windows_generation(self) -> int:
        """Another one whenever windows got other places; else they are only added to."""
        return self._windows.generation

    def windows_since(self, first: int) -> tuple[Vectors, Slots]:
        """The windows of long passages from a place on, those of dead slots among them.

        Args:
            first: How many are known, of this `windows_generation`.

        Returns:
            Vectors `(w, d)`, moved towards the whole, and the slots `(w,)` of their passages.
        """
        with self._lock:
            return self._windows.since(first)

    def windows(self) -> tuple[Vectors, Slots]:
        """The vectors of long passages' windows `(m, d)`, and their passages' slots `(m,)`.

        They are moved towards the whole already: a passage scores by the best of all its vectors.
        """
        with self._lock:
            state = self._windows.state(self._table.alive, renumber=False)
            if not state:
                return np.zeros((0, self.dim), dtype=np.float32), np.zeros(0, dtype=np.int64)
            return state["windows"], state["window_slots"]

    def cosines(self, query: Vectors, slots: Slots) -> Scores:
        """The scores of slots `(m,)` for one query `(d,)`, by a product in single precision.

        Args:
            query: `(d,)` L2-normalised.
            slots: `(m,)`.
        """
        scores: Scores = self.cosines_of([query], slots)[0]
        return scores

    def cosines_of(self, queries: Sequence[Vectors], slots: Slots) -> Scores:
        """The scores of slots `(m,)` for n queries, `(n, m)`, each as `cosines` has it.

        Args:
            queries: n of `(d,)`, L2-normalised.
            slots: `(m,)`.
        """
        with self._lock:
            vectors = self._rows.take(slots)
            # One by one: a matrix product's bits change with the shape of the batch.
            scores: Scores = np.stack([vectors @ query for query in queries])
            if len(self._windows):
                raised = self._windows.raised(np.stack(queries), slots, scores.astype(np.float64))
                scores = raised.astype(np.float32)
            return scores

    def search(
        self, vectors: Vectors, k: int, *, allowed: Mask | None = None, wholes: bool = False
    ) -> tuple[Scores, Slots]:
        """The nearest living slots of each query, best first, equals by content.

        Args:
            vectors: `(n, d)` L2-normalised queries.
            k: How many for each.
            allowed: `(capacity,)` the slots to look among; all by default.
            wholes: Compare long passages as wholes, not by the best of their windows.

        Returns:
            Scores `(n, m)` and slots `(n, m)`, m the smaller of k and the slots to look among.
        """
        queries = self._queries(vectors)
        with self._lock:
            self.settle()
            among = self._among(allowed)
            k = min(k, among.count)
            scores = np.zeros((len(queries), k), dtype=np.float32)
            slots = np.zeros((len(queries), k), dtype=np.int64)
            if not k:
                return scores, slots
            fetch = k + MARGIN
            if self._approximate is not None:
                fetch = self._approximate.candidates(fetch)
            at_once = max(1, SCORED_AT_ONCE // fetch)
            for start in range(0, len(queries), at_once):
                rows = np.arange(start, min(start + at_once, len(queries)))
                self._best(queries, rows, fetch, among, scores, slots)
            if len(self._windows) and not wholes:
                self._with_windows(queries, among, scores, slots)
            return scores, slots

    def scores_of(self, vectors: Vectors, slots: Slots, *, wholes: bool = False) -> Scores:
        """The scores of some slots `(m,)` for queries `(n, d)`: `(n, m)`; as `search` has them.

        Args:
            vectors: `(n, d)` L2-normalised queries.
            slots: `(m,)`.
            wholes: Compare long passages as wholes, not by the best of their windows.
        """
        queries = self._queries(vectors)
        with self._lock:
            if not len(slots):
                return np.zeros((len(queries), 0), dtype=np.float32)
            if wholes:
                return products(queries, self._rows.take(slots)[None]).astype(np.float32)
            return self._exact(queries, np.asarray(slots, dtype=np.int64)).astype(np.float32)

    def moments(self, vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each query's cosine over all living slots as wholes.

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

    def _with_windows(self, queries: Vectors, among: _Among, scores: Scores, slots: Slots) -> None:
        """Let passages in that one of their windows brings among the best, and order them anew.

        The best by the windows and the best by the wholes have the best by both among them.
        """
        k = scores.shape[1]
        contenders = self._windows.contenders(
            queries, scores[:, -1], k, among.chosen, self._table.alive
        )
        for row, more in enumerate(contenders):
            if not len(more):
                continue
            raised = self._exact(queries[row][None], more)[0].astype(np.float32)
            others = ~np.isin(slots[row], more)
            candidates = np.concatenate([slots[row, others], more])
            exact = np.concatenate([scores[row, others], raised])
            best = self._table.order(exact, candidates)[:k]
            scores[row], slots[row] = exact[best], candidates[best]

    def _exact(self, queries: Vectors, slots: Slots) -> NDArray[np.float64]:
        """Rounded scores `(n, m)` of slots `(m,)` for queries `(n, d)`."""
        return self._windows.raised(queries, slots, products(queries, self._rows.take(slots)[None]))

    def _best(
        self,
        queries: Vectors,
        rows: NDArray[np.int64],
        fetch: int,
        among: _Among,
        scores: Scores,
        slots: Slots,
    ) -> None:
        """Fill in the best of some queries, fetching more where some may have been missed."""
        k, fetch = scores.shape[1], min(fetch, among.count)
        selective = among.filtered and among.count <= EXACT_AMONG
        most = selective or fetch > EXACT_SHARE * among.count
        proposer = None if most else self._approximate
        if proposer is None:
            rough, proposed = self._rows.search(queries[rows], fetch, among.selectors(self._rows))
        else:
            rough, proposed = proposer.search(queries[rows], fetch, among.selection(proposer))
        vectors = self._rows.take(proposed)
        near = rough if proposer is None else np.einsum("nd,nmd->nm", queries[rows], vectors)
        unsure = []
        for i, row in enumerate(rows):
            contenders = _contenders(near[i], proposed[i], k)
            contending = proposed[i, contenders]
            exact = products(queries[row][None], vectors[i, contenders][None])[0]
            exact[contending < 0] = -np.inf
            best = self._table.order(exact, contending)[:k]
            scores[row], slots[row] = exact[best], contending[best]
            worst = exact[best[-1]]
            if proposer is not None:
                # Too few were found, or others that equal the last may not have been fetched.
                equal = rough[i, contenders][exact == worst]
                missed = worst == -np.inf or equal.min() <= rough[i, -1]
            else:
                # What was not fetched is no better than the last fetched, but for FAISS's rounding.
                missed = rough[i, -1] > worst - 1e-5
            if missed and fetch < among.count:
                unsure.append(row)
        if unsure:
            self._best(queries, np.asarray(unsure), 4 * fetch, among, scores, slots)

    def _queries(self, vectors: Vectors) -> Vectors:
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        if queries.ndim != 2 or (self.dim and queries.shape[1] != self.dim):
            raise InputError(f"queries must have the shape (n, {self.dim}), got {queries.shape}")
        return queries

    def _among(self, allowed: Mask | None) -> _Among:
        """The slots to search: the living, or those of them that are allowed."""
        if allowed is not None:
            chosen = self._table.among(allowed)
            return _Among(int(chosen.sum()), chosen, True)
        if self._living is None:
            whole = self._table.size == self._table.capacity
            self._living = _Among(self._table.size, None if whole else self._table.alive, False)
        return self._living

    def _move(self, vectors: Vectors, sign: int) -> None:
        """Add vectors to the sums, or take them out."""
        for start in range(0, len(vectors), 4096):
            part = vectors[start : start + 4096].astype(np.float64)
            self._sum += sign * part.sum(0)
            self._outer += sign * _matmul(part.T, part)

    def _reset(self, dim: int, base: Vectors | None = None) -> None:
        self._rows = VectorTable(dim, base)
        self._windows = SlotWindows(dim)
        self._sum = np.zeros(dim)
        self._outer = np.zeros((dim, dim))
        self._approximate, self._living = None, None
        self._caught_up = 0  # slots from here on the approximate index has not seen


@dataclass(slots=True)
class _Among:
    """What a search looks through."""

    count: int
    """How many slots."""
    chosen: Mask | None
    """Which, `(capacity,)`; None for all."""
    filtered: bool
    """Whether others that live are left out."""
    _selectors: list[Any] | None = None
    _selection: Selection | None = None

    def selectors(self, rows: VectorTable) -> list[Any] | None:
        """For an exact search."""
        if self._selectors is None and self.chosen is not None:
            self._selectors = rows.selectors(self.chosen)
        return self._selectors

    def selection(self, proposer: Approximate | EngineSearch) -> Selection:
        """For an approximate one."""
        if self._selection is None:
            self._selection = proposer.select(self.chosen)
        return self._selection


def _contenders(near: Scores, slots: Slots, k: int) -> NDArray[np.int64]:
    """Positions of the candidates that may be among the best `k`: the others need no exact score.

    Args:
        near: `(m,)` their scores, but for rounding.
        slots: `(m,)`, -1 for none.
        k: At most m.
    """
    if len(near) <= 2 * k:
        return np.arange(len(near))
    near = np.where(slots < 0, -np.inf, near)
    return np.flatnonzero(near >= np.partition(near, -k)[-k] - ROUNDING)


def _matmul(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """`a @ b`, small ones without BLAS: waiting for its threads costs more than they save."""
    if a.shape[0] * a.shape[1] * b.shape[1] >= WORTH_BLAS:
        return a @ b
    product: NDArray[np.float64] = np.einsum("ij,jk->ik", a, b)
    return product
