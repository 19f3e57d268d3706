"""Losses that order a question's candidates, and all of the library's retrieval losses by name.

Beside those of `hoptrail.learning.losses`, of raw scores s of candidates, positives P, the other
candidates N, and scores t that a teacher gives:

    triplet               mean_{i in P} max(0, margin - s_i + max_{j in N} s_j)
    ListNet               -sum_i softmax(t)_i log softmax(s)_i
    LambdaLoss            sum_{i in P, j in N} |G_i - G_j| |1/D_i - 1/D_j| log2(1 + exp(s_j - s_i))
    margin distillation   mean_{i in P, j in N} ((s_i - s_j) - (t_i - t_j))^2
    binary                (mean_{i in P} log(1 + e^{-s_i}) + mean_{j in N} log(1 + e^{s_j})) / 2

with G a gain over the ideal ranking's and D the discount log2(1 + rank), ranks those of s itself.

Source: triplet with the hardest negative, Schroff et al. 2015 (1503.03832) and Hermans et al. 2017
(1703.07737). ListNet, Cao et al. 2007. LambdaLoss, Wang et al. 2018 (CIKM), with LambdaRank's
weights. Margin distillation, Hofstätter et al. 2020 (2010.02666).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.losses import (
    Reduction,
    checked_candidates,
    listwise_loss,
    pairwise_logistic_loss,
    reduce_rows,
    require_temperature,
    retrieval_likelihood_loss,
)
from hoptrail.learning.masked import masked_log_softmax, masked_logsumexp, same_shape

LossName = Literal[
    "evidence", "contrastive", "likelihood", "triplet", "pairwise", "listnet", "lambda", "margin"
]
"""A retrieval loss; see `candidate_loss`."""

TAUGHT: frozenset[LossName] = frozenset({"listnet", "margin"})
"""Losses that need a teacher's scores."""

OF_PAIRS: frozenset[LossName] = frozenset({"triplet", "pairwise", "lambda", "margin"})
"""Losses that compare candidates two by two: their memory grows with the square of the list."""


def triplet_loss(
    scores: Tensor,
    positives: Tensor,
    *,
    mask: Tensor | None = None,
    margin: float = 0.1,
    reduction: Reduction = "mean",
) -> Tensor:
    """How far each positive fails to lead the hardest negative by the margin.

    A row without negatives has nothing to lead: its loss is 0.

    Args:
        scores: `(b, n)`.
        positives: Bool `(b, n)`, within the mask.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.
        margin: In units of score; for cosines a tenth or two.
        reduction: Over the rows.

    Raises:
        InputError: Shapes differ, a row has no positive, or a positive is masked.
    """
    mask = checked_candidates(scores, positives, mask)
    negatives = mask & ~positives
    some = negatives.any(-1, keepdim=True)
    hardest = scores.masked_fill(~negatives, -torch.inf).amax(-1, keepdim=True)
    hardest = hardest.masked_fill(~some, 0.0)
    short = functional.relu(margin - scores + hardest).masked_fill(~(positives & some), 0.0)
    return reduce_rows(short.sum(-1) / positives.sum(-1), reduction)


