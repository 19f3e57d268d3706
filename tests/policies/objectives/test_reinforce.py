"""Sampling and REINFORCE: against the probabilities of all trails of a toy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from hoptrail.policies.data.examples import enter_all
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.objectives.reinforce import reinforce
from hoptrail.policies.objectives.rollout import sample, trail_log_probs
from hoptrail.types import Passage

LAKE = "Into which lake flows the river of the town where Ada Lind was born?"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def example(small):
    return small.example(LAKE, small.slots("p-ada-lind", "p-varn"))


@pytest.fixture
def reformulator(small) -> Reformulator:
    return Reformulator(small.encoder, reencode=True)


@pytest.fixture
def pair(world):
    """Two passages: all that can happen in two hops is five trails."""
    return world([Passage("a", "Alder is one."), Passage("b", "Benta is two.")])


def trails_of(pair, policy, example):
    """All ordered trails that a policy can walk, with log-probability and return."""
    trails = [(), (0,), (1,), (0, 1), (1, 0)]
    states = [(example, trail) for trail in trails]
    enter_all(states, Reformulator(pair.encoder, reencode=True))
    return trails, trail_log_probs(policy, [(example, trail) for trail in trails])


def test_samples_have_the_log_probability_of_their_trails(
    example, reformulator, random_policy
) -> None:
    policy = random_policy(spread=2.0)
    found = sample(policy, [example], reformulator, samples=30, hops=3, generators=[generator()])
    assert len(found) == 30
    assert any(t.evidence for t in found)
    ways = [t.evidence[:n] for t in found for n in range(len(t.evidence) + 1)]
    enter_all([(example, state) for state in ways], reformulator)
    expected = trail_log_probs(policy, [(example, t.evidence) for t in found])
    for trajectory, log_prob in zip(found, expected, strict=True):
        assert len(trajectory.evidence) <= 3
        assert len(set(trajectory.evidence)) == len(trajectory.evidence)
        actions = len(trajectory.evidence) + trajectory.stopped
        assert len(trajectory.log_prob) == len(trajectory.entropy) == actions
        assert trajectory.stopped or len(trajectory.evidence) == 3
        assert all(float(e.detach()) >= 0 for e in trajectory.entropy)
        if trajectory.stopped:
            torch.testing.assert_close(
                torch.stack(trajectory.log_prob).sum(), log_prob, atol=1e-4, rtol=1e-4
            )


def test_samples_come_as_often_as_they_are_likely(pair, random_policy) -> None:
    policy = random_policy(spread=1.0)
    example = pair.example("Alder or Benta?", (0,))
    trails, log_probs = trails_of(pair, policy, example)
    assert float(log_probs.detach().exp().sum()) == pytest.approx(1, abs=1e-4)
    drawn = sample(
        policy,
        [example],
        Reformulator(pair.encoder, reencode=True),
        samples=3000,
        hops=2,
        generators=[generator()],
    )
    # After two of two passages there is nothing left but to stop.
    counts = Counter(t.evidence for t in drawn)
    for trail, log_prob in zip(trails, log_probs.detach().tolist(), strict=True):
        p = float(np.exp(log_prob))
        # Four standard deviations.
        assert counts[trail] / 3000 == pytest.approx(p, abs=4 * (p * (1 - p) / 3000) ** 0.5 + 1e-9)


def test_a_trail_that_the_pool_does_not_allow_is_impossible(world, random_policy, few_candidates):
    few_candidates(1)
    place = world([Passage("a", "Quorl sits."), *(Passage(f"x{i}", f"w{i}.") for i in range(9))])
    far = next(s for s in range(10) if s not in place.pool("Quorl").slots)
    example = place.example("Quorl", (far,))
    [possible, impossible] = trail_log_probs(random_policy(), [(example, ()), (example, (far,))])
    assert torch.isfinite(possible)
    assert impossible == -torch.inf


def test_the_gradient_is_that_of_the_expected_return(pair, random_policy) -> None:
    """By sampling, against the sum over all trails."""
    cost = 0.1
    policy = random_policy(spread=1.0)
    example = pair.example("Alder or Benta?", (0,))
    trails, log_probs = trails_of(pair, policy, example)
    f1 = {(): 0.0, (0,): 1.0, (1,): 0.0, (0, 1): 2 / 3, (1, 0): 2 / 3}
    returns = torch.tensor([f1[trail] - cost * len(trail) for trail in trails])
    expected = torch.autograd.grad((log_probs.exp() * returns).sum(), list(policy.parameters()))
    loss, figures = reinforce(
        policy,
        [example],
        Reformulator(pair.encoder, reencode=True),
        samples=3000,
        hops=2,
        hop_cost=cost,
        entropy_weight=0.0,
        generator=generator(),
    )
    estimate = torch.autograd.grad(-loss, list(policy.parameters()))
    a, b = (torch.cat([g.flatten() for g in grads]) for grads in (expected, estimate))
    assert float(torch.nn.functional.cosine_similarity(a, b, dim=0)) > 0.97
    assert float(a.norm() / b.norm()) == pytest.approx(1, abs=0.2)
    exact = float((log_probs.detach().exp() * returns).sum())
    assert figures["return"] == pytest.approx(exact, abs=0.05)


def test_the_bonus_for_entropy_makes_the_policy_less_sure(pair, random_policy) -> None:
    policy = random_policy(spread=2.0)
    example = pair.example("Alder or Benta?", (0,))

    def loss_and_entropy(weight: float) -> tuple[torch.Tensor, float]:
        loss, figures = reinforce(
            policy,
            [example],
            Reformulator(pair.encoder, reencode=True),
            samples=50,
            hops=1,
            hop_cost=0.0,
            entropy_weight=weight,
            generator=generator(),
        )
        return loss, figures["entropy"]

    plain, before = loss_and_entropy(0.0)
    weights = list(policy.parameters())
    gradients = torch.autograd.grad(loss_and_entropy(1.0)[0] - plain, weights)
    length = torch.cat([each.flatten() for each in gradients]).norm()
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= 0.05 * gradient / length
    assert loss_and_entropy(0.0)[1] > before


def test_gold_that_was_missed_costs_recall(small, reformulator, random_policy) -> None:
    """F1 counts all gold, in the pool or not: reading one of two is no more than 2/3."""
    example = small.example(LAKE, small.slots("p-ada-lind", "p-varn"))
    policy = random_policy()
    _, figures = reinforce(
        policy,
        [example],
        reformulator,
        samples=40,
        hops=1,
        hop_cost=0.0,
        entropy_weight=0.01,
        generator=generator(),
    )
    assert 0 <= figures["return"] <= 2 / 3
    assert figures["passages read"] <= 1


def test_what_is_drawn_for_a_question_does_not_depend_on_the_batch(
    small, reformulator, random_policy
) -> None:
    policy = random_policy(spread=2.0)
    one, other = (small.example(LAKE, small.slots(id)) for id in ("p-ada-lind", "p-varn"))

    def read(*examples) -> list[tuple[int, ...]]:
        drawing = {id(one): 5, id(other): 6}
        trajectories = sample(
            policy,
            examples,
            reformulator,
            samples=12,
            hops=2,
            generators=[generator(drawing[id(example)]) for example in examples],
        )
        return [t.evidence for t in trajectories if t.example is other]

    assert read(one, other) == read(other)


def test_the_seed_decides(example, reformulator, random_policy) -> None:
    policy = random_policy(spread=2.0)
    drawn = [
        [
            t.evidence
            for t in sample(
                policy, [example], reformulator, samples=12, hops=2, generators=[generator(seed)]
            )
        ]
        for seed in (5, 5, 6)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
