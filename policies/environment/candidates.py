"""The candidate pool of one question: what the policy may read, and how each came in.

The pool starts with index hits for the question and for the first query, and the passages that the
question names. It widens with every passage read (hits of the query that this passage alone leads
to, and its neighbours in the graph) and with every state entered (hits of its query). Which
candidates a state may choose from depends on its own evidence alone (`action_mask`), so that π(a|s)
is a function of the state, whatever other beams have read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.ranking.pagerank import pagerank_ranking
from hoptrail.graph.view import GraphView, Mention
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.index.slots import Slots
from hoptrail.memory.search.hybrid_search import standard
from hoptrail.memory.views.view import View
from hoptrail.policies.environment.terms import Ids, Lexicon

HYBRID_HITS, DENSE_HITS, SPARSE_HITS = 25, 12, 12
"""Candidates that the question alone brings, from each ranking."""
RANKING_DEPTH = 100
"""How deep the rankings of the question are known."""
PAGERANK_CANDIDATES = 15
"""Candidates that a random walk from the question's hits and names brings."""
READ_HITS = 10
"""Dense hits that a next query brings."""
SPARE = 4
"""Hits asked for besides, in place of those that were read already."""
ENTITY_HITS = 6
"""Neighbours that a passage brings through the rarest entities that it shares with them."""
HUB = 30
"""A passage mentioned by more than this many does not bring them in."""
WINDOW = 60
"""Characters on each side of a mention that say what it is to the passage."""


@dataclass(frozen=True, slots=True)
class RetrievalScope:
    """Where candidates come from: one scope's indexes, its graph, and its terms."""

    view: View
    graph: GraphView
    lexicon: Lexicon


@dataclass(frozen=True, slots=True)
class Read:
    """A passage that was read for this question, and what it led to."""

    slot: int
    query: Vectors
    """The query that it alone leads to, without an encoder pass, `(d,)`."""
    introduced: frozenset[int]
    """Slots that it makes available."""
    mentions: tuple[Mention, ...]
    """The titles that it names."""
    question_idf_near_mention: tuple[float, ...]
    """For each mention, the share of the question's idf in the text around it."""
    mentioned_by: frozenset[int]
    """Slots that name its title."""
    entity_neighbours: frozenset[int]
    """Slots that share rare entities with it."""


@dataclass(frozen=True, slots=True)
class StateQuery:
    """The query of a state: what is asked for next, with this evidence."""

    vector: Vectors
    """`(d,)`, L2-normalised."""
    text: str | None
    """What the encoder read; None where the query moved as a vector."""
    hits: frozenset[int]
    """Slots that it brings."""
    mean: float
    """Of the cosines of all passages of the scope with it."""
    spread: float
    """Their standard deviation."""


