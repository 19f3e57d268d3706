"""Losses that compare candidates: listwise, pairwise, contrastive, and retrieval likelihood.

All take raw scores of the candidates of a question, a mask of those that exist, and (but for the
last) which of them are right; several may be. With p = softmax of the unmasked scores, P the
positives and N the rest:

    listwise, "sum"       -log sum_{i in P} p_i                     any one of the positives will do
    listwise, "mean"      -1/|P| sum_{i in P} log p_i               every positive counts
    pairwise logistic     mean_{i in P, j in N} log(1 + exp(margin - s_i + s_j))
    InfoNCE               listwise over s_ij = cos(query_i, key_j) / temperature
    retrieval likelihood  -log sum_i p_i p(y | i, q)

Source: listwise, Cao et al. 2007 (ListNet), "mean"; Lee et al. 2019 (1906.00300), "sum". Pairwise,
Burges et al. 2005 (RankNet). InfoNCE, van den Oord et al. 2018 (1807.03748). Retrieval likelihood,
Guu et al. 2020 (2002.08909). We differ in that masked entries take no part at all, rather than
scoring a large negative number, and that a row without a positive is an error, not a zero.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from hoptrail.errors import InputError
from hoptrail.learning.masked import (
    masked_log_softmax,
    masked_logsumexp,
    require_bool,
    require_rows,
    same_shape,
)

Reduction = Literal["mean", "sum", "none"]
"""What becomes of the losses of the rows: one mean, one sum, or `(b,)`."""


def listwise_loss(
    scores: Tensor,
    positives: Tensor,
    *,
    mask: Tensor | None = None,
    combine: Literal["sum", "mean"] = "sum",
    reduction: Reduction = "mean",
) -> Tensor:
    """Softmax cross-entropy of a list with one positive or more.

    Args:
        scores: `(b, n)`.
        positives: Bool `(b, n)`, within the mask.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.
        combine: `sum` asks for the positives' joint probability, `mean` for each one's.
        reduction: Over the rows.

    Raises:
        InputError: Shapes differ, a row has no positive, or a positive is masked.
    """
    mask = checked_candidates(scores, positives, mask)
    log_probs = masked_log_softmax(scores, mask)  # (b, n)
    if combine == "sum":
        losses = -masked_logsumexp(log_probs, positives)
    elif combine == "mean":
        # where, not a product: 0 * -inf is NaN.
        positive_log_probs = log_probs.masked_fill(~positives, 0.0)
        losses = -positive_log_probs.sum(-1) / positives.sum(-1)
    else:
        raise InputError(f"combine should be 'sum' or 'mean', got {combine!r}")
    return reduce_rows(losses, reduction)


def pairwise_logistic_loss(
    scores: Tensor,
    positives: Tensor,
    *,
    mask: Tensor | None = None,
    margin: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Logistic loss of every (positive, negative) pair, averaged within a row.

    A row without negatives has nothing to order: its loss is 0.

    Args:
        scores: `(b, n)`.
        positives: Bool `(b, n)`, within the mask.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.
        margin: By how much a positive should lead, in units of score.
        reduction: Over the rows.

    Raises:
        InputError: Shapes differ, a row has no positive, or a positive is masked.
    """
    mask = checked_candidates(scores, positives, mask)
    safe = scores.masked_fill(~mask, 0.0)
    lead = safe.unsqueeze(-1) - safe.unsqueeze(-2)  # (b, n, n): s_i - s_j
    pairs = positives.unsqueeze(-1) & (mask & ~positives).unsqueeze(-2)
    each = functional.softplus(margin - lead).masked_fill(~pairs, 0.0)
    losses = each.sum((-2, -1)) / pairs.sum((-2, -1)).clamp(min=1)
    return reduce_rows(losses, reduction)


