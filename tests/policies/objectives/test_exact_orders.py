"""The exact part of imitation against every order of the gold, by a network of the policy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hoptrail.policies.environment.state import batch_states
from hoptrail.policies.objectives.imitation import imitation_loss

LAKE = "Into which lake flows the river of the town where Ada Lind was born?"


def by_orders(policy, example) -> float:
    """log P(reads exactly the gold in any order, then stops): each order in its own states."""
    total = 0.0
    for order in itertools.permutations(example.gold):
        log_prob = 0.0
        for n in range(len(order) + 1):
            state = example.state(order[:n])
            read, stop = policy.decide(batch_states([state]))
            if n == len(order):
                log_prob += float(stop[0])
            else:
                [row] = np.flatnonzero(state.slots == order[n]).tolist()
                log_prob += float(read[row])
        total += math.exp(log_prob)
    return math.log(total)


@pytest.mark.parametrize("spread", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_exact_part_is_the_sum_over_orders(small, random_policy, size, seed, spread) -> None:
    policy = random_policy(1, seed=seed, spread=spread)
    gold = small.slots("p-ada-lind", "p-varn", "p-ister-beck")[:size]
    example = small.example(LAKE, gold)
    _, figures = imitation_loss(policy, [example], np.random.default_rng(0))
    expected = -by_orders(policy, example) / size
    assert figures["set"] == pytest.approx(expected, rel=1e-5)
