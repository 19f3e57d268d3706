"""Evidence inferred from answers: against the posterior over every trail of a toy."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hoptrail.policies.data.examples import Source, enter_all, subsets_of_gold
from hoptrail.policies.environment.efforts import EFFORTS, Effort
from hoptrail.policies.objectives import inferred_evidence
from hoptrail.policies.objectives.imitation import imitation_loss
from hoptrail.policies.objectives.inferred_evidence import infer_evidence, with_evidence
from hoptrail.policies.objectives.rewards import Reward, answered
from hoptrail.policies.objectives.rollout import trail_log_probs
from hoptrail.policies.search.beam import BeamSearch
from hoptrail.types import Passage

QUESTION = "Where does the Corvan rise?"
BOUNDS = Effort("three hops", beam_width=1, max_hops=3, max_reads=9, reencode=True)


@pytest.fixture
def toy(world):
    return world(
        [
            Passage("a", "The Corvan is a river that comes from Mount Dorn."),
            Passage("b", "Mount Dorn stands in Eskil, far from any Corvan."),
            Passage("c", "Nothing that anybody asked for is told here."),
        ]
    )


def asked(place, *answers: str, question: str = QUESTION):
    """A question of which only the answers are known."""
    example = place.example(question, ())
    return replace(example, question=replace(example.question, answers=answers, supporting_ids=()))


def infer(place, policy, example, bounds=BOUNDS):
    [inferred] = infer_evidence(policy, [example], place.reformulator(), bounds)
    return inferred


def posterior(place, policy, example) -> dict[frozenset[int], float]:
    """p(set | y, q) over all ordered trails, each tried."""
    slots = place.slots("a", "b", "c")
    trails = [t for n in range(4) for t in itertools.permutations(slots, n)]
    enter_all([(example, trail) for trail in trails], place.reformulator())
    log_prior = trail_log_probs(policy, [(example, trail) for trail in trails]).detach()
    assert float(log_prior.exp().sum()) == pytest.approx(1, abs=1e-4)
    joint: dict[frozenset[int], float] = {}
    for trail, log_prob in zip(trails, log_prior.tolist(), strict=True):
        contents = [passage.content for passage in place.view.passages(list(trail))]
        if answered(example.question, contents):
            key = frozenset(trail)
            joint[key] = joint.get(key, 0.0) + math.exp(log_prob)
    total = sum(joint.values())
    example.reset()
    return {key: value / total for key, value in joint.items()}


@pytest.fixture
def exhaustive(monkeypatch):
    """A walk that leaves nothing out."""
    monkeypatch.setattr(inferred_evidence, "BEAM_WIDTH", 100)
    monkeypatch.setattr(inferred_evidence, "PRUNE_BELOW", 1e-300)
    monkeypatch.setattr(inferred_evidence, "TOWARDS_ANSWER", 100)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("answer", ["Eskil", "Mount Dorn"])
def test_it_is_the_likeliest_set_of_all_trails_that_say_the_answer(
    toy, random_policy, exhaustive, seed, answer
) -> None:
    policy = random_policy(seed=seed, spread=3.0)
    example = asked(toy, answer)
    expected = posterior(toy, policy, example)
    inferred = infer(toy, policy, example)
    assert expected[frozenset(inferred.slots)] == max(expected.values())
    assert inferred.posterior == pytest.approx(max(expected.values()), abs=1e-4)


def test_it_looks_beyond_the_beam_for_the_answer(demo, demo_questions, random_policy) -> None:
    bounds = replace(EFFORTS["fast"], max_hops=2)
    policy, reformulator = random_policy(seed=3), demo.reformulator()
    beyond = []
    for question in demo_questions[:8]:
        example = asked(demo, *question.answers, question=question.text)
        inferred = infer(demo, policy, example, bounds)
        if inferred is None:
            continue
        contents = [passage.content for passage in demo.view.passages(list(inferred.slots))]
        assert answered(example.question, contents)
        assert len(inferred.slots) <= bounds.max_hops
        wide = replace(bounds, beam_width=inferred_evidence.BEAM_WIDTH, max_reads=16)
        [episode] = BeamSearch(policy, reformulator, wide).run([example.pool])
        beyond.append(not episode.read.issuperset(inferred.slots))
    assert True in beyond


def test_the_answer_decides(toy, random_policy) -> None:
    policy = random_policy(seed=1, spread=1.0)
    [b] = toy.slots("b")
    assert b in infer(toy, policy, asked(toy, "Eskil")).slots


def test_an_answer_that_no_passage_says_tells_nothing(toy, random_policy) -> None:
    policy = random_policy(seed=1)
    for answers in (("Zanzibar",), ("yes",), ("",), ()):
        assert infer(toy, policy, asked(toy, *answers)) is None
    both = [asked(toy, "yes"), asked(toy, "Eskil")]
    inferred = infer_evidence(policy, both, toy.reformulator(), BOUNDS)
    assert [evidence is None for evidence in inferred] == [True, False]


def test_the_walk_leaves_no_trace(toy, random_policy) -> None:
    example = asked(toy, "Eskil")
    before = list(example.pool.slots), set(example.pool.reads), set(example.pool.queries)
    infer(toy, random_policy(seed=1), example)
    after = list(example.pool.slots), set(example.pool.reads), set(example.pool.queries)
    assert after == before


def test_it_is_imitated_as_gold_is(toy, random_policy) -> None:
    policy = random_policy(seed=2, spread=1.0)
    bare = asked(toy, "Eskil")
    inferred = infer(toy, policy, bare)
    learned = with_evidence(bare, inferred, toy.reformulator())
    assert learned.gold == inferred.slots
    assert learned.source is Source.INFERRED
    assert learned.confidence == inferred.posterior
    learned.reset()  # what is learned from stays entered
    assert all(frozenset(s) in learned.pool.queries for s in subsets_of_gold(learned.gold))
    labelled = toy.example(QUESTION, inferred.slots, detours=learned.detours)
    losses = []
    for example in (learned, labelled):
        loss, _ = imitation_loss(policy, [example], np.random.default_rng(0))
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_rewards_do_not_take_it_for_what_people_named(toy, random_policy) -> None:
    bare = asked(toy, "Eskil")
    policy = random_policy(seed=2, spread=1.0)
    learned = with_evidence(bare, infer(toy, policy, bare), toy.reformulator())
    [b] = toy.slots("b")
    assert Reward().of(learned, (b,)) == 1.0
    assert torch.isfinite(trail_log_probs(policy, [(learned, learned.gold)])).all()
