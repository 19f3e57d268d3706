"""Vectors of passages while their encoder trains: served as they were, and encoded anew in rounds.

To encode every passage after every step is too dear, and never to do it leaves an index of an
encoder that is gone. Here a vector may be A steps old and no older: after each step the
⌈n / (A + 1)⌉ stalest are encoded, or all of them after A + 1 steps; what a step encodes to train on
counts as well. A vector v that has become v' is off by

    |v - v'| = √(2 - 2 cos(v, v')),

and by Cauchy and Schwarz no score of a question is off by more.

With a codec the vectors are kept in few bytes, as a memory that is served so keeps them: scores are
then off by the distance of a vector from what its code stands for as well.

Source: an index that is encoded anew while it trains, Guu et al. 2020, REALM (2002.08909), and
Xiong et al. 2021, ANCE (2007.00808); vectors of earlier steps as negatives, Wang et al. 2020, XBM
(1912.06798).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hoptrail.errors import ConfigError
from hoptrail.memory.search.codecs import Codec
from hoptrail.values.numbers import whole

Rows = NDArray[np.int64]

NEAREST = 10
"""Passages of a question whose change counts."""


@dataclass(frozen=True, slots=True)
class Staleness:
    """How far the vectors served are from what the encoder would give now."""

    age: float
    """Steps since a passage was encoded, the mean over all."""
    oldest: int
    """Steps since the stalest was."""
    cosine: float
    """Of the vector served and the one of now, the mean over a sample."""
    least_cosine: float
    """The least of the sample."""
    changed: float
    """The share of the nearest of a question, among the sample, that would be others now."""

    @property
    def score_error(self) -> float:
        """No score of a passage of the sample is off by more."""
        return math.sqrt(max(0.0, 2 - 2 * self.least_cosine))


class MovingIndex:
    """The vectors that a training looks at, none of them older than some steps.

    Args:
        vectors: `(n, d)`, L2-normalised, of the encoder before the first step.
        encode: Gives the vectors `(m, d)` of rows `(m,)` by the encoder as it is when called.
        max_age: Steps that a vector may be old when it is looked at; 0 encodes all after each
            step, None none ever.
        rounds: Encode all after `max_age` + 1 steps, rather than the stalest after each.
        codec: In which codes vectors are kept, fitted if it has to be; None for whole ones.

    Raises:
        ConfigError: `max_age` is below 0.
    """

    def __init__(
        self,
        vectors: Tensor,
        encode: Callable[[Rows], Tensor],
        *,
        max_age: int | None,
        rounds: bool = False,
        codec: Codec | None = None,
    ) -> None:
        if max_age is not None:
            whole(max_age, "max_age", least=0, error=ConfigError)
        self.max_age, self.rounds, self.codec = max_age, rounds, codec
        self.step = 0
        """Steps that the encoder has made."""
        self.encoded = 0
        """Passages that were encoded anew, without those that a step trained on."""
        self._encode = encode
        self._encoded_at = np.zeros(len(vectors), dtype=np.int64)
        self._errors = np.zeros(len(vectors), dtype=np.float32)
        self._vectors = vectors.clone()
        if codec is not None:
            self._codes = np.zeros((len(vectors), codec.width(vectors.shape[1])), dtype=np.uint8)
            self._vectors = vectors.new_zeros(0, vectors.shape[1])
            self._put(np.arange(len(vectors)), vectors)

    def __len__(self) -> int:
        return len(self._encoded_at)

    @property
    def ages(self) -> Rows:
        """Steps since each passage was encoded, `(n,)`."""
        ages: Rows = self.step - self._encoded_at
        return ages

    @property
    def code_error(self) -> float:
        """The greatest distance of a vector from what its code stands for; 0 without a codec."""
        return float(self._errors.max(initial=0.0))

    def served(self) -> Tensor:
        """The vectors `(n, d)` that questions are compared with."""
        if self.codec is None:
            return self._vectors
        decoded = self.codec.decode(self._codes, self._vectors.shape[1])
        return torch.from_numpy(decoded).to(self._vectors)

    def write(self, rows: Rows, vectors: Tensor) -> None:
        """Put in vectors that the encoder gives now, such as those of a step.

        Args:
            rows: `(m,)`.
            vectors: `(m, d)`.
        """
        self._put(rows, vectors.detach())
        self._encoded_at[rows] = self.step

    def advance(self) -> int:
        """Count a step of the encoder, and encode what would be too old at the next.

        Returns:
            How many passages were encoded.
        """
        self.step += 1
        rows = self._due()
        if len(rows):
            with torch.no_grad():
                self.write(rows, self._encode(rows))
        self.encoded += len(rows)
        return len(rows)

    @torch.no_grad()
    def staleness(self, queries: Tensor, rows: Rows, *, k: int = NEAREST) -> Staleness:
        """Compare the vectors served with those of now, for a sample of the passages.

        Args:
            queries: `(b, d)`.
            rows: `(m,)` of the sample, which is encoded for it.
            k: How many are the nearest; at most m count.
        """
        now, before = self._encode(rows), self.served()[torch.from_numpy(rows)]
        cosines = (now * before).sum(1) / before.norm(dim=1).clamp_min(1e-12)
        k = min(whole(k, "k", least=1), len(rows))
        nearest, nearest_before = (
            torch.zeros(len(queries), len(rows), device=queries.device).scatter_(
                1, (queries @ vectors.T).topk(k).indices, 1.0
            )
            for vectors in (now, before)
        )
        ages = self.ages
        return Staleness(
            age=float(ages.mean()),
            oldest=int(ages.max()),
            cosine=float(cosines.mean()),
            least_cosine=float(cosines.min()),
            changed=1 - float((nearest * nearest_before).sum()) / (k * len(queries)),
        )

    def _due(self) -> Rows:
        """The rows to encode after this step."""
        if self.max_age is None:
            return np.zeros(0, dtype=np.int64)
        if self.rounds:
            return np.arange(len(self) if self.step % (self.max_age + 1) == 0 else 0)
        share = -(-len(self) // (self.max_age + 1))
        return np.argsort(self._encoded_at, kind="stable")[:share]

    def _put(self, rows: Rows, vectors: Tensor) -> None:
        if self.codec is None:
            self._vectors[torch.from_numpy(rows)] = vectors
            return
        whole_vectors = vectors.cpu().float().numpy()
        self._codes[rows] = codes = self.codec.encode(whole_vectors)
        off = whole_vectors - self.codec.decode(codes, whole_vectors.shape[1])
        self._errors[rows] = np.linalg.norm(off, axis=1)
