"""How much of each candidate a soft read takes: six ways from scores to weights that sum to one.

With scores s and temperature τ:

    softmax            exp(s_i / τ) / sum_j exp(s_j / τ)
    top-k              the same among the k best; the others get nothing, and no gradient
    straight-through   1/k for each of the k best, with the gradient of the relaxed top-k
    gumbel             the same of s + τ · Gumbel noise: k draws without replacement
    relaxed            k softmaxes in a row, each less what the earlier ones took, over k
    implicit           sigmoids about a threshold, over k

Sources: `hoptrail.learning.estimators.relaxed` and `hoptrail.learning.estimators.implicit`. Which
of them is biased, and by how much, is measured in docs/differentiable.md.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.estimators.implicit import implicit_top_k
from hoptrail.learning.estimators.relaxed import (
    relaxed_top_k,
    require_entries,
    straight_through_top_k,
    temperature_softmax,
)
from hoptrail.values.strings import check_choice

Selection = Literal["softmax", "top-k", "straight-through", "gumbel", "relaxed", "implicit"]
"""A way from scores to weights."""


def selection_weights(
    logits: Tensor,
    selection: Selection = "softmax",
    *,
    k: int | None = None,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The weights of the candidates, `(b, n)`, at least 0 and of sum 1.

    Args:
        logits: Scores over the temperature, `(b, n)`; -inf is no candidate.
        selection: The way; see the module.
        k: How many are taken, for all ways but "softmax"; at most the candidates of any row.
        mask: Bool `(b, n)`, True where there is a candidate; all by default.
        generator: Draws the noise of "gumbel".

    Raises:
        InputError: The way is unknown, lacks its k or its generator, or a row has too few
            candidates.
    """
    check_choice(selection, get_args(Selection), "selection")
    if selection == "softmax":
        return temperature_softmax(logits, mask=mask)
    if k is None:
        raise InputError(f"the selection {selection!r} needs a k, got none")
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf)
    if selection == "top-k":
        require_entries(logits, k, None)
        lowest = logits.detach().topk(k, dim=-1).values[:, -1:]
        return temperature_softmax(logits, mask=logits.detach() >= lowest)
    if selection == "gumbel" and generator is None:
        raise InputError("the selection 'gumbel' needs a generator, got none")
    if selection in ("gumbel", "straight-through"):
        noise = generator if selection == "gumbel" else None
        return straight_through_top_k(logits, k, generator=noise) / k
    shares = relaxed_top_k if selection == "relaxed" else implicit_top_k
    return shares(logits, k) / k