def info_nce_loss(
    queries: Tensor,
    keys: Tensor,
    *,
    positives: Tensor | None = None,
    mask: Tensor | None = None,
    temperature: float = 0.05,
    combine: Literal["sum", "mean"] = "mean",
    reduction: Reduction = "mean",
) -> Tensor:
    """Contrastive loss of queries against the keys of the whole batch, by cosine.

    Args:
        queries: `(b, d)`, of any length.
        keys: `(n, d)`, n >= b; the first b are the queries' own unless `positives` says otherwise.
        positives: Bool `(b, n)`: which keys fit which query (a passage may serve two questions).
        mask: Bool `(b, n)`: which keys a query is compared with, e.g. without false negatives.
        temperature: Above 0; smaller is sharper.
        combine: As in `listwise_loss`.
        reduction: Over the queries.

    Raises:
        InputError: Shapes do not fit, the temperature is not above 0, or as in `listwise_loss`.
    """
    require_temperature(temperature)
    if queries.dim() != 2 or keys.dim() != 2 or queries.shape[1] != keys.shape[1]:
        raise InputError(
            "queries and keys should have shapes (b, d) and (n, d), "
            f"got {tuple(queries.shape)} and {tuple(keys.shape)}"
        )
    if positives is None:
        if len(keys) < len(queries):
            raise InputError(
                f"{len(queries)} queries need a key each, got {len(keys)} keys: pass positives"
            )
        positives = torch.eye(len(queries), len(keys), dtype=torch.bool, device=queries.device)
    cosine = functional.normalize(queries, dim=-1) @ functional.normalize(keys, dim=-1).T  # (b, n)
    return listwise_loss(
        cosine / temperature, positives, mask=mask, combine=combine, reduction=reduction
    )


def retrieval_likelihood_loss(
    scores: Tensor,
    log_likelihood: Tensor,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Minus the log-likelihood of an answer, the retrieved passage being latent.

    Needs no gold passages: whatever makes the answer likely is pulled up. Trains the retriever
    through `scores` and the reader through `log_likelihood`, which may be detached.

    Args:
        scores: `(b, n)`; their softmax is the retrieval distribution.
        log_likelihood: log p(y | passage, q), `(b, n)`, at most 0; -inf where it cannot be.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.
        reduction: Over the rows.

    Raises:
        InputError: Shapes differ, or in some row no passage gives the answer any probability.
    """
    same_shape(scores, log_likelihood, "log_likelihood")
    log_prior = masked_log_softmax(scores, mask)  # (b, n)
    possible = log_likelihood != -torch.inf
    require_rows(possible if mask is None else possible & mask, "log_likelihood above -inf")
    # A masked prior is -inf, so the sum leaves those places out, whatever their likelihood holds.
    joint = log_prior + log_likelihood.masked_fill(log_prior == -torch.inf, 0.0)
    return reduce_rows(-masked_logsumexp(joint), reduction)


def reduce_rows(losses: Tensor, reduction: Reduction) -> Tensor:
    """The losses `(b,)` as they are, or their mean or sum.

    Args:
        losses: `(b,)`.
        reduction: "mean", "sum" or "none".

    Raises:
        InputError: The reduction is unknown.
    """
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise InputError(f"reduction should be 'mean', 'sum' or 'none', got {reduction!r}")


def require_temperature(temperature: float) -> None:
    """Nothing, if the temperature is above 0.

    Args:
        temperature: Any number; NaN is refused too.

    Raises:
        InputError: It is not.
    """
    if not temperature > 0:
        raise InputError(f"temperature should be above 0, got {temperature}")


def checked_candidates(scores: Tensor, positives: Tensor, mask: Tensor | None) -> Tensor:
    """The mask, once shapes fit and every row has a positive that is a candidate.

    Args:
        scores: `(b, n)`.
        positives: Bool `(b, n)`, within the mask.
        mask: Bool `(b, n)`; None for all.

    Raises:
        InputError: Shapes differ, a row has no positive, or a positive is masked.
    """
    if scores.dim() != 2:
        raise InputError(f"scores should have shape (b, n), got {tuple(scores.shape)}")
    mask = torch.ones_like(positives, dtype=torch.bool) if mask is None else mask
    for tensor, name in ((positives, "positives"), (mask, "mask")):
        same_shape(scores, tensor, name)
        require_bool(tensor, name)
    require_rows(mask, "the mask")
    if bool((positives & ~mask).any()):
        row = int((positives & ~mask).any(-1).nonzero()[0])
        raise InputError(f"row {row} has a positive outside the mask: mask it in both or in none")
    require_rows(positives, "positives")
    return mask
