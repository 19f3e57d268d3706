"""A part of a graph that can be drawn: the nearest passages, their edges, a place for each."""

from __future__ import annotations

import pytest

from hoptrail.errors import InputError
from hoptrail.graph.cuts import EDGES_EACH, CutEdge, best_joined, cut_around
from hoptrail.graph.graph import Graph
from hoptrail.graph.view import GraphView
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage


def graph_of(store: Store, passages: list[Passage]) -> GraphView:
    store.add(passages)
    graph = Graph(store)
    graph.sync()
    return graph.view(store.view())


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        yield store


def ids(view: GraphView, slots) -> list[str]:
    return [p.id for p in view.view.passages(list(slots))]


def test_a_cut_has_its_seeds_then_what_is_near_them_in_the_graph(store, twelve) -> None:
    view = graph_of(store, twelve)
    seed = view.view.slot_of("p-ada-lind")
    cut = cut_around(view, [seed], 4)
    assert cut.slots[0] == seed
    assert len(cut.slots) == 4
    assert {"p-ada-lind", "p-varn", "p-tolle"} <= set(ids(view, cut.slots))
    assert cut_around(view, [seed], 1).slots == (seed,)
    assert cut_around(view, [], 5).slots == ()
    alone = view.view.slot_of("p-stone-house")
    assert len(cut_around(view, [alone], 5).slots) < 5
    assert set(cut_around(view, [alone], 5, others=range(12)).slots) >= {alone, 0, 1}
    with pytest.raises(InputError):
        cut_around(view, [10_000], 5)


def test_edges_say_their_kind_and_each_pair_is_drawn_once(store) -> None:
    passages = [
        Passage("varn", "Varn is a town.", title="Varn", links=(Link("ister", "stands_on", 2.0),)),
        Passage("ister", "A river that passes Varn.", title="Ister Beck"),
        Passage("one", "We saw the Osk Mill in spring."),
        Passage("two", "Nobody went to the Osk Mill again."),
    ]
    view = graph_of(store, passages)
    slots = {p.id: view.view.slot_of(p.id) for p in passages}
    cut = cut_around(view, list(slots.values()), 10)
    place = {slot: at for at, slot in enumerate(cut.slots)}
    varn, ister, one, two = (place[slots[name]] for name in ("varn", "ister", "one", "two"))
    assert set(cut.edges) >= {CutEdge(varn, ister, "stands_on"), CutEdge(ister, varn, "mentions")}
    assert [e.kind for e in cut.edges if {e.source, e.target} == {one, two}] == ["entity"]
    assert cut.degrees[varn] == 2
    assert cut.degrees[one] == 0


def test_the_best_joined_come_first_and_the_same_cut_is_drawn_the_same(store, twelve) -> None:
    view = graph_of(store, twelve)
    best = best_joined(view, 3)
    assert len(best) == 3
    degrees = view.degrees(best).tolist()
    assert degrees == sorted(degrees, reverse=True)
    assert degrees[0] == view.degrees(range(12)).max()
    cut = cut_around(view, best, 12)
    assert cut == cut_around(view, best, 12)
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in cut.places)
    assert len(set(cut.places)) == len(cut.slots)


def test_many_edges_are_cut_down_to_what_can_be_seen(store) -> None:
    ids_ = [f"n{n}" for n in range(20)]
    passages = [
        Passage(id, f"Note {id}.", links=tuple(Link(other) for other in ids_ if other != id))
        for id in ids_
    ]
    view = graph_of(store, passages)
    cut = cut_around(view, list(range(20)), 20)
    assert len(cut.edges) == EDGES_EACH * 20
