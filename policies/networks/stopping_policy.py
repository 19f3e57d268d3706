"""Stopping at a price: how far it pays to read along a ranking.

A reader is paid the share of the evidence that it has read, and pays λ for each passage. Having
read the first t of a ranking it stops with the probability

    π(STOP | t, λ) = σ(β (log λ - log c_t)),    log c_t = log(p_{t+1} / Σ p) + w · x_t + b

where p are the calibrated probabilities that passages are needed, and p_{t+1} / Σ p is about the
share of the evidence that the next one is expected to bring. c_t is the *reservation price*
(Weitzman 1979, "Optimal search for the best alternative"): where reading costs more than that, it
stops. One policy serves every price: λ is compared with what depends on the walk alone, so that
whoever pays less reads on at least as far. w, b and β are learned by REINFORCE
(`hoptrail.policies.training.calibration.price`); with w and b at 0 it trusts the probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.values.numbers import finite, shown

Reals = NDArray[np.float64]

VERSION = 1
"""Changes when a feature changes its meaning under the same name."""
PRICED = 50
"""Passages of a ranking that are expected to hold what is needed."""
NEXT = "log probability of the next passage"
EXPECTED = "log number of needed passages"
SUFFICES = "log odds that what was read suffices"
READ = "log number of passages read"
PRICE_FEATURES = (NEXT, EXPECTED, SUFFICES, READ)
"""What is known when the first t of a ranking were read, and the next could be."""


def price_columns(probabilities: Reals, complete: Reals) -> dict[str, Reals]:
    """The features of each decision by the names of `PRICE_FEATURES`, `(n - 1,)`.

    Args:
        probabilities: `(n,)` that each passage of a ranking is needed, in (0, 1), n at least 1.
        complete: `(n,)` that each and those before it suffice, likewise.
    """
    steps = len(probabilities) - 1
    return {
        NEXT: np.log(probabilities[1:]),
        EXPECTED: np.full(steps, np.log(probabilities[:PRICED].sum())),
        SUFFICES: np.log(complete[:-1]) - np.log1p(-complete[:-1]),
        READ: np.log(np.arange(1, steps + 1)),
    }


@dataclass(frozen=True, slots=True)
class StoppingPolicy:
    """π(STOP | t, λ) after the first t passages of a ranking, at the price λ of one more."""

    weights: Mapping[str, float]
    """w, by the name of the feature."""
    intercept: float
    """b."""
    slope: float
    """β, above 0: how sharply it decides around the reservation price."""

    def log_prices(self, probabilities: Reals, complete: Reals) -> Reals:
        """The logarithm of the reservation price after each passage but the last, `(n - 1,)`.

        Args:
            probabilities: As `price_columns` takes them.
            complete: Likewise.
        """
        columns = price_columns(probabilities, complete)
        return sum(
            (weight * columns[name] for name, weight in self.weights.items()),
            start=columns[NEXT] - columns[EXPECTED] + self.intercept,
        )

    def prices(self, probabilities: Reals, complete: Reals) -> Reals:
        """Up to which price each passage is read, `(n,)`, never rising.

        The likelier choice is taken: it stops where the price is above the reservation price. The
        first is read at any.

        Args:
            probabilities: `(n,)` that each passage of a ranking is needed.
            complete: `(n,)` that each and those before it suffice.
        """
        if not len(probabilities):
            return np.zeros(0)
        reservation = np.exp(self.log_prices(probabilities, complete))
        return np.minimum.accumulate(np.append(np.inf, reservation))

    def describe(self) -> dict[str, Any]:
        """Its numbers, as the policy's settings have them."""
        return {
            "version": VERSION,
            "weights": dict(self.weights),
            "intercept": self.intercept,
            "slope": self.slope,
        }

    @classmethod
    def parse(cls, value: object) -> StoppingPolicy:
        """What `describe` gave.

        Args:
            value: From the policy's settings.

        Raises:
            ValueError: It is not that, or is of another version.
        """
        if not isinstance(value, dict) or value.get("version") != VERSION:
            raise ValueError(
                f"a stopping policy should be of version {VERSION}, got {shown(value)}"
            )
        weights = value.get("weights")
        if not isinstance(weights, dict):
            raise ValueError(f"a stopping policy should hold weights by name, got {shown(weights)}")
        unknown = [name for name in weights if name not in PRICE_FEATURES]
        if unknown:
            raise ValueError(
                f"its stopping policy weighs {unknown[0]!r}, which this hoptrail lacks"
            )
        numbers = {"intercept": value.get("intercept"), "slope": value.get("slope"), **weights}
        checked: dict[str, float] = {}
        for name, raw in numbers.items():
            number = finite(raw)
            if number is None or (name == "slope" and number <= 0):
                raise ValueError(f"{name} of a stopping policy cannot be {shown(raw)}")
            checked[name] = number
        return cls(
            {name: checked[name] for name in weights}, checked["intercept"], checked["slope"]
        )
