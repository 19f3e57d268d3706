"""Soft ranks and measures become the hard ones, and their gradients are those of differences."""

from __future__ import annotations

import math

import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.learning.retrieval.soft_ranking import (
    neural_sort,
    soft_ndcg,
    soft_ranks,
    soft_recall,
)

SCORES = torch.tensor([[0.3, 0.9, -0.2, 0.5], [1.0, 0.0, 2.0, 3.0]], dtype=torch.float64)
POSITIVES = torch.tensor([[True, False, False, True], [False, True, False, False]])


def test_ranks_are_those_of_sorting_where_the_temperature_is_low() -> None:
    ranks = soft_ranks(SCORES, temperature=1e-3)
    expected = torch.tensor([[3.0, 1.0, 4.0, 2.0], [3.0, 4.0, 2.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(ranks, expected)


def test_a_masked_item_is_above_nobody() -> None:
    mask = torch.tensor([[True, False, True, True], [True, True, True, True]])
    assert soft_ranks(SCORES, temperature=1e-3, mask=mask)[0].tolist() == [2.0, 0.0, 3.0, 1.0]


def test_recall_and_ndcg_become_what_they_stand_for() -> None:
    recall = soft_recall(SCORES, POSITIVES, 2, temperature=1e-3, sharpness=1e-2)
    torch.testing.assert_close(recall, torch.tensor([0.5, 0.0], dtype=torch.float64))
    ndcg = soft_ndcg(SCORES, POSITIVES.double(), temperature=1e-3)
    first = (1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    expected = torch.tensor([first, 1 / math.log2(5)], dtype=torch.float64)
    torch.testing.assert_close(ndcg, expected)


def test_gradients_are_those_of_finite_differences() -> None:
    scores = SCORES.clone().requires_grad_()
    gains = POSITIVES.double() * 2
    checks = (
        lambda s: soft_recall(s, POSITIVES, 2, temperature=0.5),
        lambda s: soft_ndcg(s, gains, temperature=0.5),
        lambda s: neural_sort(s, temperature=0.7),
    )
    for check in checks:
        assert torch.autograd.gradcheck(check, (scores,))


def test_neural_sort_sorts() -> None:
    rows = neural_sort(SCORES, temperature=1e-3)
    in_order = (rows @ SCORES.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(in_order, SCORES.sort(-1, descending=True).values)


def test_a_row_without_positives_is_refused() -> None:
    with pytest.raises(InputError, match="row 1 of 2 has none"):
        soft_recall(SCORES, POSITIVES & torch.tensor([[True], [False]]), 2)
    with pytest.raises(InputError, match="gains should be at least 0"):
        soft_ndcg(SCORES, -POSITIVES.double())
