"""What a policy has to beat: BM25, dense, hybrid and personalised PageRank over one store.

All are one-shot: the question goes in, a ranking comes out, nothing is read on the way. Each one's
time includes encoding the question by the model itself, never from a cache, and reading the
passages that it returns. Rankings are full: where an index finds fewer than k, the rest of the
namespace follows in an order that content alone decides.

PageRank's walker starts from the hybrid index's first hits and from the passages whose titles the
question names, so that it sees at least what the hybrid baseline sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.evaluation.benchmark import Decision, Ranking, Retriever
from hoptrail.types import Namespace, Question, Recall, Trail

if TYPE_CHECKING:
    from hoptrail.graph.graph import Graph
    from hoptrail.memory.store import Mode, Store
    from hoptrail.memory.views.view import View

Baseline = Literal["bm25", "dense", "hybrid", "pagerank"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)

SEEDS = 100
"""Hybrid hits that a PageRank walk starts from."""

_Scored = tuple[NDArray[np.floating], NDArray[np.int64]]


class IndexRetriever:
    """One search in the store's indexes.

    Args:
        store: Where to search.
        mode: By words ("sparse"), by meaning ("dense") or both ("hybrid").
    """

    def __init__(self, store: Store, mode: Mode) -> None:
        self._store = store
        self._mode: Mode = mode
        self.name = "bm25" if mode == "sparse" else mode

    def __repr__(self) -> str:
        return f"<IndexRetriever {self.name}>"

    def rank(self, question: Question, k: int) -> Ranking:
        """The index's best k; passages that share no word with the question come last.

        Args:
            question: Its text and namespace are used; its gold is not looked at.
            k: Length of the ranking.
        """
        view = self._store.view(question.namespace)
        return _ranking(view, _search(self._store, view, question.text, k, self._mode), k)


class PageRankRetriever:
    """Personalised PageRank over the graph, from what the hybrid index and the names give.

    It is `hoptrail.graph.ranking.pagerank.pagerank_ranking`, which the policy's candidates
    come from too:
    the policy has to beat the walk that it builds on.

    Args:
        store: Where to search.
        graph: Its graph.
    """

    name = "pagerank"

    def __init__(self, store: Store, graph: Graph) -> None:
        self._store = store
        self._graph = graph

    def __repr__(self) -> str:
        return "<PageRankRetriever>"

    def rank(self, question: Question, k: int) -> Ranking:
        """Passages by how often the walker is on them, then those that it never reaches.

        Args:
            question: Its text and namespace are used; its gold is not looked at.
            k: Length of the ranking.
        """
        from hoptrail.graph.ranking.pagerank import pagerank_ranking

        view = self._store.view(question.namespace)
        scores, slots = _search(self._store, view, question.text, SEEDS, "hybrid")
        if not view.size:
            return Ranking((), ())
        hits = dict(zip(slots.tolist(), scores.tolist(), strict=True))
        reached, shares = pagerank_ranking(self._graph.view(view), hits, question.text)
        return _ranking(view, (shares, reached), k)


class Recaller(Protocol):
    """What walks a memory; `hoptrail.Memory` is one."""

    def recall(self, question: str, k: int, namespace: Namespace, effort: str) -> Recall:
        """The k passages that a question needs, and the trails behind them.

        Args:
            question: In words.
            k: How many passages, at least 1.
            namespace: Where to look: every namespace that begins with it.
            effort: What it may cost, by name.
        """


class RecallRetriever:
    """A memory's `recall` as a retriever: the policy, in comparisons.

    Args:
        memory: What recalls.
        effort: What a recall may cost.
        name: What it is called in reports.
    """

    def __init__(self, memory: Recaller, effort: str, *, name: str = "policy") -> None:
        self._memory = memory
        self._effort = effort
        self.name = name

    def __repr__(self) -> str:
        return f"<RecallRetriever {self.name}, effort {self._effort}>"

    def rank(self, question: Question, k: int) -> Ranking:
        """The recall's passages, and how many passages were read for them.

        Args:
            question: Its text and namespace are used; its gold is not looked at.
            k: Length of the ranking.
        """
        recall = self._memory.recall(question.text, k, question.namespace, self._effort)
        ids = tuple(hit.passage.id for hit in recall.hits)
        return Ranking(
            ids,
            tuple(hit.score for hit in recall.hits),
            recall.cost.passages_read,
            decisions=_decisions(recall.trails[0]) if recall.trails else (),
            trail=recall.trails[0] if recall.trails else None,
            needed=tuple(hit.probability for hit in recall.hits if hit.probability is not None),
            complete=tuple(hit.complete for hit in recall.hits if hit.complete is not None),
        )


def _decisions(trail: Trail) -> tuple[Decision, ...]:
    """What the policy decided along a trail."""
    ids = tuple(hop.id for hop in trail.hops)
    stops = (*(hop.stop_probability for hop in trail.hops), trail.stop_probability)
    return tuple(Decision(ids[:count], stop) for count, stop in enumerate(stops))


def baseline(name: str, store: Store, graph: Graph) -> Retriever:
    """The baseline of that name.

    Args:
        name: "bm25", "dense", "hybrid" or "pagerank".
        store: Where to search.
        graph: Its graph; used by PageRank.

    Raises:
        InputError: There is none.
    """
    if name == "bm25":
        return IndexRetriever(store, "sparse")
    if name == "dense":
        return IndexRetriever(store, "dense")
    if name == "hybrid":
        return IndexRetriever(store, "hybrid")
    if name == "pagerank":
        return PageRankRetriever(store, graph)
    raise InputError(f"there is no baseline {name!r}: choose from {', '.join(BASELINES)}")


def _search(store: Store, view: View, text: str, k: int, mode: Mode) -> _Scored:
    from hoptrail.memory.search import hybrid_search

    if not view.size:  # and no vectors yet that would say how wide they are
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    vector = None if mode == "sparse" else store.encode_queries([text])[0]
    return hybrid_search.search(view, text, vector, k, mode)


def _ranking(view: View, scored: _Scored, k: int) -> Ranking:
    """The first k of what was found, made up to k by the rest of the scope at score 0 or below."""
    scores, slots = scored[0][:k], scored[1][:k]
    if len(slots) < min(k, view.size):
        rest = np.flatnonzero(view.alive)
        rest = rest[~np.isin(rest, slots)]
        rest = rest[view.order(np.zeros(len(rest)), rest)][: k - len(slots)]
        last = min(float(scores[-1]), 0.0) if len(scores) else 0.0
        scores = np.concatenate([scores, np.full(len(rest), last)])
        slots = np.concatenate([slots, rest])
    # A scope of several namespaces may hold an id twice: the better one stands for it.
    best: dict[str, float] = {}
    for passage, score in zip(view.passages(slots.tolist()), scores.tolist(), strict=True):
        best.setdefault(passage.id, score)
    return Ranking(tuple(best), tuple(best.values()))
