"""The k best of n as the solution of a regularised problem, with the gradient of its solution.

The set of the k best maximises <s, x> over 0 <= x <= 1, sum x = k. With entropy added it becomes
smooth, and its solution is a sigmoid about a threshold that makes the shares sum to k:

    x = argmax <s, x> + τ H(x),  H(x) = -sum_i x_i log x_i + (1 - x_i) log (1 - x_i)
    x_i = σ((s_i - t) / τ),      t such that sum_i x_i = k

No step of the search for t is differentiated: the gradient is that of the equation which t solves,
with w_i = x_i (1 - x_i),

    dx_i = w_i / τ · (ds_i - sum_j w_j ds_j / sum_j w_j)

Source: Amos, Koltun & Kolter 2019, "The limited multi-label projection layer" (1906.08707).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hoptrail.errors import InputError
from hoptrail.learning.estimators.relaxed import require_entries
from hoptrail.learning.losses import require_temperature

BISECTIONS = 60
"""Halvings of the interval that the threshold lies in."""
FAR = 40.0
"""Beyond it a sigmoid is 0 or 1 to the last bit of float64."""


def implicit_top_k(scores: Tensor, k: int, *, temperature: float = 1.0) -> Tensor:
    """Shares of the k best places, `(b, n)` in [0, 1], that sum to k; differentiated implicitly.

    Unlike `relaxed_top_k` it never gives an entry more than one place.

    Args:
        scores: `(b, n)`; -inf takes no share.
        k: How many places.
        temperature: Above 0; towards 0 the shares become those of the k best.

    Raises:
        InputError: Some row has fewer than k entries, or k or the temperature is not above 0.
    """
    require_temperature(temperature)
    require_entries(scores, k, None)
    shares: Tensor = _SumToK.apply(scores / temperature, k)  # type: ignore[no-untyped-call]
    if not bool(shares.isfinite().all()):
        raise InputError("scores should be finite or -inf, got others")
    return shares


class _SumToK(torch.autograd.Function):
    """Sigmoids `(b, n)` of logits less the threshold with which each row sums to k."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, k: int) -> Tensor:
        alive = logits != -math.inf
        low = logits.masked_fill(~alive, math.inf).amin(-1, keepdim=True) - FAR
        high = logits.amax(-1, keepdim=True) + FAR
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            too_many = torch.sigmoid(logits - middle).sum(-1, keepdim=True) > k
            low, high = torch.where(too_many, middle, low), torch.where(too_many, high, middle)
        shares = torch.sigmoid(logits - (low + high) / 2)
        ctx.save_for_backward(shares)
        return shares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (shares,) = ctx.saved_tensors
        slopes = shares * (1 - shares)
        total = slopes.sum(-1, keepdim=True).clamp_min(torch.finfo(slopes.dtype).tiny)
        mean = (slopes * gradient).sum(-1, keepdim=True) / total
        return slopes * (gradient - mean), None
