"""Personalised PageRank over passages and entities.

A walker starts at a passage that fits the question, follows mentions, links and shared entities,
and every now and then starts again; how often it comes by is a passage's score. Entities are nodes
of their own, so that n passages which share one need n edges, not n². With S the seeds, P the
chance of each step and d the damping:

    p = (1 - d) S + d (Pᵀ p + lost(p) S)        lost: the mass at nodes without an edge

`hoptrail.graph.ranking.local_push` says how that is found without a look at the whole graph.

Source: HippoRAG (arXiv:2405.14831), which takes its entities from an LLM and starts from those
that the question names; here no model is asked, and the walk starts from the passages that an index
finds and from those whose titles the question names. The numbers below were chosen by recall@5 on
the train questions of MuSiQue, 2WikiMultiHopQA and HotpotQA together, as for a baseline that is to
be beaten fairly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.adjacency.ragged import Ints
from hoptrail.graph.ranking.local_push import LocalPush

if TYPE_CHECKING:
    from hoptrail.memory.views.view import View

DAMPING = 0.7
"""Chance to walk on; 0.6 and 0.8 cost 0.2 and 0.3 points."""

ITERATIONS = 20
"""Steps; from 10 on nothing moves."""

TOLERANCE = 5e-5
"""Which nodes are opened. Of the fifteen passages that the exact walk ranks first, 14.9 are among
the first fifteen, on 100 train questions of each set; twice this saves a fourth, for 14.8."""

TEMPERATURE = 2.0
"""A hit weighs exp((its score - the best) / this): scores are sums of two z-scores."""

NAMED = 3.0
"""What the titles named in a question weigh, for each √(words of the name), the best hit being 1;
passages that one name can mean share it."""


class Walkable(Protocol):
    """A `GraphView`, as far as a ranking need know."""

    @property
    def view(self) -> View:
        """The memory view whose slots are the nodes."""

    def walk(self) -> LocalPush:
        """The walk over its links."""

    def title_matches(self, text: str) -> dict[int, int]:
        """The slots whose titles a text names, with the words of the name.

        Args:
            text: Such as a question.
        """


def pagerank_ranking(
    graph: Walkable,
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
    seeds = starting_points(graph, hits, question)
    reached, scores = graph.walk().visits(
        seeds, damping=damping, iterations=ITERATIONS, tolerance=TOLERANCE
    )
    # Rounded, since sums in another order differ in the last digits.
    shares = np.round(scores / scores.max(initial=0.0), 9)
    if most is not None and most < len(reached):
        # Sort no more than can be among them, equals at the end included.
        among_best = shares >= np.partition(shares, -most)[-most]
        reached, shares = reached[among_best], shares[among_best]
    order = graph.view.order(shares, reached)[:most]
    return reached[order], shares[order]


def starting_points(
    graph: Walkable, hits: Mapping[int, float], question: str = ""
) -> dict[int, float]:
    """What `GraphView.pagerank` takes as seeds: hits by a softmax, and the titles named.

    Args:
        graph: Where to walk.
        hits: Hybrid scores by slot.
        question: Its words; the titles that it names count.

    Returns:
        Weights above 0 by slot.
    """
    best = max(hits.values(), default=0.0)
    seeds = {slot: float(np.exp((score - best) / TEMPERATURE)) for slot, score in hits.items()}
    named = graph.title_matches(question)
    for slot, length in named.items():
        seeds[slot] = seeds.get(slot, 0.0) + NAMED * float(np.sqrt(length)) / len(named)
    return {slot: weight for slot, weight in seeds.items() if weight > 0}
