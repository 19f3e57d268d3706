"""Typed links as relations that can be walked both ways, and the entities that they join.

A relation is a kind of link that somebody named, and `~` before it is its inverse. An entity is a
passage whose text says no more than its name: it says nothing when read, and all that it has to
say is in its links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hoptrail.formats.sequences import NEXT
from hoptrail.graph.adjacency.adjacency import Ranks
from hoptrail.graph.adjacency.ragged import Ints, Records
from hoptrail.graph.extraction.names import NameMatcher, words
from hoptrail.memory.passages import versions

if TYPE_CHECKING:
    import sqlite3

UNTYPED = frozenset({"link", NEXT, "similar", *versions.KINDS})
"""Kinds of links that say no more than that two passages belong together."""

WALKS = 100_000
"""Walks kept after a step, first those through what comes first by content: bounds its cost."""

_BRACKETS = re.compile(r"\[([^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class Named:
    """An entity's name in a question."""

    slots: tuple[int, ...]
    """The entities of that name; several only in a scope of several namespaces."""
    start: int
    """First character of it, brackets included."""
    end: int


class Relations:
    """The relations of a scope over the slots of its view.

    Args:
        links: `(l, 4)`: slots of source and target, kind, weight.
        kinds: Names of kinds, by number.
        n: How many slots there are.
        ranks: Orders slots by content.

    Attributes:
        names: The relations by number: every kind, then every inverse.
    """

    def __init__(self, links: Records, kinds: Sequence[str], n: int, ranks: Ranks) -> None:
        typed = sorted({*kinds} - UNTYPED)
        place = {kind: i for i, kind in enumerate(typed)}
        number = np.asarray([place.get(kind, -1) for kind in kinds], dtype=np.int64)[links[:, 2]]
        links, number = links[number >= 0].astype(np.int64), number[number >= 0]
        met, number = np.unique(number, return_inverse=True)  # a kind may have lost its last link
        forth = [typed[i] for i in met.tolist()]
        self.names = (*forth, *(f"~{kind}" for kind in forth))
        source = np.concatenate([links[:, 0], links[:, 1]])
        target = np.concatenate([links[:, 1], links[:, 0]])
        relation = np.concatenate([number, number + len(forth)])
        key = source * len(self.names) + relation
        order = np.lexsort((ranks(target), key))
        self._keys, self._targets = key[order], target[order]
        self._n = n

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<Relations {len(self.names) // 2} kinds, {len(self._keys) // 2} links>"

    def leaving(self, slots: Ints) -> NDArray[np.bool_]:
        """Which relations leave any of the slots, `(len(self),)`.

        Args:
            slots: `(m,)`.
        """
        leaves = np.zeros(len(self.names), dtype=np.bool_)
        _, place = self._links(np.unique(slots) * len(self.names), len(self.names))
        leaves[self._keys[place] % max(1, len(self.names))] = True
        return leaves

    def follow(self, walks: Ints, relation: int, limit: int = WALKS) -> Ints:
        """Walks one step longer, along a relation, where no entity is entered twice.

        Args:
            walks: `(w, t)`, slots in the order walked.
            relation: By number.
            limit: Walks in the result at most.

        Returns:
            `(v, t + 1)`.
        """
        owner, place = self._links(walks[:, -1] * len(self.names) + relation, 1)
        owner, target = owner[:limit], self._targets[place[:limit]]
        longer = np.concatenate([walks[owner], target[:, None]], axis=1)
        new: Ints = longer[(longer[:, :-1] != target[:, None]).all(1)]
        return new

    def neighbours(self, slots: Ints) -> tuple[Ints, Ints, Ints]:
        """Every link of some slots: the place in `slots`, the relation, and where it leads.

        Args:
            slots: `(m,)`.
        """
        owner, place = self._links(slots * len(self.names), len(self.names))
        return owner, self._keys[place] % max(1, len(self.names)), self._targets[place]

    def reach(self, slots: Ints, steps: int) -> list[NDArray[np.bool_]]:
        """The slots within 0, 1, .. `steps` links of some slots, as masks `(n,)`.

        Args:
            slots: `(m,)`.
            steps: At least 0.
        """
        mask = np.zeros(self._n, dtype=np.bool_)
        mask[slots] = True
        masks = [mask]
        for _ in range(steps):
            mask = masks[-1].copy()
            mask[self.neighbours(np.flatnonzero(masks[-1]))[2]] = True
            masks.append(mask)
        return masks

    def _links(self, first: Ints, width: int) -> tuple[Ints, Ints]:
        """The links whose keys lie in `first` to `first + width`: whose each is, and where."""
        start = np.searchsorted(self._keys, first)
        counts = np.searchsorted(self._keys, first + width) - start
        owner = np.repeat(np.arange(len(first)), counts)
        before = np.cumsum(counts) - counts
        return owner, np.arange(len(owner)) + np.repeat(start - before, counts)


class EntityNames:
    """Finds the entities that a question names.

    A name in square brackets is taken as written; where there is none, the longest known names
    are looked for among the question's words.

    Args:
        named: Names with the slots of their entities.
    """

    def __init__(self, named: Sequence[tuple[str, int]]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._folded: dict[str, list[int]] = {}
        for name, slot in named:
            self._exact.setdefault(name, []).append(slot)
            self._folded.setdefault(" ".join(words(name).folded), []).append(slot)
        self._folded.pop("", None)
        self._matcher = NameMatcher(self._folded)

    def __len__(self) -> int:
        return len(self._exact)

    def find(self, question: str) -> list[Named]:
        """The entities named, in the order of naming.

        Args:
            question: In words.
        """
        entities = [
            Named(tuple(self._exact[match[1]]), *match.span())
            for match in _BRACKETS.finditer(question)
            if match[1] in self._exact
        ]
        if entities:
            return entities
        text = words(question)
        return [
            Named(
                tuple(self._folded[match.name]),
                text.spans[match.first][0],
                text.spans[match.last][1],
            )
            for match in self._matcher.matches(text, question=True)
        ]


def entities_of(
    connection: sqlite3.Connection,
    bounds: tuple[str, str | bytes],
    slots_of: Callable[[Ints], Ints],
) -> list[tuple[str, int]]:
    """The entities of some namespaces: names with their slots, in the order of names.

    Args:
        connection: The store's.
        bounds: Of the stored namespaces, `low <= n < high`.
        slots_of: Gives the living slots of rowids, -1 for what has none.
    """
    rows = connection.execute(
        "SELECT text, rowid FROM passages WHERE namespace >= ? AND namespace < ? "
        "AND (text = id OR text = title) ORDER BY text, namespace, id",
        bounds,
    ).fetchall()
    slots = slots_of(np.asarray([rowid for _, rowid in rows], dtype=np.int64))
    return [(text, s) for (text, _), s in zip(rows, slots.tolist(), strict=True) if s >= 0]
