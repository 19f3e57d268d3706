"""What proposes candidates to a view's dense index, out of an engine beside the store."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.ann import Selection
from hoptrail.memory.index.ann_types import LEAST
from hoptrail.memory.index.slots import Scores, Slots, SlotTable
from hoptrail.memory.index.vector_table import Mask


class VectorEngine(Protocol):
    """An engine with the vectors of one store, as far as a search need know."""

    @property
    def usable(self) -> bool:
        """Whether it knows the store as it was when a view last caught up."""

    def nearest(self, queries: Vectors, count: int, scope: str) -> list[list[tuple[int, float]]]:
        """Rowids near to each query in a scope, with their products, best first.

        Args:
            queries: `(n, d)`.
            count: How many for each.
            scope: The namespace that theirs begin with, as stored.
        """


class EngineSearch:
    """What proposes candidates to a view's dense index, out of a store's engine.

    Args:
        engine: The store's.
        scope: The view's namespace, as stored.
        table: The view's slots.
        slot_of: The living slot of a rowid, or None.
    """

    def __init__(
        self,
        engine: VectorEngine,
        scope: str,
        table: SlotTable,
        slot_of: Callable[[int], int | None],
    ) -> None:
        self._engine, self._scope, self._table, self._slot_of = engine, scope, table, slot_of

    def __repr__(self) -> str:
        return repr(self._engine)

    @property
    def usable(self) -> bool:
        """Whether it is to be asked: there are enough passages, and the engine knows them."""
        return self._engine.usable and self._table.size > LEAST

    def candidates(self, count: int) -> int:
        """How many to fetch where so many are wanted.

        Args:
            count: Passages.
        """
        return 2 * count

    def removed(self, count: int) -> None:
        """Nothing: the engine learns of it from the store.

        Args:
            count: Slots that have died.
        """

    def state(self, alive: Mask) -> dict[str, NDArray[Any]]:
        """Nothing: the engine keeps what it has.

        Args:
            alive: `(capacity,)` the living slots.
        """
        return {}

    def select(self, chosen: Mask | None) -> Selection:
        """The chosen slots, all by default.

        Args:
            chosen: `(capacity,)`; None for all.
        """
        if chosen is None:
            return Selection(None, None, 1.0)
        return Selection(chosen, None, max(1, int(chosen.sum())) / max(1, self._table.size))

    def search(self, queries: Vectors, fetch: int, selection: Selection) -> tuple[Scores, Slots]:
        """Candidates as slots, -1 for none, with rough scores: both `(n, fetch)`, best first.

        Args:
            queries: `(n, dim)` L2-normalised.
            fetch: Candidates for each query.
            selection: Where to look, as `select` gave it.
        """
        share, chosen = selection.share, selection.chosen
        depth = fetch if share >= 1 else math.ceil(1.5 * fetch / share)
        rough = np.full((len(queries), fetch), -np.inf, dtype=np.float32)
        slots = np.full((len(queries), fetch), -1, dtype=np.int64)
        proposals = self._engine.nearest(queries, depth, self._scope)
        for row, near in enumerate(proposals):
            hits = [
                (slot, score) for rowid, score in near if (slot := self._living(rowid, chosen)) >= 0
            ]
            hits = hits[:fetch]
            if len(near) == depth:  # there may be more, none of them better than the last
                rough[row] = near[-1][1]
            rough[row, : len(hits)] = [score for _, score in hits]
            slots[row, : len(hits)] = [slot for slot, _ in hits]
        return rough, slots

    def _living(self, rowid: int, chosen: Mask | None) -> int:
        """The slot of a rowid, if it is alive and chosen; else -1."""
        slot = self._slot_of(rowid)
        return -1 if slot is None or (chosen is not None and not chosen[slot]) else slot
