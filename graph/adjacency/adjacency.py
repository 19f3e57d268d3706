"""A scope's graph as lists over the slots of a memory view: what every query reads.

A state is never written to: a query in another thread goes on with the one it began with. The
next state shares with the last all that a change does not reach
(`hoptrail.graph.adjacency.updates`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.adjacency.ragged import Ints, RaggedArray, Records, group, none, records

Floats = NDArray[np.float32]

STEP = 0
"""The number of the kind of links that lead to the next passage of a sequence."""
MAX_SHARED = 12
"""A name that more passages of a namespace share tells nothing of which is meant."""

SHARED_BITS = MAX_SHARED.bit_length()
"""That hold how many passages share a name, in a packed key."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What the store's tables say of some passages; names, entities and kinds by their numbers."""

    titles: Records
    """`(t, 3)`: slot, name, 1 for an alias or 0."""
    surface_mentions: Records
    """`(m, 4)`: slot, start, end, name."""
    entities: Records
    """`(e, 2)`: slot, entity; each pair once, in reading order within a passage."""
    links: Records
    """`(l, 4)`: slots of source and target, kind, and the weight as `packed` has it."""


class Ranks:
    """Orders slots by their content alone.

    Args:
        order: Gives the positions that sort slots by content.
    """

    def __init__(self, order: Callable[[Ints], Ints]) -> None:
        self._order = order

    def __call__(self, slots: NDArray[np.integer]) -> Ints:
        """Numbers that compare as the slots' contents do, `(m,)`."""
        different, which = np.unique(slots, return_inverse=True)
        rank = np.empty(len(different), dtype=np.int64)
        rank[self._order(different.astype(np.int64))] = np.arange(len(different))
        return rank[which]


@dataclass(frozen=True)
class Adjacency:
    """One state of the graph."""

    n: int
    """The view's slots, dead ones among them."""
    living: int
    """The view's slots that are alive."""
    titles: RaggedArray
    """By slot: name, 1 for an alias or 0."""
    passages_by_name: RaggedArray
    """By name: slot, 1 for an alias or 0; by the slots' contents."""
    surface_mentions: RaggedArray
    """By slot: start, end and name of what it mentions, as it stands in the text."""
    mentioners_by_name: RaggedArray
    """By name: the slots whose text holds it, each once."""
    mentions_out: RaggedArray
    """By source slot: target slot, start, end, passages that share the name; as in the text."""
    mentions_in: RaggedArray
    """By target slot: source slot, start, end, passages that share the name; by the sources'
    contents."""
    entities: RaggedArray
    """By slot: its entities, in reading order."""
    passages_by_entity: RaggedArray
    """By entity: the slots that mention it."""
    links_out: RaggedArray
    """By source slot: target slot, kind, weight as `packed` has it."""
    links_into: RaggedArray
    """By target slot: source slot, kind, weight as `packed` has it."""

    @cached_property
    def rarities(self) -> Floats:
        """By how many passages mention an entity, from 0 to all: log(N / df) / log(N), in [0, 1].

        How much it says that two passages share it; 1 for one that stands in one passage alone.
        """
        if self.living < 2:
            return np.zeros(self.living + 1, dtype=np.float32)
        df = np.maximum(np.arange(self.living + 1), 1)
        rarities: Floats = (np.log(self.living / df) / np.log(self.living)).astype(np.float32)
        return rarities

    def targets(self, slots: Ints) -> tuple[Ints, Ints, Floats]:
        """What slots mention, each once: place in `slots`, target, 1 / passages of that name.

        By place, then target; of several names for one target, the surest counts.

        Args:
            slots: `(m,)`.
        """
        return self._surest(*self.mentions_out.gather(slots))

    def sources(self, slots: Ints) -> tuple[Ints, Ints, Floats]:
        """What mentions slots, each once: place in `slots`, source, weight as `targets` has it.

        Args:
            slots: `(m,)`.
        """
        return self._surest(*self.mentions_in.gather(slots))

    def _surest(self, owner: Ints, rows: Records) -> tuple[Ints, Ints, Floats]:
        # Sorting one number for a record is a good deal quicker than sorting by three keys: place,
        # then slot (32 bits), then how many passages share the name.
        keys = (owner << 32 | rows[:, 0]) << SHARED_BITS | rows[:, 3]
        keys.sort()
        pairs = keys >> SHARED_BITS
        first = np.ones(len(keys), dtype=np.bool_)
        np.not_equal(pairs[1:], pairs[:-1], out=first[1:])
        pairs = pairs[first]
        return (
            pairs >> 32,
            pairs & 0xFFFFFFFF,
            (1.0 / (keys[first] & (1 << SHARED_BITS) - 1)).astype(np.float32),
        )

    def linked(self, slots: Ints) -> tuple[Ints, Ints, Floats]:
        """Where links lead from slots, steps aside: place in `slots`, target, weight.

        Args:
            slots: `(m,)`.
        """
        return _ends(*self.links_out.gather(slots))

    def linking(self, slots: Ints) -> tuple[Ints, Ints, Floats]:
        """Where links to slots come from, steps aside: place in `slots`, source, weight.

        Args:
            slots: `(m,)`.
        """
        return _ends(*self.links_into.gather(slots))


