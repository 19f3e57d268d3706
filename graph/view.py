"""The graph of one scope over the slots of its memory view, for queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.graph.arrays import Arrays, Csr, make_arrays
from hoptrail.graph.names import NameMatcher, words
from hoptrail.graph.pagerank import DAMPING, ITERATIONS, Walk
from hoptrail.graph.rows import Floats, Ints, Rows
from hoptrail.memory.records import encode_namespace, scope_range

if TYPE_CHECKING:
    import networkx
    from torch_geometric.data import HeteroData

    from hoptrail.graph.graph import Graph
    from hoptrail.memory.view import View

KINDS = ("mentions", "mentioned_by", "entity", "link", "linked_by")
"""Kinds of edges between passages; `EdgeList.kind` counts in this order."""

MAX_DF = 50
"""An entity in more passages than this joins none: it would join everything."""


DENSE = 1 << 20
"""Cells of a full matrix of slots and entities above which a sparse one is used."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A place where one passage names another."""

    source: int
    """Slot of the passage whose text it is."""
    target: int
    """Slot of the passage whose title is named."""
    start: int
    """First character in the source's text."""
    end: int


@dataclass(frozen=True, slots=True)
class EdgeList:
    """Edges among some passages."""

    index: Ints
    """`(2, e)`: source and target, as positions in the slots asked for."""
    kind: NDArray[np.int8]
    """`(e,)`: number in `KINDS`."""
    weight: Floats
    """`(e,)`: of a mention 1 over the passages that share the name, of entities the sum of their
    rarities, of a link its own."""