def listnet_loss(
    scores: Tensor, teacher: Tensor, *, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Cross-entropy of the candidates' top-one probabilities with those of a teacher.

    Args:
        scores: `(b, n)`.
        teacher: `(b, n)`: scores of a stronger model, or grades; no gradient goes there.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.
        reduction: Over the rows.

    Raises:
        InputError: Shapes differ, or a row has no candidate.
    """
    same_shape(scores, teacher, "teacher")
    targets = masked_log_softmax(teacher.detach(), mask).exp()
    log_probs = masked_log_softmax(scores, mask)
    # where, not a product: 0 * -inf is NaN.
    losses = -(targets * log_probs.masked_fill(targets == 0, 0.0)).sum(-1)
    return reduce_rows(losses, reduction)


def lambda_loss(
    scores: Tensor,
    positives: Tensor,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """A bound of one minus nDCG: each pair counts as much as nDCG would lose by swapping it.

    Args:
        scores: `(b, n)`.
        positives: Bool `(b, n)`, within the mask; their gain is 1.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.
        reduction: Over the rows.

    Raises:
        InputError: Shapes differ, a row has no positive, or a positive is masked.
    """
    mask = checked_candidates(scores, positives, mask)
    safe = scores.masked_fill(~mask, 0.0)
    order = (
        scores.detach().masked_fill(~mask, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    )
    ranks = order.argsort(dim=-1) + 1  # (b, n), from 1
    discounts = 1 / torch.log2(1 + ranks.to(scores.dtype))
    places = torch.arange(1, scores.shape[1] + 1, device=scores.device, dtype=scores.dtype)
    ideal = (1 / torch.log2(1 + places)).cumsum(0)[positives.sum(-1) - 1]  # (b,)
    pairs = positives.unsqueeze(-1) & (mask & ~positives).unsqueeze(-2)  # (b, n, n)
    swaps = (discounts.unsqueeze(-1) - discounts.unsqueeze(-2)).abs() / ideal[:, None, None]
    lead = safe.unsqueeze(-1) - safe.unsqueeze(-2)
    each = functional.softplus(-lead) / torch.log(torch.tensor(2.0, dtype=scores.dtype))
    losses = (swaps * each).masked_fill(~pairs, 0.0).sum((-2, -1))
    return reduce_rows(losses, reduction)


def margin_distillation_loss(
    scores: Tensor,
    teacher: Tensor,
    positives: Tensor,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Squared difference between the leads of positives over negatives and a teacher's.

    Args:
        scores: `(b, n)`.
        teacher: `(b, n)`, in the same unit as the scores; no gradient goes there.
        positives: Bool `(b, n)`, within the mask.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.
        reduction: Over the rows; one without negatives has a loss of 0.

    Raises:
        InputError: Shapes differ, a row has no positive, or a positive is masked.
    """
    mask = checked_candidates(scores, positives, mask)
    same_shape(scores, teacher, "teacher")
    off = (scores - teacher.detach()).masked_fill(~mask, 0.0)  # the pairs' error is its difference
    pairs = positives.unsqueeze(-1) & (mask & ~positives).unsqueeze(-2)
    each = (off.unsqueeze(-1) - off.unsqueeze(-2)).square().masked_fill(~pairs, 0.0)
    return reduce_rows(each.sum((-2, -1)) / pairs.sum((-2, -1)).clamp(min=1), reduction)


def binary_loss(
    scores: Tensor,
    positives: Tensor,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Binary cross-entropy of each candidate by itself; both sides of a list count the same.

    Unlike the losses of a list it says where zero is: above it a candidate is right.

    Args:
        scores: `(b, n)`: log odds that a candidate is right.
        positives: Bool `(b, n)`, within the mask.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.
        reduction: Over the rows; of one without negatives the positives alone count.

    Raises:
        InputError: Shapes differ, a row has no positive, or a positive is masked.
    """
    mask = checked_candidates(scores, positives, mask)
    negatives = mask & ~positives
    right = functional.softplus(-scores).masked_fill(~positives, 0.0).sum(-1) / positives.sum(-1)
    counts = negatives.sum(-1)
    wrong = functional.softplus(scores).masked_fill(~negatives, 0.0).sum(-1) / counts.clamp(min=1)
    return reduce_rows(torch.where(counts > 0, (right + wrong) / 2, right), reduction)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredCandidates:
    """Questions with scored candidates: what a retrieval loss looks at."""

    scores: Tensor
    """`(b, n)`: cosines, with gradients."""
    positives: Tensor
    """Bool `(b, n)`: which candidates are right."""
    mask: Tensor
    """Bool `(b, n)`: which candidates there are."""
    teacher: Tensor | None = None
    """`(b, n)`: scores of a teacher in the unit of cosines; None where there is none."""


def candidate_loss(name: LossName, batch: ScoredCandidates, *, temperature: float = 0.05) -> Tensor:
    """The mean loss of a batch, by the loss's name.

    `evidence` asks for any and for each of the positives, half and half; `contrastive` for each
    of them against the negatives alone (InfoNCE); `likelihood` for any (the passage is latent);
    `triplet`, `pairwise` and `lambda` for the positives' lead over the negatives; `listnet` and
    `margin` for a teacher's scores.

    Args:
        name: Of the loss.
        batch: Scored candidates.
        temperature: Scores are divided by it, but for `triplet` and `margin`, whose margins are
            cosines.

    Raises:
        ConfigError: There is no such loss.
        InputError: The loss needs a teacher and there is none; or as the losses themselves.
    """
    require_temperature(temperature)
    if name in TAUGHT and batch.teacher is None:
        raise InputError(f"the loss {name!r} needs a teacher's scores, got none")
    losses: dict[LossName, Callable[[ScoredCandidates, float], Tensor]] = {
        "evidence": _evidence,
        "contrastive": _contrastive,
        "likelihood": _likelihood,
        "triplet": lambda one, _: triplet_loss(one.scores, one.positives, mask=one.mask),
        "pairwise": lambda one, t: pairwise_logistic_loss(
            one.scores / t, one.positives, mask=one.mask
        ),
        "listnet": lambda one, t: listnet_loss(one.scores / t, _taught(one) / t, mask=one.mask),
        "lambda": lambda one, t: lambda_loss(one.scores / t, one.positives, mask=one.mask),
        "margin": lambda one, _: margin_distillation_loss(
            one.scores, _taught(one), one.positives, mask=one.mask
        ),
    }
    return losses[checked_loss_name(name)](batch, temperature)


def checked_loss_name(name: str) -> LossName:
    """The name of a retrieval loss.

    Args:
        name: As a caller gave it.

    Raises:
        ConfigError: There is none of that name.
    """
    names = get_args(LossName)
    for loss_name in names:
        if name == loss_name:
            checked: LossName = loss_name
            return checked
    raise ConfigError(f"loss must be one of {', '.join(names)}, got {name!r}")


def _evidence(batch: ScoredCandidates, temperature: float) -> Tensor:
    logits = batch.scores / temperature
    some = listwise_loss(logits, batch.positives, mask=batch.mask, combine="sum")
    each = listwise_loss(logits, batch.positives, mask=batch.mask, combine="mean")
    return (some + each) / 2


def _contrastive(batch: ScoredCandidates, temperature: float) -> Tensor:
    """-log e^{s_i} / (e^{s_i} + sum_N e^{s_j}), the mean over i in P: positives do not compete."""
    logits = batch.scores / temperature
    mask = checked_candidates(batch.scores, batch.positives, batch.mask)
    rest = masked_logsumexp(logits, mask & ~batch.positives).unsqueeze(-1)
    # Without a negative `rest` is -inf, and the loss and its gradient are 0.
    each = functional.softplus(rest - logits).masked_fill(~batch.positives, 0.0)
    return (each.sum(-1) / batch.positives.sum(-1)).mean()


def _likelihood(batch: ScoredCandidates, temperature: float) -> Tensor:
    answered = torch.zeros_like(batch.scores).masked_fill(~batch.positives, -torch.inf)
    return retrieval_likelihood_loss(batch.scores / temperature, answered, mask=batch.mask)


def _taught(batch: ScoredCandidates) -> Tensor:
    assert batch.teacher is not None  # `candidate_loss` has refused it
    return batch.teacher
