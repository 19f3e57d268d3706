"""The trainable query side of a retriever whose passages stay where they are.

    q = normalise(e + B A e),   e = the vector that the memory's encoder gives the question

B is zero at first, so that training begins with the encoder as it is. It goes with every encoder,
since it needs no more than its vectors; what changes the weights of a transformer itself is
`hoptrail encoder tune`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.values.numbers import whole


class QueryTower(nn.Module):
    """Vectors of questions, with gradients to a change of low rank.

    Args:
        encoder: The memory's own; it is not trained.
        rank: Of the change, at least 1.
        seed: Of its first weights.

    Attributes:
        a: `(rank, d)`, a parameter.
        b: `(d, rank)`, a parameter, zero at first.

    Raises:
        InputError: The rank is below 1.
    """

    def __init__(self, encoder: Encoder, rank: int = 64, *, seed: int = 0) -> None:
        super().__init__()
        whole(rank, "rank", least=1)
        self.encoder = query_side(encoder)
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(rank, encoder.dim, generator=generator) / math.sqrt(encoder.dim)
        self.a = nn.Parameter(start)
        self.b = nn.Parameter(torch.zeros(encoder.dim, rank))

    def forward(self, texts: Sequence[str]) -> Tensor:
        """The vectors of questions, `(n, d)`, L2-normalised.

        Args:
            texts: n of them.
        """
        fixed = torch.tensor(self.encoder.encode(texts)).to(self.a)
        return functional.normalize(fixed + fixed @ self.a.T @ self.b.T, dim=-1)
