"""What a state may choose from depends on its own evidence, and on nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hoptrail.policies.environment import candidates as pool_module
from hoptrail.policies.environment.candidates import search_nearest
from hoptrail.types import Link, Passage

LAKE = "Into which lake flows the river of the town where Ada Lind was born?"


def members(pool, evidence) -> set[int]:
    return {
        slot for slot, open_ in zip(pool.slots, pool.action_mask(evidence), strict=True) if open_
    }


@pytest.fixture
def narrow(few_candidates) -> None:
    """The question alone brings one passage, and a next query none."""
    few_candidates(1)


@pytest.fixture
def chain(world):
    """Twenty passages that share no word but by names: each leads to the next one only."""
    return world(
        [
            Passage("a", "Quorl sits by Benta.", title="Alder"),
            Passage("b", "Mervin has grown.", title="Benta"),
            Passage("c", "Benta lies north.", title="Corvan"),
            Passage("d", "Something far.", title="Dorn", links=(Link("e", "leads_to"),)),
            Passage("e", "Elsewhere wholly.", title="Eskil"),
            *(Passage(f"x{i}", f"filler{i} word{i} thing{i}.") for i in range(15)),
        ]
    )


def test_a_state_sees_the_same_whatever_else_was_read(demo, demo_questions) -> None:
    question = demo_questions[6].text
    alone = demo.pool(question)
    some = alone.slots[:4]
    wanted = {}
    for evidence in [(), (some[0],), (some[1],), (some[1], some[0])]:
        demo.enter(alone, evidence)
        wanted[evidence] = members(alone, evidence)
    crowded = demo.pool(question)
    others = list(reversed(crowded.slots[:12]))
    demo.enter(crowded, *[others[:n] for n in range(len(others) + 1)])
    demo.enter(crowded, *wanted)
    for evidence, expected in wanted.items():
        assert members(crowded, evidence) == expected
    # Both make available what each alone does, but for what its own query brought.
    both = alone.query(some[:2]).hits
    assert both <= wanted[some[1], some[0]]
    for slot in some[:2]:
        assert wanted[slot,] - alone.query([slot]).hits <= wanted[some[1], some[0]]
        assert alone.reads[slot].introduced <= wanted[some[1], some[0]]


def test_evidence_is_a_set(small) -> None:
    pool = small.pool(LAKE)
    slots = pool.slots[:3]
    small.enter(pool, slots)
    seen = {frozenset(members(pool, order)) for order in itertools.permutations(slots)}
    assert len(seen) == 1
    assert set(slots) <= seen.pop()


def test_what_is_read_widens_by_mentions_both_ways_links_and_entities(chain, narrow) -> None:
    pool = chain.pool("quorl")
    a, b, c, d, e = chain.slots("a", "b", "c", "d", "e")
    assert members(pool, ()) == set(pool.slots)
    assert a in pool.slots
    assert not {c, d, e} & set(pool.slots)

    chain.enter(pool, [a])
    assert b in members(pool, [a])  # `a` names Benta
    chain.enter(pool, [b])
    assert {a, c} <= members(pool, [b])  # both name Benta

    other = chain.pool("quorl")
    chain.enter(other, [d])
    assert e in members(other, [d])  # along the link
    back = chain.pool("quorl")
    chain.enter(back, [e])
    assert d in members(back, [e])  # and against it


def test_passages_are_neighbours_through_a_rare_entity(world, narrow) -> None:
    texts = ["He met Vessa Torm in spring.", "It was Vessa Torm who won.", "A plain line."]
    filler = [f"filler{i} word{i} thing{i}." for i in range(12)]
    place = world([Passage(str(i), text) for i, text in enumerate([*texts, *filler])])
    first, second = place.slots("0", "1")
    pool = place.pool("filler3")
    assert second not in pool.slots
    place.enter(pool, [first])
    assert second in members(pool, [first])


def test_a_hub_does_not_bring_all_that_name_it(world, narrow, monkeypatch) -> None:
    monkeypatch.setattr(pool_module, "HUB", 3)
    monkeypatch.setattr(pool_module, "ENTITY_HITS", 0)
    passages = [Passage(f"p{i}", f"word{i} in Benta.") for i in range(6)]
    place = world([*passages, Passage("b", "Mervin has grown.", title="Benta")])
    [hub] = place.slots("b")
    pool = place.pool("word1")
    before = set(pool.slots)
    place.enter(pool, [hub])
    assert set(pool.slots) - before <= {hub}


def test_gold_outside_the_pool_is_not_slipped_in(chain, narrow) -> None:
    a, e = chain.slots("a", "e")
    example = chain.example("quorl", gold=(a, e))
    assert e not in members(example.pool, ())
    assert e not in members(example.pool, (a,))
    assert e not in example.state((a,)).slots
    assert e in example.state((a, e)).slots  # it is there once it is evidence
    assert example.state((a, e)).evidence.sum() == 2


@pytest.mark.parametrize("count", [1, 3])
def test_a_scope_smaller_than_every_bound(world, twelve, count) -> None:
    place = world(twelve[:count])
    pool = place.pool(LAKE)
    assert sorted(pool.slots) == list(range(count))
    place.enter(pool, pool.slots)
    assert len(pool.slots) == count
    assert pool.action_mask(pool.slots).all()


def test_a_question_with_no_known_word_is_answered_by_meaning(small) -> None:
    pool = small.pool("zzyzx qwrt?")
    assert not pool.sparse_scores.any()
    assert not pool.rankings[2]
    assert len(pool.slots) > 0
    assert all(np.isfinite(scores).all() for scores in pool.z_scores(pool.slots))


def test_passages_without_titles(world, twelve) -> None:
    place = world([Passage(p.id, p.text) for p in twelve])
    pool = place.pool(LAKE)
    place.enter(pool, pool.slots[:2])
    assert not pool.named
    assert len(set(pool.slots)) == len(pool.slots)


def test_a_title_that_the_question_names_is_in_the_pool(demo, narrow) -> None:
    pool = demo.pool("Who is older, Giuseppe Piazzi or Antonio Salieri?")
    assert set(demo.slots("giuseppe-piazzi", "antonio-salieri")) <= set(pool.slots)


def test_forgetting_goes_back_to_what_there_was(demo, demo_questions) -> None:
    pool = demo.pool(demo_questions[0].text)
    demo.enter(pool, pool.slots[:2])
    slots, reads, queries = list(pool.slots), list(pool.reads), list(pool.queries)
    demo.enter(pool, pool.slots[5:9])
    assert len(pool.slots) > len(slots)
    pool.forget(len(reads), len(queries), len(slots))
    assert pool.slots == slots
    assert list(pool.reads) == reads
    assert list(pool.queries) == queries
    assert pool.position == {slot: i for i, slot in enumerate(slots)}


def test_what_is_near_is_the_same_for_one_query_and_for_many(demo, demo_questions) -> None:
    some = np.arange(demo.view.capacity) % 3 > 0
    pools = [
        demo.pool(question.text, allowed=some if i % 2 else None)
        for i, question in enumerate(demo_questions[:24])
    ]
    queries = np.stack([pool.vector for pool in pools])
    together = search_nearest(pools, queries)
    for row, pool in enumerate(pools):
        (alone,) = search_nearest([pool], queries[row : row + 1])
        np.testing.assert_array_equal(together[row], alone)
        if row % 2:
            assert some[alone].all()
    assert search_nearest([], queries[:0]) == []


TALK = [
    Passage("asked", "Which instrument does Ada play?", links=(Link("answer", "next"),)),
    Passage("answer", "The cello, since last year.", links=(Link("after", "next"),)),
    Passage("after", "How nice to hear."),
    *(Passage(f"x{i}", f"filler{i} word{i} thing{i}.") for i in range(15)),
]


def test_what_answers_a_question_is_found_by_the_words_of_the_question_before_it(
    world, few_candidates
) -> None:
    few_candidates(2)
    memory = world(TALK)
    slot = {name: memory.view.slot_of(name) for name in ("asked", "answer", "after")}
    pool = memory.pool("instrument of Ada")
    assert pool.sparse_scores[slot["asked"]] > pool.sparse_scores[slot["answer"]] > 0
    assert pool.rankings[1] != pool.rankings[2] == [slot["asked"], slot["answer"]]
    assert {slot["asked"], slot["answer"]} <= set(pool.slots)
    apart = world([Passage(p.id, p.text) for p in TALK]).pool("instrument of Ada")
    assert apart.sparse_scores[slot["answer"]] == 0


def test_in_a_sequence_no_more_are_listed_than_elsewhere(world, monkeypatch) -> None:
    memory = world(TALK)
    for listed in (1, 2):
        monkeypatch.setattr(pool_module, "RANKING_DEPTH", listed)
        pool = memory.pool("instrument of Ada, cello, how nice")
        assert pool.rankings[2] == np.argsort(-pool.sparse_scores, kind="stable")[:listed].tolist()


def test_who_may_not_be_read_is_heard_by_neighbours_and_not_found(world) -> None:
    memory = world(TALK)
    allowed = memory.view.alive.copy()
    allowed[memory.view.slot_of("asked")] = False
    pool = memory.pool("instrument of Ada", allowed=allowed)
    assert pool.rankings[2] == [memory.view.slot_of("answer")]
    assert memory.view.slot_of("asked") not in pool.slots


def test_a_neighbour_is_brought_in_by_no_link(world, narrow) -> None:
    memory = world(TALK)
    answer = memory.view.slot_of("answer")
    pool = memory.pool("cello")
    memory.enter(pool, [answer])
    assert not pool.reads[answer].introduced