class GraphView:
    """The graph over the slots of a memory view; made by `Graph.view`.

    Threads may share one: a query reads one state from its beginning to its end.
    """

    def __init__(self, graph: Graph, view: View) -> None:
        self._graph = graph
        self._view = view
        self._bounds = scope_range(encode_namespace(view.scope))
        self._rows = Rows()  # only with the memory view's lock held
        # The versions of the memory view and of the graph, and its size: what expires on a store
        # that nobody may write to changes no version.
        self._seen = (-1, -1, -1)
        self._matcher = NameMatcher()
        self._texts: dict[int, str] = {}  # of the names in the matcher
        self._ids: dict[str, frozenset[int]] = {}  # and the other way: one for each namespace
        none = np.zeros(0, dtype=np.int64)
        self._arrays = make_arrays(self._rows, none, none.astype(np.bool_), none)
        self._walk: Walk | None = None
        self.refresh()

    def __repr__(self) -> str:
        a = self._arrays
        return (
            f"<GraphView {len(self._rows.passages)} passages, {len(a.targets.values)} mentions, "
            f"{int((a.members.counts() > 0).sum())} entities, {len(a.links)} links>"
        )

    @property
    def view(self) -> View:
        """The memory view whose slots these are."""
        return self._view

    def refresh(self) -> bool:
        """Catch up with the store and the memory view; whether anything changed."""
        with self._view.lock:
            self._graph.sync()
            self._view.refresh()
            with self._graph.store.reading() as connection:
                view = self._view
                if self._seen == (view.version, self._graph.version, view.size):
                    return False
                self._rows.catch_up(connection, self._bounds)
            rowids, alive = view.rowids.copy(), view.alive.copy()
            self._rows.forget(self._gone(rowids[alive], view.version))
            arrays = make_arrays(self._rows, rowids, alive, _rank(view))
            self._know(self._arrays.names, arrays.names)
            self._arrays = arrays
            self._seen = (view.version, self._rows.version, view.size)
            return True

    def named(self, text: str) -> list[int]:
        """The slots of passages whose titles a question names, in the order of naming."""
        return list(self.named_lengths(text))

    def named_lengths(self, text: str) -> dict[int, int]:
        """The same slots, each with the number of words of the longest name that names it."""
        a = self._arrays
        found: dict[int, int] = {}
        for match in self._matcher.matches(words(text), question=True):
            length = match.name.count(" ") + 1
            for place in self._places(a, match.name):
                for slot in a.titled[place].tolist():
                    found[slot] = max(length, found.get(slot, 0))
        return found

    def out_mentions(self, slot: int) -> list[Mention]:
        """The places in a passage that name other passages, in reading order."""
        a = self._arrays
        return _mentions(a, a.out, slot)

    def in_mentions(self, slot: int) -> list[Mention]:
        """The places in other passages that name this one."""
        a = self._arrays
        return _mentions(a, a.into, slot)

    def links(self, slot: int) -> list[tuple[int, str, float]]:
        """The links that a passage holds: target, kind and weight."""
        a = self._arrays
        return [
            (int(a.links[i, 1]), a.kinds[a.links[i, 2]], float(a.link_weights[i]))
            for i in _list(a, a.links_out, slot)
        ]

    def back_links(self, slot: int) -> list[tuple[int, str, float]]:
        """The links that lead to a passage: source, kind and weight."""
        a = self._arrays
        return [
            (int(a.links[i, 0]), a.kinds[a.links[i, 2]], float(a.link_weights[i]))
            for i in _list(a, a.links_into, slot)
        ]

    def entities(self, slot: int) -> list[str]:
        """The entities of a passage, each once, its title's name first."""
        a = self._arrays
        return [a.entity_names[i] for i in _list(a, a.entities, slot)]

    def entity_df(self, name: str) -> int:
        """How many passages mention an entity."""
        return len(self.slots_of_entity(name))

    def slots_of_entity(self, name: str) -> list[int]:
        """The slots of the passages that mention an entity."""
        a = self._arrays
        found = [a.members[i] for i in self._rows.entity_ids(name) if i < len(a.members.starts) - 1]
        slots = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        return [int(slot) for slot in slots[np.argsort(a.rank[slots])]]

    def edges(self, slots: Sequence[int] | Ints) -> EdgeList:
        """Every edge among the given slots, which must differ.

        Both directions are listed: a mention from i to j is `mentions` (i, j) and `mentioned_by`
        (j, i), passages that share an entity are joined both ways.
        """
        a = self._arrays
        asked = np.asarray(slots, dtype=np.int64)
        if len(asked) and (asked.min() < 0 or asked.max() >= a.n):
            raise InputError(f"slots must be from 0 to {a.n - 1}, got {slots!r}")
        positions = _Positions(asked)
        source, place = a.targets.gather(asked)
        mentions = positions.inside(source, a.targets.values[place], a.target_weights[place])
        source, place = a.links_out.gather(asked)
        rows = a.links_out.values[place]
        links = positions.inside(source, a.links[rows, 1], a.link_weights[rows])
        shared = _shared_entities(a, asked)
        parts = [mentions, _turned(mentions), shared, links, _turned(links)]
        return EdgeList(
            np.concatenate([index for index, _ in parts], axis=1),
            np.repeat(np.arange(len(parts), dtype=np.int8), [len(w) for _, w in parts]),
            np.concatenate([weight for _, weight in parts]),
        )

    def pagerank(
        self,
        seeds: Mapping[int, float],
        *,
        damping: float = DAMPING,
        iterations: int = ITERATIONS,
    ) -> Floats:
        """Personalised PageRank of every slot, `(capacity,)`; see `hoptrail.graph.pagerank`.

        Args:
            seeds: Weight above 0 by slot: where the walker starts, and starts again.
            damping: Chance that it walks on instead, in [0, 1).
            iterations: Steps.
        """
        visits = self.walk().visits(seeds, damping=damping, iterations=iterations)
        return visits.astype(np.float32)

    def walk(self) -> Walk:
        """The chances of each step of a walk over the graph as it is now."""
        walk = self._walk
        if walk is None or walk.arrays is not self._arrays:
            walk = self._walk = Walk(self._arrays, MAX_DF)
        return walk

    def to_networkx(self) -> networkx.MultiDiGraph:
        """The graph as networkx has it; see `hoptrail.graph.convert`."""
        from hoptrail.graph.convert import to_networkx

        return to_networkx(self._view, self._arrays)

    def to_pyg(self) -> HeteroData:
        """The graph as PyTorch Geometric has it; see `hoptrail.graph.convert`."""
        from hoptrail.graph.convert import to_pyg

        return to_pyg(self._view, self._arrays)

    def _gone(self, living: Ints, version: int) -> Ints:
        """The rowids that the rows hold and the view, being as new as they, does not."""
        known = self._rows.passages
        gone: Ints = known[(known[:, 2] <= version) & ~np.isin(known[:, 0], living), 0]
        return gone

    def _know(self, before: Ints, after: Ints) -> None:
        """Bring the matcher from the names that meant something before to those that do now."""
        for name in np.setdiff1d(before, after, assume_unique=True).tolist():
            text = self._texts.pop(name)
            self._ids[text] -= {name}
            if not self._ids[text]:
                del self._ids[text]
                self._matcher.discard(text)
        for name in np.setdiff1d(after, before, assume_unique=True).tolist():
            text = self._texts[name] = self._rows.names[name]
            self._ids[text] = self._ids.get(text, frozenset()) | {name}
            self._matcher.add(text)

    def _places(self, a: Arrays, name: str) -> list[int]:
        """Where in `a.names` a name stands, once for each namespace that has it."""
        ids = np.array(sorted(self._ids.get(name, ())), dtype=np.int64)
        places = np.minimum(np.searchsorted(a.names, ids), len(a.names) - 1)
        found: list[int] = places[a.names[places] == ids].tolist()
        return found


