"""k-means in numpy, spherical or not, with clusters of like sizes where that is asked for.

Balance: each cluster has an offset b_k, and a point goes to the k with the least |x - c_k|² - b_k.
Once the centres are there, the offset of a cluster that holds more than its share falls, and that
of one that holds less rises, by smaller and smaller steps, as the duals of an even transport do
(Cuturi 2013, 1306.0895; Bertsekas 1988, auction). The offsets whose largest cluster is smallest
are taken, so that they never make it worse.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.vectors import Vectors, unit

AT_ONCE = 8192
"""Points whose distances are worked out together."""
OFFSET_STEP, OFFSET_ROUNDS = 0.05, 20
"""By which an offset moves in the first round, of the mean distance, and how many rounds follow."""

Centres = tuple[Vectors, NDArray[np.float32]]


def fit_clusters(
    points: Vectors, count: int, *, rounds: int, seed: int, spherical: bool, balanced: bool = False
) -> Centres:
    """Centres `(count, d)` and offsets `(count,)`, which are 0 unless they are to balance.

    Args:
        points: `(n, d)`, at least `count` of them.
        count: Of clusters.
        rounds: Of k-means.
        seed: Of the starting places.
        spherical: Bring centres to length 1.
        balanced: Have clusters hold about as many points each.
    """
    rng = np.random.default_rng(seed)
    centres: Vectors = points[rng.choice(len(points), count, replace=False)].copy()
    offsets = np.zeros(count, dtype=np.float32)
    for _ in range(rounds):
        nearest, _ = nearest_clusters(points, centres, offsets)
        sizes = np.bincount(nearest, minlength=count)
        sums = np.zeros((count, points.shape[1]), dtype=np.float64)
        np.add.at(sums, nearest, points)
        means = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
        centres = np.where(sizes[:, None] > 0, means, points[rng.choice(len(points), count)])
        if spherical:
            centres = unit(centres)
    return centres, _balancing_offsets(points, centres) if balanced else offsets


def _balancing_offsets(points: Vectors, centres: Vectors) -> NDArray[np.float32]:
    """Offsets `(count,)` that make the largest cluster of fixed centres small."""
    count = len(centres)
    offsets = best = np.zeros(count, dtype=np.float32)
    least = len(points) + 1
    for done in range(OFFSET_ROUNDS):
        nearest, distance = nearest_clusters(points, centres, offsets)
        sizes = np.bincount(nearest, minlength=count)
        if sizes.max() < least:
            least, best = int(sizes.max()), offsets
        surplus = np.log((sizes + 1) / (len(points) / count + 1))
        step = OFFSET_STEP * distance / (1 + done)
        offsets = offsets - (step * surplus).astype(np.float32)
    return best


def nearest_clusters(
    points: Vectors, centres: Vectors, offsets: NDArray[np.float32]
) -> tuple[NDArray[np.int64], float]:
    """The cluster of each point, `(n,)`, and the mean squared distance to it.

    Args:
        points: `(n, d)`.
        centres: `(count, d)`.
        offsets: `(count,)`; see the module.
    """
    nearest = np.zeros(len(points), dtype=np.int64)
    total = 0.0
    lengths = np.square(centres).sum(1)
    for start in range(0, len(points), AT_ONCE):
        part = points[start : start + AT_ONCE]
        costs = lengths - 2 * (part @ centres.T) - offsets
        chosen = costs.argmin(1)
        nearest[start : start + AT_ONCE] = chosen
        least = costs[np.arange(len(part)), chosen] + offsets[chosen]
        total += float((np.square(part).sum(1) + least).sum())
    return nearest, total / max(1, len(points))
