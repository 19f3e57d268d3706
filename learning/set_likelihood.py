"""Imitation with latent order: the likelihood of reading a set, summed over all its orders.

Evidence is a set, and nobody knows in which order the gold passages should be read. Since the state
depends on the set that was read and not on the order, orders that pass through the same set share
all that follows, and the sum over the g! orders is a forward sum over the 2^g subsets:

    alpha(empty) = 1
    alpha(S)     = sum_{j in S} alpha(S - j) * pi(read j | S - j)
    P(reads exactly T, then stops) = alpha(T) * pi(STOP | T)

It is exact and differentiable; the gradient with respect to log pi(read j | S) is the posterior
probability that, given success, the policy is at S and reads j.

A subset is a code in 0 .. 2^g - 1: bit j is set where gold passage j has been read. A gold passage
that is not in the pool at S is masked there: those orders have probability zero and are not sums of
anything slipped in. What can be reached at all is told by `reachable_subset`.

Source: the forward algorithm (Rabiner 1989, eq. 20) on the lattice of subsets; ours in this use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.masked import masked_logsumexp, require_bool, same_shape

MAX_GOLD = 6
"""Gold passages of one question: a state a subset has to be scored, 2^6 = 64 at most."""


def subsets(gold: int, *, device: torch.device | None = None) -> Tensor:
    """All subsets of `gold` passages, bool `(2^g, g)`: row S, column j is bit j of S.

    Args:
        gold: Their number g, 0 .. MAX_GOLD.
        device: Of the tensor.

    Raises:
        InputError: `gold` is not in 0 .. MAX_GOLD.
    """
    _require_gold(gold)
    codes = torch.arange(2**gold, device=device).unsqueeze(1)  # (2^g, 1)
    bits = torch.arange(gold, device=device).unsqueeze(0)  # (1, g)
    return (codes >> bits & 1).bool()


def subset_code(members: Tensor) -> Tensor:
    """The codes of subsets, `(...)` int64, from their members, bool `(..., g)`.

    Args:
        members: Bool `(..., g)`: which are in the subset.

    Raises:
        InputError: The tensor is not boolean.
    """
    require_bool(members, "members")
    weights = 2 ** torch.arange(members.shape[-1], device=members.device)
    codes: Tensor = (members.long() * weights).sum(-1)
    return codes


def set_log_likelihood(
    log_read: Tensor,
    log_stop: Tensor,
    *,
    available: Tensor | None = None,
    target: Tensor | None = None,
) -> Tensor:
    """The log-probability of reading exactly the target set in any order and then stopping, `(b,)`.

    It is -inf, with gradient 0, where no order can do it: leave such rows out of the mean.

    Args:
        log_read: log pi(read gold j | subset S has been read), `(b, 2^g, g)`, by subset code.
            What stands where j is in S is not read; -inf means impossible.
        log_stop: log pi(STOP | S), `(b, 2^g)`; or `(b,)`, that of the target set alone.
        available: Bool `(b, 2^g, g)`, True where gold j is in the pool at S; all by default.
        target: Codes of the sets to be read, int64 `(b,)`; all g by default. A question with fewer
            than g gold passages, or with some out of reach, names the rest here.

    Raises:
        InputError: Shapes do not fit, or a target is out of range.
    """
    batch, gold = _checked(log_read, available)
    target = _targets(target, batch, gold, log_read.device)
    if log_stop.shape == (batch, 2**gold):
        log_stop = log_stop.gather(1, target.unsqueeze(1)).squeeze(1)
    if log_stop.shape != (batch,):
        raise InputError(
            f"log_stop should have shape {(batch,)} or {(batch, 2**gold)}, "
            f"got {tuple(log_stop.shape)}"
        )
    alpha = forward_sums(log_read, available=available).gather(1, target.unsqueeze(1)).squeeze(1)
    # Where alpha is -inf the stop takes no part, so that its gradient is 0 there as well.
    return alpha + log_stop.masked_fill(alpha == -math.inf, 0.0)


def forward_sums(log_read: Tensor, *, available: Tensor | None = None) -> Tensor:
    """The log alpha(S): the log-probability that S is read first, in any order, `(b, 2^g)`.

    Args:
        log_read: As in `set_log_likelihood`, `(b, 2^g, g)`.
        available: As in `set_log_likelihood`.

    Raises:
        InputError: Shapes do not fit.
    """
    batch, gold = _checked(log_read, available)
    if available is not None:
        log_read = log_read.masked_fill(~available, -math.inf)
    flat = log_read.reshape(batch, -1)  # (b, 2^g * g)
    alpha = log_read.new_full((batch, 2**gold), -math.inf)
    alpha = alpha.index_fill(1, torch.zeros(1, dtype=torch.long, device=alpha.device), 0.0)
    for codes, before, moves in _levels(gold, alpha.device):
        steps = alpha[:, before] + flat[:, moves]  # (b, subsets of this size, ways into each)
        alpha = alpha.index_copy(1, codes, masked_logsumexp(steps))
    return alpha


def reachable_subset(available: Tensor) -> Tensor:
    """The largest set that some order can read, as codes `(b,)`; the lowest code breaks a tie.

    Args:
        available: Bool `(b, 2^g, g)`, True where gold j is in the pool when S has been read.

    Raises:
        InputError: The shape does not fit, or it is not bool.
    """
    require_bool(available, "available")
    batch, gold = _checked(available, None)
    reached = torch.zeros(batch, 2**gold, dtype=torch.bool, device=available.device)
    reached[:, 0] = True
    flat = available.reshape(batch, -1)
    for codes, before, moves in _levels(gold, available.device):
        reached[:, codes] = (reached[:, before] & flat[:, moves]).any(-1)
    sizes = subsets(gold, device=available.device).sum(-1)  # (2^g,)
    # argmax gives no promise among equals, so the code itself is part of the key.
    key = sizes * 2**gold - torch.arange(2**gold, device=available.device)
    best: Tensor = key.masked_fill(~reached, -(2**gold)).argmax(-1)
    return best


def _levels(gold: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each size m = 1 .. g: the subsets of that size and the m last steps into each.

    Codes `(n,)`, the codes before the step `(n, m)`, and the steps' places in a flattened
    `(2^g, g)`, `(n, m)`.
    """
    for codes, before, moves in _level_lists(gold):
        yield (
            torch.tensor(codes, device=device),
            torch.tensor(before, device=device),
            torch.tensor(moves, device=device),
        )


