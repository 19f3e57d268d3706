"""Against enumeration, on a toy with a handful of trails of known probability."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.marginal import marginal_likelihood

TRAILS = 6


@pytest.fixture
def toy() -> tuple[Tensor, Tensor]:
    """log pi over all trails of two questions, and log p(y | z) of one answer, `(2, 6)` each."""
    generator = torch.Generator().manual_seed(0)
    prior = torch.randn(2, TRAILS, generator=generator, dtype=torch.float64).log_softmax(-1)
    reader = torch.randn(2, TRAILS, generator=generator, dtype=torch.float64).sigmoid().log()
    return prior.requires_grad_(True), reader.requires_grad_(True)


def test_equals_enumeration_when_all_trails_are_given(toy: tuple[Tensor, Tensor]) -> None:
    prior, reader = toy
    marginal = marginal_likelihood(prior, reader)
    for row in range(2):
        logs = zip(prior[row].tolist(), reader[row].tolist(), strict=True)
        joint = [math.exp(log_prior + log_reader) for log_prior, log_reader in logs]
        assert marginal.log_likelihood[row].item() == pytest.approx(math.log(sum(joint)))
        assert marginal.posterior[row].tolist() == pytest.approx([j / sum(joint) for j in joint])
    assert marginal.covered.tolist() == pytest.approx([1.0, 1.0])
    assert not marginal.posterior.requires_grad
    assert not marginal.covered.requires_grad


def test_is_a_lower_bound_that_grows_with_the_trails(toy: tuple[Tensor, Tensor]) -> None:
    prior, reader = toy
    whole = marginal_likelihood(prior, reader)
    order = torch.randperm(TRAILS, generator=torch.Generator().manual_seed(4))
    bounds = []
    for size in range(1, TRAILS + 1):
        mask = torch.zeros(2, TRAILS, dtype=torch.bool)
        mask[:, order[:size]] = True
        part = marginal_likelihood(prior, reader, mask=mask)
        bounds.append(part.log_likelihood)
        expected = prior.exp().masked_fill(~mask, 0.0).sum(-1)
        torch.testing.assert_close(part.covered, expected.detach())
        assert part.posterior.sum(-1).tolist() == pytest.approx([1.0, 1.0])
        assert (part.posterior[~mask] == 0).all()
    steps = torch.stack(bounds).diff(dim=0)
    assert (steps >= 0).all()
    torch.testing.assert_close(bounds[-1], whole.log_likelihood)


def test_the_gradient_is_the_posterior_weighted_one(toy: tuple[Tensor, Tensor]) -> None:
    prior, reader = toy
    mask = torch.ones(2, TRAILS, dtype=torch.bool)
    mask[1, 3:] = False
    marginal = marginal_likelihood(prior, reader, mask=mask)
    to_prior, to_reader = torch.autograd.grad(marginal.log_likelihood.sum(), (prior, reader))
    torch.testing.assert_close(to_prior, marginal.posterior)
    torch.testing.assert_close(to_reader, marginal.posterior)


def test_gradients_agree_with_finite_differences(toy: tuple[Tensor, Tensor]) -> None:
    mask = torch.ones(2, TRAILS, dtype=torch.bool)
    mask[0, 0] = False
    prior, reader = toy
    lowered = (prior - 0.1).detach().requires_grad_(True)  # room below 1 for the differences
    assert torch.autograd.gradcheck(
        lambda p, r: marginal_likelihood(p, r, mask=mask).log_likelihood, (lowered, reader)
    )


def test_trails_that_cannot_give_the_answer_count_for_nothing() -> None:
    prior = torch.tensor([[0.5, 0.5], [0.5, 0.25]]).log().requires_grad_(True)
    reader = torch.tensor([[-math.inf, -1.0], [-math.inf, -math.inf]], requires_grad=True)
    marginal = marginal_likelihood(prior, reader)
    assert marginal.log_likelihood.tolist() == pytest.approx([math.log(0.5) - 1.0, -math.inf])
    assert marginal.possible.tolist() == [True, False]
    assert marginal.posterior.tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert marginal.covered.tolist() == pytest.approx([1.0, 0.75])
    marginal.log_likelihood[marginal.possible].mean().backward()
    assert prior.grad is not None
    assert reader.grad is not None
    assert prior.grad.tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert reader.grad.tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_nothing_that_stands_at_masked_places_is_read() -> None:
    prior = torch.tensor([[-1.0, math.nan]], requires_grad=True)
    reader = torch.tensor([[-1.0, math.inf]], requires_grad=True)
    marginal = marginal_likelihood(prior, reader, mask=torch.tensor([[True, False]]))
    marginal.log_likelihood.sum().backward()
    assert marginal.log_likelihood.tolist() == [-2.0]
    assert prior.grad is not None
    assert prior.grad.tolist() == [[1.0, 0.0]]


def test_bad_input_is_refused() -> None:
    half = torch.full((1, 3), 0.5).log()
    with pytest.raises(InputError, match=r"trails of row 0 have a prior mass of 1\.5000, above 1"):
        marginal_likelihood(half, torch.zeros(1, 3))
    with pytest.raises(InputError, match="every row of the mask needs at least one entry"):
        marginal_likelihood(half, torch.zeros(1, 3), mask=torch.zeros(1, 3, dtype=torch.bool))
    with pytest.raises(InputError, match=r"log_reader should have shape \(1, 3\), got \(1, 2\)"):
        marginal_likelihood(half, torch.zeros(1, 2))
    with pytest.raises(InputError, match=r"log_prior should have shape \(b, z\), got \(3,\)"):
        marginal_likelihood(half[0], torch.zeros(3))
