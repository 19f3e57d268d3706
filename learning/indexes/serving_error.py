"""What a training is off by that looks at other vectors than it trains: codes, prefixes, old ones.

Let no vector v of a passage be further than ε from the v̂ that is looked at, and |q| = 1. Then no
score q·v is off by more than ε; with δ = ε / τ the probabilities p = softmax(q·v / τ) are off by a
total variation of at most tanh(δ / 2); and the gradient of the listwise loss by the question,

    g = (Σ_i p_i v_i - Σ_{i in P} t_i v_i) / τ,   t = softmax over the positives P alone or even,

whose two sums are expectations of vectors of length 1, by no more than

    2 (2 tanh(δ / 2) + ε) / τ.

The second bound is tight: two passages, of which the one's score rises by ε and the other's falls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.losses import listwise_loss, require_temperature


@dataclass(frozen=True, slots=True)
class ServingError:
    """Bounds of what is off when vectors are."""

    score: float
    """Of any score of a question of length 1."""
    total_variation: float
    """Half the sum of what the probabilities are off by."""
    gradient: float
    """The length of what the gradient by a question is off by."""


def serving_error(distance: float, temperature: float) -> ServingError:
    """The bounds for vectors that are off by at most a distance.

    Args:
        distance: ε, as `Codec.worst`, `MovingIndex.code_error` or `Staleness.score_error` say.
        temperature: τ of the training.

    Raises:
        InputError: The distance is below 0, or the temperature not above 0.
    """
    require_temperature(temperature)
    if not distance >= 0:
        raise InputError(f"a distance should be at least 0, got {distance}")
    variation = math.tanh(distance / temperature / 2)
    return ServingError(distance, variation, 2 * (2 * variation + distance) / temperature)


@dataclass(frozen=True, slots=True)
class GradientFidelity:
    """A gradient by questions beside the exact one."""

    cosine: float
    """Of the two, the mean over the questions."""
    norm: float
    """The length over that of the exact one, the mean over the questions."""
    worst: float
    """The greatest length of the difference."""


def gradient_fidelity(
    queries: Tensor,
    exact: Tensor,
    served: Tensor,
    positives: Tensor,
    *,
    temperature: float,
) -> GradientFidelity:
    """Compare the gradients of the listwise loss that two kinds of vectors give questions.

    Args:
        queries: `(b, d)`, L2-normalised.
        exact: `(n, d)` of the passages.
        served: `(n, d)` that are looked at in their stead.
        positives: Bool `(b, n)`: which passages are right.
        temperature: τ.
    """

    def gradients(vectors: Tensor) -> Tensor:
        leaves = queries.detach().clone().requires_grad_()
        loss = listwise_loss(leaves @ vectors.T / temperature, positives, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaves)
        return gradient

    whole, other = gradients(exact), gradients(served)
    lengths, other_lengths = (one.norm(dim=1).clamp_min(1e-12) for one in (whole, other))
    return GradientFidelity(
        cosine=float(((whole * other).sum(1) / lengths / other_lengths).mean()),
        norm=float((other_lengths / lengths).mean()),
        worst=float((whole - other).norm(dim=1).max()),
    )
