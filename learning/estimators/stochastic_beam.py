"""Sampling sequences without replacement, and learning from such a sample.

Give every leaf i of a tree of choices the perturbed log-probability G_i = log p_i + Gumbel; the k
leaves with the largest G are a sample of k sequences without replacement. No leaf has to be listed
for that: the largest G below a node is distributed as log p_node + Gumbel too, so that a beam
draws the G of a node's children on condition that their largest is the node's own (`children`).
With the threshold kappa, the (k + 1)-th largest G, leaf i is in the sample with probability

    q_i = P(G_i > kappa) = 1 - exp(-exp(log p_i - kappa))

and for any function f the sum over the sample of p_i / q_i f_i is an unbiased estimate of E[f].
So is its gradient, with p the policy of today and q of the policy that drew the sample:

    grad E[f] ~ sum_i  p_i / q_i  (f_i - B_i) grad log p_i
    B_i = sum_{j not i} p_j / q_j f_j  +  p_i f_i

B_i is a baseline that costs nothing and adds no bias: leaves are in the sample independently given
kappa, so a pair counts 1 / (q_i q_j), and leaf i itself 1 / q_i once.

Source: Kool et al. 2019 (1903.06059), stochastic beams, eq. 19-21 and appendix B.3 for the stable
form; the baseline, Kool et al. 2020 (2002.06043). We differ in that p may be another policy than
the one that drew, and that p / q is clipped, which trades bias for variance (Ionides 2008).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.estimators.relaxed import gumbel_noise
from hoptrail.learning.losses import Reduction, reduce_rows
from hoptrail.learning.masked import require_bool, same_shape


def children(log_probs: Tensor, largest: Tensor, *, generator: torch.Generator) -> Tensor:
    """Perturbed log-probabilities of a node's children, the largest of which is given, `(..., n)`.

    Args:
        log_probs: Of each child by itself, `(..., n)`; -inf where it cannot be chosen.
        largest: The node's own perturbed log-probability, `(...)`.
        generator: On the device of the log-probabilities.

    Raises:
        InputError: A node has no child.
    """
    possible = log_probs != -math.inf
    if not bool(possible.any(-1).all()):
        raise InputError("a node without children is a leaf: it cannot be expanded")
    drawn = log_probs + gumbel_noise(log_probs, generator=generator)
    most = drawn.max(-1, keepdim=True).values
    target = largest.unsqueeze(-1)
    # G = -log(exp(-target) - exp(-most) + exp(-drawn)) without overflow (appendix B.3).
    v = target - drawn.masked_fill(~possible, 0.0) + _log1mexp(most - drawn)
    perturbed = target - v.clamp(min=0.0) - torch.log1p(torch.exp(-v.abs()))
    return perturbed.masked_fill(~possible, -math.inf)


def log_inclusion(log_probs: Tensor, threshold: Tensor) -> Tensor:
    """Log q: that a leaf's perturbed log-probability lies above the threshold, `(..., n)`.

    Args:
        log_probs: Of leaves, `(..., n)`, above -inf.
        threshold: Kappa, `(...)`; -inf where the sample holds every leaf, and q is 1.
    """
    above = log_probs - threshold.unsqueeze(-1)
    # Where q is tiny it equals exp(above), which the difference from 1 would round away.
    direct = torch.log(-torch.expm1(-torch.exp(above.clamp(min=-20.0))))
    return torch.where(above < -20.0, above, direct)


def importance_weights(log_probs: Tensor, log_inclusion: Tensor, *, clip: float) -> Tensor:
    """Clipped p / q of each sampled leaf, without gradient.

    Args:
        log_probs: log p of the policy that learns, any shape.
        log_inclusion: log q of the policy that drew, the same shape.
        clip: The largest weight, above 0; infinity for none.

    Raises:
        InputError: Shapes differ, or the bound is not above 0.
    """
    same_shape(log_probs, log_inclusion, "log_inclusion")
    if not clip > 0:
        raise InputError(f"clip should be above 0, got {clip}")
    return (log_probs.detach() - log_inclusion).exp().clamp(max=clip)


def sampled_policy_loss(
    log_probs: Tensor,
    log_inclusion: Tensor,
    rewards: Tensor,
    *,
    mask: Tensor | None = None,
    clip: float = math.inf,
    baseline: Literal["sample", "none"] = "sample",
    reduction: Reduction = "mean",
) -> Tensor:
    """A loss whose gradient is, minus, an estimate of the expected reward's; unbiased unclipped.

    Its value means nothing.

    Args:
        log_probs: log p of the sampled leaves, `(b, k)`.
        log_inclusion: log q of each, `(b, k)`.
        rewards: f of each, `(b, k)`; no gradient flows into it.
        mask: Bool `(b, k)`, False where there is no leaf.
        clip: The largest p / q.
        baseline: B of the sample itself, or `none`.
        reduction: Over the questions.

    Raises:
        InputError: Shapes differ, or the bound is not above 0.
    """
    if log_probs.dim() != 2:
        raise InputError(f"log_probs should have shape (b, k), got {tuple(log_probs.shape)}")
    same_shape(log_probs, rewards, "rewards")
    if mask is None:
        mask = torch.ones_like(log_probs, dtype=torch.bool)
    same_shape(log_probs, mask, "mask")
    require_bool(mask, "mask")
    log_p = log_probs.masked_fill(~mask, -math.inf)
    weights = importance_weights(log_p, log_inclusion.masked_fill(~mask, 0.0), clip=clip)
    earned = rewards.detach().masked_fill(~mask, 0.0)
    advantage = earned
    if baseline == "sample":
        value = weights * earned
        advantage = earned - (value.sum(-1, keepdim=True) - value + log_p.detach().exp() * earned)
    elif baseline != "none":
        raise InputError(f"baseline should be 'sample' or 'none', got {baseline!r}")
    # Where p is 0 the weight is 0; -inf itself must not enter the product.
    alive = mask & (log_probs.detach() != -math.inf)
    finite_log_probs = log_probs.masked_fill(~alive, 0.0)
    return reduce_rows(-(weights * advantage * finite_log_probs).sum(-1), reduction)


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(-x)) for x >= 0, exact at both ends; -inf at 0."""
    small = x < math.log(2)
    near = torch.log(-torch.expm1(-torch.where(small, x, 1.0)))
    far = torch.log1p(-torch.exp(-torch.where(small, 1.0, x)))
    return torch.where(small, near, far)
