"""Calibrated scores: how probable it is that a passage is needed, and that passages suffice.

A policy's π says which passage to read next, and by its STOP how far to walk; neither is the
probability of anything that a caller asks. Two logistic regressions on a few features of a walk,
none of which depends on the corpus, say it instead (Platt 1999, with several features):

    P(i is needed)           = σ(w · x_i + b), made not to rise along the ranking
    P(the first k suffice)   = σ(v · y_k + c)

`hoptrail.policies.search.walk_features` has the features. Each pulls in one direction only, so that
no passage gets less probable by more read mass; and all that differs between the prefixes of one
ranking rises along it, as the probability then does. They are fitted by
`hoptrail.policies.training.calibration.scores`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.policies.networks.stopping_policy import StoppingPolicy
from hoptrail.values.numbers import finite, shown

Reals = NDArray[np.float64]

VERSION = 1
"""Changes when a feature changes its meaning under the same name."""
UNANSWERABLE = 0.35
"""The share of questions that cannot be answered, as they count in a fit."""
SURE = 1e-4
"""No probability is nearer to 0 or 1: so much nobody has measured."""
LITTLE = 1e-3
"""Expected number of needed passages below which it makes no difference."""

PASSAGE_FEATURES: Mapping[str, int] = {
    "log read mass": 1,
    "log score": 1,
    "disagreement of the networks": -1,
    "z-score for the best of the queries": 1,
    "question terms that it adds": 1,
    "question terms that no passage covers": -1,
    "z-score of the best for the first query": 1,
    "log number of passages in the memory": -1,
}
"""What is known of a passage of a ranking, and whether it speaks for it (1) or against it (-1)."""
PREFIX_FEATURES: Mapping[str, int] = {
    "log probability of having stopped": 1,
    "question terms that it covers": 1,
}
"""What is known of the first passages of a ranking, likewise; it rises along a ranking."""
NEEDED = "log number of needed passages in it"
"""Of a prefix: the sum of the probabilities of its passages."""
COMPLETE_FEATURES: Mapping[str, int] = {
    NEEDED: 1,
    **PREFIX_FEATURES,
    "z-score of the best for the first query": 1,
    "question terms that no passage covers": -1,
    "disagreement of the networks": -1,
    "log number of passages in the memory": -1,
}
"""What says whether a prefix suffices: of the prefix, and of the first passage of the ranking."""


@dataclass(frozen=True, slots=True)
class WalkFeatures:
    """What a walk says of how sure it may be, of a ranking of n passages."""

    passages: Mapping[str, Reals]
    """`(n,)` by the names of `PASSAGE_FEATURES`, in the order of the ranking."""
    prefixes: Mapping[str, Reals]
    """`(n,)` by the names of `PREFIX_FEATURES`: of the first passage, the first two, and so on."""

    def complete_columns(self, probabilities: Reals) -> dict[str, Reals]:
        """The features of prefixes by the names of `COMPLETE_FEATURES`, `(n,)`.

        Args:
            probabilities: `(n,)` of the passages.
        """
        count = len(probabilities)
        first = {
            name: np.full(count, values[0] if count else 0.0)
            for name, values in self.passages.items()
            if name in COMPLETE_FEATURES
        }
        return {**first, **self.prefixes, NEEDED: np.log(np.cumsum(probabilities) + LITTLE)}


@dataclass(frozen=True, slots=True)
class LogisticModel:
    """σ(w · x + b) over features that have names."""

    weights: Mapping[str, float]
    """By the name of the feature, of its raw value."""
    intercept: float

    def odds(self, columns: Mapping[str, Reals]) -> Reals:
        """The logarithm of the odds of each row, w · x + b, `(n,)`.

        Args:
            columns: By name, `(n,)`; those that it does not weigh are not looked at.
        """
        return sum(
            (weight * columns[name] for name, weight in self.weights.items()),
            start=np.full(len(next(iter(columns.values()))), self.intercept),
        )

    def probability(self, columns: Mapping[str, Reals]) -> Reals:
        """Of each row, `(n,)`.

        Args:
            columns: As `odds` takes them.
        """
        return np.clip(1 / (1 + np.exp(-self.odds(columns))), SURE, 1 - SURE)

    def describe(self) -> dict[str, Any]:
        """Its numbers, as JSON has them."""
        return {"weights": dict(self.weights), "intercept": self.intercept}

    @classmethod
    def parse(cls, value: object, names: Collection[str]) -> LogisticModel:
        """What `describe` gave.

        Args:
            value: From a file.
            names: Of the features that there are.

        Raises:
            ValueError: It is not that, or weighs another feature.
        """
        if not isinstance(value, dict) or not isinstance(value.get("weights"), dict):
            raise ValueError(f"a fit should hold weights by name, got {shown(value)}")
        weights = {name: _number(weight, name) for name, weight in value["weights"].items()}
        unknown = [name for name in weights if name not in names]
        if unknown:
            raise ValueError(f"a fit weighs the feature {unknown[0]!r}, which this hoptrail lacks")
        return cls(weights, _number(value.get("intercept"), "intercept"))


@dataclass(frozen=True, slots=True)
class ScoreCalibration:
    """What makes probabilities of the features of a walk."""

    needed: LogisticModel
    """Of a passage: that it is needed."""
    complete: LogisticModel
    """Of a prefix: that it suffices."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """What it was fitted on and how well it does, for the card."""
    stopping: StoppingPolicy | None = None
    """How far it pays to read, at a price; None where that was not learned."""

    def probabilities(self, features: WalkFeatures) -> Reals:
        """That each passage of a ranking is needed, `(n,)`, never rising.

        Where the regression gives a passage more than the one before it, both get their mean (the
        isotonic regression, Ayer et al. 1955): as many are needed as before.

        Args:
            features: Of the ranking.
        """
        return not_rising(self.needed.probability(features.passages))

    def completeness(self, features: WalkFeatures, probabilities: Reals) -> Reals:
        """That the first passage suffices, the first two, and so on, `(n,)`, never falling.

        Args:
            features: Of the ranking.
            probabilities: `(n,)` of its passages.
        """
        return self.complete.probability(features.complete_columns(probabilities))

    def describe(self) -> dict[str, Any]:
        """Its numbers, as the policy's settings have them."""
        return {
            "version": VERSION,
            "needed": self.needed.describe(),
            "complete": self.complete.describe(),
            **({"stopping": self.stopping.describe()} if self.stopping else {}),
            "fit": dict(self.fit),
        }

    @classmethod
    def parse(cls, value: object) -> ScoreCalibration:
        """What `describe` gave.

        Args:
            value: From the policy's settings.

        Raises:
            ValueError: It is not that, or is of another version.
        """
        if not isinstance(value, dict) or value.get("version") != VERSION:
            raise ValueError(
                f"scores should be calibrated by version {VERSION}, got {shown(value)}"
            )
        fit = value.get("fit") or {}
        if not isinstance(fit, dict):
            raise ValueError(f"what scores were fitted on should be an object, got {shown(fit)}")
        return cls(
            LogisticModel.parse(value.get("needed"), PASSAGE_FEATURES),
            LogisticModel.parse(value.get("complete"), COMPLETE_FEATURES),
            fit,
            StoppingPolicy.parse(value["stopping"]) if value.get("stopping") else None,
        )


def not_rising(values: Reals) -> Reals:
    """The nearest values that never rise, by least squares; their sum stays.

    Args:
        values: `(n,)`.
    """
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        mean, count = value, 1
        while blocks and blocks[-1][0] < mean:
            before, size = blocks.pop()
            mean, count = (mean * count + before * size) / (count + size), count + size
        blocks.append((mean, count))
    return np.repeat([mean for mean, _ in blocks], [count for _, count in blocks]).astype(float)


def _number(value: object, name: str) -> float:
    number = finite(value)
    if number is None:
        raise ValueError(f"{name} should be a finite number, got {shown(value)}")
    return number
