"""The pipeline's stages that look at vectors and words alone; each can be the first.

`Search` is the store's own one-hop search, `Full` the cosine of whole vectors, `Prefix` that of
their first dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.encoders.vectors import unit
from hoptrail.memory.index.learned.rotation import Rotation
from hoptrail.memory.index.slots import DECIMALS, Scores, Slots
from hoptrail.memory.search import hybrid_search
from hoptrail.memory.search.derived_rows import SlotRows
from hoptrail.memory.search.fusion import Fusion, rule_of
from hoptrail.memory.search.pipeline import CandidateGenerator, QueryState
from hoptrail.values.numbers import whole
from hoptrail.values.strings import check_choice

MODES = ("hybrid", "dense", "sparse")


class Search(CandidateGenerator):
    """The store's own one-hop search: by meaning, by words, or both.

    Args:
        mode: "hybrid", "dense" or "sparse".
        keep: Candidates that go on.
        fusion: How the first stage makes one score of two, if not by the sum of z-scores; as
            `Store.search` takes it.
    """

    def __init__(
        self, mode: str = "hybrid", *, keep: int, fusion: str | Fusion | None = None
    ) -> None:
        check_choice(mode, MODES, "mode")
        self.mode = mode
        if type(self) is Search:
            self.name = mode
        self.needs_vector = mode != "sparse"
        self._rule = rule_of(fusion)
        super().__init__(keep)

    def open(self, state: QueryState, count: int) -> tuple[Scores, Slots]:
        """The best by the mode."""
        with state.view.lock:
            return hybrid_search.search(
                state.view,
                state.text,
                state.vector,
                count,
                self.mode,
                rule=self._rule,
                allowed=state.allowed,
            )

    def score(self, batch: Sequence[QueryState]) -> list[Scores]:
        """The mode's scores of the candidates."""
        return [self._score(state) for state in batch]

    def _score(self, state: QueryState) -> Scores:
        with state.view.lock:
            if self.mode == "sparse":
                return state.view.sparse.scores_of(state.text, state.slots)
            if self.mode == "dense":
                cosines: Scores = state.view.dense.scores_of(state.query[None], state.slots)[0]
                return cosines
            return hybrid_search.hybrid_scores(state.view, state.text, state.query, state.slots)


class Full(Search):
    """The cosine of whole vectors; as the first stage, dense search.

    Args:
        keep: Candidates that go on.
    """

    name = "full"

    def __init__(self, *, keep: int) -> None:
        super().__init__("dense", keep=keep)


class Prefix(CandidateGenerator):
    """The cosine of the first dimensions, normalised anew; every allowed passage is looked at.

    A passage longer than the encoder's window scores by the best of its windows, as elsewhere.

    An encoder that was trained for it has what matters in its first dimensions (Kusupati et al.
    2022, 2205.13147, Matryoshka); with another one, keep more candidates.

    Args:
        dims: How many dimensions, at least 1.
        keep: Candidates that go on.
        rotation: By which vectors are turned first; see `hoptrail.memory.index.learned.rotation`.
    """

    needs_vector = True

    def __init__(self, dims: int, *, keep: int, rotation: Rotation | None = None) -> None:
        self.dims = dims = whole(dims, "dims", least=1, error=ConfigError)
        self.name = f"prefix {dims}" if rotation is None else f"rotated prefix {dims}"
        super().__init__(keep)
        self._rotation = rotation
        self._rows: SlotRows[np.float32] = SlotRows(self._first_dims)

    def open(self, state: QueryState, count: int) -> tuple[Scores, Slots]:
        """The best by the first dimensions."""
        with state.view.lock:
            slots = living(state)
            return best_of(state, self._cosines(state, slots), slots, count)

    def score(self, batch: Sequence[QueryState]) -> list[Scores]:
        """The cosines of the candidates' first dimensions."""
        return [self._cosines(state, state.slots) for state in batch]

    def _cosines(self, state: QueryState, slots: Slots) -> Scores:
        """Of some slots, `(m,)`."""
        query = self._first_dims(state.query[None])[0]
        # Of all, and then of some: a product's last bits depend on what else is in it.
        cosines: Scores = (self._rows.of(state.view) @ query)[slots]
        return self._rows.raised(state.view, slots, cosines, lambda rows: rows @ query)

    def _first_dims(self, vectors: Vectors) -> Vectors:
        if self._rotation is not None and len(vectors):
            vectors = self._rotation.apply(vectors)
        return first_dims(vectors, self.dims)


def first_dims(vectors: Vectors, dims: int) -> Vectors:
    """The first dimensions of vectors `(n, d)`, normalised anew; zeros stay zeros.

    Args:
        vectors: `(n, d)`.
        dims: How many of the first, at most d.
    """
    return unit(np.ascontiguousarray(vectors[:, :dims]))


def living(state: QueryState) -> Slots:
    """The slots that a question may find; not those that came after its filter was asked.

    Args:
        state: The question.
    """
    mask: NDArray[np.bool_] = state.view.alive.copy()
    if state.allowed is not None:
        mask[: len(state.allowed)] &= state.allowed
        mask[len(state.allowed) :] = False
    return np.flatnonzero(mask)


def best_of(state: QueryState, scores: Scores, slots: Slots, count: int) -> tuple[Scores, Slots]:
    """The best `count` of some slots by their scores `(m,)`, equals by content.

    Args:
        state: The question.
        scores: `(m,)`.
        slots: `(m,)`.
        count: How many at most.
    """
    rounded = scores.astype(np.float64).round(DECIMALS)
    if len(slots) > count:
        # All that equal the last one stay in, so that content decides between them.
        among_best = np.flatnonzero(rounded >= np.partition(rounded, -count)[-count])
        rounded, slots = rounded[among_best], slots[among_best]
    order = state.view.order(rounded, slots)[:count]
    return rounded[order].astype(np.float32), slots[order]
