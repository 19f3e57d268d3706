"""Losses that order candidates: against plain Python, and their gradients against differences."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.ranking_losses import (
    LossName,
    ScoredCandidates,
    binary_loss,
    candidate_loss,
    lambda_loss,
    listnet_loss,
    margin_distillation_loss,
    triplet_loss,
)

SCORES = torch.tensor([[0.4, 0.7, 0.1, 9.0], [0.3, -0.2, 0.9, 0.0]], dtype=torch.float64)
TEACHER = torch.tensor([[0.9, 0.2, 0.3, -7.0], [0.1, 0.8, 0.4, 0.2]], dtype=torch.float64)
MASK = torch.tensor([[True, True, True, False], [True, True, True, True]])
POSITIVES = torch.tensor([[True, False, True, False], [False, True, False, False]])


def test_a_triplet_wants_the_margin_over_the_hardest_negative() -> None:
    got = triplet_loss(SCORES, POSITIVES, mask=MASK, margin=0.1, reduction="none")
    assert got.tolist() == pytest.approx([(0.4 + 0.7) / 2, 0.1 + 0.2 + 0.9])


def test_listnet_is_the_cross_entropy_with_the_teacher() -> None:
    got = listnet_loss(SCORES, TEACHER, mask=MASK, reduction="none")[0].item()
    s, t = [0.4, 0.7, 0.1], [0.9, 0.2, 0.3]
    norm, total = sum(map(math.exp, s)), sum(map(math.exp, t))
    expected = -sum(math.exp(b) / total * (a - math.log(norm)) for a, b in zip(s, t, strict=True))
    assert got == pytest.approx(expected)


def test_the_lambda_loss_weighs_a_pair_by_what_ndcg_would_lose() -> None:
    got = lambda_loss(SCORES[1:], POSITIVES[1:], reduction="none").item()
    # Ranked 2, 0, 3, 1: the positive is last, so that the ideal gain is 1.
    ranks, discount = {2: 1, 0: 2, 3: 3, 1: 4}, lambda rank: 1 / math.log2(1 + rank)
    expected = sum(
        (discount(ranks[j]) - discount(4)) * math.log2(1 + math.exp(float(SCORES[1, j]) + 0.2))
        for j in (0, 2, 3)
    )
    assert got == pytest.approx(expected)


def test_margins_are_compared_with_the_teacher_s() -> None:
    got = margin_distillation_loss(SCORES, TEACHER, POSITIVES, mask=MASK, reduction="none")
    first = (((0.4 - 0.7) - (0.9 - 0.2)) ** 2 + ((0.1 - 0.7) - (0.3 - 0.2)) ** 2) / 2
    assert got[0].item() == pytest.approx(first)


def test_the_binary_loss_takes_each_candidate_by_itself() -> None:
    losses = binary_loss(SCORES, POSITIVES, mask=MASK, reduction="none").tolist()
    right = (math.log1p(math.exp(-0.4)) + math.log1p(math.exp(-0.1))) / 2
    assert losses[0] == pytest.approx((right + math.log1p(math.exp(0.7))) / 2)
    alone = binary_loss(SCORES[:1], POSITIVES[:1], mask=POSITIVES[:1], reduction="none").item()
    assert alone == pytest.approx(right)
    scores = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: binary_loss(s, POSITIVES, mask=MASK), scores)


@pytest.mark.parametrize("name", get_args(LossName))
def test_gradients_are_those_of_differences_and_masked_scores_have_none(name: LossName) -> None:
    def loss(scores: Tensor) -> Tensor:
        batch = ScoredCandidates(scores, POSITIVES, MASK, TEACHER)
        return candidate_loss(name, batch, temperature=0.5)

    scores = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (scores,))
    (gradient,) = torch.autograd.grad(loss(scores), scores)
    assert gradient[0, 3] == 0
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", ["contrastive", "triplet", "pairwise", "lambda", "margin"])
def test_a_question_without_wrong_passages_teaches_nothing(name: LossName) -> None:
    scores = SCORES.clone().requires_grad_()
    batch = ScoredCandidates(scores, MASK, MASK, TEACHER)
    loss = candidate_loss(name, batch)
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert scores.grad.abs().sum() == 0


def test_contrastive_positives_do_not_compete_with_each_other() -> None:
    batch = ScoredCandidates(SCORES, POSITIVES, MASK)
    first = -math.log(math.exp(0.4) / (math.exp(0.4) + math.exp(0.7)))
    second = -math.log(math.exp(0.1) / (math.exp(0.1) + math.exp(0.7)))
    row = -math.log(math.exp(-0.2) / sum(math.exp(float(s)) for s in SCORES[1]))
    got = candidate_loss("contrastive", batch, temperature=1.0).item()
    assert got == pytest.approx(((first + second) / 2 + row) / 2)


def test_unknown_losses_and_a_missing_teacher_are_refused() -> None:
    batch = ScoredCandidates(SCORES, POSITIVES, MASK)
    with pytest.raises(ConfigError, match="loss must be one of evidence, contrastive"):
        candidate_loss("hinge", batch)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'margin' needs a teacher"):
        candidate_loss("margin", batch)
