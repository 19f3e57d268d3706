"""Walking a scope: from questions to rankings and trails.

    read(i)  = Σ over the prefixes s that the beam expanded of π(s) · π(i | s)
    fit(i)   = h(i) + ALIKE · Σ over r read of read(r) · cos(r, i) / Σ over r read of read(r)
    score(i) = read(i) · exp(PRIOR · (1 - read(i)) · (fit(i) - max fit))

with read(i) the probability that passage i is read next, summed (1 at the most in the two lower
lines), h(i) its hybrid score for the question, and cos the cosine of the words of two passages,
weighted by idf: search for the question, and for more like what was read for it (as in relevance
feedback, Rocchio 1971). What the policy is sure of stays; search has a say in the rest. STOP ends
reading, not the list: candidates that no prefix favours are ranked by the little that each gives
them, and what was never in the pool follows by fusion rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.view import GraphView
from hoptrail.memory.encoders.query_side import for_questions
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.views.view import View
from hoptrail.policies.environment.candidates import RANKING_DEPTH, CandidatePool, RetrievalScope
from hoptrail.policies.environment.efforts import Effort
from hoptrail.policies.environment.feature_names import PairFeature
from hoptrail.policies.environment.reformulation import Reformulator, content_of, rewritten
from hoptrail.policies.environment.state import State
from hoptrail.policies.environment.terms import Lexicon
from hoptrail.policies.policy import Policy
from hoptrail.policies.relations.relation_beam import RelationRetriever, scorer_of
from hoptrail.policies.result import TRAILS, Decided, RetrievalResult
from hoptrail.policies.search.beam import BeamSearch, Episode, Prefix, rounded
from hoptrail.policies.search.reranker import NOTHING, JointFit, JointScorer
from hoptrail.policies.search.sampled_beam import SampledBeam, decided
from hoptrail.types import Hop, Trail

PRIOR = 0.3
"""What a standard deviation of the hybrid score counts in the log of a score that is near 0."""
ALIKE = 10.0
"""How many of these deviations it is worth to have all words in common with what was read."""


class PolicyRetriever:
    """Retrieves from one scope by walking it with one policy.

    Args:
        policy: π.
        view: The scope's passages and indexes; a retriever is good for one version of it.
        graph: The scope's graph.
        encoder: For questions and rewritten queries.
        effort: The bounds.
    """

    def __init__(
        self, policy: Policy, view: View, graph: GraphView, encoder: Encoder, effort: Effort
    ) -> None:
        self.encoder = encoder = for_questions(encoder)
        self.scope = RetrievalScope(view, graph, Lexicon(view, graph))
        reformulator = Reformulator(encoder, reencode=effort.reencode)
        followed = policy.first(effort.networks).eval()
        self.search = BeamSearch(followed, reformulator, effort)
        self.sampled = SampledBeam(followed, reformulator, effort)
        self.joint = (
            JointScorer(self.scope, encoder, effort.rerank_top, policy.rerank_weight)
            if effort.rerank_top
            else None
        )
        self._over_relations: RelationRetriever | None = None
        if len(graph.entity_names()):  # a trail that reads the topic has a hop less to walk
            scorer = scorer_of(policy, graph.relations().names, encoder)
            self._over_relations = RelationRetriever(
                view, graph, scorer, encoder, effort.max_hops - 1
            )

    def retrieve(
        self,
        questions: Sequence[str],
        k: int = 100,
        *,
        allowed: NDArray[np.bool_] | None = None,
        explore: int | None = None,
    ) -> list[RetrievalResult]:
        """The walk over each question; `k` passages each where the scope holds as many.

        Args:
            questions: In words.
            k: How many passages to rank.
            allowed: `(capacity,)` the slots that may be read and ranked; all by default.
            explore: A seed to draw trails with, rather than follow the likeliest; walks over
                relations, which are not learned from feedback, follow the likeliest all the same.
        """
        if not (self.scope.view.size if allowed is None else allowed.any()):
            return [_nothing() for _ in questions]
        if self._over_relations is None:
            return self._over_texts(questions, k, allowed, explore)
        named = [bool(self._over_relations.topics(q, allowed)) for q in questions]
        related = [q for q, names in zip(questions, named, strict=True) if names]
        others = [q for q, names in zip(questions, named, strict=True) if not names]
        over_relations = iter(self._over_relations.retrieve(related, k, allowed))
        over_texts = iter(self._over_texts(others, k, allowed, explore))
        return [next(over_relations if names else over_texts) for names in named]

    def _over_texts(
        self,
        questions: Sequence[str],
        k: int,
        allowed: NDArray[np.bool_] | None,
        explore: int | None,
    ) -> list[RetrievalResult]:
        """The walks over what passages say; see `hoptrail.policies.search.beam`."""
        if not questions:
            return []
        vectors = self.encoder.encode(list(questions))
        near = self.scope.view.dense.search(vectors, RANKING_DEPTH, allowed=allowed)[1]
        pools = [
            CandidatePool(question, vector, self.scope, allowed, slots)
            for question, vector, slots in zip(questions, vectors, near, strict=True)
        ]
        if explore is not None:
            walked = self.sampled.sample(pools, explore)
        else:
            walked = [(e, decided(e, TRAILS)) for e in self.search.run(pools)]
            for episode, _ in walked:
                _let_search_say(episode)
        judged = [NOTHING] * len(walked)
        if self.joint:
            judged = self.joint.rescore([episode for episode, _ in walked])
        return [
            _finish(episode, k, trails, fit)
            for (episode, trails), fit in zip(walked, judged, strict=True)
        ]


def _finish(episode: Episode, k: int, trails: Sequence[Decided], fit: JointFit) -> RetrievalResult:
    """The ranking and the trails of a question that has been walked."""
    pool = episode.pool
    view = pool.scope.view
    score = {slot: rounded(value) for slot, value in episode.score.items()}
    slots = sorted(score, key=lambda slot: (-score[slot], view.content_key(slot)))[:k]
    scores = [score[slot] for slot in slots]
    rest = _rest(pool, episode.score, k - len(slots))
    scores += [-1.0 - i for i in range(len(rest))]
    return RetrievalResult(
        slots=np.asarray(slots + rest, dtype=np.int64),
        scores=np.asarray(scores),
        trails=_trails(episode),
        read=tuple(pool.reads),
        candidates=len(pool.slots),
        texts_encoded=episode.encoded + fit.texts,
        decided=tuple(trails),
        pairs_scored=fit.pairs,
        sub_questions=fit.sub_questions,
    )


def _let_search_say(episode: Episode) -> None:
    """Take into each candidate's score how well it fits the question, and what was read for it."""
    slots = list(episode.score)
    read = np.minimum(np.asarray(list(episode.score.values())), 1)
    sparse, dense, _ = episode.pool.z_scores(slots)
    fit = (sparse + dense).astype(np.float64)
    found = episode.features.now()
    by = {slot: row for slot, row in found.rows.items() if slot in episode.read}
    weights = np.asarray([min(episode.score.get(slot, 0.0), 1) for slot in by])
    if weights.sum() > 0:
        at = [episode.pool.position[slot] for slot in slots]
        in_common = found.beside[list(by.values())][:, at, PairFeature.TERM_COSINE]
        fit += ALIKE * (weights @ in_common) / weights.sum()
    factor = np.exp(PRIOR * (1 - read) * (fit - fit.max(initial=-np.inf)))
    for slot, change in zip(slots, factor.tolist(), strict=True):
        episode.score[slot] *= change


