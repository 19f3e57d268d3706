"""A part of a graph that a person can look at: passages, the edges among them, their places.

Whatever the size of the graph, a cut is made of what a walk with restart (personalised PageRank)
reaches from its seeds first, so that it costs what its surroundings cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hoptrail.graph.adjacency.ragged import Ints
from hoptrail.graph.ranking.pagerank import DAMPING, ITERATIONS
from hoptrail.graph.view import KINDS, GraphView

TOLERANCE = 1e-4
"""What decides how far a walk from the seeds goes: a cut needs the nearest passages only."""
EDGES_EACH = 4
"""Edges for each passage of a cut at most: more are no picture. The heaviest stay, and of passages
that only share entities few."""


@dataclass(frozen=True, slots=True)
class CutEdge:
    """An edge between two passages of a cut."""

    source: int
    """Position in the cut."""
    target: int
    """Position in the cut."""
    kind: str
    """`mentions`, `entity` (they share one), or the kind of a link."""


@dataclass(frozen=True, slots=True)
class GraphCut:
    """Some passages of a graph and the edges among them, laid out."""

    slots: tuple[int, ...]
    """Of the passages: the seeds, then the nearest first."""
    places: tuple[tuple[float, float], ...]
    """Of each, in [0, 1] both ways."""
    edges: tuple[CutEdge, ...]
    degrees: tuple[int, ...]
    """Mentions and links that each has in the whole graph, both ways."""


def cut_around(
    view: GraphView, seeds: Sequence[int], most: int, *, others: Sequence[int] = ()
) -> GraphCut:
    """The surroundings of some passages.

    Args:
        view: The graph.
        seeds: Slots that are in the cut, whatever is near.
        most: Passages at most, at least one.
        others: Slots that fill it up where fewer are near.

    Raises:
        InputError: A seed is no slot.
    """
    slots = list(dict.fromkeys(seeds))[:most]
    if slots and len(slots) < most:
        near, often = view.walk().visits(
            dict.fromkeys(slots, 1.0),
            damping=DAMPING,
            iterations=ITERATIONS,
            tolerance=TOLERANCE,
        )
        order = near[np.argsort(-often, kind="stable")].tolist()
        slots = list(dict.fromkeys([*slots, *order, *others]))[:most]
    array = np.asarray(slots, dtype=np.int64)
    edges = _edges(view, array)
    degrees = tuple(view.degrees(array).tolist())
    return GraphCut(tuple(slots), _places(len(slots), edges), edges, degrees)


def best_joined(view: GraphView, most: int) -> list[int]:
    """The slots of the passages with the most mentions and links, most first.

    Args:
        view: The graph.
        most: Passages at most.
    """
    alive = np.flatnonzero(view.view.alive)
    degrees = view.degrees(alive)
    slots: list[int] = alive[np.argsort(-degrees, kind="stable")][:most].tolist()
    return slots


def _edges(view: GraphView, slots: Ints) -> tuple[CutEdge, ...]:
    """Each pair's edges in one direction, written ones first, the heaviest of each kind."""
    among = view.edges(slots)
    rows = zip(*among.index.tolist(), among.kind.tolist(), among.weight.tolist(), strict=True)
    mentions, entities = [], []
    joined: set[tuple[int, int]] = set()
    links: list[CutEdge] = []
    for source, target, kind, weight in rows:
        if KINDS[kind] == "mentions":
            mentions.append((weight, source, target))
        elif KINDS[kind] == "entity" and source < target:
            entities.append((weight, source, target))
        elif KINDS[kind] == "link":
            joined.add((source, target))
    position = {slot: place for place, slot in enumerate(slots.tolist())}
    for source in sorted({source for source, _ in joined}):
        for other, kind, _ in view.links(int(slots[source])):
            if other in position:
                links.append(CutEdge(source, position[other], kind))
    edges = [*links, *(CutEdge(s, t, "mentions") for _, s, t in sorted(mentions, reverse=True))]
    pairs = {frozenset((edge.source, edge.target)) for edge in edges}
    for _, source, target in sorted(entities, reverse=True):
        if frozenset((source, target)) not in pairs:
            edges.append(CutEdge(source, target, "entity"))
    return tuple(edges[: EDGES_EACH * len(slots)])


def _places(count: int, edges: Sequence[CutEdge]) -> tuple[tuple[float, float], ...]:
    """Where each passage is drawn, by the springs of its edges; the same whenever it is drawn."""
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from((edge.source, edge.target) for edge in edges)
    if not count:
        return ()
    springs = networkx.spring_layout(graph, k=2 / count**0.5, seed=0, iterations=100)
    places = np.asarray([springs[node] for node in range(count)])
    low, high = places.min(axis=0), places.max(axis=0)
    places = (places - low) / np.where(high > low, high - low, 1.0)
    # Halfway to an even spread, so that names do not lie upon each other.
    ranks = places.argsort(axis=0).argsort(axis=0) / max(count - 1, 1)
    places = (places + ranks) / 2
    return tuple((round(x, 4), round(y, 4)) for x, y in places.tolist())
