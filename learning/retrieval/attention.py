"""Attention over a memory: a layer of a network whose keys and values are stored passages.

    MemoryAttention(h) = W_o [R(W_q1 h) ‖ … ‖ R(W_qm h)]

with R the soft read of `hoptrail.learning.retrieval.operator`: softmax(q Kᵀ / τ) V, where K and V
are the vectors of the passages that the memory holds at that moment. Only the projections and τ are
weights; what is known lies in the memory, and can be exchanged without training.

Source: Vaswani et al. 2017 (1706.03762), eq. 1; external memories as keys and values, Sukhbaatar et
al. 2015 (1503.08895); of a transformer's layer, Wu et al. 2022, "Memorizing transformers"
(2203.08913).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hoptrail.errors import InputError
from hoptrail.learning.retrieval.operator import RetrievalOperator


class MemoryAttention(nn.Module):
    """Reads a memory from every place of a sequence, with several heads that ask differently.

    Args:
        operator: What is read; every head reads it.
        width: Of the hidden states.
        vector_dim: Of the memory's vectors.
        heads: How many questions each place asks, at least 1.

    Raises:
        InputError: There is no head.
    """

    def __init__(
        self, operator: RetrievalOperator, width: int, vector_dim: int, heads: int = 1
    ) -> None:
        super().__init__()
        if heads < 1:
            raise InputError(f"heads must be at least 1, got {heads}")
        self.operator = operator
        self.queries = nn.ModuleList(nn.Linear(width, vector_dim) for _ in range(heads))
        self.out = nn.Linear(heads * vector_dim, width)

    def forward(self, hidden: Tensor, offset: Tensor | None = None) -> Tensor:
        """What the memory says to each place, `(b, t, width)`.

        Args:
            hidden: `(b, t, width)`.
            offset: Added to every head's query, `(b, t, d)`: where a memory's own encoder has read
                the question, its vector, so that the heads learn only how to turn it.

        Raises:
            InputError: As the operator's.
        """
        b, t, _ = hidden.shape
        reads = []
        for head in self.queries:
            queries = head(hidden)
            queries = queries if offset is None else queries + offset
            reads.append(self.operator(queries.reshape(b * t, -1)).output.reshape(b, t, -1))
        mixed: Tensor = self.out(torch.cat(reads, dim=-1))
        return mixed
