"""The graph as other libraries have it holds what the view says."""

from __future__ import annotations

import json
from pathlib import Path

import networkx
import pytest
import torch

from hoptrail.graph.graph import Graph
from hoptrail.graph.view import GraphView
from hoptrail.types import Link, Passage


@pytest.fixture
def view(graph: Graph, twelve: list[Passage]) -> GraphView:
    graph.store.add([*twelve, Passage("p-gone", "Ada Lind went.", "Gone")])
    graph.store.add([Passage("p-cites", "It cites.", links=(Link("p-varn", "cites", 0.5),))])
    graph.store.delete(["p-gone"])
    graph.store.update("p-tolle", text="Tolle is a town where Ada Lind worked.")
    return graph.view(graph.store.view())


def test_networkx_holds_every_node_and_edge_with_its_attributes(view: GraphView) -> None:
    found = view.to_networkx()
    living = [int(slot) for slot in view.view.alive.nonzero()[0]]
    passages = {n for n, kind in found.nodes(data="type") if kind == "passage"}
    entities = {data["name"] for _, data in found.nodes(data=True) if data["type"] == "entity"}
    assert passages == set(living)
    assert entities == {name for slot in living for name in view.entities(slot)}
    mentions = {(a, b) for a, b, kind in found.edges(data="type") if kind == "mentions"}
    assert mentions == {(m.source, m.target) for slot in living for m in view.out_mentions(slot)}
    contains = [1 for *_, kind in found.edges(data="type") if kind == "contains"]
    assert len(contains) == sum(len(view.entities(slot)) for slot in living)
    links = [
        (a, b, data["kind"], data["weight"])
        for a, b, data in found.edges(data=True)
        if data["type"] == "link"
    ]
    assert sorted(links) == sorted((s, *link) for s in living for link in view.links(s))
    varn = view.view.slot_of("p-varn")
    assert found.nodes[varn] == {
        "type": "passage",
        "id": "p-varn",
        "title": "Varn",
        "text": "Varn is a small town of stone houses on the banks of the Ister Beck.",
        "metadata": {},
        "namespace": (),
    }
    assert networkx.number_of_selfloops(found) == 0


def test_pyg_holds_the_same_counts_with_the_passages_vectors(view: GraphView) -> None:
    data, graph = view.to_pyg(), view.to_networkx()
    kinds = [kind for *_, kind in graph.edges(data="type")]
    assert data["passage"].num_nodes == len(data["passage"].id) == 13
    assert data["passage"].num_nodes + data["entity"].num_nodes == graph.number_of_nodes()
    assert data["passage", "mentions", "passage"].num_edges == kinds.count("mentions")
    assert data["passage", "contains", "entity"].num_edges == kinds.count("contains")
    assert data["passage", "link:cites", "passage"].edge_weight.tolist() == [0.5]
    assert data["passage", "link:stands_on", "passage"].num_edges == 1
    data.validate()
    assert data["passage"].x.shape == (13, 8)
    torch.testing.assert_close(data["passage"].x.norm(dim=1), torch.ones(13))
    source, target = data["passage", "link:stands_on", "passage"].edge_index[:, 0].tolist()
    assert [data["passage"].id[i] for i in (source, target)] == ["p-varn", "p-ister-beck"]
    assert data["passage"].title[source] == "Varn"
    assert view.view.slot_of("p-varn") == data["passage"].slot[source]


def test_an_empty_graph_converts(graph: Graph) -> None:
    view = graph.view(graph.store.view())
    assert view.to_networkx().number_of_nodes() == 0
    data = view.to_pyg()
    assert data["passage"].num_nodes == 0
    assert data["passage", "mentions", "passage"].edge_index.shape == (2, 0)


def test_citations_of_a_real_corpus_survive_the_round_trip(graph: Graph, data_folder: Path) -> None:
    lines = (data_folder / "cacm" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    papers = [json.loads(line) for line in lines]
    graph.store.add(
        Passage(p["id"], p["text"], p["title"], links=tuple(map(Link, p.get("links", ()))))
        for p in papers
    )
    view = graph.view(graph.store.view())
    given = {(p["id"], target) for p in papers for target in p.get("links", ())}
    found = view.to_networkx()
    ids = dict(found.nodes(data="id"))
    assert given == {(ids[a], ids[b]) for a, b, kind in found.edges(data="type") if kind == "link"}
    data = view.to_pyg()
    assert data["passage", "link:link", "passage"].num_edges == len(given)
