from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import InputError
from hoptrail.graph.graph import Graph
from hoptrail.graph.ranking.local_push import BACKWARDS, LocalPush
from hoptrail.graph.ranking.pagerank import pagerank_ranking, starting_points
from hoptrail.graph.view import GraphView
from hoptrail.types import Link, Passage


@pytest.fixture
def view(graph: Graph, twelve: list[Passage]) -> GraphView:
    graph.store.add(twelve)
    return graph.view(graph.store.view())


def slot(view: GraphView, id: str) -> int:
    found = view.view.slot_of(id)
    assert found is not None
    return found


def test_pagerank_is_the_fixed_point_of_its_equation(graph: Graph) -> None:
    graph.store.add(
        [
            Passage("a", "one", links=(Link("b", weight=2.0), Link("c"))),
            Passage("b", "two", links=(Link("c"),)),
            Passage("c", "three"),
            Passage("d", "four"),
        ]
    )
    view = graph.view(graph.store.view())
    a, b, c, d = (slot(view, id) for id in "abcd")
    weights = np.zeros((4, 4))
    for source, target, weight in ((a, b, 2.0), (a, c, 1.0), (b, c, 1.0)):
        weights[source, target] += weight
        weights[target, source] += BACKWARDS * weight
    steps = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    start = np.zeros(4)
    start[[a, d]] = 0.75, 0.25
    steps[d] = start  # without an edge the walk starts again
    damping = 0.6
    exact = np.linalg.solve(np.eye(4) - damping * steps.T, (1 - damping) * start)
    found = view.pagerank({a: 3.0, d: 1.0}, damping=damping, iterations=100)
    np.testing.assert_allclose(found, exact, atol=1e-6)
    np.testing.assert_allclose(view.pagerank({a: 3.0, d: 1.0}, iterations=0), start, atol=1e-6)


def test_mass_is_conserved_up_to_what_lies_on_entities(view: GraphView) -> None:
    scores = view.pagerank({slot(view, "p-ada-lind"): 1.0})
    assert scores.shape == (12,)
    assert scores.dtype == np.float32
    assert 0.5 < scores.sum() <= 1 + 1e-6


def test_a_walk_reaches_the_far_end_of_a_chain_and_prefers_the_near(view: GraphView) -> None:
    scores = view.pagerank({slot(view, "p-ada-lind"): 1.0})
    chain = [scores[slot(view, f"p-{t}")] for t in ("varn", "ister-beck", "lake-sorrel")]
    assert chain[0] > chain[1] > chain[2] > 0
    assert scores[slot(view, "p-stone-house")] == 0


def test_passages_that_share_a_rare_entity_are_neighbours(graph: Graph) -> None:
    graph.store.add(
        [
            Passage("1", "In it plays Ray Barretto."),
            Passage("2", "On drums was Ray Barretto."),
            Passage("3", "On drums was nobody."),
        ]
    )
    view = graph.view(graph.store.view())
    scores = view.pagerank({slot(view, "1"): 1.0})
    assert scores[slot(view, "2")] > 0
    assert scores[slot(view, "3")] == 0


def test_a_ranking_starts_from_hits_and_from_the_titles_named(view: GraphView) -> None:
    trout, ada = slot(view, "p-grey-trout"), slot(view, "p-ada-lind")
    seeds = starting_points(view, {trout: 4.0}, "Where was Ada Lind born?")
    assert set(seeds) == {trout, ada}
    assert seeds[trout] == 1.0
    slots, scores = pagerank_ranking(view, {trout: 4.0}, "Where was Ada Lind born?")
    assert slots[0] == ada
    assert scores[0] == 1.0
    assert (np.diff(scores) <= 0).all()
    assert {ada, trout, slot(view, "p-varn")} <= set(slots.tolist())


def test_a_shuffled_corpus_gives_the_same_ranking(graph: Graph, twelve: list[Passage]) -> None:
    graph.store.add(twelve)
    before = graph.view(graph.store.view())
    hits = {slot(before, "p-grey-trout"): 2.0, slot(before, "p-varn"): 1.0}
    slots, scores = pagerank_ranking(before, hits)
    ids = [passage.id for passage in before.view.passages(slots)]
    graph.store.delete([passage.id for passage in twelve])
    graph.store.add(twelve[::-1])
    after = graph.view(graph.store.view())
    hits = {slot(after, "p-varn"): 1.0, slot(after, "p-grey-trout"): 2.0}
    again, rescored = pagerank_ranking(after, hits)
    assert [passage.id for passage in after.view.passages(again)] == ids
    assert scores.tolist() == rescored.tolist()


def test_a_walk_is_made_anew_only_when_the_graph_changes(view: GraphView) -> None:
    walk = view.walk()
    assert isinstance(walk, LocalPush)
    assert view.walk() is walk
    view.view.refresh()
    assert not view.refresh()
    assert view.walk() is walk


@pytest.mark.parametrize(
    ("seeds", "options", "message"),
    [
        ({}, {}, "at least one seed"),
        ({99: 1.0}, {}, "slot from 0 to 11, got 99"),
        ({0: 0.0}, {}, "above 0"),
        ({0: float("nan")}, {}, "above 0"),
        ({0: 1.0}, {"damping": 1.0}, "below 1, got 1.0"),
        ({0: 1.0}, {"iterations": -1}, "not be negative"),
    ],
)
def test_what_cannot_be_walked_is_refused(
    view: GraphView, seeds: dict[int, float], options: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        view.pagerank(seeds, **options)
