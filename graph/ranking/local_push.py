"""A random walk over passages and entities that looks at no more of the graph than it needs.

With every step the walk goes on by chance d. How often it is at each node, over all of its steps,
is the fixed point of

    q = S + d Wᵀ q        S: where it starts, W: the chances of a step

and personalised PageRank, for which a walk that ends or has no way on starts again, is q / Σ q.
A node's edges are read (it is *opened*) once the walk is there more often than `tolerance` · √(its
edges): the cost depends on the tolerance and hardly on the size of the graph. Steps from a node
that stays closed are followed where they lead to an opened one, which lists the edge from its side;
the rest of what they carry is left out.

Source: the local push of Andersen, Chung and Lang 2006, whose threshold is `tolerance` · edges, and
where closed nodes give nothing back. What the many leaves of a hub give back to it adds up: here
the same error costs a tenth of the edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.graph.adjacency.adjacency import Adjacency
from hoptrail.graph.adjacency.ragged import Ints, RaggedArray

Reals = NDArray[np.float64]

BACKWARDS = 0.5
"""Of a mention or link walked against its direction; 1 costs half a point."""

ROUNDS = 5
"""How often nodes are opened where there is a tolerance; to come from a passage by an entity to
another and open that takes three."""

CLOSED = np.iinfo(np.int64).max


class LocalPush:
    """The chances of each step over one state of the graph.

    From passage i to passage j the weight is F(i, j) + `BACKWARDS` F(j, i), F the weights of
    mentions and links; between a passage and an entity that it shares with others it is the
    entity's rarity. A chance is a weight over the sum of its row. These sums move everywhere when
    a passage is added, because rarities do: kept by slot is what moves only where lists changed.

    Threads may share one.

    Args:
        arrays: The graph.
        max_df: Entities in more passages than this are left out.
        before: A walk over an earlier state, whose sums serve again where nothing changed.
    """

    def __init__(self, arrays: Adjacency, max_df: int, before: LocalPush | None = None) -> None:
        self.arrays, self.max_df = arrays, max_df
        self._rarity = np.zeros(max_df + 1)  # by df; one passage alone is nobody's neighbour
        if arrays.living > 1:
            self._rarity[2:] = 1.0 - np.log(np.arange(2, max_df + 1)) / np.log(arrays.living)
        self._sums = _sums(arrays, max_df, before)
        self._tables: list[NDArray[np.int32]] = []  # idle ones: a walk takes one and returns it

    def visits(
        self,
        seeds: Mapping[int, float],
        *,
        damping: float,
        iterations: int,
        tolerance: float = 0.0,
    ) -> tuple[Ints, Reals]:
        """The slots that the walker reaches, ascending, and how often it is there.

        Together with the entities, which are not among them, this sums to 1.

        Args:
            seeds: Weight above 0 by slot: where it starts, and starts again.
            damping: Chance that it walks on instead, in [0, 1).
            iterations: Steps.
            tolerance: What decides which nodes are opened; at 0 all that it reaches are.

        Raises:
            InputError: No seed, a seed that is no slot, a weight that is not above 0, a damping
                outside [0, 1), a negative number of iterations or tolerance.
        """
        slots, start = self._start(seeds)
        if not 0 <= damping < 1:
            raise InputError(f"damping must be at least 0 and below 1, got {damping!r}")
        if iterations < 0:
            raise InputError(f"iterations must not be negative, got {iterations!r}")
        if not tolerance >= 0:
            raise InputError(f"tolerance must not be negative, got {tolerance!r}")
        near = _Frontier(self, slots)
        visits, steps = start, 0
        for _ in range(ROUNDS if tolerance else iterations):
            if steps >= iterations or not near.open(visits, tolerance):
                break
            # A step from a passage to its entities shows which of these to open, another one which
            # passages the last round's entities lead to.
            for _ in range(2):
                visits, steps = near.step(visits, start, damping), steps + 1
        while steps < iterations:
            visits, steps = near.step(visits, start, damping), steps + 1
        ids = near.done()
        reached = np.flatnonzero((ids < self.arrays.n) & (visits > 0))
        reached = reached[np.argsort(ids[reached])]
        return ids[reached], visits[reached] / visits.sum()

    def rows(self, nodes: Ints) -> tuple[Reals, Ints]:
        """The sum of the weights of each node's row, and how many records opening it reads.

        Args:
            nodes: Slots, then entities, by number.
        """
        n, sums = self.arrays.n, self._sums
        total, records = np.zeros(len(nodes)), np.zeros(len(nodes), dtype=np.int64)
        passage = nodes < n
        slots = nodes[passage]
        total[passage] = sums.steps[slots] + sums.entities[slots]
        if self.arrays.living > 1:
            total[passage] -= sums.logs[slots] / np.log(self.arrays.living)
        records[passage] = sums.records[slots]
        df = self.arrays.passages_by_entity.lengths(nodes[~passage] - n)
        total[~passage], records[~passage] = self._rarity[df] * df, df
        return total, records

    def edges(self, nodes: Ints) -> tuple[Ints, Ints, Reals, Reals]:
        """The edges of some nodes: place in `nodes`, the other end, the weights forth and back.

        Args:
            nodes: Slots, then entities, by number.
        """
        a = self.arrays
        places, entities = np.flatnonzero(nodes < a.n), np.flatnonzero(nodes >= a.n)
        slots = nodes[places]
        parts: list[tuple[Any, Any, NDArray[Any], NDArray[Any]]] = []
        for owner, other, weight in (a.targets(slots), a.linked(slots)):
            parts.append((places[owner], other, weight, BACKWARDS * weight))
        for owner, other, weight in (a.sources(slots), a.linking(slots)):
            apart = other != slots[owner]  # its edge to itself is there already
            owner, other, weight = owner[apart], other[apart], weight[apart]
            parts.append((places[owner], other, BACKWARDS * weight, weight))
        owner, rows = a.entities.gather(slots)
        df = a.passages_by_entity.lengths(rows[:, 0])
        joins = (df > 1) & (df <= self.max_df)
        rarity = self._rarity[df[joins]]
        parts.append((places[owner[joins]], a.n + rows[joins, 0].astype(np.int64), rarity, rarity))
        owner, rows = a.passages_by_entity.gather(nodes[entities] - a.n)
        rarity = self._rarity[np.bincount(owner, minlength=len(entities))[owner]]
        parts.append((entities[owner], rows[:, 0].astype(np.int64), rarity, rarity))
        place, other, forth, back = (
            np.concatenate(columns) for columns in zip(*parts, strict=True)
        )
        return place, other, forth, back

    def take_table(self) -> NDArray[np.int32]:
        """A number for each node, all 0. What is set is to be 0 again when it is returned."""
        try:
            return self._tables.pop()
        except IndexError:
            return np.zeros(self.arrays.n + self.arrays.passages_by_entity.rows, dtype=np.int32)

    def return_table(self, table: NDArray[np.int32]) -> None:
        """For the next walk.

        Args:
            table: As `take_table` gave it, all zeros again.
        """
        self._tables.append(table)

    def _start(self, seeds: Mapping[int, float]) -> tuple[Ints, Reals]:
        """Where it starts, and the chances, which sum to 1."""
        for slot, weight in seeds.items():
            if not 0 <= slot < self.arrays.n:
                raise InputError(
                    f"a seed must be a slot from 0 to {self.arrays.n - 1}, got {slot!r}"
                )
            if not (weight > 0 and np.isfinite(weight)):
                raise InputError(f"a seed's weight must be above 0 and finite, got {weight!r}")
        if not seeds:
            raise InputError("PageRank needs at least one seed")
        weights = np.fromiter(seeds.values(), np.float64, len(seeds))
        return np.fromiter(seeds, np.int64, len(seeds)), weights / weights.sum()


class _Frontier:
    """The part of the graph that a walk has come to see; nodes by their place in it.

    Args:
        walk: Over the whole graph.
        slots: Where the walk starts: the first places.
    """

    def __init__(self, walk: LocalPush, slots: Ints) -> None:
        self._walk = walk
        self._table = walk.take_table()  # of a node that is seen: 1 + its place
        self._ids = np.zeros(0, dtype=np.int64)  # slots; an entity is n + its number
        self._rows = np.zeros(0)
        self._costs = np.zeros(0)
        self._opened = np.zeros(0, dtype=np.int64)  # as the how-manieth
        self._count = 0
        self._source = self._target = np.zeros(0, dtype=np.int64)
        self._chance = np.zeros(0)
        self._places(slots)

    def open(self, visits: Reals, tolerance: float) -> bool:
        """Read the edges of what is worth it and is not opened yet; whether anything is."""
        worth = (visits > tolerance * self._costs[: len(visits)]) & (self._opened == CLOSED)
        new = np.flatnonzero(worth)
        if not len(new):
            return False
        self._opened[new] = np.arange(self._count, self._count + len(new))
        self._count += len(new)
        place, other, forth, back = self._walk.edges(self._ids[new])
        here, there = new[place], self._places(other)
        # Of two that are open, the one that was so first has listed what joins them.
        keep = self._opened[here] <= self._opened[there]
        here, there, forth, back = here[keep], there[keep], forth[keep], back[keep]
        self._source = np.concatenate([self._source, here, there])
        self._target = np.concatenate([self._target, there, here])
        chances = forth / self._rows[here], back / self._rows[there]
        self._chance = np.concatenate([self._chance, *chances])
        return True

    def step(self, visits: Reals, start: Reals, damping: float) -> Reals:
        """How often it is at each place, a step later; `(places,)`, also those just seen."""
        padded = np.zeros(len(self._ids))
        padded[: len(visits)] = visits
        carried = self._chance * padded[self._source]
        after: NDArray[Any] = np.bincount(self._target, carried, minlength=len(self._ids))
        after = damping * after
        after[: len(start)] += start
        return after

    def done(self) -> Ints:
        """The node at each place; it ends here."""
        self._table[self._ids] = 0
        self._walk.return_table(self._table)
        return self._ids

    def _places(self, ids: Ints) -> Ints:
        """Where nodes stand; those not seen before are put at the end."""
        unknown = ids[self._table[ids] == 0]
        if len(unknown):
            new = one_of_each(unknown, self._table)
            size = len(self._ids)
            self._table[new] = np.arange(size + 1, size + len(new) + 1)
            rows, records = self._walk.rows(new)
            self._ids = np.concatenate([self._ids, new])
            self._rows = np.concatenate([self._rows, np.where(rows == 0, 1.0, rows)])
            self._costs = np.concatenate([self._costs, np.sqrt(records)])
            self._opened = np.concatenate([self._opened, np.full(len(new), CLOSED)])
        return self._table[ids].astype(np.int64) - 1


def one_of_each(ids: Ints, scratch: NDArray[np.int32]) -> Ints:
    """The different ones of some ids, each where it stands last; quicker than a sort of them.

    Args:
        ids: `(m,)`, repeats among them.
        scratch: `(n,)`, above every id; what stands at the ids is written over.

    Returns:
        `(u,)`, in the order of the places that they were found at.
    """
    number = np.arange(len(ids), dtype=np.int32)
    # Where an index repeats, numpy's assignment leaves the value that is given last.
    scratch[ids] = number
    left: Ints = ids[scratch[ids] == number]
    return left


@dataclass(frozen=True, slots=True)
class _Sums:
    """By slot, what the sum of a passage's row is made of, so that little of it moves."""

    steps: Reals
    """Of the weights of mentions and links, both ways."""
    entities: Ints
    """How many entities it shares with others."""
    logs: Reals
    """The sum of log df over these; their rarities are 1 - log df / log N."""
    records: Ints
    """How many records opening it reads."""


