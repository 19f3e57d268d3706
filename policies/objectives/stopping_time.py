"""When to stop, as the only choice: a policy over the stopping times of a walk that is fixed.

After each step it stops or goes on, so that what it draws is one number, the stopping time T:

    log π(T = t) = log π(STOP | t) + Σ over s < t of log π(go on | s)

REINFORCE draws it. There are as many trails as steps, so that the expected return can also be
summed: what is drawn is compared with that, and a policy is judged by it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from hoptrail.errors import InputError
from hoptrail.learning.estimators.policy_gradient import reinforce_loss


def stopping_log_probs(odds: Tensor) -> Tensor:
    """Log π(T = t) of each stopping time, `(b, n)`: it stops at the last, if not before.

    Args:
        odds: Log-odds of stopping after each of n steps, `(b, n)`; those of the last do not count.

    Raises:
        InputError: It has another shape, or no step.
    """
    if odds.dim() != 2 or odds.shape[1] < 1:
        raise InputError(f"odds should have shape (b, n), n >= 1, got {tuple(odds.shape)}")
    going_on = logsigmoid(-odds)
    before = torch.cumsum(going_on, 1) - going_on
    return torch.cat([before[:, :-1] + logsigmoid(odds[:, :-1]), before[:, -1:]], dim=1)


def expected_return(log_probs: Tensor, returns: Tensor) -> Tensor:
    """What a policy earns on average, exactly, `(b,)`.

    Args:
        log_probs: Log π(T = t), `(b, n)`.
        returns: What each stopping time earns, `(b, n)`.
    """
    return (log_probs.exp() * returns).sum(1)


def sampled_stopping_loss(
    log_probs: Tensor, returns: Tensor, *, samples: int, generator: torch.Generator
) -> Tensor:
    """A loss whose gradient is, minus, an unbiased estimate of that of `expected_return`'s mean.

    Source: Williams 1992, with the leave-one-out baseline of Kool et al. 2019; see
    `hoptrail.learning.estimators.policy_gradient`.

    Args:
        log_probs: Log π(T = t), `(b, n)`.
        returns: What each stopping time earns, `(b, n)`; no gradient flows into it.
        samples: Stopping times drawn of each question, at least 2.
        generator: Draws them.
    """
    probabilities = log_probs.detach().exp()
    times = torch.multinomial(probabilities, samples, replacement=True, generator=generator)
    return reinforce_loss(log_probs.gather(1, times), returns.gather(1, times))
