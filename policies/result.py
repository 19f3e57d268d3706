"""What a walk over one question found, however it was walked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hoptrail.policies.environment.state import State
from hoptrail.policies.networks.score_calibration import WalkFeatures
from hoptrail.types import Cost, HitSource, Shares, Trail

TRAILS = 8
"""Trails that a walk reports."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A trail that a walk decided on."""

    slots: State
    """What it read, in order."""
    stopped: bool
    """Whether STOP ended it; otherwise nothing more could be read."""
    log_prob: float
    """Of the trail under the policy that walked."""
    log_inclusion: float | None = None
    """Log-probability that a recall like this holds the trail; None if nothing was drawn."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a hit's score is made of, and what brought it into the pool."""

    shares: Shares
    sources: tuple[HitSource, ...]


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """What the walk over one question came to: the ranking, the trails and the cost."""

    slots: NDArray[np.int64]
    """`(k,)`, best first."""
    scores: NDArray[np.float64]
    """`(k,)`, descending; negative for what was never in the pool."""
    trails: tuple[Trail, ...]
    """Most probable first."""
    read: tuple[int, ...]
    """Slots read, in order."""
    candidates: int
    texts_encoded: int
    decided: tuple[Decided, ...] = ()
    """The trails as they are learned from."""
    pairs_scored: int = 0
    """Pairs of sub-question and candidate that were judged jointly."""
    features: WalkFeatures | None = None
    """What the walk says of how sure it may be, of at least these passages; None where relations
    were walked."""
    probabilities: NDArray[np.float64] | None = None
    """`(k,)` that each passage is needed, never rising; None where there is no calibration."""
    complete: NDArray[np.float64] | None = None
    """`(k,)` that each and those before it suffice, never falling; None likewise."""
    prices: NDArray[np.float64] | None = None
    """`(k,)` up to which price each is read, as a share of the evidence, never rising; None where
    there is no stopping policy."""
    sub_questions: Mapping[int, str] = field(default_factory=dict)
    """By slot, the sub-question that a passage answers best; of those that were judged."""
    explanations: Mapping[int, Explanation] = field(default_factory=dict)
    """By slot, what the scores of as many hits are made of as was said."""

    def cost(self, milliseconds: float) -> Cost:
        """What it took, in this time.

        Args:
            milliseconds: How long it took.
        """
        return Cost(
            milliseconds, self.texts_encoded, self.candidates, len(self.read), self.pairs_scored
        )
