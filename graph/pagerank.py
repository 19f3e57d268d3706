"""Personalised PageRank over passages and entities.

A walker starts at a passage that fits the question, follows mentions, links and shared entities,
and every now and then starts again; how often it comes by is a passage's score. Entities are nodes
of their own, so that n passages which share one need n edges, not n². With S the seeds, P the
chance of each step and d the damping:

    p ← (1 - d) S + d (Pᵀ p + lost(p) S)        lost: the mass at nodes without an edge

Source: HippoRAG (arXiv:2405.14831), which takes its entities from an LLM; here no model is asked.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hoptrail.errors import InputError
from hoptrail.graph.arrays import Arrays
from hoptrail.graph.rows import Floats

MENTION_WEIGHT = 1.0
"""Of a mention, against an explicit link of weight 1."""

ENTITY_WEIGHT = 1.0
"""Of an entity that one passage alone mentions, against a link of weight 1."""


class Walk:
    """The chances of each step over one state of the graph.

    Args:
        arrays: The graph.
        max_df: Entities in more passages than this are left out.
    """

    def __init__(self, arrays: Arrays, max_df: int) -> None:
        from scipy.sparse import coo_matrix

        self.arrays = arrays
        n, members = arrays.n, arrays.members
        df = members.counts()
        used = np.flatnonzero((df > 1) & (df <= max_df))
        _, place = members.gather(used)
        member = members.values[place]
        node = n + np.repeat(np.arange(len(used)), df[used])
        rarity = ENTITY_WEIGHT * np.repeat(arrays.entity_weights[used], df[used])
        source = np.repeat(np.arange(n), arrays.targets.counts())
        heads = np.concatenate([source, arrays.links[:, 0], member])
        tails = np.concatenate([arrays.targets.values, arrays.links[:, 1], node])
        weights = np.concatenate(
            [MENTION_WEIGHT * arrays.target_weights, arrays.link_weights, rarity]
        ).astype(np.float64)
        size = n + len(used)
        both = coo_matrix(
            (np.tile(weights, 2), (np.concatenate([heads, tails]), np.concatenate([tails, heads]))),
            shape=(size, size),
        ).tocsr()
        total = np.asarray(both.sum(axis=1)).ravel()
        self._ends = total == 0
        both.data /= np.repeat(np.where(self._ends, 1, total), np.diff(both.indptr))
        self._back = both.T.tocsr()

    def rank(self, seeds: Mapping[int, float], *, damping: float, iterations: int) -> Floats:
        """How often the walker is at each slot, `(capacity,)`, summing to at most 1.

        Raises:
            InputError: No seed, a seed that is no slot, a weight that is not above 0, a damping
                outside [0, 1), a negative number of iterations.
        """
        start = self._start(seeds)
        if not 0 <= damping < 1:
            raise InputError(f"damping must be at least 0 and below 1, got {damping!r}")
        if iterations < 0:
            raise InputError(f"iterations must not be negative, got {iterations!r}")
        p = start
        for _ in range(iterations):
            lost = p[self._ends].sum()
            p = (1 - damping) * start + damping * (self._back @ p + lost * start)
        return p[: self.arrays.n].astype(np.float32)

    def _start(self, seeds: Mapping[int, float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        start = np.zeros(len(self._ends))
        for slot, weight in seeds.items():
            if not 0 <= slot < self.arrays.n:
                raise InputError(
                    f"a seed must be a slot from 0 to {self.arrays.n - 1}, got {slot!r}"
                )
            if not (weight > 0 and np.isfinite(weight)):
                raise InputError(f"a seed's weight must be above 0 and finite, got {weight!r}")
            start[slot] = weight
        if not seeds:
            raise InputError("PageRank needs at least one seed")
        normalised: np.ndarray[tuple[int], np.dtype[np.float64]] = start / start.sum()
        return normalised
