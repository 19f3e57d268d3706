"""What a person looks at: a part of the graph with its passages, and a memory as one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hoptrail.api.inputs import parse_scope
from hoptrail.errors import InputError, UnknownId
from hoptrail.memory.guarded import guarded
from hoptrail.types import Passage
from hoptrail.values.numbers import whole

if TYPE_CHECKING:
    from hoptrail.api.graph_slot import GraphSlot
    from hoptrail.graph.cuts import CutEdge
    from hoptrail.graph.view import GraphView
    from hoptrail.memory.storage.namespaces import Scope
    from hoptrail.memory.store import Store

MOST = 500
"""Passages of a neighbourhood at most: more are no picture."""

NEAR_EACH = 10
"""Passages that are drawn for each of the best joined ones, where nobody says around what."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Some passages of a memory and the edges among them, laid out to be drawn."""

    passages: tuple[Passage, ...]
    """Those it is around, then the nearest first."""
    places: tuple[tuple[float, float], ...]
    """Of each passage, in [0, 1] both ways."""
    edges: tuple[CutEdge, ...]
    """Between positions in `passages`."""
    degrees: tuple[int, ...]
    """Mentions and links that each passage has in the whole graph, both ways."""


class Pictures:
    """Makes what a person looks at.

    Args:
        store: The passages.
        graph: Over them.
    """

    def __init__(self, store: Store, graph: GraphSlot) -> None:
        self._store = store
        self._graph = graph

    def neighbourhood(
        self,
        around: Sequence[str | Passage] = (),
        namespace: Sequence[str] = (),
        *,
        most: int = 60,
    ) -> Neighbourhood:
        """The passages nearest to some in the graph, with the edges among them.

        Args:
            around: Ids of passages of exactly this namespace, or passages of any in its scope;
                around those with the most mentions and links if there are none.
            namespace: The scope: every namespace that begins with it.
            most: Passages at most, from 1 to 500.

        Returns:
            The passages with their edges, laid out.

        Raises:
            UnknownId: A passage is not there.
            InputError: It is no namespace, or no such number of passages.
        """
        from hoptrail.graph.cuts import best_joined, cut_around

        if isinstance(around, str | Passage):
            raise InputError("neighbourhood takes a list of passages: give [passage]")
        most = whole(most, "most", least=1, most=MOST)
        scope = parse_scope(namespace)
        with self._viewed(scope) as graph:
            seeds = [_slot_of(graph, one, scope) for one in around]
            others = [] if seeds else best_joined(graph, most)
            seeds = seeds or others[: max(1, most // NEAR_EACH)]
            cut = cut_around(graph, seeds, most, others=others)
            passages = tuple(graph.view.passages(cut.slots))
        return Neighbourhood(passages, cut.places, cut.edges, cut.degrees)

    def to_html(self, namespace: Sequence[str] = (), *, most: int = 60) -> str:
        """A page that shows a memory: its best joined passages as a graph, and what they say.

        Args:
            namespace: The scope: every namespace that begins with it.
            most: Passages at most, from 1 to 500.

        Returns:
            The page, to be written to a file as UTF-8: it needs no other file and no network.

        Raises:
            InputError: It is no namespace, or no such number of passages.
        """
        from hoptrail.outputs.pages.memory_page import memory_page

        scope = parse_scope(namespace)
        near = self.neighbourhood(namespace=scope.namespace, most=most)
        edges = [(edge.source, edge.target, edge.kind) for edge in near.edges]
        total = self._store.count(scope)
        return memory_page(
            Path(self._store.name).name, scope.namespace, total, near.passages, near.places, edges
        )

    @guarded
    def _viewed(self, scope: Scope) -> Iterator[GraphView]:
        """The graph of a scope, as it is now, its view pinned."""
        graph = self._graph.get()
        graph.sync(wait=False)
        with self._store.pinned(scope) as view:
            yield graph.view(view)


def _slot_of(graph: GraphView, passage: str | Passage, scope: Scope) -> int:
    if isinstance(passage, Passage):
        id, place = passage.id, passage.namespace
    else:
        id, place = passage, scope.namespace
    slot = graph.view.slot_of(id, place)
    if slot is None:
        raise UnknownId(f"there is no passage {id!r} to look around")
    return slot
