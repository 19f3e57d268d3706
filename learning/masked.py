"""Sums of exponentials over the entries that exist.

A candidate pool is ragged, so its tensors are padded and carry a mask; a forbidden action has
log-probability -inf. `torch.logsumexp` over a row that is -inf throughout gives NaN gradients
(-inf - -inf), and one such row spoils a whole batch. Here whatever is masked or -inf takes no part
and gets a gradient of exactly 0:

    masked_logsumexp(x)   = log sum_{i alive} exp x_i          (-inf where nothing is alive)
    masked_log_softmax(x) = x_i - masked_logsumexp(x)          (-inf where i is not alive)

Source: the usual log-sum-exp; the treatment of empty rows is ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hoptrail.errors import InputError


def masked_logsumexp(values: Tensor, mask: Tensor | None = None, *, dim: int = -1) -> Tensor:
    """Log of the summed exponentials along `dim`; -inf, with gradient 0, where nothing is alive.

    Args:
        values: Any shape; -inf means probability zero. What stands at masked places is not read.
        mask: Bool, broadcastable to `values`; True where an entry takes part.
        dim: The dimension that is summed away.
    """
    alive = values != -math.inf
    if mask is not None:
        alive = alive & mask
    filled = values.masked_fill(~alive, -math.inf)
    some = alive.any(dim, keepdim=True)
    # An empty row is replaced as a whole, so that no -inf - -inf arises in the backward pass.
    total = torch.logsumexp(filled.masked_fill(~some, 0.0), dim)
    return total.masked_fill(~some.squeeze(dim), -math.inf)


def masked_log_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Log-probabilities over the last dimension; exactly -inf at masked places.

    Args:
        scores: `(..., n)`; -inf is masked too. What stands at masked places is not read.
        mask: Bool `(..., n)`; True where an entry takes part.

    Raises:
        InputError: A row has no entry that takes part.
    """
    alive = scores != -math.inf
    if mask is not None:
        same_shape(scores, mask, "mask")
        require_bool(mask, "mask")
        alive = alive & mask
    require_rows(alive, "scores" if mask is None else "the mask")
    return torch.log_softmax(scores.masked_fill(~alive, -math.inf), dim=-1)


def require_rows(mask: Tensor, name: str) -> None:
    """Nothing, if every row of the mask `(..., n)` has a True.

    Args:
        mask: Bool `(..., n)`.
        name: What the message calls it.

    Raises:
        InputError: A row has none; the message names the first.
    """
    rows = mask.any(-1).flatten()
    if not bool(rows.all()):
        row = int((~rows).nonzero()[0])
        raise InputError(
            f"every row of {name} needs at least one entry, "
            f"row {row} of {rows.numel()} has none: drop such rows first"
        )


def same_shape(expected: Tensor, got: Tensor, name: str) -> None:
    """Nothing, if both have the same shape.

    Args:
        expected: Whose shape is right.
        got: The tensor that is checked.
        name: What the message calls it.

    Raises:
        InputError: They differ.
    """
    if expected.shape != got.shape:
        raise InputError(
            f"{name} should have shape {tuple(expected.shape)}, got {tuple(got.shape)}"
        )


def require_bool(mask: Tensor, name: str) -> None:
    """Nothing, if the tensor is boolean: `~` on integers would flip bits, not truth.

    Args:
        mask: The tensor that is checked.
        name: What the message calls it.

    Raises:
        InputError: It is not.
    """
    if mask.dtype != torch.bool:
        raise InputError(f"{name} should be a bool tensor, got {mask.dtype}")
