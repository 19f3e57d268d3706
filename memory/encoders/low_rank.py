"""Changes of low rank that are added to the weights of a network: W + s B A.

Source: Hu et al. 2021, "LoRA" (arXiv:2106.09685); s = 2 / √rank, with which the same learning rate
does for every rank (Kalajdzievski 2023, arXiv:2312.03732). `hoptrail.learning.low_rank` trains
them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    Factors = Mapping[str, tuple[Tensor, Tensor]]
    """A `(rank, in)` and B `(out, rank)` of each changed layer, by its name in the network."""

SCALE = 2.0
"""s, but for the square root of the rank."""


def low_rank_change(a: Tensor, b: Tensor) -> Tensor:
    """What is added to a weight, `(out, in)`.

    Args:
        a: `(rank, in)`.
        b: `(out, rank)`.
    """
    return (b @ a) * (SCALE / math.sqrt(len(a)))


def merge_low_rank(network: Any, factors: Factors) -> None:
    """Add changes to the weights of a network for good.

    Args:
        network: A PyTorch module, changed in place.
        factors: The changes; see `Factors`.

    Raises:
        ValueError: The network has no such layer, or one of another shape.
    """
    import torch

    weights = dict(network.named_parameters())
    with torch.no_grad():
        for name, (a, b) in factors.items():
            weight = weights.get(f"{name}.weight")
            if weight is None or weight.shape != (len(b), a.shape[1]) or b.shape[1] != len(a):
                raise ValueError(
                    f"the network has no weight {name}.weight that a change of "
                    f"{tuple(b.shape)} by {tuple(a.shape)} fits"
                )
            weight.add_(low_rank_change(a, b).to(weight))