def _sums(a: Adjacency, max_df: int, before: LocalPush | None) -> _Sums:
    """The sums of a state, from those of an earlier one if its lists were only replaced in part."""
    pairs = [] if before is None else list(zip(_lists(before.arrays), _lists(a), strict=True))
    if before is None or any(old.values is not new.values for old, new in pairs):
        return _sums_of(a, max_df, np.arange(a.n))
    last, sums = before.arrays, before._sums
    changed = set(range(last.n, a.n))
    for old, new in pairs:
        changed.update(_differ(old, new))
    # Those whose entities have come to be in more passages, or in fewer; who shares one that was in
    # too many and still is does not matter.
    entities = np.asarray(_differ(last.passages_by_entity, a.passages_by_entity), dtype=np.int64)
    df = np.minimum(
        last.passages_by_entity.lengths(entities), a.passages_by_entity.lengths(entities)
    )
    for state in (last, a):
        changed.update(state.passages_by_entity.gather(entities[df <= max_df])[1][:, 0].tolist())
    slots = np.asarray(sorted(changed), dtype=np.int64)
    part = _sums_of(a, max_df, slots)
    return _Sums(
        _put(sums.steps, a.n, slots, part.steps),
        _put(sums.entities, a.n, slots, part.entities),
        _put(sums.logs, a.n, slots, part.logs),
        _put(sums.records, a.n, slots, part.records),
    )


