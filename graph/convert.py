"""The graph in the forms that other libraries read: networkx and PyTorch Geometric.

Nodes are passages and entities; edges are typed: a passage `mentions` a passage or `contains` an
entity, and a link has its own kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hoptrail.graph.arrays import Arrays
from hoptrail.graph.rows import Floats, Ints
from hoptrail.types import Passage

if TYPE_CHECKING:
    import networkx
    from torch_geometric.data import HeteroData

    from hoptrail.memory.view import View

PART = 1000
"""Passages read at a time."""


def to_networkx(view: View, arrays: Arrays) -> networkx.MultiDiGraph:
    """A MultiDiGraph whose nodes are slots and, for entities, ("entity", namespace, name).

    Nodes carry `type`, passages also `id`, `title` and `namespace`, entities `name`. Edges have
    their type as key and attribute `type`, and a `weight`; a link's type is `link` and its `kind`
    the user's own.
    """
    import networkx

    graph = networkx.MultiDiGraph()
    living = np.flatnonzero(view.alive[: arrays.n])
    for slot, passage in _passages(view, living):
        graph.add_node(
            slot,
            type="passage",
            id=passage.id,
            title=passage.title,
            namespace=passage.namespace,
        )
    for source in living.tolist():
        places = range(int(arrays.targets.starts[source]), int(arrays.targets.starts[source + 1]))
        for place in places:
            graph.add_edge(
                source,
                int(arrays.targets.values[place]),
                key="mentions",
                type="mentions",
                weight=float(arrays.target_weights[place]),
            )
        namespace = graph.nodes[source]["namespace"]
        for entity in arrays.entities[source].tolist():
            node = ("entity", namespace, arrays.entity_names[entity])
            graph.add_node(node, type="entity", name=arrays.entity_names[entity])
            weight = float(arrays.entity_weights[entity])
            graph.add_edge(source, node, key="contains", type="contains", weight=weight)
    for (source, target, kind), weight in zip(
        arrays.links.tolist(), arrays.link_weights.tolist(), strict=True
    ):
        graph.add_edge(
            source,
            target,
            key=f"link:{arrays.kinds[kind]}",
            type="link",
            kind=arrays.kinds[kind],
            weight=weight,
        )
    return graph


def to_pyg(view: View, arrays: Arrays) -> HeteroData:
    """A HeteroData with node types `passage` and `entity`.

    `passage` has `slot` (the view's), `id` and `title` (lists), and `x`, the passages' vectors;
    `entity` has `name` and `rarity`. Edge types are (passage, mentions, passage),
    (passage, contains, entity) and (passage, link:<kind>, passage) for each kind of link, each with
    `edge_index` `(2, e)` and `edge_weight` `(e,)`.
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
    present = np.flatnonzero(arrays.members.counts())
    entity = np.full(len(arrays.entity_names), -1)
    entity[present] = np.arange(len(present))
    data["entity"].num_nodes = len(present)
    data["entity"].name = [arrays.entity_names[i] for i in present]
    data["entity"].rarity = torch.from_numpy(arrays.entity_weights[present])

    source = np.repeat(np.arange(arrays.n), arrays.targets.counts())
    targets = arrays.targets.values
    _join(
        data["passage", "mentions", "passage"], node[source], node[targets], arrays.target_weights
    )
    source = np.repeat(np.arange(arrays.n), arrays.entities.counts())
    values = arrays.entities.values
    weights = arrays.entity_weights[values]
    _join(data["passage", "contains", "entity"], node[source], entity[values], weights)
    for number, kind in enumerate(arrays.kinds):
        these = arrays.links[:, 2] == number
        ends = node[arrays.links[these, :2]]
        weights = arrays.link_weights[these]
        _join(data["passage", f"link:{kind}", "passage"], ends[:, 0], ends[:, 1], weights)
    return data


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