def make_adjacency(
    tables: Tables, sizes: tuple[int, int, int], living: int, ranks: Ranks
) -> Adjacency:
    """The graph of a scope.

    Args:
        tables: Of every living slot.
        sizes: How many slots, names and entities there are.
        living: Slots that are alive.
        ranks: Orders slots by content.
    """
    n, names, entities = sizes
    titles, surface_mentions = tables.titles, tables.surface_mentions
    surface_mentions = surface_mentions[
        np.lexsort((surface_mentions[:, 1], surface_mentions[:, 0]))
    ]
    borne = by_name(titles[:, 1], titles[:, [0, 2]], ranks)
    bearers = group(borne[:, 0], borne[:, 1:], names)
    out = mentions(surface_mentions, bearers, ranks)
    back = backwards(out, ranks)
    links = by_ends(tables.links)
    pairs = tables.entities
    return Adjacency(
        n=n,
        living=living,
        titles=group(titles[:, 0], titles[:, 1:], n),
        passages_by_name=bearers,
        surface_mentions=group(surface_mentions[:, 0], surface_mentions[:, 1:], n),
        mentioners_by_name=mentioners(surface_mentions, names),
        mentions_out=group(out[:, 0], out[:, 1:], n),
        mentions_in=group(back[:, 0], back[:, 1:], n),
        entities=group(pairs[:, 0], pairs[:, 1:], n),
        passages_by_entity=group(pairs[:, 1], pairs[:, :1], entities),
        links_out=group(links[:, 0], links[:, 1:], n),
        links_into=group(links[:, 1], links[:, [0, 2, 3]], n),
    )


def empty_adjacency() -> Adjacency:
    """The graph of nothing."""
    nothing = Tables(none(3), none(4), none(2), none(4))
    return make_adjacency(nothing, (0, 0, 0), 0, Ranks(lambda slots: np.arange(len(slots))))


def all_tables(a: Adjacency) -> Tables:
    """What a graph was made from.

    Args:
        a: One state of the graph.
    """
    return Tables(
        _with_keys(a.titles), _with_keys(a.surface_mentions), _with_keys(a.entities), all_links(a)
    )


def all_links(a: Adjacency) -> Records:
    """Every link: slots of source and target, kind, weight as `packed` has it.

    Args:
        a: One state of the graph.
    """
    return _with_keys(a.links_out)


