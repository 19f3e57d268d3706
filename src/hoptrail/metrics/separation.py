"""How well a score tells two kinds apart, whatever its scale.

    AUROC = P(s+ > s-) + P(s+ = s-) / 2

over a pair drawn from the two kinds: 1 for a score that puts all of one kind above all of the
other, 0.5 for one that says nothing. Source: Hanley and McNeil 1982, by the rank sum of Mann and
Whitney 1947.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hoptrail.errors import InputError


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """The area under the curve of true positives over false ones.

    Args:
        scores: `(n,)`, higher for what is thought to be positive.
        positive: `(n,)` whether each is.

    Raises:
        InputError: The lengths differ, a score is no number, or one of the kinds is missing.

    Examples:
        >>> auroc([0.9, 0.4, 0.4, 0.1], [True, True, False, False])
        0.875
    """
    s, kind = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if s.ndim != 1 or s.shape != kind.shape or np.isnan(s).any():
        raise InputError(
            f"a number and a kind is needed of each, got shapes {s.shape} and {kind.shape}"
        )
    if not kind.any() or kind.all():
        raise InputError("both kinds are needed to tell them apart, got one")
    ordered = np.sort(s)
    below = np.searchsorted(ordered, s, side="left")
    equal = np.searchsorted(ordered, s, side="right") - below
    ranks = below + (equal + 1) / 2
    positives = int(kind.sum())
    wins = ranks[kind].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * (len(s) - positives)))
