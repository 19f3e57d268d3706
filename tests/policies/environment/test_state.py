"""Features and states: their shape, what they are symmetric in, and what must not move them."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest

from hoptrail.graph.view import KINDS
from hoptrail.policies.environment.feature_names import (
    WIDTH,
    CandidateFeature,
    PairFeature,
    StateFeature,
)
from hoptrail.policies.environment.features import as_links, features
from hoptrail.policies.environment.state import batch_states, state_input
from hoptrail.types import Link, Passage

LAKE = "Into which lake flows the river of the town where Ada Lind was born?"


def state(world, question, evidence, *, others=()):
    """The state by slot, with other states entered before."""
    pool = world.pool(question)
    world.enter(pool, *[others[:n] for n in range(len(others) + 1)])
    return world.state(pool, evidence)


def by_slot(found):
    order = np.argsort(found.slots)
    return found.slots[order], found.x[order]


def edges(found):
    rows = found.slots[found.edges]
    named = zip(*rows.tolist(), found.edge_kind.tolist(), found.edge_weight.tolist(), strict=True)
    return sorted((a, b, kind, round(weight, 5)) for a, b, kind, weight in named)


@pytest.mark.parametrize("reads", [0, 1, 4])
def test_every_number_is_finite_and_in_its_column(demo, demo_questions, reads) -> None:
    for question in demo_questions[:6]:
        pool = demo.pool(question.text)
        demo.enter(pool, pool.slots[:reads])
        found = features(pool)
        assert found.alone.shape == (len(pool.slots), len(CandidateFeature))
        assert found.beside.shape == (reads, len(pool.slots), len(PairFeature))
        seen = state_input(pool, found, tuple(pool.slots[:reads]))
        assert seen.x.shape == (len(seen.slots), WIDTH)
        assert seen.x.dtype == np.float32
        assert np.isfinite(seen.x).all()
        assert np.isfinite(seen.edge_weight).all()
        assert seen.evidence.sum() == reads
        assert (seen.x[:, -len(StateFeature) :] == seen.x[0, -len(StateFeature) :]).all()
        assert np.abs(seen.x).max() < 1e3
        assert np.isfinite(batch_states([seen, seen]).x).all()


@pytest.mark.parametrize(
    "passages",
    [
        [Passage("one", "Only this.")],
        [Passage("one", "Only this."), Passage("two", "Only this.")],
        [Passage(str(i), f"Note {i}.", links=(Link("0", "next"),)) for i in range(3)],
    ],
    ids=["one", "two alike", "three linked"],
)
@pytest.mark.parametrize("question", ["Only this?", "zzyzx", "?!"])
def test_tiny_scopes_give_finite_states(world, passages, question) -> None:
    place = world(passages)
    for reads in range(len(passages) + 1):
        seen = state(place, question, range(reads))
        assert np.isfinite(seen.x).all()
        assert seen.evidence.sum() == reads
        assert len(seen.slots) == len(passages)


def test_evidence_is_a_set_to_the_last_bit(demo, small, demo_questions) -> None:
    read = small.slots("p-ada-lind", "p-varn", "p-tolle")
    texts = [question.text for question in demo_questions[:4]]
    cases = [(small, LAKE, read), *((demo, t, demo.pool(t).slots[1:5]) for t in texts)]
    for place, question, evidence in cases:
        pool = place.pool(question)
        first = place.state(pool, evidence)
        for order in itertools.permutations(evidence):
            again = place.state(pool, order)
            for column in fields(first):
                np.testing.assert_array_equal(
                    getattr(first, column.name), getattr(again, column.name)
                )
        assert len(pool.queries) == 2  # that of the question and one of this evidence


@pytest.mark.parametrize("reencode", [True, False])
def test_whoever_reads_in_another_order_sees_the_same(demo, demo_questions, reencode) -> None:
    """Each order in a pool of its own, by its own way."""
    question = demo_questions[2].text
    evidence = demo.pool(question).slots[:3]
    texts, vectors, seen = set(), [], []
    for order in itertools.permutations(evidence):
        pool = demo.pool(question)
        for n in range(len(order)):
            demo.enter(pool, order[:n], reencode=reencode)
        seen.append(demo.state(pool, order, reencode=reencode))
        texts.add(pool.query(evidence).text)
        vectors.append(pool.query(evidence).vector)
    assert len(texts) == 1
    for other, vector in zip(seen, vectors, strict=True):
        np.testing.assert_allclose(vector, vectors[0], atol=1e-6)
        np.testing.assert_array_equal(by_slot(seen[0])[0], by_slot(other)[0])
        np.testing.assert_allclose(by_slot(seen[0])[1], by_slot(other)[1], atol=2e-5)
        assert edges(seen[0]) == edges(other)


def test_a_state_does_not_show_what_others_read(demo, demo_questions) -> None:
    for question in demo_questions[:5]:
        start = demo.pool(question.text).slots
        for evidence in [(), (start[1],), (start[4], start[0])]:
            alone = state(demo, question.text, evidence)
            crowded = state(demo, question.text, evidence, others=start[:10])
            np.testing.assert_array_equal(by_slot(alone)[0], by_slot(crowded)[0])
            np.testing.assert_allclose(by_slot(alone)[1], by_slot(crowded)[1], atol=2e-5)
            assert edges(alone) == edges(crowded)


def test_a_state_does_not_show_what_was_asked_before(demo, demo_questions) -> None:
    """The terms are numbered as they are met: sums over them must not show it, to the last bit."""
    question = demo_questions[3].text
    evidence = tuple(demo.pool(question).slots[:2])
    demo.forget_terms()
    first = state(demo, question, evidence)
    demo.forget_terms()
    for other in reversed(demo_questions[4:40]):
        features(demo.pool(other.text))
    later = state(demo, question, evidence)
    np.testing.assert_array_equal(first.x, later.x)


def test_a_shuffled_and_renamed_corpus_gives_the_same_states(
    world, demo, demo_passages, demo_questions
) -> None:
    rng = np.random.default_rng(7)
    new_id = {p.id: f"{i:04d}" for i, p in zip(rng.permutation(300), demo_passages, strict=False)}
    old_id = {new: old for old, new in new_id.items()}
    other = world(
        [
            Passage(
                new_id[p.id],
                p.text,
                p.title,
                p.metadata,
                links=tuple(Link(new_id[link.target], link.kind, link.weight) for link in p.links),
            )
            for p in (demo_passages[i] for i in rng.permutation(len(demo_passages)))
        ]
    )
    for question in demo_questions[:8]:
        ours, theirs = demo.pool(question.text), other.pool(question.text)
        for place, pool in ((demo, ours), (other, theirs)):
            for count in range(5):
                place.enter(pool, pool.slots[:count])
        assert [old_id[i] for i in other.ids(theirs.slots)] == demo.ids(ours.slots)
        a = state_input(ours, features(ours), tuple(ours.slots[:3]))
        b = state_input(theirs, features(theirs), tuple(theirs.slots[:3]))
        np.testing.assert_allclose(a.x, b.x, atol=1e-5)
        np.testing.assert_array_equal(a.edges, b.edges)
        np.testing.assert_array_equal(a.edge_kind, b.edge_kind)
        np.testing.assert_allclose(a.edge_weight, b.edge_weight, atol=1e-6)


def test_links_of_several_kinds_count_by_the_heaviest(world) -> None:
    links = (Link("b", "cites", 3.0), Link("b", "adopts", 1.0))
    seen = []
    for held in (links, links[::-1], links[:1], links[1:]):
        place = world([Passage("a", "Alpha.", links=held), Passage("b", "Beta.")])
        a, b = place.slots("a", "b")
        pool = place.pool("Alpha")
        place.enter(pool, [a])
        seen.append(features(pool).beside[0, pool.position[b]])
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])
    assert (seen[0] > seen[3]).any()


def test_a_pool_shown_with_links_has_no_mentions_left(demo, demo_questions) -> None:
    pool = demo.pool(demo_questions[0].text)
    gold = demo.slots(*demo_questions[0].supporting_ids)
    demo.enter(pool, gold)
    found = features(pool)
    assert found.beside[..., PairFeature.IS_MENTIONED].any()
    linked = as_links(found)
    for feature in (
        PairFeature.IS_MENTIONED,
        PairFeature.MENTIONS_READ,
        PairFeature.SHARED_MENTIONS,
    ):
        assert not linked.beside[..., feature].any()
    was = found.beside[..., PairFeature.IS_MENTIONED] > 0
    assert (linked.beside[..., PairFeature.LINKS_FROM_READ] > 0)[was].all()
    back = found.beside[..., PairFeature.MENTIONS_READ] > 0
    assert (linked.beside[..., PairFeature.LINKS_TO_READ] > 0)[back].all()
    counts = np.bincount(found.edge_kind, minlength=len(KINDS))
    turned = np.bincount(linked.edge_kind, minlength=len(KINDS))
    assert turned[KINDS.index("mentions")] == turned[KINDS.index("mentioned_by")] == 0
    both = counts[KINDS.index("mentions")] + counts[KINDS.index("link")]
    assert turned[KINDS.index("link")] == both
    assert turned[KINDS.index("entity")] == counts[KINDS.index("entity")]
    counted = {CandidateFeature.MENTIONS_OUT, CandidateFeature.MENTIONS_IN}
    others = [feature for feature in CandidateFeature if feature not in counted]
    assert (linked.alone[:, others] == found.alone[:, others]).all()
