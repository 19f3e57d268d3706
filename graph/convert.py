"""The graph in the forms that other libraries read: networkx and PyTorch Geometric.

Nodes are passages and entities; edges are typed: a passage `mentions` a passage or `contains` an
entity, and a link has its own kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hoptrail.formats.sequences import NEXT
from hoptrail.graph.adjacency.adjacency import Adjacency, Floats, all_links, unpacked_weights
from hoptrail.graph.adjacency.ragged import Ints
from hoptrail.graph.adjacency.vocabulary import Vocabulary
from hoptrail.types import Passage
from hoptrail.values.json_values import copied

if TYPE_CHECKING:
    import networkx
    from torch_geometric.data import HeteroData

    from hoptrail.memory.views.view import View

PART = 1000
"""Passages read at a time."""


def to_networkx(view: View, arrays: Adjacency, words: Vocabulary) -> networkx.MultiDiGraph:
    """A MultiDiGraph whose nodes are slots and, for entities, ("entity", namespace, name).

    Nodes carry `type`, passages also `id`, `title`, `text`, `metadata` and `namespace`, entities
    `name`: `Memory.add` takes such a graph back, with its links. Edges have
    their type as key and attribute `type`, and a `weight`; a link's type is `link` and its `kind`
    the user's own.

    Args:
        view: The passages.
        arrays: The edges, as a graph view holds them.
        words: The names of entities and of kinds of links.
    """
    import networkx

    graph = networkx.MultiDiGraph(made_by="hoptrail")
    living = np.flatnonzero(view.alive[: arrays.n])
    for slot, passage in _passages(view, living):
        graph.add_node(
            slot,
            type="passage",
            id=passage.id,
            title=passage.title,
            text=passage.text,
            metadata=copied(dict(passage.metadata)),
            namespace=passage.namespace,
        )
    for source, target, weight in zip(*_mentions(arrays), strict=True):
        graph.add_edge(
            int(source), int(target), key="mentions", type="mentions", weight=float(weight)
        )
    for source, entity, weight in zip(*_entities(arrays), strict=True):
        name = words.entity_name(entity)
        node = ("entity", graph.nodes[int(source)]["namespace"], name)
        graph.add_node(node, type="entity", name=name)
        graph.add_edge(int(source), node, key="contains", type="contains", weight=float(weight))
    kinds = list(words.kinds)
    links = all_links(arrays)
    for (source, target, kind, _), weight in zip(
        links.tolist(), unpacked_weights(links[:, 3]).tolist(), strict=True
    ):
        graph.add_edge(
            source,
            target,
            key=f"link:{kinds[kind]}",
            type="link",
            kind=kinds[kind],
            weight=weight,
        )
    return graph


def to_pyg(view: View, arrays: Adjacency, words: Vocabulary) -> HeteroData:
    """A HeteroData with node types `passage` and `entity`.

    `passage` has `slot` (the view's), `id` and `title` (lists), and `x`, the passages' vectors;
    `entity` has `name` and `rarity`. Edge types are (passage, mentions, passage),
    (passage, contains, entity) and (passage, link:<kind>, passage) for each kind of link, each with
    `edge_index` `(2, e)` and `edge_weight` `(e,)`.

    Args:
        view: The passages.
        arrays: The edges, as a graph view holds them.
        words: The names of entities and of kinds of links.
    """
    import torch
    from torch_geometric.data import HeteroData

    data = HeteroData()
    living = np.flatnonzero(view.alive[: arrays.n])
    passages = [passage for _, passage in _passages(view, living)]
    node = np.full(arrays.n, -1)
    node[living] = np.arange(len(living))
    data["passage"].num_nodes = len(living)
    data["passage"].slot = torch.from_numpy(living)
    data["passage"].id = [passage.id for passage in passages]
    data["passage"].title = [passage.title for passage in passages]
    data["passage"].x = torch.from_numpy(view.dense.vectors(living))
    df = arrays.passages_by_entity.counts()
    present = np.flatnonzero(df)
    entity = np.full(len(df), -1)
    entity[present] = np.arange(len(present))
    data["entity"].num_nodes = len(present)
    data["entity"].name = [words.entity_name(int(i)) for i in present]
    data["entity"].rarity = torch.from_numpy(arrays.rarities[df[present]])

    source, target, weights = _mentions(arrays)
    _join(data["passage", "mentions", "passage"], node[source], node[target], weights)
    source, contained, weights = _entities(arrays)
    _join(data["passage", "contains", "entity"], node[source], entity[contained], weights)
    links = all_links(arrays)
    for kind, number in words.kinds.items():
        these = links[links[:, 2] == number]
        if kind == NEXT and not len(these):  # the only kind that is known before it is met
            continue
        ends = node[these[:, :2]]
        weights = unpacked_weights(these[:, 3])
        _join(data["passage", f"link:{kind}", "passage"], ends[:, 0], ends[:, 1], weights)
    return data


def _mentions(arrays: Adjacency) -> tuple[Ints, Ints, Floats]:
    """Who mentions whom: slots, and weights."""
    return arrays.targets(np.arange(arrays.n))


def _entities(arrays: Adjacency) -> tuple[Ints, Ints, Floats]:
    """Which slots contain which entities, and how rare these are."""
    source, rows = arrays.entities.all()
    entity = rows[:, 0].astype(np.int64)
    return source, entity, arrays.rarities[arrays.passages_by_entity.lengths(entity)]


def _join(edges: Any, source: Ints, target: Ints, weight: Floats) -> None:
    """Fill one edge type."""
    import torch

    edges.edge_index = torch.from_numpy(np.stack([source, target]))
    edges.edge_weight = torch.from_numpy(weight)


def _passages(view: View, slots: Ints) -> Iterator[tuple[int, Passage]]:
    """Slots with their passages, read in parts."""
    for start in range(0, len(slots), PART):
        part = slots[start : start + PART].tolist()
        yield from zip(part, view.passages(part), strict=True)
