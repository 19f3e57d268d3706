"""A scope's graph as arrays over the slots of a memory view: what every query reads.

They are made anew from the rows whenever these change and never written to afterwards, so that a
query in another thread goes on with the ones it began with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.rows import Floats, Ints, Rows

MAX_SHARED = 12
"""A name that more passages of a namespace share tells nothing of which is meant."""


@dataclass(frozen=True, slots=True)
class Csr:
    """Lists of whole numbers, one for each row: row i is `values[starts[i]:starts[i + 1]]`."""

    starts: Ints
    values: Ints

    def __getitem__(self, row: int) -> Ints:
        """The list of a row."""
        return self.values[self.starts[row] : self.starts[row + 1]]

    def counts(self) -> Ints:
        """The lengths of the lists, `(rows,)`."""
        return np.diff(self.starts)

    def gather(self, rows: Ints) -> tuple[Ints, Ints]:
        """Where the lists of some rows lie: which of `rows` an entry is of, and its place."""
        first = self.starts[rows]
        counts = self.starts[rows + 1] - first
        owner = np.repeat(np.arange(len(rows)), counts)
        before = np.cumsum(counts) - counts
        return owner, np.arange(len(owner)) + np.repeat(first - before, counts)


@dataclass(frozen=True, slots=True)
class Arrays:
    """One state of the graph; n is the view's capacity."""

    n: int
    rank: Ints
    """`(n,)`: slots in an order that their content alone decides."""
    names: Ints
    """Ids of the names that mean something, sorted."""
    titled: Csr
    """By place in `names`: the slots that the name can mean."""
    mentions: Ints
    """`(m, 4)`: source slot, target slot, start, end; by source, then as they stand in the text."""
    out: Csr
    """By source slot: rows of `mentions`."""
    into: Csr
    """By target slot: rows of `mentions`."""
    targets: Csr
    """By source slot: the slots that it mentions, each once."""
    target_weights: Floats
    """For `targets.values`: 1 over the number of passages that share the name."""
    entities: Csr
    """By slot: its entities, in reading order."""
    members: Csr
    """By entity: the slots that mention it."""
    entity_weights: Floats
    """By entity: log(N / df) / log(N) for N passages; 1 for a name that stands in one alone."""
    entity_names: list[str]
    """By entity."""
    links: Ints
    """`(l, 3)`: source slot, target slot, kind; by source."""
    link_weights: Floats
    """`(l,)`."""
    links_out: Csr
    """By source slot: rows of `links`."""
    links_into: Csr
    """By target slot: rows of `links`."""
    kinds: tuple[str, ...]
    """Kinds of links, by number."""


def make_arrays(rows: Rows, rowids: Ints, alive: NDArray[np.bool_], rank: Ints) -> Arrays:
    """The graph of a scope over slots.

    Args:
        rows: The graph's rows.
        rowids: `(n,)`, of each slot.
        alive: `(n,)`, which slots hold a passage.
        rank: `(n,)`, slots in an order that their content alone decides.
    """
    slots = _Slots(rowids, alive)
    n = len(rowids)
    named, titled_slots = _titles(rows, slots, rank)
    names, place = np.unique(named, return_inverse=True)
    titled = group(place, titled_slots, len(names))
    mentions, shared = _mentions(rows, slots, names, titled, rank)
    targets, target_weights = _targets(mentions, shared, n)
    entities = _pairs(rows.entities, slots)
    members = group(entities[:, 1], entities[:, 0], len(rows.entity_names))
    links, link_weights = _links(rows, slots)
    everyone = np.arange(len(mentions))
    backwards = np.lexsort((mentions[:, 2], rank[mentions[:, 0]], mentions[:, 1]))
    every_link = np.arange(len(links))
    return Arrays(
        n=n,
        rank=rank,
        names=names,
        titled=titled,
        mentions=mentions,
        out=group(mentions[:, 0], everyone, n),
        into=group(mentions[backwards, 1], backwards, n),
        targets=targets,
        target_weights=target_weights,
        entities=group(entities[:, 0], entities[:, 1], n),
        members=members,
        entity_weights=_rarity(members.counts(), int(alive.sum())),
        entity_names=rows.entity_names,
        links=links,
        link_weights=link_weights,
        links_out=group(links[:, 0], every_link, n),
        links_into=group(links[:, 1], every_link, n),
        kinds=tuple(rows.kinds),
    )


def group(keys: Ints, values: Ints, rows: int) -> Csr:
    """Values by key; within a key they keep their order."""
    starts = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=rows), out=starts[1:])
    return Csr(starts, values[np.argsort(keys, kind="stable")])


