"""How sure a mean is: the cluster bootstrap, plain and paired.

Questions that share a gold passage are not independent, so what is drawn, with replacement, is
clusters of them: the connected components of "shares a gold passage". A resample's mean is the sum
of the values drawn over the number of questions drawn; the interval runs between percentiles of
these means. Paired means that both retrievers are judged on the same draws, which takes the
difficulty of the questions out of the difference.

Source: Cameron, Gelbach and Miller 2008, "Bootstrap-based improvements for inference with
clustered errors" (the pairs cluster bootstrap).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hoptrail.errors import InputError
from hoptrail.metrics.clusters import clusters_of

__all__ = ["Bootstrap", "Interval", "clusters_of"]

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the percentile interval around it."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


class Bootstrap:
    """Intervals over one set of questions; every interval uses the same draws.

    Args:
        clusters: `(n,)`, the cluster number of each question, from 0.
        seed: Of the draws.
        resamples: How many draws.
        level: The share of the draws inside an interval, in (0, 1).

    Raises:
        InputError: There is no question, or a setting is out of its range.
    """

    def __init__(
        self,
        clusters: NDArray[np.int64],
        *,
        seed: int = 0,
        resamples: int = RESAMPLES,
        level: float = LEVEL,
    ) -> None:
        if not len(clusters):
            raise InputError("an interval needs at least one question, got none")
        if not 0 < level < 1 or resamples < 1 or seed < 0:
            raise InputError(
                "level must lie in (0, 1), resamples be at least 1 and seed 0, "
                f"got {level}, {resamples}, {seed}"
            )
        self._clusters = clusters
        self._tails = ((1 - level) / 2, (1 + level) / 2)
        self.count = int(clusters.max()) + 1
        """Number of clusters."""
        # How often each cluster is drawn, [resamples, clusters]: as many draws as there are.
        odds = np.full(self.count, 1 / self.count)
        drawn = np.random.default_rng(seed).multinomial(self.count, odds, size=resamples)
        self._drawn = drawn.astype(np.float64)
        self._questions_drawn = self._drawn @ np.bincount(clusters).astype(np.float64)

    def interval(self, values: ArrayLike) -> Interval:
        """The mean of the values and its interval.

        Args:
            values: `(n,)`, one for each question.

        Raises:
            InputError: There is not one value for each question.
        """
        measured = np.asarray(values, dtype=np.float64)
        if measured.shape != self._clusters.shape:
            raise InputError(
                f"there must be one value for each of the {len(self._clusters)} questions, "
                f"got shape {measured.shape}"
            )
        sums = np.bincount(self._clusters, weights=measured, minlength=self.count)
        means = (self._drawn @ sums) / self._questions_drawn
        low, high = np.quantile(means, self._tails)
        return Interval(float(measured.mean()), float(low), float(high))

    def paired(self, values: ArrayLike, against: ArrayLike) -> Interval:
        """The mean of `values - against`, question by question, and its interval.

        Args:
            values: `(n,)`, one for each question.
            against: `(n,)`, of what is compared with, on the same questions.

        Raises:
            InputError: There is not one value of each for each question.
        """
        difference = np.asarray(values, dtype=np.float64) - np.asarray(against, dtype=np.float64)
        return self.interval(difference)
