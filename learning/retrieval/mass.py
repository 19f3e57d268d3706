"""A bound on what a softmax leaves out when only some of its candidates are looked at.

The n candidates that are left out have scores x_i <= c. Of the sum of their exponentials,

    sum_i exp(x_i) <= n exp(c)

always holds. Where their mean m and their variance v are known as well, the largest value that the
mean of a convex function can take is that of two points, one of them at c:

    sum_i exp(x_i) <= n [ a exp(c) + (1 - a) exp(m - v / (c - m)) ],   a = v / (v + (c - m)²)

With Z the sum over what was looked at, the share of the rest is at most rest / (Z + rest), and so
the read R over all candidates lies within

    ‖R - R_seen‖ <= share · 2 max ‖v_i‖

of the read over those that were seen.

Source: Bennett 1962, "Probability inequalities for the sum of independent random variables", for
the two points.
"""

from __future__ import annotations

import torch
from torch import Tensor


def log_mass_bound(count: Tensor, ceiling: Tensor) -> Tensor:
    """An upper bound of the log of the summed exponentials of scores below a ceiling, `(b,)`.

    Args:
        count: How many there are, `(b,)`; -inf is returned where there is none.
        ceiling: None of them is above it, `(b,)`.
    """
    return count.log() + ceiling


def log_mass_bound_of_moments(
    count: Tensor, ceiling: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    """As `log_mass_bound`, and never above it, where mean and variance are known, `(b,)`.

    Args:
        count: How many scores there are, `(b,)`.
        ceiling: None of them is above it, `(b,)`.
        mean: Of them, `(b,)`, at most the ceiling.
        variance: Of them, `(b,)`, at least 0.
    """
    room = (ceiling - mean).clamp_min(torch.finfo(ceiling.dtype).eps)
    variance = variance.clamp_min(0.0)
    at_ceiling = variance / (variance + room.square())
    below = mean - variance / room
    tight = torch.logaddexp(at_ceiling.log() + ceiling, (-at_ceiling).log1p() + below)
    return count.log() + torch.minimum(tight, ceiling)


def share_bound(log_seen: Tensor, log_rest: Tensor) -> Tensor:
    """The largest share of a softmax that the rest can have, `(b,)` in [0, 1].

    Args:
        log_seen: The log of the summed exponentials of what was looked at, `(b,)`.
        log_rest: An upper bound of the same of the rest, `(b,)`; -inf where there is none.
    """
    return torch.sigmoid(log_rest - log_seen)
