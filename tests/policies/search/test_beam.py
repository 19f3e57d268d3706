"""Beam search against trying every order, on toys whose beam covers everything."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from hoptrail.policies.environment.efforts import Effort
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.search.beam import BeamSearch
from hoptrail.types import Link, Passage

QUESTION = "Where did Quorl begin?"


def everything(hops: int, negligible: float = 1e-300) -> Effort:
    bounds = {"beam_width": 10_000, "max_hops": hops, "max_reads": 100}
    return Effort("everything", **bounds, reencode=True, prune_below=negligible)


@pytest.fixture
def toy(world, few_candidates):
    """Seven passages, of which a question sees two or three; the rest come by what is read."""
    few_candidates(2, read=1)
    return world(
        [
            Passage("a", "Quorl began in Benta.", title="Quorl"),
            Passage("b", "Benta lies by the Corvan.", title="Benta"),
            Passage("c", "The Corvan flows north.", title="Corvan", links=(Link("d", "into"),)),
            Passage("d", "A cold lake.", title="Dorn"),
            Passage("e", "Eskil wrote of Benta.", title="Eskil"),
            Passage("f", "Nothing of note.", title="Fenn"),
            Passage("g", "Grey stones and rain.", title="Gorse"),
        ]
    )


def run(place, policy, effort, question=QUESTION):
    search = BeamSearch(policy, Reformulator(place.encoder, reencode=effort.reencode), effort)
    [episode] = search.run([place.pool(question)])
    return episode


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_the_ranking_and_the_trails_equal_enumeration(
    toy, table_policy, enumerate_walks, hops, seed
) -> None:
    policy = table_policy(seed)
    expected = enumerate_walks(toy, policy, QUESTION, hops)
    episode = run(toy, policy, everything(hops))
    assert episode.read_mass == pytest.approx(expected.score, rel=1e-9, abs=1e-15)
    ends = {
        (frozenset(e.prefix.evidence), e.stop_reason): math.exp(e.log_prob)
        for e in episode.terminals
    }
    assert len(ends) == len(episode.terminals)
    assert ends == pytest.approx(expected.ends, rel=1e-9)
    assert sum(ends.values()) == pytest.approx(1)


def test_a_real_network_equals_enumeration(toy, random_policy, enumerate_walks) -> None:
    """With one hop a passage read last is the only one read: orders cannot differ."""
    policy = random_policy(2, spread=3.0)
    expected = enumerate_walks(toy, policy, QUESTION, 1)
    episode = run(toy, policy, everything(1))
    assert episode.read_mass == pytest.approx(expected.score, rel=1e-3, abs=1e-7)
    assert sum(math.exp(e.log_prob) for e in episode.terminals) == pytest.approx(1, abs=1e-4)


def test_states_are_encoded_where_they_are_probable_enough(toy, table_policy) -> None:
    policy = table_policy(1)
    threshold = 0.1
    episode = run(toy, policy, replace(everything(2), encode_above=threshold))
    probability: dict[frozenset[int], float] = {}
    for state in episode.expanded:
        probability[frozenset(state.evidence)] = math.exp(state.log_prob)
    texts = {state: query.text for state, query in episode.pool.queries.items() if state}
    assert {state for state, text in texts.items() if text is not None} == {
        state for state in texts if probability[state] >= threshold
    }
    assert 0 < episode.encoded - 1 < len(texts)
    assert run(toy, policy, everything(2)).encoded - 1 == len(texts)


def test_prefixes_of_equal_evidence_are_one_state(toy, table_policy) -> None:
    policy = table_policy(1)
    episode = run(toy, policy, everything(3))
    for reason in ("policy", "budget"):
        seen = [frozenset(e.prefix.evidence) for e in episode.terminals if e.stop_reason == reason]
        assert len(seen) == len(set(seen))
    assert policy.states == len({frozenset(e.prefix.evidence) for e in episode.terminals})
    longest = max((e.prefix for e in episode.terminals), key=lambda p: len(p.orders))
    assert 1 < len(longest.orders) <= math.factorial(len(longest.evidence))
    assert longest.orders[0] == longest.evidence
    for ending in episode.terminals:
        assert {frozenset(order) for order in ending.prefix.orders} == {
            frozenset(ending.prefix.evidence)
        }
        assert len(set(ending.prefix.orders)) == len(ending.prefix.orders)
        # All orders together are no less likely than the one that stands for them.
        assert math.exp(ending.prefix.log_prob) >= np.prod(ending.prefix.hops) * (1 - 1e-12)


def test_why_a_trail_ended(toy, world, table_policy) -> None:
    ended = run(toy, table_policy(0), everything(2)).terminals
    for ending in ended:
        assert ending.stop_reason == "policy" or len(ending.prefix.evidence) == 2
    assert {e.stop_reason for e in ended} == {"policy", "budget"}
    pair = world([Passage("a", "One."), Passage("b", "Two.")])
    for hops in (2, 3):
        ended = run(pair, table_policy(0), everything(hops)).terminals
        assert [len(e.prefix.evidence) for e in ended if e.stop_reason == "exhausted"] == [2]
        assert {e.stop_reason for e in ended} == {"policy", "exhausted"}
        assert sum(math.exp(e.log_prob) for e in ended) == pytest.approx(1)


def test_the_bounds_hold(demo, demo_questions, random_policy) -> None:
    policy = random_policy(spread=1.0)
    for beam, hops, reads in [(1, 2, 9), (3, 3, 9), (4, 4, 3), (2, 1, 1)]:
        effort = Effort("bounded", beam, hops, reads, reencode=True)
        for question in demo_questions[:4]:
            episode = run(demo, policy, effort, question.text)
            lengths = [
                len(e.prefix.evidence) for e in episode.terminals if e.stop_reason != "budget"
            ]
            assert max(lengths) <= hops
            assert all(lengths.count(n) <= beam for n in range(1, hops + 1))
            assert len(episode.pool.reads) <= reads
            assert episode.encoded == 1 + len(episode.pool.reads)
            assert set(episode.read_mass) == set(episode.pool.slots)


def test_what_a_pool_was_given_to_start_with_is_not_counted(demo, demo_questions, table_policy):
    """In training states of gold and of wrong turns were entered before the beam sets out."""
    question = demo_questions[2].text
    effort = Effort("bounded", beam_width=3, max_hops=2, max_reads=4, reencode=True)
    fresh = run(demo, table_policy(0), effort, question)
    pool = demo.pool(question)
    unwanted = [s for s in pool.slots if s not in fresh.pool.reads][:6]
    demo.enter(pool, *[(slot,) for slot in unwanted], unwanted)
    search = BeamSearch(table_policy(0), Reformulator(demo.encoder, reencode=True), effort)
    [given] = search.run([pool])
    assert given.read == set(fresh.pool.reads)
    assert [e.log_prob for e in given.ranked_terminals()] == pytest.approx(
        [e.log_prob for e in fresh.ranked_terminals()]
    )


def test_unlikely_prefixes_are_not_followed_but_something_is_read(
    demo, demo_questions, random_policy
) -> None:
    episode = run(demo, random_policy(), everything(4, 0.9999), demo_questions[0].text)
    alone = run(
        demo, random_policy(), Effort("one", 1, 1, 1, reencode=True), demo_questions[0].text
    )
    assert [e.prefix.evidence for e in episode.terminals] == [(), tuple(alone.read)]


def test_endings_come_most_probable_first(toy, table_policy) -> None:
    endings = run(toy, table_policy(2), everything(3)).ranked_terminals()
    assert all(a.log_prob >= b.log_prob - 1e-5 for a, b in itertools.pairwise(endings))


def test_every_hop_says_how_sure_stop_was(toy, table_policy) -> None:
    ended = run(toy, table_policy(1), everything(2)).terminals
    sure = {e.prefix.evidence: e.stop_probability for e in ended}
    assert all(0 < value < 1 for value in sure.values())
    for ending in ended:
        reached = ending.prefix
        assert len(reached.stops) == len(reached.hops)
        if reached.evidence:
            assert reached.stops[0] == sure[()]
        if ending.stop_reason == "policy":
            stopped = math.exp(ending.log_prob - reached.log_prob)
            assert ending.stop_probability == pytest.approx(stopped)
