"""Every selection gives weights of sum one, and its gradient reaches the scores."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.learning.retrieval.selection import Selection, selection_weights

LOGITS = torch.tensor([[2.0, 0.5, 1.0, -1.0], [0.0, 3.0, 0.2, 0.1]], dtype=torch.float64)
MASK = torch.tensor([[True, True, True, True], [True, True, True, False]])


@pytest.mark.parametrize("selection", get_args(Selection))
def test_weights_sum_to_one_and_leave_out_what_is_masked(selection: Selection) -> None:
    logits = LOGITS.clone().requires_grad_()
    generator = torch.Generator().manual_seed(0)
    weights = selection_weights(logits, selection, k=2, mask=MASK, generator=generator)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, dtype=torch.float64))
    assert float(weights[1, 3].detach()) == 0
    (weights @ torch.arange(4.0, dtype=torch.float64)).sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert bool(logits.grad.abs().sum() > 0)


@pytest.mark.parametrize("selection", ["softmax", "top-k", "relaxed", "implicit"])
def test_smooth_selections_have_the_gradient_of_finite_differences(selection: Selection) -> None:
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: selection_weights(s, selection, k=2), (logits,))


def test_straight_through_takes_the_best_in_equal_parts() -> None:
    weights = selection_weights(LOGITS, "straight-through", k=2)
    assert weights[0].tolist() == [0.5, 0.0, 0.5, 0.0]


def test_what_a_selection_needs_is_asked_for_by_name() -> None:
    with pytest.raises(InputError, match="'relaxed' needs a k"):
        selection_weights(LOGITS, "relaxed")
    with pytest.raises(InputError, match="'gumbel' needs a generator"):
        selection_weights(LOGITS, "gumbel", k=1)
    with pytest.raises(InputError, match="selection must be one of"):
        selection_weights(LOGITS, "hard")  # type: ignore[arg-type]