class _Positions:
    """Where slots stand among those asked for."""

    def __init__(self, slots: Ints) -> None:
        self._order = np.argsort(slots)
        self._sorted = slots[self._order]
        if (self._sorted[1:] == self._sorted[:-1]).any():
            raise InputError("edges takes each slot once, got one of them twice")

    def inside(self, source: Ints, target: Ints, weight: Floats) -> tuple[Ints, Floats]:
        """The edges whose target slot was asked for too; sources are positions already."""
        if not len(target):
            return np.zeros((2, 0), dtype=np.int64), np.zeros(0, dtype=np.float32)
        place = np.minimum(np.searchsorted(self._sorted, target), len(self._sorted) - 1)
        keep = self._sorted[place] == target
        return np.stack([source[keep], self._order[place[keep]]]), weight[keep]


def _turned(edges: tuple[Ints, Floats]) -> tuple[Ints, Floats]:
    return edges[0][::-1], edges[1]


def _shared_entities(a: Arrays, slots: Ints) -> tuple[Ints, Floats]:
    """Pairs of the slots that share entities, both ways, with the sum of these' weights."""
    owner, place = a.entities.gather(slots)
    entity = a.entities.values[place]
    df = a.members.starts[entity + 1] - a.members.starts[entity]
    keep = (df > 1) & (df <= MAX_DF)
    owner, entity = owner[keep], entity[keep]
    ids, column, counts = np.unique(entity, return_inverse=True, return_counts=True)
    twice = counts[column] > 1
    owner, column = owner[twice], column[twice]
    columns, column = np.unique(column, return_inverse=True)
    rarity = a.entity_weights[ids[columns]]
    if len(slots) * len(columns) > DENSE:
        return _sparse_product(owner, column, rarity, len(slots))
    incidence = np.zeros((len(slots), len(columns)), dtype=np.float32)
    incidence[owner, column] = 1
    weight = (incidence * rarity) @ incidence.T
    np.fill_diagonal(weight, 0)
    index = np.stack(np.nonzero(weight))
    return index, weight[index[0], index[1]]


def _sparse_product(owner: Ints, column: Ints, rarity: Floats, n: int) -> tuple[Ints, Floats]:
    """The same for many slots, whose incidence would not fit as a full matrix."""
    from scipy.sparse import csr_matrix

    shape = (n, len(rarity))
    incidence = csr_matrix((np.ones(len(owner), dtype=np.float32), (owner, column)), shape=shape)
    product = (incidence.multiply(rarity) @ incidence.T).tocoo()
    apart = product.row != product.col
    index = np.stack([product.row[apart], product.col[apart]]).astype(np.int64)
    return index, product.data[apart].astype(np.float32)


def _list(a: Arrays, lists: Csr, slot: int) -> list[int]:
    """The entries of a slot's list."""
    if not 0 <= slot < a.n:
        raise InputError(f"a slot must be from 0 to {a.n - 1}, got {slot!r}")
    found: list[int] = lists[slot].tolist()
    return found


def _mentions(a: Arrays, lists: Csr, slot: int) -> list[Mention]:
    rows = a.mentions[_list(a, lists, slot)]
    return [Mention(*row) for row in rows.tolist()]


def _rank(view: View) -> Ints:
    """The slots' places in an order that their content alone decides, `(capacity,)`."""
    n = view.capacity
    rank = np.empty(n, dtype=np.int64)
    rank[view.order(np.zeros(n), np.arange(n))] = np.arange(n)
    return rank
