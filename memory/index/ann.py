"""An approximate dense index: trained once, added to as it grows, told of what has died.

FAISS knows a vector by its position, in the order in which they came, and a slot is looked up from
it. The dead stay in it and are passed over, until so much has come and gone since it was trained
that it is trained anew; in a snapshot they are left out.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.index.ann_types import KINDS, AnnIndexType
from hoptrail.memory.index.slots import Scores, Slots
from hoptrail.memory.index.vector_table import Mask, VectorTable, selector, threads

logger = logging.getLogger(__name__)

NEAREST = 10
"""Of each vector of a sample, the others that a kind is shown."""

DRIFT = 0.2
"""Passages that may come and go, of those an index was trained on, before it is trained anew."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which positions a search looks among."""

    chosen: Mask | None
    """`(positions,)`; None for all."""
    only: Any
    """FAISS's selector of them; None for all."""
    share: float
    """Of all positions, in (0, 1]."""


class Approximate:
    """One index of one kind over a view's slots. Not locked: the index that owns it is."""

    def __init__(
        self, kind: AnnIndexType, index: Any, places: Slots, trained: int, moved: float
    ) -> None:
        self.kind = kind
        self._index = index
        self._places = places  # the slot at each position, -1 for none
        self._trained = trained  # passages that it was trained for
        self._moved = moved  # how many have come and gone since, each as far as it matters
        self._bytes: NDArray[np.uint8] | None = None  # what FAISS reads from and may not write to

    def __repr__(self) -> str:
        return f"{self.kind.name}, drift {100 * self.drift():.0f} %"

    def drift(self, new: int = 0) -> float:
        """How much has come and gone since it was trained, of what there was.

        Args:
            new: How many are about to come.
        """
        return (self._moved + new * self.kind.drift_per_insert) / max(1, self._trained)

    @classmethod
    def build(cls, kind: AnnIndexType, rows: VectorTable, alive: Mask, reason: str) -> Approximate:
        """One trained on the living, and holding them; this is announced, because it takes time.

        Args:
            kind: How it is indexed.
            rows: All vectors of the view.
            alive: `(capacity,)` the living slots.
            reason: Why it is trained, for the log.
        """
        slots = np.flatnonzero(alive)
        logger.info(
            "training the dense index (%s) on %d passages: %s", kind.name, len(slots), reason
        )
        started = time.perf_counter()
        index = kind.make(rows.dim, len(slots))
        sample = slots
        if kind.points(len(slots)) < len(slots):
            chosen = np.random.default_rng(0).choice(len(slots), kind.points(len(slots)), False)
            sample = slots[np.sort(chosen)]
        index.train(np.ascontiguousarray(rows.take(sample)))
        new = cls(kind, index, np.zeros(0, dtype=np.int64), len(slots), 0)
        new._take_in(rows, slots)
        new._tune(rows, alive)
        logger.info("the dense index is ready after %.1f s", time.perf_counter() - started)
        return new

    def candidates(self, count: int) -> int:
        """How many to fetch where so many are wanted.

        Args:
            count: Passages.
        """
        return max(count * self.kind.overfetch, self.kind.min_candidates)

    def catch_up(self, rows: VectorTable, first: int, alive: Mask) -> None:
        """Take in the living slots from `first` on.

        Args:
            rows: All vectors of the view.
            first: The slot from which on they are new.
            alive: `(capacity,)` the living slots.
        """
        slots = first + np.flatnonzero(alive[first:])
        if len(slots):
            self._moved += len(slots) * self.kind.drift_per_insert
            self._take_in(rows, slots)

    def removed(self, count: int) -> None:
        """So many of its slots have died.

        Args:
            count: How many.
        """
        self._moved += count

    def select(self, chosen: Mask | None) -> Selection:
        """The positions of the chosen slots, of all by default.

        Args:
            chosen: `(capacity,)`; None for all.
        """
        if chosen is None and not (self._places < 0).any():
            return Selection(None, None, 1.0)
        mask = self._places >= 0
        if chosen is not None:
            mask &= chosen[self._places]
        return Selection(mask, selector(mask), max(1, int(mask.sum())) / len(mask))

    def search(self, queries: Vectors, fetch: int, selection: Selection) -> tuple[Scores, Slots]:
        """Candidates as slots, -1 for none, with rough scores: both `(n, fetch)`, best first.

        Args:
            queries: `(n, dim)` L2-normalised.
            fetch: Candidates for each query.
            selection: Where to look, as `select` gave it.
        """
        share, only = selection.share, selection.only
        params = self.kind.params(self._index, fetch, share, only)
        looked_at = len(queries) * self.kind.scanned(self._index, params)
        with threads(looked_at * queries.shape[1]):
            rough, places = self.kind.propose(
                self._index, queries, fetch, share, selection.chosen, only
            )
        return rough, np.where(places < 0, -1, self._places[places])

    def state(self, alive: Mask) -> dict[str, NDArray[Any]]:
        """What `restore` needs, with the living slots as slots 0..n-1.

        Args:
            alive: `(capacity,)` the living slots.
        """
        gone = (self._places < 0) | ~alive[self._places]
        places = (np.cumsum(alive) - 1)[self._places]
        index_bytes = self._serialised()
        if gone.any():
            import faiss

            smaller = faiss.deserialize_index(index_bytes)
            places = self.kind.remove(smaller, places, gone)
            index_bytes = faiss.serialize_index(smaller)
        about = {"kind": self.kind.name, "trained": self._trained, "moved": self._moved}
        return {
            "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
            "places": places,
            "faiss": index_bytes,
        }

    @classmethod
    def restore(
        cls, state: Mapping[str, NDArray[Any]], dim: int, kinds: Sequence[AnnIndexType] = ()
    ) -> Approximate | None:
        """What had that state, FAISS reading its bytes where they lie; None if it cannot be used.

        The bytes must be known to be those that were written: FAISS trusts them.

        Args:
            state: As `state` gave it.
            dim: The width of a vector.
            kinds: That it may be besides those that have a name.
        """
        import faiss

        about = json.loads(state["about"].tobytes())
        index_bytes = state["faiss"]
        try:
            if hasattr(faiss, "ZeroCopyIOReader"):
                index = faiss.read_index(
                    faiss.ZeroCopyIOReader(faiss.swig_ptr(index_bytes), index_bytes.size)
                )
            else:
                index = faiss.deserialize_index(index_bytes)
        except RuntimeError as error:  # written by a version of FAISS that this one cannot read
            logger.warning("the dense index of a snapshot cannot be used: %s", error)
            return None
        by_name = KINDS | {one.name: one for one in kinds}
        if index.d != dim or about["kind"] not in by_name:
            return None
        kind = by_name[about["kind"]]
        restored = cls(kind, index, state["places"], about["trained"], about["moved"])
        restored._bytes = index_bytes
        return restored

    def _tune(self, rows: VectorTable, alive: Mask) -> None:
        """Show the kind the nearest of a sample of what it holds."""
        slots = np.flatnonzero(alive)
        if not 0 < self.kind.tuned_on < len(slots):
            return
        slots = np.random.default_rng(1).choice(slots, self.kind.tuned_on, False)
        sample = np.ascontiguousarray(rows.take(slots))
        chosen = None if alive.all() else rows.selectors(alive)
        nearest = rows.search(sample, min(NEAREST + 1, int(alive.sum())), chosen)[1][:, 1:]
        self.kind.tune(self._index, sample, np.ascontiguousarray(rows.take(nearest)))

    def _take_in(self, rows: VectorTable, slots: Slots) -> None:
        if self._bytes is not None:  # no longer as it was written
            import faiss

            self._index, self._bytes = faiss.deserialize_index(self._bytes), None
        for portion, vectors in rows.batches(slots):
            self.kind.add(self._index, np.ascontiguousarray(vectors), len(self._places))
            self._places = np.concatenate([self._places, portion])

    def _serialised(self) -> NDArray[np.uint8]:
        import faiss

        if self._bytes is not None:
            return self._bytes
        index_bytes: NDArray[np.uint8] = faiss.serialize_index(self._index)
        return index_bytes
