"""Whether stated probabilities come true: reliability diagrams and the expected calibration error.

    ECE = Σ_b (n_b / n) · | mean stated probability in b - share that came true in b |

Bins hold equally many statements (equal mass): with bins of equal width nearly all statements
of a confident policy fall into the two outermost, and the rest are noise. Source: Guo et al. 2017,
arXiv:1706.04599, eq. 3; equal mass after Nixon et al. 2019, arXiv:1904.01685.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hoptrail.errors import InputError
from hoptrail.metrics.bootstrap import LEVEL, Interval

BINS = 10
RESAMPLES = 2_000
"""Draws of the interval."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Statements of about the same probability."""

    count: int
    stated: float
    """Their mean probability."""
    true: float
    """The share of them that came true."""


def reliability(stated: ArrayLike, true: ArrayLike, *, bins: int = BINS) -> list[Bin]:
    """The bins of a reliability diagram, by rising probability, equally many statements in each.

    Args:
        stated: `(n,)` probabilities.
        true: `(n,)` whether each came true.
        bins: How many bins, at most n.

    Raises:
        InputError: There is no statement, one is no probability, or the lengths differ.
    """
    p, y = _checked(stated, true)
    order = np.argsort(p, kind="stable")
    return [
        Bin(len(part), float(p[part].mean()), float(y[part].mean()))
        for part in np.array_split(order, min(bins, len(p)))
    ]


def calibration_error(stated: ArrayLike, true: ArrayLike, *, bins: int = BINS) -> float:
    """The expected calibration error with equal-mass bins; see `reliability`.

    Args:
        stated: `(n,)` probabilities.
        true: `(n,)` whether each came true.
        bins: How many bins, at most n.

    Returns:
        The error in [0, 1]: Guo et al. 2017, eq. 3, over bins of equal mass.

    Raises:
        InputError: There is no statement, one is no probability, or the lengths differ.
    """
    diagram = reliability(stated, true, bins=bins)
    total = sum(b.count for b in diagram)
    return sum(b.count * abs(b.stated - b.true) for b in diagram) / total


def calibration_interval(
    stated: ArrayLike,
    true: ArrayLike,
    clusters: NDArray[np.int64],
    *,
    bins: int = BINS,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The calibration error and its bootstrap interval, whole clusters drawn.

    An error is never negative, so noise alone moves draws upwards: the interval is the basic one,
    2 · error - the draws' quantiles, cut at 0.

    Args:
        stated: `(n,)` probabilities.
        true: `(n,)` whether each came true.
        clusters: `(n,)` the cluster of each statement; those of one question share one.
        bins: As for `reliability`.
        seed: Of the draws.
        resamples: How many draws.

    Raises:
        InputError: As `calibration_error` raises it.
    """
    p, y = _checked(stated, true)
    error = calibration_error(p, y, bins=bins)
    members = [np.flatnonzero(clusters == cluster) for cluster in np.unique(clusters)]
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        draws.append(calibration_error(p[rows], y[rows], bins=bins))
    low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(error, max(0.0, 2 * error - float(high)), max(0.0, 2 * error - float(low)))


def _checked(stated: ArrayLike, true: ArrayLike) -> tuple[Floats, Floats]:
    p, y = np.asarray(stated, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if p.ndim != 1 or p.shape != y.shape or not len(p):
        raise InputError(
            "a calibration needs one outcome for each of at least one probability, got shapes "
            f"{p.shape} and {y.shape}"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError(f"a probability must lie in [0, 1], got {p[(p < 0) | (p > 1)][0]!r}")
    return p, y
