"""Recalls that draw their trails: against trying every order, on a toy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hoptrail.api.inputs import checked_seed
from hoptrail.errors import InputError
from hoptrail.policies.environment.efforts import Effort
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.environment.state import batch_states
from hoptrail.policies.search.sampled_beam import SampledBeam
from hoptrail.types import Passage

QUESTION = "Where did Quorl begin?"
TWO_HOPS = Effort("toy", beam_width=3, max_hops=2, max_reads=9, reencode=True)


@pytest.fixture
def toy(world, few_candidates):
    """Three candidates, and one more behind each that is read."""
    few_candidates(2, read=1)
    return world(
        [
            Passage("a", "Quorl began in Benta.", title="Quorl"),
            Passage("b", "Benta lies by the Corvan.", title="Benta"),
            Passage("c", "The Corvan flows north.", title="Corvan"),
            Passage("d", "A cold lake.", title="Dorn"),
        ]
    )


def trails_of(place, policy, hops: int) -> dict[tuple[tuple[int, ...], bool], float]:
    """The probability of every ordered trail, by what it read and whether STOP ended it."""
    found: dict[tuple[tuple[int, ...], bool], float] = {}

    def visit(evidence: tuple[int, ...], probability: float) -> None:
        if len(evidence) == hops:
            found[evidence, False] = probability
            return
        pool = place.pool(QUESTION)
        state = place.state(pool, evidence)
        read, stop = (np.exp(t).tolist() for t in policy.decide(batch_states([state])))
        found[evidence, True] = probability * stop[0]
        for slot, p in zip(state.slots.tolist(), read, strict=True):
            if p:
                visit((*evidence, slot), probability * p)

    visit((), 1.0)
    return found


def sampler(place, policy, effort=TWO_HOPS) -> SampledBeam:
    return SampledBeam(policy, Reformulator(place.encoder, reencode=True), effort)


def test_draws_and_weights_are_those_of_the_policy(toy, table_policy) -> None:
    policy = table_policy(2)
    exact = trails_of(toy, policy, 2)
    assert sum(exact.values()) == pytest.approx(1)
    assert len(exact) > 6
    beam = sampler(toy, policy)
    runs = [beam.sample([toy.pool(QUESTION)], seed)[0][1] for seed in range(160)]
    for drawn in runs:
        assert len({(t.slots, t.stopped) for t in drawn}) == 3
        for trail in drawn:
            assert math.exp(trail.log_prob) == pytest.approx(exact[trail.slots, trail.stopped])
            assert trail.log_inclusion <= 0
    for (slots, stopped), probability in exact.items():
        hit = [float((d[0].slots, d[0].stopped) == (slots, stopped)) for d in runs]
        assert np.mean(hit) == pytest.approx(probability, abs=3 * 0.5 / math.sqrt(len(runs)))
    value = {trail: len(trail[0]) ** 2 + 3.0 * trail[1] for trail in exact}
    wanted = sum(p * value[trail] for trail, p in exact.items())
    estimates = [
        sum(math.exp(t.log_prob - t.log_inclusion) * value[t.slots, t.stopped] for t in drawn)
        for drawn in runs
    ]
    error = float(np.std(estimates)) / math.sqrt(len(estimates))
    assert np.mean(estimates) == pytest.approx(wanted, abs=4 * error)
    assert error < 0.05 * wanted


def test_a_beam_that_holds_every_trail_includes_them_for_sure(toy, table_policy) -> None:
    policy = table_policy(1)
    exact = trails_of(toy, policy, 2)
    wide = Effort("wide", beam_width=len(exact), max_hops=2, max_reads=9, reencode=True)
    [(episode, drawn)] = sampler(toy, policy, wide).sample([toy.pool(QUESTION)], 5)
    assert {(t.slots, t.stopped) for t in drawn} == set(exact)
    assert all(trail.log_inclusion == 0.0 for trail in drawn)
    assert sum(math.exp(e.log_prob) for e in episode.terminals) == pytest.approx(1)
    assert {e.stop_reason for e in episode.terminals} == {"policy", "budget"}


def test_where_nothing_is_left_to_read_the_trail_is_exhausted(world, table_policy) -> None:
    pair = world([Passage("a", "One."), Passage("b", "Two.")])
    effort = Effort("long", beam_width=50, max_hops=4, max_reads=9, reencode=True)
    [(episode, drawn)] = sampler(pair, table_policy(0), effort).sample([pair.pool("One?")], 0)
    assert {e.stop_reason for e in episode.terminals if len(e.prefix.evidence) == 2} == {
        "exhausted"
    }
    assert all(trail.stopped for trail in drawn)
    assert sum(math.exp(t.log_prob) for t in drawn) == pytest.approx(1)


def test_a_seed_says_all_whatever_else_is_asked(demo, demo_questions, random_policy) -> None:
    asked = [question.text for question in demo_questions[:3]]
    walker = demo.walker(random_policy(spread=1.0), "fast")
    together = walker.retrieve(asked, 5, explore=7)
    alone = [walker.retrieve([text], 5, explore=7)[0] for text in asked]
    other = walker.retrieve(asked, 5, explore=8)
    for one, two in zip(together, alone, strict=True):
        assert [t.slots for t in one.decided] == [t.slots for t in two.decided]
        assert one.slots.tolist() == two.slots.tolist()
    assert [w.decided for w in together] != [w.decided for w in other]


def probability_by_set(trails) -> dict[frozenset[int], float]:
    """Of all decided trails that read the same passages, together."""
    total: dict[frozenset[int], float] = {}
    for trail in trails:
        slots = frozenset(trail.slots)
        total[slots] = total.get(slots, 0.0) + math.exp(trail.log_prob)
    return total


def test_what_was_drawn_is_ranked_first_in_the_order_of_the_draw(
    demo, demo_questions, random_policy
) -> None:
    walker = demo.walker(random_policy(spread=1.0), "fast")
    for seed in range(3):
        [walk] = walker.retrieve([demo_questions[0].text], 30, explore=seed)
        read = list(dict.fromkeys(slot for trail in walk.decided for slot in trail.slots))
        assert walk.slots[: len(read)].tolist() == read
        assert len(walk.slots) == 30
        assert (np.diff(walk.scores) <= 0).all()
        assert len(walk.decided) == 3
        assert max(len(trail.slots) for trail in walk.decided) <= 4
        of_set = probability_by_set(walk.decided)
        assert len(walk.trails) == len(of_set)
        likeliest = max(of_set.values())
        assert walk.trails[0].probability == pytest.approx(likeliest)  # another order of sums


def test_a_walk_that_draws_nothing_says_what_it_decided(demo, demo_questions, random_policy):
    [walk] = demo.walker(random_policy(), "fast").retrieve([demo_questions[0].text], 5)
    assert {t.log_inclusion for t in walk.decided} == {None}
    of_set = probability_by_set(walk.decided)
    reading = {frozenset(demo.slots(*(hop.id for hop in t.hops))): t for t in walk.trails if t.hops}
    assert reading
    for slots, trail in reading.items():  # it may have ended in a way that is not among the best
        assert trail.probability >= of_set.get(slots, 0.0) * (1 - 1e-6)
    first = walk.decided[0]
    assert first.stopped == (reading[frozenset(first.slots)].stop_reason != "budget")


@pytest.mark.parametrize("given", [-1, 1.5, True, "1"])
def test_a_seed_is_a_whole_number(given) -> None:
    with pytest.raises(InputError, match="explore must be a seed"):
        checked_seed(given)
