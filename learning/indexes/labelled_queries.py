"""Query vectors with the passages that they ask for: what indexes are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.memory.encoders.vectors import Vectors


@dataclass(frozen=True, slots=True, eq=False)
class LabelledQueries:
    """m query vectors, and the rows of the passages that each asks for.

    Queries of several kinds (those of people, those made of passages) are drawn equally often,
    however many there are of each.
    """

    vectors: Vectors
    """`(m, d)` L2-normalised."""
    gold: Sequence[Sequence[int]]
    """m lists of rows of the passages' vectors, at least one in each."""
    kinds: NDArray[np.int64]
    """`(m,)` the kind of each query."""

    def __post_init__(self) -> None:
        if not len(self.vectors) == len(self.gold) == len(self.kinds):
            raise InputError(
                f"every query needs gold and a kind, got {len(self.vectors)} queries, "
                f"{len(self.gold)} lists of gold and {len(self.kinds)} kinds"
            )
        if not len(self.vectors):
            raise InputError("there is nothing to learn from: no query names its passages")
        if not all(len(rows) for rows in self.gold):
            raise InputError("every query needs at least one passage that it asks for")

    def __len__(self) -> int:
        return len(self.vectors)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Numbers of queries, of each kind equally often.

        Args:
            count: How many.
            rng: Draws them.
        """
        sizes = np.bincount(self.kinds)
        shares = 1 / sizes[self.kinds] / np.count_nonzero(sizes)
        drawn: NDArray[np.int64] = rng.choice(len(self), count, p=shares)
        return drawn

    def columns(
        self, queries: NDArray[np.int64], passages: int, others: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], Tensor]:
        """What some queries are compared with: all that they ask for, and passages by chance.

        Args:
            queries: Their numbers, `(b,)`.
            passages: How many passages there are.
            others: How many are drawn; all of them where there are no more.
            rng: Draws them.

        Returns:
            Rows of passages `(n,)`, ascending, and which of them each query asks for, bool
            `(b, n)`.
        """
        gold = [self.gold[i] for i in queries]
        drawn = rng.choice(passages, min(others, passages), replace=False)
        rows = np.union1d(np.concatenate([np.asarray(one) for one in gold]), drawn)
        positives = torch.zeros(len(queries), len(rows), dtype=torch.bool)
        for i, one in enumerate(gold):
            positives[i, np.searchsorted(rows, np.asarray(one))] = True
        return rows.astype(np.int64), positives
