"""Ranks, recall and nDCG that a gradient passes through.

The rank of an item is one more than the number of items above it, each counted softly:

    rank_i      = 1 + sum_{j ≠ i} σ((s_j - s_i) / τ)
    recall@k    ≈ 1/|P| sum_{i in P} σ((k + 1/2 - rank_i) / κ)
    nDCG        ≈ 1/ideal · sum_i (2^{g_i} - 1) / log2(1 + rank_i)

P are the positives and g the gains. Towards τ = 0 and κ = 0 all three become what they stand for.
NeuralSort gives the whole permutation as a matrix whose rows are softmaxes,

    row_r = softmax(((n + 1 - 2r) s - A 1) / τ),  A_ij = |s_i - s_j|

Source: soft ranks and nDCG, Qin, Liu & Li 2010, "A general approximation framework for direct
optimization of information retrieval measures"; recall by sigmoids, Patel et al. 2022 (2108.11179);
NeuralSort, Grover et al. 2019 (1903.08850), eq. 5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.losses import require_temperature
from hoptrail.learning.masked import require_bool, require_rows, same_shape


def soft_ranks(scores: Tensor, *, temperature: float = 0.01, mask: Tensor | None = None) -> Tensor:
    """The rank of each item, 1 for the best, `(b, n)`; masked places have rank 0.

    Memory is b n²; that of the measures is b n times the most positives of a row.

    Args:
        scores: `(b, n)`.
        temperature: τ, above 0, in units of score.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.

    Raises:
        InputError: The temperature is not above 0, or the shapes differ.
    """
    every = torch.arange(scores.shape[-1], device=scores.device).expand(scores.shape)
    ranks = _ranks_of(scores, every, temperature, mask)
    return ranks if mask is None else ranks.masked_fill(~mask, 0.0)


def soft_recall(
    scores: Tensor,
    positives: Tensor,
    k: int,
    *,
    temperature: float = 0.01,
    sharpness: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """The share of the positives among the k best, `(b,)` in (0, 1), differentiable.

    Args:
        scores: `(b, n)`.
        positives: Bool `(b, n)`, within the mask.
        k: How deep a ranking is looked at, at least 1.
        temperature: τ of the ranks, in units of score.
        sharpness: κ, in ranks: over how many the edge at k is drawn out.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.

    Raises:
        InputError: A row has no positive, a positive is masked, k is below 1, or shapes differ.
    """
    require_temperature(sharpness)
    _require_positives(scores, positives, mask)
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    ranks, columns = _ranks_of_some(scores, positives, temperature, mask)
    among = torch.sigmoid((k + 0.5 - ranks) / sharpness)
    return (among * positives.gather(-1, columns)).sum(-1) / positives.sum(-1)


def soft_ndcg(
    scores: Tensor, gains: Tensor, *, temperature: float = 0.01, mask: Tensor | None = None
) -> Tensor:
    """The normalised discounted cumulative gain of a whole ranking, `(b,)`, differentiable.

    Args:
        scores: `(b, n)`.
        gains: The grade g of each item, at least 0, `(b, n)`; 0 is of no use.
        temperature: τ of the ranks, in units of score.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.

    Raises:
        InputError: A row has no gain, something masked has, a gain is negative, or shapes differ.
    """
    same_shape(scores, gains, "gains")
    if bool((gains < 0).any()):
        raise InputError(f"gains should be at least 0, got {float(gains.min())}")
    useful = gains > 0
    _require_positives(scores, useful, mask)
    worth = torch.pow(2.0, gains.to(scores)) - 1
    places = torch.arange(1, scores.shape[-1] + 1, device=scores.device).to(scores)
    ideal = (worth.sort(-1, descending=True).values / torch.log2(1 + places)).sum(-1)
    ranks, columns = _ranks_of_some(scores, useful, temperature, mask)
    return (worth.gather(-1, columns) / torch.log2(1 + ranks)).sum(-1) / ideal


def neural_sort(scores: Tensor, *, temperature: float = 1.0) -> Tensor:
    """The permutation that sorts the scores, best first, with softmaxes for rows, `(b, n, n)`.

    Row r times the items is the item of rank r, softly. It is n times as large as `soft_ranks`, and
    is for what needs the items in order, not their ranks.

    Args:
        scores: `(b, n)`.
        temperature: τ, above 0.

    Raises:
        InputError: The temperature is not above 0.
    """
    require_temperature(temperature)
    n = scores.shape[-1]
    apart = (scores.unsqueeze(-1) - scores.unsqueeze(-2)).abs().sum(-1)  # (b, n)
    factors = (n + 1 - 2 * torch.arange(1, n + 1, device=scores.device)).to(scores)
    rows = factors[:, None] * scores.unsqueeze(-2) - apart.unsqueeze(-2)
    return torch.softmax(rows / temperature, dim=-1)


def _ranks_of(scores: Tensor, columns: Tensor, temperature: float, mask: Tensor | None) -> Tensor:
    """The soft ranks of the items in some columns `(b, p)`, `(b, p)`."""
    require_temperature(temperature)
    mask = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    same_shape(scores, mask, "mask")
    require_bool(mask, "mask")
    safe = scores.masked_fill(~mask, 0.0)
    lead = safe.unsqueeze(-2) - safe.gather(-1, columns).unsqueeze(-1)  # (b, p, n): s_j - s_i
    itself = torch.arange(scores.shape[-1], device=scores.device) == columns.unsqueeze(-1)
    above = torch.sigmoid(lead / temperature).masked_fill(itself | ~mask.unsqueeze(-2), 0.0)
    return 1 + above.sum(-1)


def _ranks_of_some(
    scores: Tensor, chosen: Tensor, temperature: float, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The soft ranks of the chosen items and their columns, `(b, p)` each.

    p is the most that a row has; a row with fewer is filled up with others.
    """
    most = int(chosen.sum(-1).max())
    columns = chosen.to(scores).topk(most, dim=-1).indices
    return _ranks_of(scores, columns, temperature, mask), columns


def _require_positives(scores: Tensor, positives: Tensor, mask: Tensor | None) -> None:
    same_shape(scores, positives, "positives")
    require_bool(positives, "positives")
    require_rows(positives, "positives")
    if mask is not None and bool((positives & ~mask).any()):
        row = int((positives & ~mask).any(-1).nonzero()[0])
        raise InputError(f"row {row} has a positive outside the mask: mask it in both or in none")
