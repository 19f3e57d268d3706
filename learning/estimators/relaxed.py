"""Soft retrieval: samples without replacement, and top-k sets that gradients pass through.

Adding independent Gumbel noise to log-probabilities and keeping the k largest draws k items without
replacement, in order; the order's probability is a product of softmaxes over what is left:

    G_i = log p_i + Gumbel_i,   (s_1 .. s_k) = top k of G
    p(s_1 .. s_k) = prod_j p_{s_j} / sum_{i not in s_1 .. s_(j-1)} p_i

Where a hard choice has to be differentiated, the straight-through top-k is exact in the forward
pass, and in the backward pass that of its relaxation: k softmaxes, each less what the earlier ones
took (score += log(1 - share)), which sum to k.

Source: Kool et al. 2019 (1903.06059), Gumbel top-k; Plackett 1975 for the order's probability;
straight-through, Bengio et al. 2013 (1308.3432); relaxed top-k, Xie & Ermon 2019 (1901.10517).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.losses import require_temperature
from hoptrail.learning.masked import (
    masked_log_softmax,
    masked_logsumexp,
    require_bool,
    same_shape,
)


@dataclass(frozen=True, slots=True, eq=False)
class OrderedSample:
    """Items drawn without replacement, first draw first."""

    indices: Tensor
    """`(b, k)` int64."""
    log_probs: Tensor
    """log p of each item by itself, `(b, k)`, differentiable."""
    log_order: Tensor
    """log p of the whole ordered draw, `(b,)`, differentiable."""


def temperature_softmax(
    scores: Tensor, *, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Probabilities over the last dimension; exactly 0 at masked places.

    Args:
        scores: `(..., n)`.
        temperature: Above 0; towards 0 the largest takes all, towards infinity all are equal.
        mask: Bool `(..., n)`, True where an entry takes part.

    Raises:
        InputError: The temperature is not above 0, or a row has no entry.
    """
    require_temperature(temperature)
    return masked_log_softmax(scores / temperature, mask).exp()


def gumbel_noise(like: Tensor, *, generator: torch.Generator) -> Tensor:
    """Independent standard Gumbel numbers in the shape, dtype and place of `like`.

    Args:
        like: Any floating-point tensor.
        generator: Draws them; on the device of `like`.
    """
    exponential = torch.empty_like(like, requires_grad=False).exponential_(generator=generator)
    # An exact 0 would be +inf: certain to win, and to win twice.
    return -exponential.clamp_min(torch.finfo(like.dtype).tiny).log()


def gumbel_top_k(
    scores: Tensor,
    k: int,
    *,
    generator: torch.Generator,
    temperature: float = 1.0,
    mask: Tensor | None = None,
) -> OrderedSample:
    """Draws k items without replacement from the softmax of the scores.

    Args:
        scores: `(b, n)`.
        k: How many, at most as many as the row with the fewest entries has.
        generator: On the device of the scores.
        temperature: Above 0; of the distribution drawn from, and of the log-probabilities given.
        mask: Bool `(b, n)`, True where there is a candidate.

    Raises:
        InputError: Some row has fewer than k entries, or k or the temperature is not above 0.
    """
    require_temperature(temperature)
    require_entries(scores, k, mask)
    log_probs = masked_log_softmax(scores / temperature, mask)  # (b, n)
    keys = log_probs.detach() + gumbel_noise(log_probs, generator=generator)
    indices = keys.topk(k, dim=-1).indices  # (b, k)
    return OrderedSample(
        indices=indices,
        log_probs=log_probs.gather(-1, indices),
        log_order=plackett_luce_log_prob(log_probs, indices),
    )


