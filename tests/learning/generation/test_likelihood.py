"""RAG-Sequence and RAG-Token as sums over contexts, written out."""

from __future__ import annotations

import math

import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.learning.generation.likelihood import rag_sequence, rag_token

PRIOR = torch.tensor([[0.7, 0.3]], dtype=torch.float64)
TOKENS = torch.tensor([[[0.5, 0.2, 0.9], [0.1, 0.8, 0.9]]], dtype=torch.float64)
TWO = torch.tensor([[True, True, False]])


def test_both_are_the_sums_that_the_paper_writes() -> None:
    sequence = rag_sequence(PRIOR.log(), TOKENS.log(), TWO)
    assert sequence.log_likelihood.exp().item() == pytest.approx(0.7 * 0.5 * 0.2 + 0.3 * 0.1 * 0.8)
    token = rag_token(PRIOR.log(), TOKENS.log(), TWO)
    expected = (0.7 * 0.5 + 0.3 * 0.1) * (0.7 * 0.2 + 0.3 * 0.8)
    assert token.exp().item() == pytest.approx(expected)


def test_a_masked_context_takes_no_part_and_one_context_makes_them_equal() -> None:
    mask = torch.tensor([[True, False]])
    prior = torch.tensor([[0.0, math.nan]], dtype=torch.float64)
    sequence = rag_sequence(prior, TOKENS.log(), TWO, mask=mask)
    assert sequence.log_likelihood.exp().item() == pytest.approx(0.1)
    assert rag_token(prior, TOKENS.log(), TWO, mask=mask).exp().item() == pytest.approx(0.1)


@pytest.mark.parametrize("mode", ["sequence", "token"])
def test_gradients_are_those_of_finite_differences(mode: str) -> None:
    prior, tokens = PRIOR.log().requires_grad_(), TOKENS.log().requires_grad_()

    def value(prior: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        normal = torch.log_softmax(prior, dim=-1)
        if mode == "token":
            return rag_token(normal, tokens, TWO)
        return rag_sequence(normal, tokens, TWO).log_likelihood

    assert torch.autograd.gradcheck(value, (prior, tokens))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="tokens should have shape"):
        rag_token(PRIOR.log(), TOKENS.log(), TWO[:, :2])
    with pytest.raises(InputError, match="log_prior should have shape"):
        rag_sequence(PRIOR[:, :1].log(), TOKENS.log(), TWO)