def meanings(bearers: RaggedArray, names: Ints) -> tuple[Ints, Records]:
    """What names can mean: which of `names`, and the slot with whether by alias.

    An alias counts where no title is called so and no other passage has it as an alias.

    Args:
        bearers: By name, as `Adjacency.passages_by_name`.
        names: `(m,)`, by number.
    """
    owner, rows = bearers.gather(names)
    count = np.bincount(owner, minlength=len(names))
    titles = np.bincount(owner, weights=rows[:, 1] == 0, minlength=len(names))
    keep = np.where(rows[:, 1] == 1, count[owner] == 1, titles[owner] <= MAX_SHARED)
    return owner[keep], rows[keep]


def mentions(surface_mentions: Records, bearers: RaggedArray, ranks: Ranks) -> Records:
    """The join of what is spoken with what it means, in the columns of `Adjacency.mentions_out`.

    Args:
        surface_mentions: As `Tables` has it.
        bearers: Of all names in it.
        ranks: Orders slots by content.
    """
    names, place = np.unique(surface_mentions[:, 3], return_inverse=True)
    owner, slots = meanings(bearers, names.astype(np.int64))
    meant = group(owner, slots, len(names))
    which, rows = meant.gather(place)
    shared = meant.counts()[place[which]]
    mentioned = records(
        surface_mentions[which, 0],
        rows[:, 0],
        surface_mentions[which, 1],
        surface_mentions[which, 2],
        shared,
    )
    return mentioned[np.lexsort((ranks(mentioned[:, 1]), mentioned[:, 2], mentioned[:, 0]))]


def backwards(out: Records, ranks: Ranks) -> Records:
    """Mentions by their target, in the columns of `Adjacency.mentions_in`.

    Args:
        out: As `mentions` gives them.
        ranks: Tells the order of slots by content.
    """
    turned = out[:, [1, 0, 2, 3, 4]]
    return turned[np.lexsort((turned[:, 2], ranks(turned[:, 1]), turned[:, 0]))]


def by_name(names: NDArray[np.integer], borne: Records, ranks: Ranks) -> Records:
    """Who bears names, in the columns of `Adjacency.passages_by_name`.

    Args:
        names: `(b,)` the names borne.
        borne: `(b, 2)` slot, 1 for an alias or 0.
        ranks: Tells the order of slots by content.
    """
    order = np.lexsort((ranks(borne[:, 0]), names))
    return records(names[order], borne[order, 0], borne[order, 1])


def mentioners(surface_mentions: Records, names: int) -> RaggedArray:
    """By name: who speaks of it.

    Args:
        surface_mentions: As `Tables` has them.
        names: How many names there are.
    """
    pairs = np.unique(surface_mentions[:, 3].astype(np.int64) << 32 | surface_mentions[:, 0])
    return group(pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.int32)[:, None], names)


def by_ends(links: Records) -> Records:
    """Links by source, then target, then kind.

    Args:
        links: `(l, 4)` source, target, kind, weight.
    """
    return links[np.lexsort((links[:, 2], links[:, 1], links[:, 0]))]


def packed(weights: Floats) -> NDArray[np.int32]:
    """Weights as whole numbers of the same bits, to stand among those.

    Args:
        weights: `(l,)` float32.
    """
    return np.ascontiguousarray(weights, dtype=np.float32).view(np.int32)


def unpacked_weights(bits: NDArray[np.int32]) -> Floats:
    """The weights again.

    Args:
        bits: `(l,)`, as `packed` gave them.
    """
    return np.ascontiguousarray(bits, dtype=np.int32).view(np.float32)


def _ends(owner: Ints, rows: Records) -> tuple[Ints, Ints, Floats]:
    keep = rows[:, 1] != STEP
    if not keep.all():
        owner, rows = owner[keep], rows[keep]
    return owner, rows[:, 0].astype(np.int64), unpacked_weights(rows[:, 2])


def _with_keys(lists: RaggedArray) -> Records:
    owner, values = lists.all()
    return np.concatenate([owner.astype(np.int32)[:, None], values], axis=1)
