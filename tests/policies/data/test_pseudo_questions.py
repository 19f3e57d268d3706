"""Questions made from passages: what they take, what they hide, and what they depend on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from hoptrail.errors import InputError
from hoptrail.graph.extraction.names import words
from hoptrail.graph.graph import Graph
from hoptrail.graph.view import GraphView
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.memory.views.view import View
from hoptrail.policies.data import pseudo_questions as module
from hoptrail.policies.data.cloze import AnnotatedPassage, plain_title
from hoptrail.policies.data.pseudo_questions import pseudo_questions
from hoptrail.types import Link, Passage, Question


@pytest.fixture(scope="module")
def demo(tmp_path_factory, demo_passages):
    """The demo's passages, once for all of these tests."""
    store, view, graph = opened(tmp_path_factory.mktemp("demo"), "demo.db", demo_passages)
    yield Place(view, graph)
    store.close()


class Place(NamedTuple):
    """A scope and its graph."""

    view: View
    graph: GraphView


def make(place, count: int = 40, seed: int = 0) -> list[Question]:
    return pseudo_questions(place.view, place.graph, count=count, seed=seed)


def only(monkeypatch, kind: str) -> None:
    monkeypatch.setattr(module, "KINDS", {k: float(k == kind) for k in module.KINDS})


def opened(tmp_path, name: str, passages) -> tuple:
    store = Store(tmp_path / name, encoder=HashEncoder())
    store.add(passages)
    view = store.view()
    return store, view, Graph(store).view(view)


def test_a_question_takes_several_passages_that_lead_to_each_other(demo, demo_passages) -> None:
    by_id = {passage.id: passage for passage in demo_passages}
    made = make(demo)
    assert len(made) == len({question.text for question in made}) == 40
    for question in made:
        gold = [by_id[i] for i in question.supporting_ids]
        assert 2 <= len(set(question.supporting_ids)) == len(gold) <= 4
        kind, hops = str(question.kind).rsplit("-", 1)
        assert int(hops) == len(gold)
        if kind in ("chain", "branch"):
            assert any(answer in gold[-1].content for answer in question.answers)
    assert {str(q.kind).split("-")[0] for q in made} >= {"chain", "comparison", "branch"}


def test_the_name_that_joins_two_passages_is_masked(demo, demo_passages, monkeypatch) -> None:
    """Only the first passage of a chain may be named; what follows has to be found."""
    only(monkeypatch, "chain")
    by_id = {passage.id: passage for passage in demo_passages}
    for question in make(demo):
        first, *others = (by_id[i] for i in question.supporting_ids)
        for passage in others:
            title = plain_title(passage.title or "")
            assert title not in question.text or title in (first.title or "")


def test_an_answer_is_not_in_its_question(demo) -> None:
    answered = [question for question in make(demo, 100) if question.answers]
    assert len(answered) > 60
    for question in answered:
        answer = " ".join(words(question.answers[0]).folded)
        assert f" {answer} " not in f" {' '.join(words(question.text).folded)} "


def test_plain_search_answers_no_more_than_a_share(demo, monkeypatch) -> None:
    """All gold among the first five hits of term search, which the masking has not prevented."""

    def easy(questions: list[Question]) -> float:
        found = [
            set(q.supporting_ids)
            <= {p.id for p in demo.view.passages(demo.view.sparse.search(q.text, 5)[1])}
            for q in questions
        ]
        return sum(found) / len(found)

    assert 0 < easy(make(demo)) <= module.EASY
    monkeypatch.setattr(module, "EASY", 1.0)
    assert easy(make(demo)) > 0.25


