"""Imitation with latent order: against trying every order of the gold, by the policy itself."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from hoptrail.learning.set_likelihood import MAX_GOLD
from hoptrail.policies.environment.state import batch_states
from hoptrail.policies.objectives.imitation import gold_of, imitation_loss
from hoptrail.types import Passage

LAKE = "Into which lake flows the river of the town where Ada Lind was born?"


@pytest.fixture
def example(small):
    gold = small.slots("p-ada-lind", "p-varn", "p-ister-beck")
    tolle, bram = small.slots("p-tolle", "p-bram-osk")
    detours = [(tolle,), (gold[1], bram), (gold[2], gold[0], tolle)]
    return small.example(LAKE, gold, detours=detours)


def brute_force(table, example, gold) -> float:
    """log P(reads exactly the gold in any order, then stops), an order at a time."""
    total = 0.0
    for order in itertools.permutations(gold):
        probability = 1.0
        for n in range(len(order) + 1):
            state = example.state(order[:n])
            read, stop = table.decide(batch_states([state]))
            if n == len(order):
                probability *= math.exp(float(stop[0]))
                break
            [row] = np.flatnonzero(state.slots == order[n]).tolist() or [None]
            probability *= 0.0 if row is None else math.exp(float(read[row]))
        total += probability
    return math.log(total)


@pytest.fixture
def table(table_policy, monkeypatch):
    """A policy that is a function of the evidence as a set, in training as in deciding."""
    policy = table_policy(3)

    def forward(inputs):
        return tuple(map(torch.from_numpy, policy.decide(policy.asked)))

    def of(states):
        policy.asked = states
        return states

    monkeypatch.setattr("hoptrail.policies.objectives.imitation.Inputs.of", of)
    monkeypatch.setattr(type(policy), "forward", lambda self, inputs: forward(inputs))
    return policy


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_exact_part_equals_every_order(small, table, size) -> None:
    gold = small.slots("p-ada-lind", "p-varn", "p-ister-beck")[:size]
    example = small.example(LAKE, gold)
    _, figures = imitation_loss(table, [example], np.random.default_rng(0))
    assert figures["set"] == pytest.approx(-brute_force(table, example, gold) / size, rel=1e-6)
    assert figures["gold in reach"] == 1.0


def test_a_batch_is_the_mean_of_its_questions(small, table) -> None:
    examples = [
        small.example(LAKE, small.slots("p-ada-lind", "p-varn", "p-ister-beck")),
        small.example("Who painted river mist?", small.slots("p-bram-osk")),
    ]
    _, figures = imitation_loss(table, examples, np.random.default_rng(0))
    each = [-brute_force(table, e, e.gold) / len(e.gold) for e in examples]
    assert figures["set"] == pytest.approx(np.mean(each), rel=1e-6)


def test_gold_out_of_reach_is_masked_and_counted(world, table, few_candidates) -> None:
    few_candidates(1)
    filler = [Passage(f"x{i}", f"filler{i} word{i} thing{i}.") for i in range(12)]
    place = world([Passage("a", "Quorl sits here."), Passage("far", "Elsewhere."), *filler])
    a, far = place.slots("a", "far")
    example = place.example("quorl", (a, far))
    _, figures = imitation_loss(table, [example], np.random.default_rng(0))
    assert figures["gold in reach"] == 0.5
    # What is asked for is what can be had: `a`, then STOP.
    assert figures["set"] == pytest.approx(-brute_force(table, example, (a,)) / 2, rel=1e-6)
    assert math.isfinite(figures["loss"])


def test_learning_makes_the_gold_likelier(example, random_policy) -> None:
    policy = random_policy(spread=1.0)
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
    seen = []
    for _ in range(15):
        loss, figures = imitation_loss(policy, [example], rng)
        assert torch.isfinite(loss)
        assert figures["loss"] == pytest.approx(figures["set"] + figures["listwise"], rel=1e-4)
        optimizer.zero_grad()
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in policy.parameters())
        optimizer.step()
        seen.append(figures["set"])
    assert seen[-1] < 0.5 * seen[0]


def test_the_same_draw_gives_the_same_loss(example, random_policy) -> None:
    policy = random_policy()
    figures = [imitation_loss(policy, [example], np.random.default_rng(s))[1] for s in (1, 1)]
    assert figures[0] == figures[1]


def test_more_gold_than_subsets_can_hold(small, random_policy) -> None:
    gold = tuple(range(MAX_GOLD + 2))
    example = small.example(LAKE, gold)
    assert gold_of(example) == gold[:MAX_GOLD]
    assert len(example.pool.queries) == 2**MAX_GOLD
    loss, _ = imitation_loss(random_policy(), [example], np.random.default_rng(0))
    assert torch.isfinite(loss)