def plackett_luce_log_prob(
    scores: Tensor, indices: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    """The log-probability of drawing these items in this order without replacement, `(b,)`.

    Args:
        scores: `(b, n)`.
        indices: `(b, k)` int64, no item twice in a row.
        mask: Bool `(b, n)`, True where there is a candidate.

    Raises:
        InputError: An item is drawn twice, is masked, or has probability zero.
    """
    left = scores != -math.inf
    if mask is not None:
        same_shape(scores, mask, "mask")
        left = left & mask
    total = scores.new_zeros(scores.shape[0])
    for step in range(indices.shape[1]):
        drawn = indices[:, step : step + 1]  # (b, 1)
        if not bool(left.gather(1, drawn).all()):
            raise InputError(f"draw {step} takes an item that is not there or was drawn before")
        total = total + masked_log_softmax(scores, left).gather(1, drawn).squeeze(1)
        left = left.scatter(1, drawn, value=False)
    return total


def straight_through_top_k(
    scores: Tensor,
    k: int,
    *,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The k best as exact ones among zeros, `(b, n)`, with the gradient of the relaxed top-k.

    Args:
        scores: `(b, n)`.
        k: How many, at most as many as the row with the fewest entries has.
        temperature: Above 0, of the relaxation only; smaller is closer to the hard choice, with
            gradients of more variance.
        mask: Bool `(b, n)`, True where there is a candidate.
        generator: Gives Gumbel noise, so that the set is a sample; without it, the best are taken.

    Raises:
        InputError: Some row has fewer than k entries, or k or the temperature is not above 0.
    """
    require_temperature(temperature)
    require_entries(scores, k, mask)
    if generator is not None:
        scores = scores + gumbel_noise(scores, generator=generator)
    masked = scores if mask is None else scores.masked_fill(~mask, -math.inf)
    soft = relaxed_top_k(masked, k, temperature=temperature)
    hard = torch.zeros_like(soft).scatter(-1, masked.topk(k, dim=-1).indices, 1.0)
    # Grouped so that the forward value is exact: hard + (soft - soft), not (hard + soft) - soft.
    return hard + (soft - soft.detach())


def relaxed_top_k(scores: Tensor, k: int, *, temperature: float = 1.0) -> Tensor:
    """Shares of the k best places, `(b, n)`, that sum to k; differentiable.

    Args:
        scores: `(b, n)`; -inf takes no share.
        k: How many places.
        temperature: Above 0.

    Raises:
        InputError: Some row has fewer than k entries, or k or the temperature is not above 0.
    """
    require_temperature(temperature)
    require_entries(scores, k, None)
    alive = scores != -math.inf
    logits = scores
    place = masked_log_softmax(logits / temperature, alive)
    shares = place.exp()
    for _ in range(k - 1):
        # The score itself falls, not score / temperature: else a sure winner would win again.
        logits = logits.masked_fill(~alive, 0.0) + _log_complement(place, alive)
        place = masked_log_softmax(logits / temperature, alive)
        shares = shares + place.exp()
    return shares


def _log_complement(log_probs: Tensor, alive: Tensor) -> Tensor:
    """log(1 - p) of normalised rows `(b, n)`, exact where one entry has nearly all."""
    largest = torch.zeros_like(alive).scatter(-1, log_probs.argmax(-1, keepdim=True), value=True)
    others = masked_logsumexp(log_probs, alive & ~largest).unsqueeze(-1)  # (b, 1)
    direct = torch.log1p(-log_probs.masked_fill(largest | ~alive, -math.inf).exp())
    return torch.where(largest, others, direct)


def require_entries(scores: Tensor, k: int, mask: Tensor | None) -> None:
    """Nothing, if every row has at least k >= 1 entries.

    Args:
        scores: `(b, n)`; -inf is no entry.
        k: How many are asked for.
        mask: Bool `(b, n)`, True where there is an entry; None for all.

    Raises:
        InputError: Some row has fewer, k is below 1, or the shape is another.
    """
    if scores.dim() != 2:
        raise InputError(f"scores should have shape (b, n), got {tuple(scores.shape)}")
    alive = scores != -math.inf
    if mask is not None:
        same_shape(scores, mask, "mask")
        require_bool(mask, "mask")
        alive = alive & mask
    fewest = int(alive.sum(-1).min()) if len(alive) else scores.shape[1]
    if not 1 <= k <= fewest:
        raise InputError(f"k should be in 1 .. {fewest}, the entries of the shortest row, got {k}")
