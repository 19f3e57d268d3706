from __future__ import annotations

import math

import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.learning.masked import masked_log_softmax, masked_logsumexp


def test_logsumexp_equals_torch_on_what_is_alive() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, -math.inf, 0.5]])
    mask = torch.tensor([[True, False, True], [True, True, True]])
    expected = torch.stack(
        [torch.tensor([1.0, 3.0]).logsumexp(0), torch.tensor([4.0, 0.5]).logsumexp(0)]
    )
    torch.testing.assert_close(masked_logsumexp(values, mask), expected)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_empty_rows_give_minus_infinity_and_no_gradient(dim: int) -> None:
    values = torch.full((2, 2), -math.inf, requires_grad=True)
    total = masked_logsumexp(values, dim=dim)
    assert total.tolist() == [-math.inf, -math.inf]
    total.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_nothing_that_stands_at_masked_places_is_read() -> None:
    values = torch.tensor([[1.0, math.nan, math.inf, 2.0]], requires_grad=True)
    mask = torch.tensor([[True, False, False, True]])
    total = masked_logsumexp(values, mask)
    total.sum().backward()
    assert values.grad is not None
    assert math.isclose(total.item(), math.log(math.e + math.e**2), rel_tol=1e-6)
    assert values.grad[0, 1:3].tolist() == [0.0, 0.0]


def test_log_softmax_is_exactly_minus_infinity_where_masked() -> None:
    scores = torch.tensor([[1.0, math.nan, 2.0, -math.inf]], requires_grad=True)
    mask = torch.tensor([[True, False, True, True]])
    log_probs = masked_log_softmax(scores, mask)
    assert (log_probs[0, [1, 3]] == -math.inf).all()
    assert math.isclose(log_probs.exp().sum().item(), 1.0, rel_tol=1e-6)
    log_probs[0, 2].backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


def test_gradcheck_with_minus_infinity_among_the_values() -> None:
    free = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, False, True], [False, False, False]])
    free.requires_grad_(True)
    # exp makes the empty row's -inf a plain 0, which finite differences can follow.
    assert torch.autograd.gradcheck(lambda v: masked_logsumexp(v, mask).exp(), (free,))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.tensor([[True, True], [False, False]]), "row 1 of 2 has none"),
        (torch.ones(2, 3, dtype=torch.bool), r"mask should have shape \(2, 2\), got \(2, 3\)"),
        (torch.ones(2, 2), "mask should be a bool tensor, got torch.float32"),
    ],
)
def test_log_softmax_refuses_a_mask_that_does_not_fit(mask: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        masked_log_softmax(torch.zeros(2, 2), mask)
