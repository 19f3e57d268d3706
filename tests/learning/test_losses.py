from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.losses import (
    info_nce_loss,
    listwise_loss,
    pairwise_logistic_loss,
    retrieval_likelihood_loss,
)

SCORES = [[1.0, 2.0, 0.5, 9.0], [0.3, -1.0, 4.0, 0.0]]
MASK = [[True, True, True, False], [True, True, True, True]]
POSITIVES = [[True, False, True, False], [False, True, False, False]]


@pytest.fixture
def rows() -> tuple[Tensor, Tensor, Tensor]:
    scores = torch.tensor(SCORES, dtype=torch.float64, requires_grad=True)
    return scores, torch.tensor(POSITIVES), torch.tensor(MASK)


def by_hand() -> list[list[float]]:
    """Softmax over what the mask leaves, in plain Python."""
    out = []
    for scores, mask in zip(SCORES, MASK, strict=True):
        exps = [math.exp(s) if m else 0.0 for s, m in zip(scores, mask, strict=True)]
        out.append([e / sum(exps) for e in exps])
    return out


def test_listwise_sum_and_mean_against_plain_python(rows: tuple[Tensor, Tensor, Tensor]) -> None:
    scores, positives, mask = rows
    p = by_hand()
    expected_sum = [-math.log(p[0][0] + p[0][2]), -math.log(p[1][1])]
    expected_mean = [-(math.log(p[0][0]) + math.log(p[0][2])) / 2, -math.log(p[1][1])]
    got_sum = listwise_loss(scores, positives, mask=mask, reduction="none")
    got_mean = listwise_loss(scores, positives, mask=mask, combine="mean", reduction="none")
    assert got_sum.tolist() == pytest.approx(expected_sum, rel=1e-12)
    assert got_mean.tolist() == pytest.approx(expected_mean, rel=1e-12)
    mean = listwise_loss(scores, positives, mask=mask)
    total = listwise_loss(scores, positives, mask=mask, reduction="sum")
    assert mean.item() == pytest.approx(sum(expected_sum) / 2)
    assert total.item() == pytest.approx(sum(expected_sum))


def test_pairwise_against_plain_python(rows: tuple[Tensor, Tensor, Tensor]) -> None:
    scores, positives, mask = rows
    got = pairwise_logistic_loss(scores, positives, mask=mask, margin=0.5, reduction="none")
    expected = []
    for s, good, there in zip(SCORES, POSITIVES, MASK, strict=True):
        pairs = [
            math.log1p(math.exp(0.5 - s[i] + s[j]))
            for i in range(4)
            for j in range(4)
            if good[i] and there[j] and not good[j]
        ]
        expected.append(sum(pairs) / len(pairs))
    assert got.tolist() == pytest.approx(expected, rel=1e-12)


def test_pairwise_without_negatives_is_zero_with_zero_gradient() -> None:
    scores = torch.tensor([[1.0, -math.inf]], requires_grad=True)
    loss = pairwise_logistic_loss(
        scores, torch.tensor([[True, False]]), mask=torch.tensor([[True, False]])
    )
    loss.backward()
    assert loss.item() == 0.0
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "loss",
    [
        listwise_loss,
        lambda s, p, mask: listwise_loss(s, p, mask=mask, combine="mean"),
        pairwise_logistic_loss,
        lambda s, p, mask: retrieval_likelihood_loss(s, -s.detach().abs(), mask=mask),
    ],
)
def test_masked_scores_change_nothing_and_get_no_gradient(
    loss: Callable[..., Tensor], junk: float
) -> None:
    positives, mask = torch.tensor(POSITIVES), torch.tensor(MASK)
    plain = torch.tensor(SCORES, requires_grad=True)
    spoiled = plain.detach().masked_fill(~mask, junk).requires_grad_(True)
    expected, got = loss(plain, positives, mask=mask), loss(spoiled, positives, mask=mask)
    expected.backward()
    got.backward()
    assert got.item() == expected.item()
    assert spoiled.grad is not None
    assert plain.grad is not None
    assert torch.equal(spoiled.grad, plain.grad)
    assert (spoiled.grad[~mask] == 0).all()


