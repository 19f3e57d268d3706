"""Questions that belong together: those that share a gold passage.

They are not independent: samples are drawn, and data is split, by whole clusters of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

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


def held_out_clusters(sizes: Mapping[int, int], most: float, seed: int) -> set[int]:
    """Clusters to hold out, drawn one after another as long as they fit.

    Args:
        sizes: Items of each cluster, by its number.
        most: Items in all at most.
        seed: Of the order in which they are drawn.
    """
    numbers = sorted(sizes)
    chosen: set[int] = set()
    count = 0
    for i in np.random.default_rng(seed).permutation(len(numbers)).tolist():
        size = sizes[numbers[i]]
        if size <= most - count:
            chosen.add(numbers[i])
            count += size
    return chosen


def held_out_items(clusters: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Which items to hold out, `(n,)`: whole clusters, drawn as long as they fit.

    Args:
        clusters: `(n,)`, each item's.
        share: Of the items that is held out at most.
        seed: Of the order in which clusters are drawn.
    """
    chosen = held_out_clusters(Counter(clusters.tolist()), share * len(clusters), seed)
    return np.isin(clusters, sorted(chosen))


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
