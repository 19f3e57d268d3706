"""Questions that belong together: those that share a gold passage.

They are not independent: samples are drawn, and data is split, by whole clusters of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.types import Question


def clusters_of(questions: Sequence[Question]) -> NDArray[np.int64]:
    """A cluster number for each question of one corpus.

    A question without gold is a cluster of its own.

    Args:
        questions: n questions; a passage is known by its namespace and its id.

    Returns:
        `(n,)`, from 0 in the order of first appearance.
    """
    return connected_components(
        [[(question.namespace, gold) for gold in question.supporting_ids] for question in questions]
    )


def connected_components(keys: Sequence[Iterable[Hashable]]) -> NDArray[np.int64]:
    """The connected components of items of which any two with a key in common are joined.

    Source: Tarjan 1975 (union-find), with paths halved on the way to a root.

    Args:
        keys: Those of each of n items; one without keys is joined with none.

    Returns:
        `(n,)`, a component's number for each item, from 0 in the order of first appearance.
    """
    parent = list(range(len(keys)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    first: dict[Hashable, int] = {}
    for item, its_keys in enumerate(keys):
        for key in its_keys:
            other = root(first.setdefault(key, item))
            parent[root(item)] = other
    numbers: dict[int, int] = {}
    labels = [numbers.setdefault(root(item), len(numbers)) for item in range(len(keys))]
    return np.asarray(labels, dtype=np.int64)