def test_info_nce_is_listwise_over_cosines() -> None:
    generator = torch.Generator().manual_seed(1)
    queries = torch.randn(3, 5, generator=generator)
    keys = torch.randn(4, 5, generator=generator)
    cosine = torch.cosine_similarity(queries[:, None], keys[None], dim=-1)
    expected = torch.nn.functional.cross_entropy(cosine / 0.1, torch.arange(3))
    torch.testing.assert_close(info_nce_loss(queries, keys, temperature=0.1), expected)


def test_info_nce_mask_takes_false_negatives_out() -> None:
    queries, keys = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    with_twin = info_nce_loss(queries, keys, temperature=0.1, reduction="none")
    mask = torch.tensor([[True, True, False], [True, True, True]])
    without = info_nce_loss(queries, keys, temperature=0.1, mask=mask, reduction="none")
    assert with_twin[0].item() == pytest.approx(math.log(2), abs=1e-3)
    assert without[0].item() == pytest.approx(math.log1p(math.exp(-10)), rel=1e-3)
    both = torch.tensor([[True, False, True], [False, True, False]])
    summed = info_nce_loss(
        queries, keys, temperature=0.1, positives=both, combine="sum", reduction="none"
    )
    assert summed[0].item() == pytest.approx(0.0, abs=1e-3)


def test_retrieval_likelihood_against_plain_python() -> None:
    log_y = [[-1.0, -math.inf, -0.2, -9.0], [-0.5, -2.0, -0.1, -0.7]]
    expected = [
        -math.log(sum(p * math.exp(y) for p, y in zip(ps, ys, strict=True)))
        for ps, ys in zip(by_hand(), log_y, strict=True)
    ]
    got = retrieval_likelihood_loss(
        torch.tensor(SCORES, dtype=torch.float64),
        torch.tensor(log_y, dtype=torch.float64),
        mask=torch.tensor(MASK),
        reduction="none",
    )
    assert got.tolist() == pytest.approx(expected, rel=1e-12)


def test_gradients_agree_with_finite_differences(rows: tuple[Tensor, Tensor, Tensor]) -> None:
    scores, positives, mask = rows
    log_y = torch.full((2, 4), -1.5, dtype=torch.float64, requires_grad=True)
    check = torch.autograd.gradcheck
    assert check(lambda s: listwise_loss(s, positives, mask=mask), (scores,))
    assert check(lambda s: listwise_loss(s, positives, mask=mask, combine="mean"), (scores,))
    assert check(lambda s: pairwise_logistic_loss(s, positives, mask=mask), (scores,))
    assert check(lambda s, y: retrieval_likelihood_loss(s, y, mask=mask), (scores, log_y))


@pytest.mark.parametrize(
    ("positives", "mask", "message"),
    [
        ([[True, False]], [[False, False]], "every row of the mask needs at least one entry"),
        ([[False, False]], [[True, True]], "every row of positives needs at least one entry"),
        ([[False, True]], [[True, False]], "row 0 has a positive outside the mask"),
        ([[True]], [[True]], r"positives should have shape \(1, 2\), got \(1, 1\)"),
    ],
)
def test_rows_that_make_no_sense_are_refused(
    positives: list[list[bool]], mask: list[list[bool]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        listwise_loss(torch.zeros(1, 2), torch.tensor(positives), mask=torch.tensor(mask))
    with pytest.raises(InputError, match=message):
        pairwise_logistic_loss(torch.zeros(1, 2), torch.tensor(positives), mask=torch.tensor(mask))


def test_other_bad_input_is_refused() -> None:
    yes = torch.tensor([[True, False]])
    with pytest.raises(InputError, match="combine should be 'sum' or 'mean', got 'max'"):
        listwise_loss(torch.zeros(1, 2), yes, combine="max")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="reduction should be"):
        listwise_loss(torch.zeros(1, 2), yes, reduction="max")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"scores should have shape \(b, n\)"):
        listwise_loss(torch.zeros(2), torch.ones(2, dtype=torch.bool))
    with pytest.raises(InputError, match="temperature should be above 0, got 0"):
        info_nce_loss(torch.eye(2), torch.eye(2), temperature=0)
    with pytest.raises(InputError, match="2 queries need a key each, got 1 keys"):
        info_nce_loss(torch.eye(2), torch.ones(1, 2))
    with pytest.raises(InputError, match=r"queries and keys should have shapes"):
        info_nce_loss(torch.eye(2), torch.ones(2, 3))
    with pytest.raises(InputError, match="log_likelihood above -inf"):
        retrieval_likelihood_loss(torch.zeros(1, 2), torch.full((1, 2), -math.inf))