def test_the_seed_and_the_contents_decide_alone(demo, tmp_path, demo_passages) -> None:
    """Neither ids nor the order of writing."""

    def told(questions, title_of) -> list:
        return [
            (q.text, q.answers, q.kind, [title_of[i] for i in q.supporting_ids]) for q in questions
        ]

    renamed = {p.id: f"x{i}" for i, p in enumerate(reversed(demo_passages))}
    turned = [
        replace(
            p,
            id=renamed[p.id],
            links=tuple(replace(link, target=renamed[link.target]) for link in p.links),
        )
        for p in reversed(demo_passages)
    ]
    other = opened(tmp_path, "b.db", turned)
    ours = {p.id: p.title for p in demo_passages}
    one, again, another = (told(make(demo, seed=seed), ours) for seed in (3, 3, 4))
    theirs = told(make(Place(*other[1:]), seed=3), {p.id: p.title for p in turned})
    other[0].close()
    assert one == again == theirs
    assert one != another


def test_a_comparison_names_both_passages(demo, demo_passages, monkeypatch) -> None:
    only(monkeypatch, "comparison")
    by_id = {passage.id: passage for passage in demo_passages}
    for question in make(demo, 10):
        assert len(question.supporting_ids) == 2
        for id in question.supporting_ids:
            assert plain_title(by_id[id].title or "") in question.text


def test_written_links_are_ways_too_and_their_kind_is_a_clue(world, monkeypatch) -> None:
    only(monkeypatch, "chain")
    place = world(
        [
            Passage("a", "Something small grows here.", "Alder", links=(Link("b", "flows_into"),)),
            Passage("b", "It was seen from Cormel by many.", "Benta"),
        ]
    )
    for question in make(place, 4):
        assert question.supporting_ids == ("a", "b")
        assert "flows into" in question.text
        assert "Benta" not in question.text


def test_passages_without_titles_begin_with_a_name_that_is_rare(world) -> None:
    """As the turns of a conversation."""
    turns = [
        Passage("1", "Yesterday we met Tilda Marsh at the pottery class in Ostrow."),
        Passage("2", "They say that Tilda Marsh won a silver medal for Greenland."),
        Passage("3", "Nobody said anything about Greenland until Emma Voss sailed there."),
        Passage("4", "My sister Emma Voss keeps bees near Lake Halm."),
    ]
    made = make(world(turns), 6)
    assert made
    assert all(question.answers and "What" in question.text.title() for question in made)
    assert Counter(i for q in made for i in q.supporting_ids).keys() <= {"1", "2", "3", "4"}


def test_a_path_stays_in_its_namespace_and_leaves_twins_out(tmp_path) -> None:
    texts = {
        "Ada Lind": "Ada Lind was a clockmaker born in Varn.",
        "Varn": "Varn has a mayor, Tilda Marsh.",
    }
    spaces = [("one",), ("two",)]
    passages = [
        Passage(f"{title}", text, title, namespace=space)
        for space in spaces
        for title, text in texts.items()
    ]
    store, view, graph = opened(tmp_path, "spaces.db", passages)
    made = pseudo_questions(view, graph, count=8, seed=0)
    store.close()
    assert {question.namespace for question in made} == set(spaces)
    twins = [Passage(f"{i}", texts["Varn"], "Varn") for i in range(2)]
    store, view, graph = opened(
        tmp_path, "twins.db", [*twins, Passage("ada", texts["Ada Lind"], "Ada Lind")]
    )
    assert pseudo_questions(view, graph, count=8, seed=0) == []
    store.close()


def test_nothing_can_be_made_of_passages_that_do_not_meet(world) -> None:
    assert make(world([Passage("a", "alder grows."), Passage("b", "benta flows.")])) == []
    with pytest.raises(InputError, match="at least 1, got 0"):
        make(world([]), 0)


def test_a_clue_says_what_stands_around_a_name_and_no_name(small) -> None:
    slot = small.slots("p-ada-lind")[0]
    page = AnnotatedPassage(slot, small.view.passages([slot])[0], small.graph)
    [varn] = page.places_of("varn")
    rng = np.random.default_rng(0)
    said = {word for _ in range(50) for word in page.clue(varn, rng)}
    assert {"born", "clockmaker"} <= said
    assert not said & {"ada", "lind", "varn", "tolle"}
    assert page.clue(page.places[0], rng) == []  # its title stands nowhere in the text
