"""Stopping times: their distribution, and the sampled gradient beside the exact one."""

from __future__ import annotations

import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.policies.objectives.stopping_time import (
    expected_return,
    sampled_stopping_loss,
    stopping_log_probs,
)

RETURNS = torch.tensor([[0.2, 0.7, 0.5, 0.9], [0.6, 0.1, 0.4, 0.0]], dtype=torch.float64)


def odds() -> torch.Tensor:
    return torch.tensor([[-1.0, 0.5, 0.2, 9.0], [0.3, -0.7, 1.1, -9.0]], dtype=torch.float64)


def test_the_probabilities_of_stopping_times_are_those_of_the_choices() -> None:
    stop = torch.sigmoid(odds())
    by_hand = [
        [s[0], (1 - s[0]) * s[1], (1 - s[0]) * (1 - s[1]) * s[2], torch.prod(1 - s[:3])]
        for s in stop
    ]
    torch.testing.assert_close(
        stopping_log_probs(odds()).exp(), torch.tensor(by_hand, dtype=torch.float64)
    )


def test_the_sampled_gradient_is_the_exact_one_on_average() -> None:
    exact = odds().requires_grad_()
    (-expected_return(stopping_log_probs(exact), RETURNS).mean()).backward()
    rows = 5_000  # of the same two questions, so that one call draws as often
    sampled = odds().requires_grad_()
    log_probs = stopping_log_probs(sampled.repeat(rows, 1))
    sampled_stopping_loss(
        log_probs, RETURNS.repeat(rows, 1), samples=8, generator=torch.Generator().manual_seed(0)
    ).backward()
    assert exact.grad is not None
    assert sampled.grad is not None
    torch.testing.assert_close(sampled.grad, exact.grad, atol=0.001, rtol=0)
    assert exact.grad.abs().max() > 0.04


def test_a_policy_that_climbs_the_sampled_gradient_finds_the_best_time() -> None:
    learned = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([learned], lr=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        optimizer.zero_grad()
        sampled_stopping_loss(
            stopping_log_probs(learned), RETURNS, samples=8, generator=generator
        ).backward()
        optimizer.step()
    earned = expected_return(stopping_log_probs(learned), RETURNS)
    torch.testing.assert_close(earned, RETURNS.max(1).values, atol=0.02, rtol=0)


def test_odds_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        stopping_log_probs(torch.zeros(3))
