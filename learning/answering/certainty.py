"""How sure a reader's answer is: probabilities fitted on questions that it was not trained on.

With s the share of the likeliest answer among the answers, n the probability of there being none,

    p(an answer is there)  = σ(a0 + a1 logit(1 - n))
    p(the answer is right) = σ(b0 + b1 logit(s) + b2 logit(1 - n))

Source: Platt 1999, logistic calibration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS, RIDGE = 50, 1e-2
"""Newton steps of a fit, and how much a weight is held back."""
UNMEASURED = 0.9
"""How probably a computed comparison is right where none was measured."""
SHARPEST = 12.0
"""A log-odds is cut at this: half precision tells nothing beyond."""


@dataclass(frozen=True, slots=True)
class Certainty:
    """The fitted weights."""

    of_answerable: tuple[float, ...] = (0.0, 1.0)
    of_right: tuple[float, ...] = (0.0, 1.0, 1.0)
    of_comparison: float = UNMEASURED
    """How probably an answer that a comparison gives is right."""
    threshold: float = 0.5
    """What is less likely to be answerable is said to have no answer."""

    def answerable(self, none: float) -> float:
        """The probability that passages hold an answer.

        Args:
            none: The network's probability that they do not.
        """
        return _logistic(self.of_answerable, [logit(1 - none)])

    def right(self, share: float, none: float) -> float:
        """The probability that an answer is right.

        Args:
            share: Its part of the probability of all answers.
            none: The network's probability that there is none.
        """
        return _logistic(self.of_right, [logit(share), logit(1 - none)])

    def as_json(self) -> dict[str, Any]:
        """The weights as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Certainty:
        """The weights that `as_json` wrote.

        Args:
            values: As a card holds them.

        Raises:
            ValueError: There are others.
            KeyError: One is missing.
        """
        answerable = tuple(float(each) for each in values["of_answerable"])
        right = tuple(float(each) for each in values["of_right"])
        if len(answerable) != 2 or len(right) != 3:
            raise ValueError(f"certainty should have 2 and 3 weights, got {values!r:.80}")
        comparison, threshold = float(values["of_comparison"]), float(values["threshold"])
        return cls(answerable, right, comparison, threshold)

    @classmethod
    def fit(
        cls,
        shares: Sequence[float],
        nones: Sequence[float],
        answerable: Sequence[bool],
        right: Sequence[bool],
        comparisons: Sequence[bool] = (),
    ) -> Certainty:
        """The weights that fit readings of known worth best.

        Args:
            shares: Of the likeliest answers, n of them.
            nones: The network's probabilities that there is none.
            answerable: Whether the passages held the answer.
            right: Whether the likeliest answer was right.
            comparisons: Whether each answer that a comparison gave was right.
        """
        some = np.array([[logit(1 - none)] for none in nones])
        both = np.array([[logit(s), logit(1 - n)] for s, n in zip(shares, nones, strict=True)])
        return cls(
            _fit(some, np.array(answerable, dtype=float)),
            _fit(both, np.array(right, dtype=float)),
            (sum(comparisons) + 1) / (len(comparisons) + 2) if comparisons else UNMEASURED,
        )


def logit(probability: float) -> float:
    """The log-odds of a probability, within `SHARPEST` of 0.

    Args:
        probability: In [0, 1].
    """
    least = 1 / (1 + math.exp(SHARPEST))
    clipped = min(max(probability, least), 1 - least)
    return math.log(clipped / (1 - clipped))


def _logistic(weights: Sequence[float], values: Sequence[float]) -> float:
    total = weights[0] + sum(w * v for w, v in zip(weights[1:], values, strict=True))
    return 1 / (1 + math.exp(-total))


def _fit(features: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[float, ...]:
    """Logistic regression by Newton's method; the intercept is free."""
    design = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    weights = np.zeros(design.shape[1])
    ridge = np.diag([1e-6, *[RIDGE] * features.shape[1]])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (labels - chance) - ridge @ weights
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + ridge
        step = np.linalg.solve(bend, slope)
        weights = weights + np.clip(step, -2, 2)
    return tuple(float(each) for each in weights)
