"""The weights of one round of message passing, apart from the layer that passes the messages.

`graph.gnn.RelationalLayer` is a layer of PyTorch Geometric, whose import takes seconds. What only
decides sums these tensors by itself, and never imports it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RelationalWeights(nn.Module):
    """What `RelationalLayer` has learned.

    Args:
        width: Channels d of a node.
        relations: Number R of edge kinds.
        conditions: Number c of scalars that condition the messages.
        dropout: Share of hidden units dropped in training.
    """

    weight_gate: Tensor

    def __init__(
        self, width: int, relations: int, conditions: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width, self.relations = width, relations
        self.transform = nn.Linear(width, relations * width, bias=False)
        self.weight_gate = nn.Parameter(torch.zeros(relations, width))
        self.condition_gate = nn.Linear(conditions, relations * width)
        inputs = (relations + 2) * width
        self.update_node = nn.Sequential(
            nn.LayerNorm(inputs),
            nn.Linear(inputs, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )
