"""What ways of training find over several seeds, as a table: for benchmarks that compare them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from hoptrail.metrics.bootstrap import Bootstrap
from hoptrail.metrics.clusters import clusters_of
from hoptrail.types import Question

CUTS = (2, 5, 10)

Values = dict[str, list[list[float]]]
"""For each way and seed (`key`), recall at each of `CUTS` of each question."""


def key(way: str, seed: int | str) -> str:
    """What the values of a way with a seed are called."""
    return f"{way}, seed {seed}"


def report(
    values_of: Values, ways: Sequence[str], seeds: Sequence[str], test: Sequence[Question]
) -> None:
    """Print the mean over seeds of each way, and its difference from the first in recall@5."""
    bootstrap = Bootstrap(clusters_of(test))
    mean = {way: np.mean([values_of[key(way, seed)] for seed in seeds], axis=0) for way in ways}
    for way, values in mean.items():
        at = "  ".join(f"{100 * value:5.1f}" for value in values.mean(1))
        each = "  ".join(f"{100 * np.mean(values_of[key(way, seed)][1]):.1f}" for seed in seeds)
        change = bootstrap.paired(values[1], mean[ways[0]][1])
        sys.stdout.write(
            f"{way:32} recall@2, 5, 10 {at}   at 5 by seed {each}   {100 * change.mean:+.1f} "
            f"[{100 * change.low:.1f}, {100 * change.high:.1f}]\n"
        )