class _Slots:
    """From rowids to slots."""

    def __init__(self, rowids: Ints, alive: NDArray[np.bool_]) -> None:
        living = np.flatnonzero(alive)
        order = np.argsort(rowids[living])
        self._rowids = rowids[living][order]
        self._slots = living[order]
        self._first, reach = 0, 0
        if len(living):
            self._first = int(self._rowids[0])
            reach = int(self._rowids[-1]) - self._first + 1
        # Rowids lie close together unless the scope is a small part of the store.
        self._table = np.full(reach, -1) if reach <= 16 * len(living) else None
        if self._table is not None:
            self._table[self._rowids - self._first] = self._slots

    def of(self, rowids: Ints) -> Ints:
        """Their slots; -1 for one that no living slot holds."""
        if not len(self._rowids):
            return np.full(len(rowids), -1)
        if self._table is None:
            place = np.minimum(np.searchsorted(self._rowids, rowids), len(self._rowids) - 1)
            return np.where(self._rowids[place] == rowids, self._slots[place], -1)
        place = rowids - self._first
        inside = (place >= 0) & (place < len(self._table))
        return np.where(inside, self._table[np.where(inside, place, 0)], -1)


def _titles(rows: Rows, slots: _Slots, rank: Ints) -> tuple[Ints, Ints]:
    """Name ids and the slots that they can mean, sorted by name, then content.

    An alias counts where no title is called so and no other passage has it as an alias.
    """
    slot, (name, alias) = slots.of(rows.titles[:, 0]), rows.titles[:, 1:].T
    living = slot >= 0
    slot, name, alias = slot[living], name[living], alias[living]
    _, place, counts = np.unique(name, return_inverse=True, return_counts=True)
    titles = np.bincount(place, weights=1 - alias, minlength=len(counts))
    keep = np.where(alias == 1, counts[place] == 1, titles[place] <= MAX_SHARED)
    slot, name = slot[keep], name[keep]
    order = np.lexsort((rank[slot], name))
    return name[order], slot[order]


def _mentions(rows: Rows, slots: _Slots, names: Ints, titled: Csr, rank: Ints) -> tuple[Ints, Ints]:
    """The join of mentions with titles, and for each how many passages share the name."""
    source = slots.of(rows.mentions[:, 0])
    name = rows.mentions[:, 3]
    place = np.minimum(np.searchsorted(names, name), max(len(names) - 1, 0))
    keep = np.flatnonzero((source >= 0) & (names[place] == name) if len(names) else source < -1)
    which, where = titled.gather(place[keep])
    kept = keep[which]
    source, start = source[kept], rows.mentions[kept, 1]
    target, shared = titled.values[where], titled.counts()[place[kept]]
    order = np.lexsort((rank[target], start, source))
    found = np.stack([source, target, start, rows.mentions[kept, 2]], axis=1)
    return found[order], shared[order]


def _targets(mentions: Ints, shared: Ints, n: int) -> tuple[Csr, Floats]:
    """Who mentions whom, each pair once, with how surely."""
    pairs = mentions[:, 0] * n + mentions[:, 1]
    order = np.lexsort((shared, pairs))  # of several names for one, the surest
    pair, first = np.unique(pairs[order], return_index=True)
    weights = (1.0 / shared[order][first]).astype(np.float32)
    return group(pair // max(n, 1), pair % max(n, 1), n), weights


def _pairs(pairs: Ints, slots: _Slots) -> Ints:
    """Rowid and entity as slot and entity, without those of dead slots."""
    slot = slots.of(pairs[:, 0])
    return np.stack([slot, pairs[:, 1]], axis=1)[slot >= 0]


def _links(rows: Rows, slots: _Slots) -> tuple[Ints, Floats]:
    source, target = slots.of(rows.links[:, 0]), slots.of(rows.links[:, 1])
    keep = (source >= 0) & (target >= 0)
    found = np.stack([source, target, rows.links[:, 2]], axis=1)[keep]
    order = np.lexsort((found[:, 2], found[:, 1], found[:, 0]))
    return found[order], rows.link_weights[keep][order]


def _rarity(df: Ints, n: int) -> Floats:
    """How much it says that two passages share an entity, in [0, 1]."""
    if n < 2:
        return np.zeros(len(df), dtype=np.float32)
    rarity: Floats = (np.log(n / np.maximum(df, 1)) / np.log(n)).astype(np.float32)
    return rarity
