"""What a policy has to beat: BM25, dense, hybrid and personalised PageRank over one store.

All are one-shot: the question goes in, a ranking comes out, nothing is read on the way. Each one's
time includes encoding the question by the model itself, never from a cache, and reading the
passages that it returns. Rankings are full: where an index finds fewer than k, the rest of the
namespace follows in an order that content alone decides.

PageRank's walker starts from the hybrid index's first hits and from the passages whose titles the
question names, so that it sees at least what the hybrid baseline sees. Source of the idea:
HippoRAG (Gutiérrez et al. 2024), here over mentions, entities and links made without an LLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.evaluation.benchmark import Ranking, Retriever
from hoptrail.types import Namespace, Question, Recall

if TYPE_CHECKING:
    from hoptrail.graph.graph import Graph
    from hoptrail.memory.store import Mode, Store
    from hoptrail.memory.view import View

Baseline = Literal["bm25", "dense", "hybrid", "pagerank"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)

# Chosen for recall@5 on 250 training questions each of MuSiQue, 2WikiMultiHopQA and HotpotQA, from
# 3 to 40 seeds, damping 0.3 to 0.85 and names of weight 0.3 to 8; a baseline deserves as much.
SEEDS = 3
"""Hybrid hits that a PageRank walk starts from."""
NAMED = 4.0
"""What a title named in the question weighs as a seed, the best hit weighing 1."""
DAMPING = 0.7
"""Chance that the walker goes on rather than back to a seed."""

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
        """The index's best k; passages that share no word with the question come last."""
        view = self._store.view(question.namespace)
        return _ranking(view, _search(self._store, view, question.text, k, self._mode), k)


class PageRankRetriever:
    """Personalised PageRank over the graph, from what the hybrid index and the names give.

    Args:
        store: Where to search.
        graph: Its graph.
        seeds: Hybrid hits to start from.
        named: Weight of a passage whose title the question names, the best hit weighing 1.
        damping: Chance to walk on, in [0, 1).
    """

    name = "pagerank"

    def __init__(
        self,
        store: Store,
        graph: Graph,
        *,
        seeds: int = SEEDS,
        named: float = NAMED,
        damping: float = DAMPING,
    ) -> None:
        self._store = store
        self._graph = graph
        self._seeds = seeds
        self._named = named
        self._damping = damping

    def __repr__(self) -> str:
        return f"<PageRankRetriever {self._seeds} seeds, damping {self._damping}>"

    def rank(self, question: Question, k: int) -> Ranking:
        """Passages by how often the walker is on them, then those that it never reaches."""
        view = self._store.view(question.namespace)
        hits = _search(self._store, view, question.text, max(k, self._seeds), "hybrid")
        graph_view = self._graph.view(view)
        seeds = self._start(hits, graph_view.named(question.text))
        if not seeds:
            return _ranking(view, hits, k)
        scores = graph_view.pagerank(seeds, damping=self._damping)
        reached = np.flatnonzero(scores > 0)
        # Relative to the highest and rounded, so that the order of sums does not break ties.
        shares = np.round(scores[reached] / scores.max(), 6)
        best = view.order(shares, reached)[:k]
        beyond = hits[1][~np.isin(hits[1], reached[best])]
        every = np.concatenate([shares[best], np.zeros(len(beyond))])
        return _ranking(view, (every, np.concatenate([reached[best], beyond])), k)

    def _start(self, hits: _Scored, named: Sequence[int]) -> dict[int, float]:
        """Where the walker starts: seeds by slot, the best hit weighing 1."""
        scores, slots = hits[0][: self._seeds], hits[1][: self._seeds]
        positive = scores > 0  # a hybrid score of 0 is an average passage
        seeds: dict[int, float] = {}
        if positive.any():
            weights = scores[positive] / scores.max()
            seeds = dict(zip(slots[positive].tolist(), weights.tolist(), strict=True))
        for slot in named:
            seeds[slot] = seeds.get(slot, 0.0) + self._named
        return seeds


class Recaller(Protocol):
    """What walks a memory; `hoptrail.Memory` is one."""

    def recall(self, question: str, k: int, namespace: Namespace, effort: str) -> Recall:
        """The k passages that a question needs, and the trails behind them."""


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
        """The recall's passages, and how many passages were read for them."""
        recall = self._memory.recall(question.text, k, question.namespace, self._effort)
        ids = tuple(hit.passage.id for hit in recall.hits)
        return Ranking(ids, tuple(hit.score for hit in recall.hits), recall.cost.passages_read)


def baseline(name: str, store: Store, graph: Graph) -> Retriever:
    """The baseline of that name.

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
    from hoptrail.memory import fusion

    if not view.size:  # and no vectors yet that would say how wide they are
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    vector = None if mode == "sparse" else store.encode_queries([text])[0]
    return fusion.search(view, text, vector, k, mode)


def _ranking(view: View, found: _Scored, k: int) -> Ranking:
    """The first k of what was found, made up to k by the rest of the scope at score 0 or below."""
    scores, slots = found[0][:k], found[1][:k]
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