class CandidatePool:
    """The candidates of one question, in the order in which they were found.

    Args:
        question: In words.
        vector: Its vector, `(d,)`, as the memory's encoder gives it.
        scope: Where candidates come from.
        allowed: `(capacity,)` the slots that may be candidates; all by default.
        near: The `RANKING_DEPTH` slots nearest to the vector, where they are known.
        first: The first query, `(d,)`: that of the state in which nothing was read; the question's
            vector by default.
        first_hits: What `nearest_slots` gives for the first query, where somebody has asked.

    Attributes:
        slots: The candidates' slots in the view.
        base: How many of them the question alone introduced.
        reads: The passages read so far, by slot.
        queries: The queries of the states entered so far, by evidence.
    """

    def __init__(
        self,
        question: str,
        vector: Vectors,
        scope: RetrievalScope,
        allowed: NDArray[np.bool_] | None = None,
        near: Slots | None = None,
        first: Vectors | None = None,
        first_hits: Slots | None = None,
    ) -> None:
        view, graph, lexicon = scope.view, scope.graph, scope.lexicon
        self.question, self.vector, self.scope = question, vector, scope
        self.allowed = allowed
        self.terms: Ids = lexicon.ids(question)
        named = graph.title_matches(question)
        self.named = {slot: length for slot, length in named.items() if self._may(slot)}
        self.reads: dict[int, Read] = {}
        self.queries: dict[frozenset[int], StateQuery] = {}
        self.slots: list[int] = []
        self.position: dict[int, int] = {}
        self._rank_all(view, near)
        self._admit(self.rankings[0][:HYBRID_HITS])
        self._admit(self.rankings[1][:DENSE_HITS])
        self._admit(self.rankings[2][:SPARSE_HITS])
        self._admit(self.pagerank_ranking[:PAGERANK_CANDIDATES])
        self._admit(sorted(self.named, key=view.content_key))
        first = vector if first is None else first
        if first_hits is None:
            [first_hits] = nearest_slots(scope, first[None], allowed)
        self.ask([()], first[None], [question], [first_hits])
        self.base = len(self.slots)

    def _rank_all(self, view: View, near: Slots | None) -> None:
        """Score the scope for the question, and rank it in four ways, `RANKING_DEPTH` deep."""
        sparse_hits = self._rank_by_words(view)
        self.best_sparse = float(self.sparse_scores.max(initial=0.0))
        mean, std = view.dense.moments(self.vector[None])
        self.dense_moments = float(mean[0]), float(std[0])
        if near is None:
            near = view.dense.search(self.vector[None], RANKING_DEPTH, allowed=self.allowed)[1][0]
        dense = [slot for slot in near.tolist() if slot >= 0]
        sparse = [int(s) for s in sparse_hits]
        union = list(dict.fromkeys([*dense, *sparse]))
        z_sparse, z_dense, _ = self.z_scores(union)
        fused = np.round(z_sparse + z_dense, 5)
        order = view.order(fused, np.asarray(union, dtype=np.int64))
        self.rankings = [union[i] for i in order[:RANKING_DEPTH]], dense, sparse
        self.best_hybrid = float((z_sparse + z_dense)[order[0]]) if len(order) else 0.0
        hits = {slot: float(score) for slot, score in zip(union, fused, strict=True)}
        most = RANKING_DEPTH if self.allowed is None else None
        walked, shares = pagerank_ranking(self.scope.graph, hits, self.question, most=most)
        if self.allowed is not None:  # a walk may pass through what it may not end at
            rankable = self.allowed[walked]
            walked, shares = walked[rankable], shares[rankable]
        self.pagerank_ranking = [int(slot) for slot in walked[:RANKING_DEPTH]]
        self.pagerank_shares = dict(
            zip(self.pagerank_ranking, shares[:RANKING_DEPTH].tolist(), strict=True)
        )

    def _rank_by_words(self, view: View) -> Slots:
        """Score the scope by the question's words; the best slots, at most `RANKING_DEPTH`."""
        self.sparse_scores = view.sparse.scores(self.question)
        sequence = self.scope.graph.sequence()
        if not len(sequence):
            self.sparse_moments = view.sparse.moments(self.question)
            return view.sparse.search(self.question, RANKING_DEPTH, allowed=self.allowed)[1]
        self.sparse_scores = sequence.smooth_scores(self.sparse_scores)
        living = self.sparse_scores[view.alive]
        self.sparse_moments = float(living.mean()), float(living.std())
        may = view.alive if self.allowed is None else self.allowed
        hits = np.flatnonzero(may & (self.sparse_scores > 0))
        scores = self.sparse_scores[hits]
        if (
            len(hits) > RANKING_DEPTH
        ):  # the best and what equals the last of them, before content decides
            best = scores >= np.partition(scores, -RANKING_DEPTH)[-RANKING_DEPTH]
            hits, scores = hits[best], scores[best]
        return hits[view.order(scores, hits)[:RANKING_DEPTH]]

    def z_scores(
        self, slots: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Sparse and dense scores in standard deviations over the scope, and cosines, `(n,)`.

        Args:
            slots: n of them, candidates or not.
        """
        at = np.asarray(slots, dtype=np.int64)
        cosine = self.scope.view.dense.cosines(self.vector, at)
        sparse = standard(self.sparse_scores[at], *self.sparse_moments)
        dense = standard(cosine, *self.dense_moments)
        return sparse.astype(np.float32), dense.astype(np.float32), cosine

    def read(
        self, slots: Sequence[int], queries: Vectors, query_hits: Sequence[Slots] | None = None
    ) -> None:
        """Take passages as read: widen by what each alone leads to, and by its links.

        Args:
            slots: n passages of the scope.
            queries: `(n, d)`, the query that each alone leads to.
            query_hits: What `search_nearest` gives for the queries, where somebody has asked.
        """
        if not len(slots):
            return
        view, graph = self.scope.view, self.scope.graph
        key = view.content_key  # what the graph gives comes in the order of slots
        if query_hits is None:
            query_hits = search_nearest([self] * len(slots), queries)
        for slot, query, hits in zip(slots, queries, query_hits, strict=True):
            mentions = tuple(m for m in graph.out_mentions(slot) if self._may(m.target))
            mentioned_by = {m.source for m in graph.in_mentions(slot)}
            neighbours = _entity_neighbours(graph, slot, key)
            introduced = list(
                dict.fromkeys(
                    [
                        *[int(h) for h in hits if h >= 0 and h != slot][:READ_HITS],
                        *[m.target for m in mentions],
                        *_unless_hub(mentioned_by, key),
                        *sorted((other for other, _, _ in graph.links(slot, steps=False)), key=key),
                        *_unless_hub({o for o, _, _ in graph.back_links(slot, steps=False)}, key),
                        *neighbours,
                    ]
                )
            )
            introduced = [other for other in introduced if self._may(other)]
            self.reads[slot] = Read(
                slot,
                query,
                frozenset(introduced),
                mentions,
                self._question_idf_near(slot, mentions),
                frozenset(mentioned_by),
                frozenset(neighbours),
            )
            self._admit([slot, *introduced])

    def ask(
        self,
        states: Sequence[tuple[int, ...]],
        queries: Vectors,
        texts: Sequence[str | None],
        query_hits: Sequence[Slots],
    ) -> None:
        """Enter states: widen by what their queries bring.

        Args:
            states: n of them, by the slots of their evidence, all of which was read.
            queries: `(n, d)`, theirs.
            texts: What the encoder read for each; None where the query moved as a vector.
            query_hits: What `search_nearest` gives for the queries.
        """
        if not len(states):
            return
        mean, spread = self.scope.view.dense.moments(queries)
        for i, (evidence, hits) in enumerate(zip(states, query_hits, strict=True)):
            introduced = [int(h) for h in hits if h >= 0 and h not in evidence][:READ_HITS]
            self.queries[frozenset(evidence)] = StateQuery(
                queries[i], texts[i], frozenset(introduced), float(mean[i]), float(spread[i])
            )
            self._admit(introduced)

    def query(self, evidence: Iterable[int]) -> StateQuery:
        """The query of a state that was entered.

        Args:
            evidence: Its slots, in any order.
        """
        return self.queries[frozenset(evidence)]

    def forget(self, reads: int, queries: int, candidates: int) -> None:
        """Go back to when it had only its first so many reads, states and candidates.

        Args:
            reads: How many reads stay.
            queries: How many states stay; at least 1.
            candidates: How many candidates stay; at least `base`.
        """
        for state in list(self.queries)[queries:]:
            del self.queries[state]
        for slot in list(self.reads)[reads:]:
            del self.reads[slot]
        for slot in self.slots[candidates:]:
            del self.position[slot]
        del self.slots[candidates:]

    def action_mask(self, evidence: Iterable[int]) -> NDArray[np.bool_]:
        """Which candidates a state with this evidence (slots) may choose from, `(n,)`.

        Args:
            evidence: Slots of a state that was entered in this pool.
        """
        evidence = tuple(evidence)
        available = np.zeros(len(self.slots), dtype=bool)
        available[: self.base] = True
        available[[self.position[s] for s in self.query(evidence).hits]] = True
        for slot in evidence:
            available[[self.position[s] for s in self.reads[slot].introduced]] = True
            available[self.position[slot]] = True
        return available

    def _question_idf_near(self, slot: int, mentions: Sequence[Mention]) -> tuple[float, ...]:
        """The share of the question's idf in the text around each mention."""
        lexicon = self.scope.lexicon
        text = lexicon.passage_terms([slot])[0].passage.text
        idf, question_terms = lexicon.idf(), set(self.terms.tolist())
        total = float(idf[self.terms].sum()) + 1e-6
        around: dict[tuple[int, int], float] = {}
        for mention in mentions:
            span = mention.start, mention.end
            if span not in around:
                near = lexicon.ids(text[max(0, span[0] - WINDOW) : span[1] + WINDOW])
                around[span] = (
                    float(sum(idf[t] for t in near.tolist() if t in question_terms)) / total
                )
        return tuple(around[m.start, m.end] for m in mentions)

    def _may(self, slot: int) -> bool:
        """Whether a slot may be a candidate."""
        return self.allowed is None or bool(self.allowed[slot])

    def _admit(self, slots: Iterable[int]) -> None:
        for slot in slots:
            if slot not in self.position:
                self.position[slot] = len(self.slots)
                self.slots.append(slot)


def search_nearest(pools: Sequence[CandidatePool], queries: Vectors) -> list[Slots]:
    """The slots nearest to each next query, in the scope of its pool: one search for all.

    Args:
        pools: A pool for each query; several may be the same.
        queries: `(n, d)`, L2-normalised.

    Returns:
        For each query its nearest slots, best first, -1 where there are no more.
    """
    slots_of: list[Slots] = [np.zeros(0, dtype=np.int64)] * len(pools)
    scopes: dict[tuple[int, int], list[int]] = {}
    for row, pool in enumerate(pools):
        scopes.setdefault((id(pool.scope.view), id(pool.allowed)), []).append(row)
    for rows in scopes.values():
        pool = pools[rows[0]]
        near = nearest_slots(pool.scope, queries[rows], pool.allowed)
        for row, slots in zip(rows, near, strict=True):
            slots_of[row] = slots
    return slots_of


def nearest_slots(
    scope: RetrievalScope, queries: Vectors, allowed: NDArray[np.bool_] | None
) -> Slots:
    """The slots nearest to each next query, best first, -1 where there are no more: `(n, hits)`.

    Args:
        scope: Where candidates come from.
        queries: `(n, d)`, L2-normalised.
        allowed: `(capacity,)` the slots that may be candidates; all by default.
    """
    return scope.view.dense.search(queries, READ_HITS + SPARE, allowed=allowed)[1]


def _unless_hub(slots: set[int], key: Callable[[int], bytes]) -> list[int]:
    return sorted(slots, key=key) if len(slots) <= HUB else []


def _entity_neighbours(
    graph: GraphView, slot: int, content_key: Callable[[int], bytes]
) -> list[int]:
    """The passages that share the rarest entities with this one, most shared first."""
    weight: dict[int, float] = {}
    for members in graph.shared_entities(slot, HUB):
        for other in members:
            if other != slot:
                weight[other] = weight.get(other, 0.0) + 1.0 / len(members)
    rounded = {other: round(share, 6) for other, share in weight.items()}
    # Whoever is behind so many others need not be told apart from its equals.
    least = sorted(rounded.values(), reverse=True)[:ENTITY_HITS][-1] if rounded else 0.0
    best = [other for other, share in rounded.items() if share >= least]
    return sorted(best, key=lambda s: (-rounded[s], content_key(s)))[:ENTITY_HITS]
