"""A ranking that was learned from feedback: ten weights that order the best passages anew.

Feedback on a few hundred recalls says too little, too wrongly, to move the weights of networks. It
does say which of the features of a ranked passage count for more on this memory, to these users,
than the policy thinks (learning to rank from clicks, Joachims 2002):

    o(i) = Σ over features f of w_f · x_f(i)

orders the first `DEPTH` passages; what follows them stays. The w begin where o is the order that is
there already (`hoptrail.policies.feedback.learned_ranking` fits them).
`hoptrail.policies.search` has the features, none of which depends on the encoder's axes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.policies.networks.score_calibration import LogisticModel
from hoptrail.values.numbers import finite, shown

Reals = NDArray[np.float64]

VERSION = 1
"""Changes when a feature changes its meaning under the same name."""
DEPTH = 10
"""So many of a ranking are ordered anew."""
DECIMALS = 5
"""o is rounded to this: beyond it, it depends on the order of sums."""

LOG_SCORE = "log score"
RANKING_FEATURES = (
    "log read mass",
    LOG_SCORE,
    "z-score for the best of the queries",
    "question terms that it adds",
    "z-score by words of the question",
    "z-score by meaning of the question",
    "z-score for the first query",
    "log read mass of the best passage linked to it",
    "log number of terms",
    "log rank",
)
"""What is known of a passage of a ranking, as it was ranked before."""


@dataclass(frozen=True, slots=True)
class FeedbackRanking:
    """Weights of features that order the best passages of a ranking anew."""

    useful: LogisticModel
    """The odds that a passage is found useful."""
    noise: float = 0.0
    """The share of judgements that are wrong, as it was learned along with the weights."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """What it was learned from, for the card."""

    def order(self, columns: Mapping[str, Reals]) -> list[int]:
        """The places of a ranking in their new order; equals stay as they were.

        Args:
            columns: By the names of `RANKING_FEATURES`, `(n,)`, in the order of the ranking.
        """
        odds = np.round(self.useful.odds(columns), DECIMALS)
        best: list[int] = np.argsort(-odds, kind="stable").tolist()
        return best

    @property
    def fingerprint(self) -> str:
        """What tells it from another one: its weights, as text."""
        return json.dumps(self.useful.describe(), sort_keys=True)

    def describe(self) -> dict[str, Any]:
        """Its numbers, as the policy's settings have them."""
        return {
            "version": VERSION,
            "useful": self.useful.describe(),
            "noise": self.noise,
            "fit": dict(self.fit),
        }

    @classmethod
    def parse(cls, value: object) -> FeedbackRanking:
        """What `describe` gave.

        Args:
            value: From the policy's settings.

        Raises:
            ValueError: It is not that, is of another version, or weighs an unknown feature.
        """
        if not isinstance(value, dict) or value.get("version") != VERSION:
            raise ValueError(
                f"a ranking learned from feedback should be of version {VERSION}, "
                f"got {shown(value)}"
            )
        noise, fit = finite(value.get("noise")), value.get("fit") or {}
        if noise is None or not 0 <= noise < 0.5:
            raise ValueError(
                "the share of wrong judgements should lie in [0, 0.5), "
                f"got {shown(value.get('noise'))}"
            )
        if not isinstance(fit, dict):
            raise ValueError(
                f"what a ranking was learned from should be an object, got {shown(fit)}"
            )
        return cls(LogisticModel.parse(value.get("useful"), RANKING_FEATURES), noise, fit)
