"""Questions that belong together: those that share a gold passage.

They are not independent: samples are drawn, and data is split, by whole clusters of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.types import Question


def clusters_of(questions: Sequence[Question]) -> NDArray[np.int64]:
    """A cluster number for each question, `(n,)`, from 0 in the order of first appearance.

    A question without gold is a cluster of its own.
    """
    parent = list(range(len(questions)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    first: dict[tuple[tuple[str, ...], str], int] = {}
    for place, question in enumerate(questions):
        for gold in question.supporting_ids:
            other = root(first.setdefault((question.namespace, gold), place))
            parent[root(place)] = other
    numbers: dict[int, int] = {}
    labels = [numbers.setdefault(root(place), len(numbers)) for place in range(len(questions))]
    return np.asarray(labels, dtype=np.int64)
