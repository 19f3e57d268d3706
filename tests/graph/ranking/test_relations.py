"""Typed links walked both ways, and the entities that questions name."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.formats.triples import entities
from hoptrail.graph.graph import Graph
from hoptrail.graph.ranking.relations import EntityNames
from hoptrail.memory.store import Store
from hoptrail.types import Link, Passage


@pytest.fixture
def opened(tmp_path, hash_encoder):
    """Opens a store of passages: its graph view, its slots by id, and its ids by slot."""
    stores = []

    def open_(passages):
        store = Store(tmp_path / f"{len(stores)}.db", encoder=hash_encoder)
        stores.append(store)
        store.add(passages)
        view = store.view()
        graph = Graph(store).view(view)

        def slots(*ids):
            return np.asarray([view.slot_of(i) for i in ids])

        def ids(found):
            return [p.id for p in view.passages(np.asarray(found).ravel().tolist())]

        return graph, slots, ids

    yield open_
    for store in stores:
        store.close()


@pytest.fixture
def art(opened, triples):
    return opened(entities(triples))


def walked(art, start, *path):
    graph, slots, _ = art
    relations = graph.relations()
    walks = slots(start)[:, None]
    for name in path:
        walks = relations.follow(walks, relations.names.index(name))
    return walks


def ends(art, start, *path):
    return sorted(set(art[2](walked(art, start, *path)[:, -1])))


def test_every_kind_has_an_inverse(art, triples) -> None:
    relations = art[0].relations()
    assert relations.names == (
        *("ends_in", "lies_on", "lives_in", "painted_by", "shows"),
        *("~ends_in", "~lies_on", "~lives_in", "~painted_by", "~shows"),
    )
    assert repr(relations) == f"<Relations 5 kinds, {len(triples)} links>"


def test_walks_follow_links_both_ways(art) -> None:
    assert ends(art, "Varn", "lies_on") == ["Ister Beck"]
    assert ends(art, "Ister Beck", "~lies_on") == ["Merrow", "Varn"]
    assert ends(art, "Lake Sorrel", "~ends_in", "~lies_on", "~lives_in") == [
        "Bram Osk", "Jon Reth", "Una Sorn",
    ]  # fmt: skip
    assert ends(art, "Lake Sorrel", "ends_in") == []


def test_no_entity_is_entered_twice_on_one_walk(art) -> None:
    others = ends(art, "Mist at Varn 0", "painted_by", "~painted_by")
    assert others == ["Bells at Varn 0", "Snow at Varn 0", "Trout at Varn 0"]
    # Each walk for itself: Varn is reached through a painting, although other walks were there.
    walks = walked(art, "Bram Osk", "~painted_by", "shows")
    assert {len(set(row)) for row in walks.tolist()} == {3}
    assert ends(art, "Bram Osk", "~painted_by", "painted_by") == []


def test_a_step_has_a_limit_that_content_decides(opened, triples) -> None:
    seen = []
    for given in (triples, triples[::-1]):
        graph, slots, ids = opened(entities(given))
        relations = graph.relations()
        shown = relations.names.index("~shows")
        seen.append(ids(relations.follow(slots("Varn")[:, None], shown, 3)[:, -1]))
    assert len(seen[0]) == 3
    assert seen[0] == seen[1]


def test_what_leaves_a_set_and_what_can_be_reached(art) -> None:
    graph, slots, ids = art
    relations = graph.relations()
    leaving = relations.leaving(slots("Varn", "Ister Beck"))
    assert {relations.names[i] for i in np.flatnonzero(leaving)} == {
        "lies_on", "ends_in", "~lies_on", "~lives_in", "~shows",
    }  # fmt: skip
    assert not relations.leaving(slots()).any()
    masks = relations.reach(slots("Lake Sorrel"), 2)
    assert [sorted(ids(np.flatnonzero(mask))) for mask in masks] == [
        ["Lake Sorrel"],
        ["Ister Beck", "Lake Sorrel"],
        ["Ister Beck", "Lake Sorrel", "Merrow", "Varn"],
    ]


def test_links_without_a_type_are_no_relations(opened) -> None:
    graph, _, _ = opened(
        [
            Passage("a", "a", links=(Link("b"), Link("b", "next"), Link("b", "similar"))),
            Passage("b", "b", links=(Link("a", "cites"),)),
        ]
    )
    assert graph.relations().names == ("cites", "~cites")
    graph, slots, _ = opened([Passage("a", "a", links=(Link("b"),)), Passage("b", "b")])
    assert graph.relations().names == ()
    assert len(graph.entity_names()) == 0
    assert graph.relations().leaving(slots("a")).shape == (0,)


def test_entities_are_the_passages_that_say_no_more_than_their_name(opened) -> None:
    graph, slots, _ = opened(
        [
            Passage("k1", "Tolle", "Tolle", links=(Link("k2", "lies_on"),)),
            Passage("k2", "Ister Beck is a river.", "Ister Beck"),
            Passage("Lake Sorrel", "Lake Sorrel"),
        ]
    )
    names = graph.entity_names()
    assert len(names) == 2
    assert [n.slots for n in names.find("Is Tolle on the Ister Beck?")] == [tuple(slots("k1"))]


def test_the_names_follow_the_store(opened) -> None:
    graph, _, _ = opened([Passage("a", "a", links=(Link("b", "of"),)), Passage("b", "b")])
    assert len(graph.entity_names()) == 2
    graph._graph.store.delete(["b"])
    graph.refresh()
    assert graph.relations().names == ()


def test_names_in_brackets_are_taken_as_written() -> None:
    names = EntityNames([("9/11", 0), ("Ann Ode", 1), ("It", 2), ("$", 3)])
    found = names.find("who wrote [9/11] with Ann Ode")
    assert [(n.slots, n.start, n.end) for n in found] == [((0,), 10, 16)]
    assert [n.slots for n in names.find("who directed [$]")] == [(3,)]
    assert [n.slots for n in names.find("what did [someone] say to ann ode")] == [(1,)]
    assert names.find("was it there?") == []
    assert names.find("") == []
