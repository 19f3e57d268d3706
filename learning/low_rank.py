"""Training changes of low rank of a network's linear layers: W + s B A, of which W is frozen.

Source: Hu et al. 2021, "LoRA" (arXiv:2106.09685). Once they are trained they are added to the
weights (`hoptrail.memory.encoders.tuned.query_tuned`), so that a changed network costs what the
network costs.
"""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hoptrail.memory.encoders.tuned.query_tuned import low_rank_change

_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


class LowRank(nn.Module):
    """A parametrisation of a weight `(out, in)`: the weight itself, and a product of low rank.

    Args:
        weight: The weight, which stays.
        rank: Of the product, at least 1. The product is zero at first.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        out, width = weight.shape
        self.a = nn.Parameter(torch.randn(rank, width, device=weight.device) / math.sqrt(width))
        self.b = nn.Parameter(torch.zeros(out, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight `(out, in)`."""
        return weight + low_rank_change(self.a, self.b)


def add_low_rank(
    network: nn.Module, rank: int, upper_layers: int | None = None
) -> dict[str, LowRank]:
    """Put a trainable change on every linear layer of a network, and freeze all else.

    Args:
        network: Changed in place. A layer whose name begins with `pooler` is left out: it has no
            part in vectors that are pooled from tokens.
        rank: Of each change, at least 1.
        upper_layers: Of a transformer's layers, the number that are changed, from the last one
            down; those below stay, and cost no step back. All by default.

    Returns:
        The changes by the names of their layers.
    """
    network.requires_grad_(False)
    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) and not name.startswith("pooler")
    ]
    depth = 1 + max((layer_number(name) for name, _ in layers), default=-1)
    lowest = 0 if upper_layers is None else depth - upper_layers
    changes: dict[str, LowRank] = {}
    for name, layer in layers:
        if 0 <= layer_number(name) < lowest:
            continue
        changes[name] = LowRank(layer.weight, rank)
        parametrize.register_parametrization(layer, "weight", changes[name])
    return changes


def layer_number(name: str) -> int:
    """Which of a transformer's layers a linear layer is in, from 0; -1 for none.

    Args:
        name: Of the linear layer.
    """
    match = _LAYER.search(name)
    return int(match[1]) if match else -1


def changed_copy(
    network: nn.Module, rank: int, *, device: torch.device | str, seed: int
) -> tuple[Any, dict[str, LowRank]]:
    """A copy of a network with a trainable change on every linear layer, and the changes.

    Args:
        network: It stays as it is.
        rank: Of each change, at least 1.
        device: Where the copy is to be.
        seed: Of the changes' first factors; what else draws random numbers does not notice.
    """
    copied = copy.deepcopy(network).to(device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return copied, add_low_rank(copied, rank)


def keep_attention_whole(transformer: nn.Module) -> None:
    """Drop no attention weights in training, so that PyTorch's fused attention can be used.

    Args:
        transformer: Changed in place; its other layers drop out as before.
    """
    for name, layer in transformer.named_modules():
        if isinstance(layer, nn.Dropout) and "attention.self" in name:
            layer.p = 0.0