def _rest(pool: CandidatePool, scored: Mapping[int, float], count: int) -> list[int]:
    """Passages that were never in the pool, by fusion with the question, at most `count`."""
    listed = [slot for slot in pool.rankings[0] if slot not in scored]
    view = pool.scope.view
    if len(listed) >= count or len(pool.rankings[0]) == view.size:
        return listed[:count]
    alive = np.flatnonzero(view.alive if pool.allowed is None else pool.allowed)
    sparse, dense, _ = pool.z_scores(alive.tolist())
    order = alive[view.order(np.round(sparse + dense, 5), alive)].tolist()
    return [s for s in dict.fromkeys([*listed, *order]) if s not in scored][:count]


def _trails(episode: Episode) -> tuple[Trail, ...]:
    return tuple(
        Trail(
            _hops(episode.pool, terminal.prefix),
            float(np.exp(terminal.log_prob)),
            terminal.stop_reason,
            terminal.stop_probability,
        )
        for terminal in episode.ranked_terminals()[:TRAILS]
    )


def _hops(pool: CandidatePool, prefix: Prefix) -> tuple[Hop, ...]:
    passages = pool.scope.view.passages(list(prefix.evidence))
    hops: list[Hop] = []
    steps = zip(passages, prefix.hops, prefix.stops, strict=True)
    for i, (passage, probability, stop) in enumerate(steps):
        query = pool.question
        if i:
            query = rewritten(pool.question, content_of(pool, prefix.evidence[i - 1]))
        link = link_between(pool, prefix.evidence[:i], prefix.evidence[i])
        hops.append(Hop(query, passage.id, link, probability, stop, passage.namespace))
    return tuple(hops)


def link_between(pool: CandidatePool, evidence: State, slot: int) -> str | None:
    """The kind of edge that led from the evidence to a passage, the latest read first.

    Args:
        pool: The question's.
        evidence: Slots of what was read before, in order.
        slot: The passage that came next.
    """
    graph = pool.scope.graph
    for source in reversed(evidence):
        if any(m.target == slot for m in pool.reads[source].mentions):
            return "mentions"
        if kinds := [kind for target, kind, _ in graph.links(source) if target == slot]:
            return min(kinds)
        if any(m.target == source for m in graph.out_mentions(slot)):
            return "mentioned_by"
        if kinds := [kind for other, kind, _ in graph.back_links(source) if other == slot]:
            return f"~{min(kinds)}"
    return None


def _nothing() -> RetrievalResult:
    return RetrievalResult(np.zeros(0, np.int64), np.zeros(0), (), (), 0, 0)
