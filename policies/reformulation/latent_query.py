"""The next query without an encoder pass: a small network over the vectors of what was read.

    q(s) = norm(α q + β mean of v + W Σ_r gelu(U [q, v_r, q ∘ v_r] + u) / √|s| + w)

with q the first query and v_r the vectors of the evidence: a sum over a set (Zaheer et al. 2017,
arXiv:1703.06114). Effort `fast` asks it, and every effort for what one passage alone leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hoptrail.learning.arrays.layers import gelu
from hoptrail.memory.encoders.vectors import Vectors

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LatentQuery:
    """Moves a query by what was read; `training.latent_query_training` trains it."""

    enter: Array
    """U, `(width, 3 d)`."""
    enter_bias: Array
    """u, `(width,)`."""
    leave: Array
    """W, `(d, width)`."""
    leave_bias: Array
    """w, `(d,)`."""
    shares: Array
    """α and β, `(2,)`."""

    @property
    def size(self) -> int:
        """The number of weights."""
        return sum(getattr(self, field.name).size for field in fields(self))

    def move(self, queries: Vectors, vectors: Vectors, owner: NDArray[np.int64]) -> Vectors:
        """The moved queries, `(n, d)`, L2-normalised.

        Args:
            queries: `(n, d)` of the questions.
            vectors: `(r, d)` of all passages read.
            owner: `(r,)` the row of `queries` that each was read for; every row is there.
        """
        own = queries[owner]
        entering = np.concatenate([own, vectors, own * vectors], axis=1)
        hidden = gelu(entering @ self.enter.T + self.enter_bias)
        counts = np.bincount(owner, minlength=len(queries)).astype(np.float32)[:, None]
        summed = np.zeros((len(queries), hidden.shape[1]), dtype=np.float32)
        np.add.at(summed, owner, hidden)
        mean = np.zeros_like(queries)
        np.add.at(mean, owner, vectors)
        alpha, beta = self.shares
        moved = alpha * queries + beta * mean / counts
        moved = moved + (summed / np.sqrt(counts)) @ self.leave.T + self.leave_bias
        unit: Vectors = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        return unit

    def tensors(self) -> dict[str, Array]:
        """The weights by name, as a file has them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, tensors: Mapping[str, Array]) -> Self:
        """The network with these weights.

        Args:
            tensors: As `tensors` gives them.

        Raises:
            KeyError: One is missing.
            ValueError: Their shapes do not belong together.
        """
        network = cls(**{field.name: tensors[field.name] for field in fields(cls)})
        dim, width = network.leave.shape
        shapes = network.enter.shape, network.enter_bias.shape, network.leave_bias.shape
        if shapes != ((width, 3 * dim), (width,), (dim,)) or network.shares.shape != (2,):
            raise ValueError(f"the shapes of a latent query do not belong together: {shapes}")
        return network
