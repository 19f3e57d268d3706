"""The graph of one scope over the slots of its memory view, for queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hoptrail.errors import InputError
from hoptrail.graph.adjacency import graph_tables as rows
from hoptrail.graph.adjacency.adjacency import (
    STEP,
    Adjacency,
    Floats,
    Ranks,
    all_links,
    empty_adjacency,
    unpacked_weights,
)
from hoptrail.graph.adjacency.graph_snapshot import GraphState, load_graph, save_graph
from hoptrail.graph.adjacency.induced import MAX_DF, EdgeList, InducedSubgraph
from hoptrail.graph.adjacency.ragged import Ints, RaggedArray
from hoptrail.graph.adjacency.title_names import TitleNames
from hoptrail.graph.adjacency.updates import updated
from hoptrail.graph.adjacency.vocabulary import Vocabulary
from hoptrail.graph.ranking.local_push import LocalPush
from hoptrail.graph.ranking.pagerank import DAMPING, ITERATIONS
from hoptrail.graph.ranking.relations import EntityNames, Relations, entities_of
from hoptrail.graph.ranking.sequence import SequenceLinks
from hoptrail.memory.index import snapshot

if TYPE_CHECKING:
    import sqlite3

    import networkx
    from torch_geometric.data import HeteroData

    from hoptrail.memory.store import Store
    from hoptrail.memory.views.view import View

KINDS = ("mentions", "mentioned_by", "entity", "link", "linked_by")
"""Kinds of edges between passages; `EdgeList.kind` counts in this order."""

MANY = 16
"""Rowids are looked up together rather than one by one where they are a larger part of all."""


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


class Synchronised(Protocol):
    """A `Graph`, as far as its views need know: its rows can catch up with the store's."""

    store: Store
    """Whose graph it is."""

    def sync(self, *, wait: bool = True) -> bool:
        """Catch up with what was written, deleted or expired; whether there was anything.

        Args:
            wait: For other writers; else leave it for later if there is one.
        """


