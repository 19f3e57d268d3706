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
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.graph.arrays import Arrays
from hoptrail.graph.lists import Ints

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

    With F the weights of mentions and links, B which passage contains which entity and r these
    entities' rarity, the weights are W = F + BACKWARDS Fᵀ between passages and B diag(r) between
    passages and entities. When a passage is added, r and the sums of rows move everywhere, but F
    and B in few rows: so r and the sums stand beside F and B, and these are the ones of the lists
    as they were last made, corrected in the rows that have changed since. B has only the entities
    that join some passages; the passages of one that has come to do so count as changed.

    Args:
        arrays: The graph.
        max_df: Entities in more passages than this are left out.
        before: A walk over an earlier state, whose matrices serve again if the lists do.
    """

    _base: _Base

    def __init__(self, arrays: Arrays, max_df: int, before: Walk | None = None) -> None:
        self.arrays = arrays
        df = arrays.members.counts()
        used = (df > 1) & (df <= max_df)
        if before is not None and before._base.serves(arrays):
            self._base = before._base
        else:
            self._base = _Base(arrays, np.flatnonzero(used))
        used[self._base.entities] = False
        newly = np.flatnonzero(used)
        entities = np.concatenate([self._base.entities, newly])
        rarity = ENTITY_WEIGHT * arrays.rarities[: max_df + 1].astype(np.float64)
        rarity[:2] = 0  # one passage alone is nobody's neighbour
        df = np.where(df < len(rarity), df, 0)[entities]
        self._rarity = rarity[df]
        changed = {*arrays.out.changed, *arrays.links_out.changed, *arrays.entities.changed}
        changed.update(arrays.members.gather(newly)[1][:, 0].tolist())
        self._changed = np.array(sorted(changed), dtype=np.int64)
        self._known = self._changed[self._changed < self._base.n]
        steps, contains = _matrices(arrays, self._changed, entities)
        self._forth = _beside(BACKWARDS * steps, contains)
        self._back = _beside(steps, contains).T.tocsr()
        # What rows that have not changed give to those that have.
        self._into = self._base.turned[self._known] @ _kept(self._base.n, self._known)
        self._onto = BACKWARDS * self._into.T.tocsr()
        out = self._sums(steps, contains, df)
        self._ends = np.flatnonzero(out == 0)
        out[self._ends] = 1
        self._share = 1.0 / out

    def _sums(self, steps: Any, contains: Any, df: Ints) -> NDArray[np.float64]:
        """The sum of each row of W."""
        n, base = self.arrays.n, self._base
        each = np.ones(base.n)
        each[self._known] = 0
        out = np.zeros(n)
        out[: base.n] = base.sums + base.whole[: base.n, base.n :] @ self._rarity[: base.columns]
        out[self._changed] = steps.sum(1).A1 + contains @ self._rarity
        out[: base.n] += BACKWARDS * (base.turned @ each)
        out += BACKWARDS * (steps.T @ np.ones(len(self._changed)))
        return np.concatenate([out, self._rarity * df])

    def _weighed(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Wᵀ p, passages first, then entities; p is not kept."""
        n, base = self.arrays.n, self._base
        p[n:] *= self._rarity
        old = np.concatenate([p[: base.n], p[n : n + base.columns]])
        old[self._known] = 0
        known = base.whole @ old
        found = np.zeros(len(p))
        found[: base.n], found[n : n + base.columns] = known[: base.n], known[base.n :]
        if len(self._changed):
            found[self._changed] = self._forth @ p
            found[self._known] += self._into @ old[: base.n]
            found[: base.n] += self._onto @ p[self._known]
            found += self._back @ p[self._changed]
        found[n:] *= self._rarity
        return found

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
            walked = self._weighed(self._share * p)
            walked *= damping
            walked += (1 - damping + damping * lost) * start
            p = walked
        return p[: self.arrays.n]

    def _start(self, seeds: Mapping[int, float]) -> NDArray[np.float64]:
        start = np.zeros(len(self._share))
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


class _Base:
    """The matrices of a graph whose lists were just made.

    Args:
        arrays: The graph.
        entities: Those that join passages: the columns of B.
    """

    def __init__(self, arrays: Arrays, entities: Ints) -> None:
        from scipy.sparse import bmat

        self.n, self.columns, self.entities = arrays.n, len(entities), entities
        self._made_from = _made_from(arrays)
        steps, contains = _matrices(arrays, np.arange(arrays.n), entities)
        self.turned = steps.T.tocsr()
        self.sums = steps.sum(1).A1
        self.whole = bmat(
            [[self.turned + BACKWARDS * steps, contains], [contains.T, None]], format="csr"
        )

    def serves(self, arrays: Arrays) -> bool:
        """Whether only the rows that a later state has replaced differ."""
        pairs = zip(self._made_from, _made_from(arrays), strict=True)
        return all(old is new for old, new in pairs)


def _made_from(arrays: Arrays) -> list[Any]:
    return [lists.values for lists in (arrays.out, arrays.links_out, arrays.entities)]


def _matrices(arrays: Arrays, slots: Ints, entities: Ints) -> tuple[Any, Any]:
    """F and B in the rows of some slots, `(len(slots), n)` and `(len(slots), len(entities))`."""
    from scipy.sparse import csr_matrix

    mentions, links = arrays.targets(slots), arrays.linked(slots)
    owner, target = (np.concatenate([mentions[i], links[i]]) for i in (0, 1))
    weight = np.concatenate([mentions[2], links[2]]).astype(np.float64)
    steps = csr_matrix((weight, (owner, target)), shape=(len(slots), arrays.n))
    column = np.full(arrays.members.rows, -1)
    column[entities] = np.arange(len(entities))
    owner, rows = arrays.entities.gather(slots)
    columns = column[rows[:, 0]]
    owner, columns = owner[columns >= 0], columns[columns >= 0]
    shape = len(slots), len(entities)
    return steps, csr_matrix((np.ones(len(owner)), (owner, columns)), shape=shape)


def _kept(n: int, without: Ints) -> Any:
    """Leaves out some columns of n."""
    from scipy.sparse import diags

    keep = np.ones(n)
    keep[without] = 0
    return diags(keep)


def _beside(left: Any, right: Any) -> Any:
    from scipy.sparse import hstack

    return hstack([left, right], format="csr")