# Lists and not tensors: one made under inference_mode could never be used in training again.
@lru_cache(maxsize=MAX_GOLD + 1)
def _level_lists(gold: int) -> list[tuple[list[int], list[list[int]], list[list[int]]]]:
    levels = []
    for size in range(1, gold + 1):
        codes = [code for code in range(2**gold) if code.bit_count() == size]
        last = [[j for j in range(gold) if code >> j & 1] for code in codes]
        before = [[code ^ 1 << j for j in js] for code, js in zip(codes, last, strict=True)]
        moves = [
            [b * gold + j for b, j in zip(bs, js, strict=True)]
            for bs, js in zip(before, last, strict=True)
        ]
        levels.append((codes, before, moves))
    return levels


def _require_gold(gold: int) -> None:
    if not 0 <= gold <= MAX_GOLD:
        raise InputError(f"the number of gold passages should be in 0 .. {MAX_GOLD}, got {gold}")


def _checked(per_step: Tensor, available: Tensor | None) -> tuple[int, int]:
    """Batch size and number of gold passages, once the shapes fit."""
    if per_step.dim() != 3 or per_step.shape[1] != 2 ** min(per_step.shape[2], 30):
        raise InputError(f"expected shape (b, 2^g, g), got {tuple(per_step.shape)}")
    _require_gold(per_step.shape[2])
    if available is not None:
        same_shape(per_step, available, "available")
        require_bool(available, "available")
    return per_step.shape[0], per_step.shape[2]


def _targets(target: Tensor | None, batch: int, gold: int, device: torch.device) -> Tensor:
    """The codes of the sets to be read, all gold passages where nothing is said."""
    if target is None:
        return torch.full((batch,), 2**gold - 1, dtype=torch.long, device=device)
    if target.shape != (batch,) or target.dtype != torch.long:
        raise InputError(
            f"target should be int64 of shape {(batch,)}, got {target.dtype} {tuple(target.shape)}"
        )
    if bool(((target < 0) | (target >= 2**gold)).any()):
        raise InputError(f"target codes should be in 0 .. {2**gold - 1}, got {target.tolist()}")
    return target
