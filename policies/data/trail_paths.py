"""The ways from passage to passage that questions are made of.

A way is a name that one passage says and another is about, a name that both say, or a link that
somebody wrote. Which ways there are depends on contents alone, and so does their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hoptrail.graph.view import GraphView
from hoptrail.memory.views.view import View
from hoptrail.policies.data.cloze import AnnotatedPassage, NameOccurrence
from hoptrail.types import Namespace

SHARED = 8
"""A name in more passages than this joins none: it would not say which is meant."""
ALIKE = 20
"""Passages that count as near to one in meaning."""
BY_TITLE, BY_NAME, BY_LINK = 2.0, 1.0, 1.0
"""How much a way is worth by its kind: to a passage that is named, one that says the same, one
that is linked. Where a name leads to several passages, they share."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """A way from one passage to another."""

    place: NameOccurrence | None
    """Where the first says the name that joins them; None for a link."""
    target: int
    clue: tuple[str, ...] = ()
    """Of a link its kind, which says something of the target by itself."""


class PassagePaths:
    """The passages of a scope, read as they are asked for, and the ways between them."""

    def __init__(self, view: View, graph: GraphView) -> None:
        self.view, self.graph = view, graph
        self._pages: dict[int, AnnotatedPassage] = {}
        self._spaces: dict[int, Namespace] = {}
        self._near: dict[int, list[int]] = {}
        self._twins: set[int] = set()
        self.starts = self._distinct()
        """The slots of the passages, in an order that content decides; of those that have the same
        content in the same namespace nobody could say which is meant, and they are left out."""

    def __getitem__(self, slot: int) -> AnnotatedPassage:
        if slot not in self._pages:
            [passage] = self.view.passages([slot])
            self._pages[slot] = AnnotatedPassage(slot, passage, self.graph)
        return self._pages[slot]

    def steps(
        self, page: AnnotatedPassage, hidden: set[str], path: Sequence[int]
    ) -> tuple[list[PathStep], list[float]]:
        """The ways on from the last passage of a path, and how much each is worth.

        Args:
            page: That passage.
            hidden: Names that lead nowhere, because they are said or were used.
            path: The passages so far. From the first its own title leads nowhere either: where the
                question names it, whoever names it too is found without it.
        """
        steps: list[PathStep] = []
        worth: list[float] = []
        for place in page.places:
            if place.name in hidden or (place.first < 0 and len(path) == 1):
                continue
            named = self.open(page.targets.get(place, []), path)
            steps += [PathStep(place, slot) for slot in named]
            worth += [BY_TITLE * self._rarity(slot) / len(named) for slot in named]
            shared = self.open(self.sharing(place.name), path)
            steps += [PathStep(place, slot) for slot in shared]
            worth += [BY_NAME / len(shared) for _ in shared]
        links = {(target, kind) for target, kind, _ in self.graph.links(page.slot, steps=False)}
        for target, kind in sorted(links, key=lambda li: (self.view.content_key(li[0]), li[1])):
            said = () if kind == "link" else tuple(kind.replace("_", " ").split())
            steps += [PathStep(None, slot, said) for slot in self.open([target], path)]
        worth += [BY_LINK] * (len(steps) - len(worth))
        return steps, worth

    def sharing(self, name: str) -> list[int]:
        """The passages that say a name; none where these are too many to mean one.

        Args:
            name: Folded.

        Returns:
            Slots.
        """
        slots = self.graph.slots_of_entity(name)
        return slots if 2 <= len(slots) <= SHARED else []

    def rare(self, name: str) -> bool:
        """Whether a name says well enough which passage is meant.

        Args:
            name: Folded.
        """
        return self.graph.entity_df(name) <= SHARED

    def open(self, slots: Sequence[int], path: Sequence[int]) -> list[int]:
        """Those passages that a path may go on to, in the order of content.

        Args:
            slots: Of these.
            path: The slots of the passages so far; none is entered twice, and all are of the
                namespace of the first.
        """
        space = self._namespace(path[0])
        return [
            slot
            for slot in sorted(set(slots), key=self.view.content_key)
            if slot not in path and slot not in self._twins and self._namespace(slot) == space
        ]

    def near(self, page: AnnotatedPassage) -> list[int]:
        """The slots of passages near in meaning, in the order of content.

        Args:
            page: To which.
        """
        if page.slot not in self._near:
            vector = self.view.dense.vectors(np.asarray([page.slot]))
            _, slots = self.view.dense.search(vector, ALIKE + 1)
            self._near[page.slot] = self.open([int(s) for s in slots[0] if s >= 0], [page.slot])
        return self._near[page.slot]

    def idf(self, word: str) -> float:
        """The inverse document frequency of a word, in nats; 0 for one that the index leaves out.

        Args:
            word: Any form of it.
        """
        terms = self.view.sparse.terms(word)
        return self.view.sparse.idf(terms[0]) if terms else 0.0

    def _rarity(self, slot: int) -> float:
        """Less for a passage that many name."""
        return float((1 + len(self.graph.in_mentions(slot))) ** -0.5)

    def _namespace(self, slot: int) -> Namespace:
        if slot not in self._spaces:
            self._spaces[slot] = self.view.passages([slot])[0].namespace
        return self._spaces[slot]

    def _distinct(self) -> list[int]:
        by_key: dict[bytes, list[int]] = {}
        for slot in np.flatnonzero(self.view.alive).tolist():
            by_key.setdefault(self.view.content_key(slot), []).append(slot)
        ordered: list[int] = []
        for _, equal in sorted(by_key.items()):
            if len(equal) > 1:
                equal.sort(key=self._namespace)
                spaces = [self._namespace(slot) for slot in equal]
                twins = [s for s, n in zip(equal, spaces, strict=True) if spaces.count(n) > 1]
                self._twins.update(twins)
            ordered += [slot for slot in equal if slot not in self._twins]
        return ordered
