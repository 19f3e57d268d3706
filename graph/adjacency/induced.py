"""The edges among passages of which ever more are asked for, as candidates of a question are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.graph.adjacency.adjacency import Adjacency, Floats
from hoptrail.graph.adjacency.ragged import Ints

MAX_DF = 50
"""An entity in more passages than this joins none: it would join everything."""

DENSE = 1 << 20
"""Cells of a full matrix of slots and entities above which a sparse one is used."""

Edges = tuple[Ints, Ints, Floats]
"""Source, target and weight."""


@dataclass(frozen=True, slots=True)
class EdgeList:
    """Edges among some passages."""

    index: Ints
    """`(2, e)`: source and target, as positions in the slots asked for."""
    kind: NDArray[np.int8]
    """`(e,)`: number in `graph.view.KINDS`."""
    weight: Floats
    """`(e,)`: of a mention 1 over the passages that share the name, of entities the sum of their
    rarities, of a link its own."""


class InducedSubgraph:
    """The edges among slots that come a few at a time; made by `GraphView.among`.

    Args:
        arrays: One state of the graph.
    """

    def __init__(self, arrays: Adjacency) -> None:
        self._arrays = arrays
        self._slots = np.zeros(0, dtype=np.int64)
        nothing = self._slots, self._slots, np.zeros(0, dtype=np.float32)
        # What leads to slots that have not come: position of the source, slot of the target.
        self._mentions: Edges = nothing
        self._links: Edges = nothing
        # Positions and the entities there that others may share.
        self._owner = self._entity = self._slots

    def add(self, slots: Ints) -> EdgeList:
        """The edges that come with some slots: those among them, and to and from all before.

        Positions go on counting where the last call left off. Both directions are listed: a
        mention from i to j is `mentions` (i, j) and `mentioned_by` (j, i), passages that share an
        entity are joined both ways.

        Args:
            slots: `(m,)`, none of which was added before.

        Raises:
            InputError: A slot is none, or came before.
        """
        a, first = self._arrays, len(self._slots)
        if len(slots) and (slots.min() < 0 or slots.max() >= a.n):
            raise InputError(f"slots must be from 0 to {a.n - 1}, got {slots.tolist()!r}")
        self._slots = np.concatenate([self._slots, slots])
        order = np.argsort(self._slots)
        ascending = self._slots[order]
        if (ascending[1:] == ascending[:-1]).any():
            raise InputError("edges takes each slot once, got one of them twice")

        def inside(open_: Edges, new: Edges) -> tuple[Edges, Edges]:
            """The edges whose target has come, and those for which it has not."""
            source = np.concatenate([open_[0], new[0] + first])
            target = np.concatenate([open_[1], new[1]])
            weight = np.concatenate([open_[2], new[2]])
            if not len(target):
                return open_, open_
            place = np.minimum(np.searchsorted(ascending, target), len(order) - 1)
            here = ascending[place] == target
            within = source[here], order[place[here]], weight[here]
            return within, (source[~here], target[~here], weight[~here])

        mentions, self._mentions = inside(self._mentions, a.targets(slots))
        links, self._links = inside(self._links, a.linked(slots))
        parts = [mentions, _turned(mentions), self._shared(slots, first), links, _turned(links)]
        sources, targets, weights = zip(*parts, strict=True)
        return EdgeList(
            np.stack([np.concatenate(sources), np.concatenate(targets)]),
            np.repeat(np.arange(len(parts), dtype=np.int8), [len(w) for w in weights]),
            np.concatenate(weights),
        )

    def _shared(self, slots: Ints, first: int) -> Edges:
        """Pairs that share entities, one of them new, with the sum of these' weights."""
        a = self._arrays
        owner, rows = a.entities.gather(slots)
        entity = rows[:, 0].astype(np.int64)
        df = a.passages_by_entity.lengths(entity)
        keep = (df > 1) & (df <= MAX_DF)
        new = np.unique(entity[keep])
        self._owner = owner = np.concatenate([self._owner, owner[keep] + first])
        self._entity = entity = np.concatenate([self._entity, entity[keep]])
        column = np.searchsorted(new, entity)
        column[column == len(new)] = 0
        in_new = new[column] == entity if len(new) else np.zeros(len(entity), dtype=np.bool_)
        owner, column = owner[in_new], column[in_new]
        twice = np.bincount(column, minlength=len(new))[column] > 1
        columns, column = np.unique(column[twice], return_inverse=True)
        rarity = a.rarities[a.passages_by_entity.lengths(new[columns])]
        source, target, weight = _products(owner[twice], column, rarity, first, len(self._slots))
        back = target < first  # of two new ones, each has found the other
        return (
            np.concatenate([source, target[back]]),
            np.concatenate([target, source[back]]),
            np.concatenate([weight, weight[back]]),
        )


def _turned(edges: Edges) -> Edges:
    source, target, weight = edges
    return target, source, weight


def _products(owner: Ints, column: Ints, rarity: Floats, first: int, n: int) -> Edges:
    """What positions from `first` to n share with all of them, but for themselves."""
    if n * len(rarity) > DENSE:  # a full matrix would not fit
        from scipy.sparse import csr_matrix

        shape = (n, len(rarity))
        sparse = csr_matrix((np.ones(len(owner), dtype=np.float32), (owner, column)), shape=shape)
        products = (sparse[first:].multiply(rarity) @ sparse.T).tocoo()
        source, target = products.row.astype(np.int64) + first, products.col.astype(np.int64)
        apart = source != target
        return source[apart], target[apart], products.data[apart].astype(np.float32)
    incidence = np.zeros((n, len(rarity)), dtype=np.float32)
    incidence[owner, column] = 1
    weight = (incidence[first:] * rarity) @ incidence.T
    source, target = np.nonzero(weight)
    apart = source + first != target
    source, target = source[apart], target[apart]
    return source + first, target, weight[source, target]
