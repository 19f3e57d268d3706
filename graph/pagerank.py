"""Personalised PageRank over passages and entities.

A walker starts at a passage that fits the question, follows mentions, links and shared entities,
and every now and then starts again; how often it comes by is a passage's score. Entities are nodes
of their own, so that n passages which share one need n edges, not n². With S the seeds, P the
chance of each step and d the damping:

    p ← (1 - d) S + d (Pᵀ p + lost(p) S)        lost: the mass at nodes without an edge

Source: HippoRAG (arXiv:2405.14831), which takes its entities from an LLM and starts from those
that the question names; here no model is asked, and the walk starts from the passages that an index
finds and from those whose titles the question names. The numbers below were chosen by recall@5 on
the train questions of MuSiQue, 2WikiMultiHopQA and HotpotQA together, as for a baseline that is to
be beaten fairly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.graph.arrays import Arrays
from hoptrail.graph.rows import Ints

if TYPE_CHECKING:
    from hoptrail.graph.view import GraphView

DAMPING = 0.7
"""Chance to walk on; 0.6 and 0.8 cost 0.2 and 0.3 points."""

ITERATIONS = 20
"""Steps; from 10 on nothing moves."""

TEMPERATURE = 2.0
"""A hit weighs exp((its score - the best) / this): scores are sums of two z-scores."""

NAMED = 3.0
"""What the titles named in a question weigh, for each √(words of the name), the best hit being 1;
passages that one name can mean share it."""

BACKWARDS = 0.5
"""Of a mention or link walked against its direction; 1 costs half a point."""

ENTITY_WEIGHT = 1.0
"""Of an entity that few mention, against a mention or a link of weight 1."""


def pagerank_ranking(
    graph: GraphView,
    hits: Mapping[int, float],
    question: str = "",
    *,
    damping: float = DAMPING,
    most: int | None = None,
) -> tuple[Ints, NDArray[np.float64]]:
    """The slots that a walk reaches, best first, `(m,)`, with their scores, the best being 1.

    Equal scores are ordered by content, so that a shuffled corpus gives the same ranking.

    Args:
        graph: Where to walk.
        hits: What an index found: hybrid scores by slot, some hundred of them.
        question: Its words; the titles that it names are starting points too.
        damping: Chance to walk on, in [0, 1).
        most: How many are wanted; all by default.

    Raises:
        InputError: There is neither a hit nor a title that the question names.
    """
    scores = graph.walk().visits(
        starting_points(graph, hits, question), damping=damping, iterations=ITERATIONS
    )
    reached = np.flatnonzero(scores)
    # Rounded, since sums in another order differ in the last digits.
    shares = np.round(scores[reached] / scores.max(initial=0.0), 9)
    if most is not None and most < len(reached):
        # Sort no more than can be among them, equals at the end included.
        kept = shares >= np.partition(shares, -most)[-most]
        reached, shares = reached[kept], shares[kept]
    order = graph.view.order(shares, reached)[:most]
    return reached[order], shares[order]


def starting_points(
    graph: GraphView, hits: Mapping[int, float], question: str = ""
) -> dict[int, float]:
    """What `GraphView.pagerank` takes as seeds: hits by a softmax, and the titles named."""
    best = max(hits.values(), default=0.0)
    seeds = {slot: float(np.exp((score - best) / TEMPERATURE)) for slot, score in hits.items()}
    named = graph.named_lengths(question)
    for slot, length in named.items():
        seeds[slot] = seeds.get(slot, 0.0) + NAMED * float(np.sqrt(length)) / len(named)
    return {slot: weight for slot, weight in seeds.items() if weight > 0}


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
        forth = np.concatenate([arrays.target_weights, arrays.link_weights])
        heads = np.concatenate([source, arrays.links[:, 0]])
        tails = np.concatenate([arrays.targets.values, arrays.links[:, 1]])
        weights = np.concatenate([forth, BACKWARDS * forth, rarity, rarity])
        size = n + len(used)
        both = coo_matrix(
            (
                weights.astype(np.float64),
                (
                    np.concatenate([heads, tails, member, node]),
                    np.concatenate([tails, heads, node, member]),
                ),
            ),
            shape=(size, size),
        ).tocsr()
        total = np.asarray(both.sum(axis=1)).ravel()
        self._ends = total == 0
        both.data /= np.repeat(np.where(self._ends, 1, total), np.diff(both.indptr))
        self._back = both.T.tocsr()

    def visits(
        self, seeds: Mapping[int, float], *, damping: float, iterations: int
    ) -> NDArray[np.float64]:
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
        return p[: self.arrays.n]

    def _start(self, seeds: Mapping[int, float]) -> NDArray[np.float64]:
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
        normalised: NDArray[np.float64] = start / start.sum()
        return normalised
