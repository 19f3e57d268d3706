"""The implicit top-k: shares that sum to k, with the gradient of the equation that they solve."""

from __future__ import annotations

import math

import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.learning.estimators.implicit import implicit_top_k


def random_scores(b: int = 3, n: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(b, n, dtype=torch.float64, generator=generator)


def test_shares_lie_between_0_and_1_and_sum_to_k() -> None:
    shares = implicit_top_k(random_scores(), 2, temperature=0.3)
    assert bool((shares >= 0).all() & (shares <= 1).all())
    torch.testing.assert_close(shares.sum(-1), torch.full((3,), 2.0, dtype=torch.float64))


def test_its_gradient_is_that_of_finite_differences() -> None:
    scores = random_scores().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: implicit_top_k(s, 2, temperature=0.5), (scores,))


def test_a_low_temperature_gives_the_k_best() -> None:
    scores = random_scores()
    hard = torch.zeros_like(scores).scatter(1, scores.topk(2).indices, 1.0)
    torch.testing.assert_close(implicit_top_k(scores, 2, temperature=1e-3), hard)


def test_what_is_masked_takes_no_share_and_all_of_k_candidates_are_taken() -> None:
    scores = random_scores().masked_fill(torch.arange(6) > 2, -math.inf).requires_grad_()
    shares = implicit_top_k(scores, 3)
    torch.testing.assert_close(shares[:, :3], torch.ones(3, 3, dtype=torch.float64))
    assert bool((shares[:, 3:] == 0).all())
    shares.sum().backward()
    assert scores.grad is not None
    assert bool(scores.grad.isfinite().all())


def test_more_places_than_candidates_are_refused() -> None:
    with pytest.raises(InputError, match="k should be in 1"):
        implicit_top_k(random_scores(), 7)