class GraphView:
    """The graph over the slots of a memory view; made by `Graph.view`.

    Threads may share one: a query reads one state from its beginning to its end.
    """

    def __init__(self, graph: Synchronised, view: View) -> None:
        self._graph = graph
        self._view = view
        self._bounds = view.scope.bounds
        # All below only written to with the memory view's lock held.
        self._words = Vocabulary()
        self._arrays = empty_adjacency()
        # The versions of the memory view and of the graph, and its size and capacity: what expires
        # on a store that nobody may write to, or begins or ceases to be valid, changes no version.
        self.state = (-1, -1, -1, -1)
        self._turns = 0  # of the memory view, as they were
        self._since = -1  # the version that is in the arrays
        self._epoch: int | None = None  # of the tables that they are of
        self._alive = np.zeros(0, dtype=np.bool_)  # the slots that they know as living
        self._titles = TitleNames()
        self._walk: LocalPush | None = None
        self._linked: tuple[Adjacency, Relations, EntityNames, SequenceLinks] | None = None
        self.refresh()

    def __repr__(self) -> str:
        a = self._arrays
        return (
            f"<GraphView {a.living} passages, {len(a.targets(np.arange(a.n))[0])} mentions, "
            f"{int((a.passages_by_entity.counts() > 0).sum())} entities, {len(all_links(a))} links>"
        )

    def behind(self) -> bool:
        """Whether a `refresh` would change something. Of a pinned view."""
        with self._view.pins.reading() as connection:
            version, _ = rows.state(connection)
        return self.state != self._state(version)

    def _state(self, version: int) -> tuple[int, int, int, int]:
        view = self._view
        return view.version, version, view.size, view.capacity

    @property
    def view(self) -> View:
        """The memory view whose slots these are."""
        return self._view

    def refresh(self) -> bool:
        """Catch up with the store and the memory view; whether anything changed."""
        with self._view.lock:
            if get_ident() not in self._view.pins.threads():
                self._graph.sync(wait=False)  # whoever writes may be waiting for the lock
                self._view.refresh()
            with self._view.pins.reading() as connection:
                view = self._view
                version, epoch = rows.state(connection)
                if self.state == self._state(version):
                    return False
                first = self._epoch is None
                change = self._from_snapshot(connection, version, epoch) if first else None
                # Built anew, so that its names have other ids; or a passage came in whose rows are
                # no newer than those read before.
                if epoch != self._epoch or view.turns != self._turns:
                    self._since, words, change = -1, Vocabulary(), None
                else:
                    words = self._words
                if change is None:
                    change = self._read(connection, words)
            self._apply(change, words)
            anew = self._since < 0
            self._epoch, self._turns = epoch, view.turns
            # What is newer than the memory view is read again once that knows it.
            self._since = min(version, view.version)
            self.state = self._state(version)
            if first and anew:
                self._save()
            return True

    def _read(self, connection: sqlite3.Connection, words: Vocabulary) -> rows.Change:
        """What the tables say that is not yet known."""
        return rows.read_changes(connection, self._bounds, self._since, words, self._slots_of)

    def _from_snapshot(
        self, connection: sqlite3.Connection, version: int, epoch: int
    ) -> rows.Change | None:
        """Go on from the graph as it was last written, to what changed since; None if from nothing.

        A passage that it has no slot for must be among what changed: the clock may have brought it
        in. And where much changed, everything is read, and written again.
        """
        view = self._view
        state = load_graph(self._graph.store.database, view, epoch, version)
        if state is None:
            return None
        self._since = state.version
        change = self._read(connection, state.words)
        new = state.arrays.n + np.flatnonzero(view.alive[state.arrays.n :])
        much = max(snapshot.MINIMUM, view.size // 4)
        if len(change.slots) >= much or len(np.setdiff1d(new, change.slots)):
            self._since = -1
            return None
        self._epoch, self._turns = epoch, view.turns
        self._arrays, self._alive = state.arrays, state.alive
        self._words, self._titles = state.words, state.titles
        return change

    def _save(self) -> None:
        """Write what was read from the tables, so that the next to open the scope need not."""
        assert self._epoch is not None
        state = GraphState(
            self._since, self._epoch, self._arrays, self._words, self._titles, self._alive
        )
        save_graph(self._graph.store.database, self._view, state)

    def named(self, text: str) -> list[int]:
        """The slots of passages whose titles a question names, in the order of naming.

        Args:
            text: A question.
        """
        return list(self.title_matches(text))

    def title_matches(self, text: str) -> dict[int, int]:
        """The same slots, each with the number of words of the longest name that names it.

        Args:
            text: A question.
        """
        return self._titles.lengths(text, self._arrays.passages_by_name)

    def out_mentions(self, slot: int) -> list[Mention]:
        """The places in a passage that name other passages, in reading order.

        Args:
            slot: Of the passage.
        """
        a = self._arrays
        return [Mention(slot, *row[:3]) for row in _list(a, a.mentions_out, slot)]

    def in_mentions(self, slot: int) -> list[Mention]:
        """The places in other passages that name this one.

        Args:
            slot: Of the passage.
        """
        a = self._arrays
        return [Mention(row[0], slot, *row[1:3]) for row in _list(a, a.mentions_in, slot)]

    def mentioned(self, slots: Sequence[int] | Ints) -> tuple[Ints, Ints]:
        """What passages name: place in `slots`, and the slot named; ascending, each pair once.

        Args:
            slots: Of the passages.
        """
        return self._arrays.targets(np.asarray(slots, dtype=np.int64))[:2]

    def mention_counts(self, slots: Sequence[int] | Ints) -> tuple[Ints, Ints]:
        """How many places in each passage name others, and how many in others name it.

        Args:
            slots: Of the passages.
        """
        a, places = self._arrays, np.asarray(slots, dtype=np.int64)
        return a.mentions_out.lengths(places), a.mentions_in.lengths(places)

    def degrees(self, slots: Sequence[int] | Ints) -> Ints:
        """How many mentions and links each passage has, both ways.

        Args:
            slots: Of the passages.
        """
        a, places = self._arrays, np.asarray(slots, dtype=np.int64)
        lists = (a.mentions_out, a.mentions_in, a.links_out, a.links_into)
        counts: Ints = np.sum([one.lengths(places) for one in lists], axis=0, dtype=np.int64)
        return counts

    def links(self, slot: int, *, steps: bool = True) -> list[tuple[int, str, float]]:
        """The links that a passage holds: target, kind and weight; `next` ones if `steps`.

        Args:
            slot: Of the passage.
            steps: Whether links of the kind `next` count.
        """
        a = self._arrays
        return self._named_links(_list(a, a.links_out, slot), steps)

    def back_links(self, slot: int, *, steps: bool = True) -> list[tuple[int, str, float]]:
        """The links that lead to a passage: source, kind and weight; `next` ones if `steps`.

        Args:
            slot: Of the passage.
            steps: Whether links of the kind `next` count.
        """
        a = self._arrays
        return self._named_links(_list(a, a.links_into, slot), steps)

    def entities(self, slot: int) -> list[str]:
        """The entities of a passage, each once, its title's name first.

        Args:
            slot: Of the passage.
        """
        a = self._arrays
        return [self._words.entity_name(row[0]) for row in _list(a, a.entities, slot)]

    def entity_df(self, name: str) -> int:
        """How many passages mention an entity.

        Args:
            name: As `entities` gives it; one that is unknown has none.
        """
        return len(self._members(name))

    def slots_of_entity(self, name: str) -> list[int]:
        """The slots of the passages that mention an entity.

        Args:
            name: As `entities` gives it; one that is unknown has none.
        """
        members = self._members(name)
        order = self._view.order(np.zeros(len(members)), members)
        slots: list[int] = members[order].tolist()
        return slots

    def shared_entities(self, slot: int, most: int) -> list[list[int]]:
        """For each entity that a passage shares with up to `most` in all: their slots.

        Args:
            slot: Of the passage.
            most: Passages that mention the entity, at most: more say little.
        """
        a, same = self._arrays, self._words.same_names
        entities = (row[0] for row in _list(a, a.entities, slot))
        groups = (self._with_entities(same(entity)) for entity in entities)
        return [members.tolist() for members in groups if 2 <= len(members) <= most]

    def edges(self, slots: Sequence[int] | Ints) -> EdgeList:
        """Every edge among the given slots, which must differ; see `InducedSubgraph.add`.

        Args:
            slots: Different ones.
        """
        return self.among().add(np.asarray(slots, dtype=np.int64))

    def among(self) -> InducedSubgraph:
        """Finds the edges among slots that come a few at a time."""
        return InducedSubgraph(self._arrays)

    def pagerank(
        self,
        seeds: Mapping[int, float],
        *,
        damping: float = DAMPING,
        iterations: int = ITERATIONS,
        tolerance: float = 0.0,
    ) -> Floats:
        """Personalised PageRank of every slot, `(capacity,)`; see `graph.ranking.pagerank`.

        Args:
            seeds: Weight above 0 by slot: where the walker starts, and starts again.
            damping: Chance that it walks on instead, in [0, 1).
            iterations: Steps.
            tolerance: How much of the graph is left out; at 0 nothing that it reaches is.
        """
        slots, often = self.walk().visits(
            seeds, damping=damping, iterations=iterations, tolerance=tolerance
        )
        visits = np.zeros(self._arrays.n, dtype=np.float32)
        visits[slots] = often
        return visits

    def walk(self) -> LocalPush:
        """The chances of each step of a walk over the graph as it is now."""
        walk = self._walk
        if walk is None or walk.arrays is not self._arrays:
            walk = self._walk = LocalPush(self._arrays, MAX_DF, walk)
        return walk

    def sequence(self) -> SequenceLinks:
        """Which passages stand next to each other in the graph as it is now."""
        return self._from_links()[2]

    def relations(self) -> Relations:
        """The typed links of the graph as it is now, walkable both ways."""
        return self._from_links()[0]

    def entity_names(self) -> EntityNames:
        """Finds the entities that questions name; none where no link has a type."""
        return self._from_links()[1]

    def to_networkx(self) -> networkx.MultiDiGraph:
        """The graph as networkx has it; see `hoptrail.graph.convert`."""
        from hoptrail.graph.convert import to_networkx

        return to_networkx(self._view, self._arrays, self._words)

    def to_pyg(self) -> HeteroData:
        """The graph as PyTorch Geometric has it; see `hoptrail.graph.convert`."""
        from hoptrail.graph.convert import to_pyg

        return to_pyg(self._view, self._arrays, self._words)

    def _apply(self, change: rows.Change, words: Vocabulary) -> None:
        """Go on to the next state, from nothing if the words are others."""
        view, before, alive = self._view, self._arrays, self._alive
        if words is not self._words:
            before, alive = empty_adjacency(), np.zeros(0, dtype=np.bool_)
        gone = np.flatnonzero(alive & ~view.alive[: len(alive)])
        touched = np.union1d(change.slots, gone)
        if words is self._words and not len(touched) and before.n == view.capacity:
            return  # what changed is in another scope
        after = updated(
            before,
            change.tables,
            touched,
            (view.capacity, len(words.names), len(words.entity_names)),
            view.size,
            Ranks(lambda slots: view.order(np.zeros(len(slots)), slots)),
        )
        if words is not self._words:
            self._words, self._titles = words, TitleNames()
        names = np.union1d(
            before.titles.gather(touched)[1][:, 0], after.titles.gather(touched)[1][:, 0]
        )
        self._titles.follow(
            names.astype(np.int64), after.passages_by_name, self._words.texts.__getitem__
        )
        self._arrays, self._alive = after, view.alive

    def _slots_of(self, rowids: Ints) -> Ints:
        """Their living slots; -1 for what has none."""
        view = self._view
        if len(rowids) < view.size // MANY:
            slots = [view.slot_of_rowid(rowid) for rowid in rowids.tolist()]
            return np.asarray([-1 if slot is None else slot for slot in slots], dtype=np.int64)
        living = np.flatnonzero(view.alive)
        if not len(living):
            return np.full(len(rowids), -1)
        order = living[np.argsort(view.rowids[living])]
        rowids_in_order = view.rowids[order]
        place = np.minimum(np.searchsorted(rowids_in_order, rowids), len(rowids_in_order) - 1)
        return np.where(rowids_in_order[place] == rowids, order[place], -1)

    def _from_links(self) -> tuple[Relations, EntityNames, SequenceLinks]:
        """What all links together make, read once for each state of the graph."""
        linked, arrays, view = self._linked, self._arrays, self._view
        if linked is None or linked[0] is not arrays:
            ranks = Ranks(lambda slots: view.order(np.zeros(len(slots)), slots))
            links = all_links(arrays)
            relations = Relations(links, list(self._words.kinds), arrays.n, ranks)
            named: list[tuple[str, int]] = []
            if len(relations):
                with view.lock, view.pins.reading() as connection:
                    named = entities_of(connection, self._bounds, self._slots_of)
            steps = SequenceLinks(links, arrays.n)
            linked = self._linked = arrays, relations, EntityNames(named), steps
        return linked[1:]

    def _members(self, name: str) -> Ints:
        return self._with_entities(self._words.entity_ids(name))

    def _with_entities(self, entities: list[int]) -> Ints:
        """The slots that mention any of some entities, by number."""
        lists = [self._arrays.passages_by_entity[entity][:, 0] for entity in entities]
        slots = np.concatenate(lists) if lists else np.zeros(0)
        return slots.astype(np.int64)

    def _named_links(self, rows: list[list[int]], steps: bool) -> list[tuple[int, str, float]]:
        kinds = list(self._words.kinds)
        weights = unpacked_weights(np.asarray([row[2] for row in rows], dtype=np.int32)).tolist()
        return [
            (other, kinds[kind], weight)
            for (other, kind, _), weight in zip(rows, weights, strict=True)
            if steps or kind != STEP
        ]


def _list(a: Adjacency, lists: RaggedArray, slot: int) -> list[list[int]]:
    """The records of a slot's list."""
    if not 0 <= slot < a.n:
        raise InputError(f"a slot must be from 0 to {a.n - 1}, got {slot!r}")
    records: list[list[int]] = lists[slot].tolist()
    return records