def _put(old: NDArray[Any], size: int, slots: Ints, new: NDArray[Any]) -> NDArray[Any]:
    """Room for `size` slots, with new values at some of them."""
    grown = np.zeros(size, dtype=old.dtype)
    grown[: len(old)] = old
    grown[slots] = new
    return grown


def _sums_of(a: Adjacency, max_df: int, slots: Ints) -> _Sums:
    """The sums of some slots, in their order."""
    steps, records = np.zeros(len(slots)), np.zeros(len(slots), dtype=np.int64)
    for share, (owner, _, weight) in (
        (1.0, a.targets(slots)),
        (1.0, a.linked(slots)),
        (BACKWARDS, a.sources(slots)),
        (BACKWARDS, a.linking(slots)),
    ):
        steps += share * np.bincount(owner, weights=weight, minlength=len(slots))
        records += np.bincount(owner, minlength=len(slots))
    owner, rows = a.entities.gather(slots)
    df = a.passages_by_entity.lengths(rows[:, 0])
    joins = (df > 1) & (df <= max_df)
    owner, df = owner[joins], df[joins]
    entities = np.bincount(owner, minlength=len(slots))
    logs = np.zeros(len(slots)) + np.bincount(owner, weights=np.log(df), minlength=len(slots))
    return _Sums(steps, entities, logs, records + entities)


def _lists(a: Adjacency) -> tuple[RaggedArray, ...]:
    return a.mentions_out, a.mentions_in, a.links_out, a.links_into, a.entities


def _differ(old: RaggedArray, new: RaggedArray) -> list[int]:
    """The rows that were replaced between two states."""
    old_records = old.changed
    return [row for row, records in new.changed.items() if old_records.get(row) is not records]
