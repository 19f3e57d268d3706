"""Score-function gradients for what cannot be differentiated: REINFORCE and its baseline.

A policy samples trajectories tau, each earns a return R(tau), and the expected return has the
gradient E[R(tau) * grad log p(tau)]. Anything that does not depend on tau_i may be subtracted from
R(tau_i) without bias; with s independent samples of the same question, the mean of the other s - 1
returns is such a baseline, costs nothing and needs no network:

    A_i  = R_i - 1/(s-1) sum_{k != i} R_k
    grad = 1/s sum_i A_i * grad log p(tau_i)

An entropy bonus w adds w * H to the objective, H = E[-log p(tau)] = E[sum_t H(pi(. | s_t))]. Its
gradient has a part through the states that are visited, so the entropy enters the returns as well;
leaving that out, as A3C does, is biased, and we do not.

Source: Williams 1992; leave-one-out, Kool et al. 2019 ("Buy 4 REINFORCE samples, get a baseline for
free!").
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.losses import Reduction, reduce_rows
from hoptrail.learning.masked import require_bool, same_shape


def reinforce_loss(
    log_probs: Tensor,
    returns: Tensor,
    *,
    baseline: Literal["leave-one-out", "none"] | Tensor = "leave-one-out",
    entropies: Tensor | None = None,
    entropy_weight: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """A loss whose gradient is, minus, an unbiased estimate of the objective's.

    Its value means nothing.
    The samples of a question have to be independent draws from the policy, repeats included.

    Args:
        log_probs: log p(tau) of s sampled trajectories of each question, `(b, s)`.
        returns: What each earned, `(b, s)`; no gradient flows into it.
        baseline: `leave-one-out` (s >= 2), `none`, or a tensor that does not depend on the sample
            it is subtracted from, broadcastable to `(b, s)`.
        entropies: The sum over a trajectory's states of the policy's entropy there, `(b, s)`, with
            its graph. Without it -log p(tau) stands in: unbiased too, of more variance.
        entropy_weight: w, at least 0.
        reduction: Over the questions.

    Raises:
        InputError: Shapes differ, the weight is negative, or leave-one-out has one sample.
    """
    if log_probs.dim() != 2:
        raise InputError(f"log_probs should have shape (b, s), got {tuple(log_probs.shape)}")
    same_shape(log_probs, returns, "returns")
    if entropy_weight < 0:
        raise InputError(f"entropy_weight should be at least 0, got {entropy_weight}")
    earned = returns.detach()
    direct = torch.zeros_like(log_probs)
    if entropy_weight > 0 and entropies is not None:
        same_shape(log_probs, entropies, "entropies")
        direct = entropy_weight * entropies
        earned = earned + direct.detach()
    elif entropy_weight > 0:
        # The extra term of grad E[-log p], -E[grad log p], is zero.
        earned = earned - entropy_weight * log_probs.detach()
    weights = _advantages(earned, baseline)
    return reduce_rows(-(weights * log_probs + direct).mean(-1), reduction)


def leave_one_out_advantages(returns: Tensor) -> Tensor:
    """Each return less the mean of the others of its question, `(b, s)`.

    Args:
        returns: `(b, s)`, s >= 2.

    Raises:
        InputError: There is one sample, or none.
    """
    samples = returns.shape[-1]
    if samples < 2:
        raise InputError(f"a leave-one-out baseline needs at least 2 samples, got {samples}")
    # (s R_i - sum R) / (s - 1), the same number with one subtraction.
    return (returns - returns.mean(-1, keepdim=True)) * (samples / (samples - 1))


def evidence_reward(
    read: Tensor,
    gold: Tensor,
    hops: Tensor,
    *,
    cost: float,
    gold_total: Tensor | None = None,
) -> Tensor:
    """F1 of what was read against the gold evidence, less a cost a hop, `(...)`.

    Nothing read where nothing was needed is an F1 of 1.

    Args:
        read: Bool `(..., n)`: the passages of the pool that were read.
        gold: Bool `(..., n)`: those that are needed; broadcast against `read`.
        hops: `(...)`: how many steps were taken; what is read twice costs twice.
        cost: Of one hop, in units of F1; at least 0.
        gold_total: `(...)`: how many passages are needed in all, where some are not in the pool; so
            missing them costs recall.

    Raises:
        InputError: The cost is negative or a mask is not bool.
    """
    require_bool(read, "read")
    require_bool(gold, "gold")
    if cost < 0:
        raise InputError(f"cost should be at least 0, got {cost}")
    total = gold.sum(-1) if gold_total is None else gold_total
    sizes = read.sum(-1) + total
    f1 = 2.0 * (read & gold).sum(-1) / sizes.clamp(min=1)
    return torch.where(sizes == 0, 1.0, f1) - cost * hops


def entropy(log_probs: Tensor) -> Tensor:
    """The entropy in nats of distributions over the last dimension, `(...)`.

    Args:
        log_probs: `(..., n)`, normalised; -inf (probability zero) adds nothing and has gradient 0.
    """
    impossible = log_probs == -math.inf
    # Replaced before exp, not after the product: the gradient of 0 * -inf is NaN.
    safe = log_probs.masked_fill(impossible, 0.0)
    return -(safe.exp() * safe).sum(-1)


def _advantages(returns: Tensor, baseline: Literal["leave-one-out", "none"] | Tensor) -> Tensor:
    if isinstance(baseline, Tensor):
        try:
            baseline = baseline.detach().expand(returns.shape)
        except RuntimeError as error:
            raise InputError(
                f"baseline should broadcast to {tuple(returns.shape)}, got {tuple(baseline.shape)}"
            ) from error
        return returns - baseline
    if baseline == "leave-one-out":
        return leave_one_out_advantages(returns)
    if baseline == "none":
        return returns
    raise InputError(f"baseline should be 'leave-one-out', 'none' or a tensor, got {baseline!r}")
