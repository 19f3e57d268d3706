"""Walking a scope: from questions to rankings and trails.

Formulas of the scores are in `hoptrail.policies.search.scoring`. STOP ends reading, not the list:
candidates that no prefix favours are ranked by the little that each gives them, and what was never
in the pool follows by fusion rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.view import GraphView
from hoptrail.learning.arrays.one_thread import one_blas_thread
from hoptrail.memory.encoders.query_side import for_questions
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.views.view import View
from hoptrail.policies.environment.candidates import (
    RANKING_DEPTH,
    CandidatePool,
    RetrievalScope,
    nearest_slots,
)
from hoptrail.policies.environment.efforts import Effort
from hoptrail.policies.environment.feature_names import PairFeature
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.environment.terms import Lexicon
from hoptrail.policies.networks.feedback_ranking import DEPTH as DEPTH_OF_FEEDBACK
from hoptrail.policies.networks.score_calibration import ScoreCalibration
from hoptrail.policies.relations.relation_beam import RelationRetriever, scorer_of
from hoptrail.policies.result import TRAILS, Decided, RetrievalResult
from hoptrail.policies.search.beam import (
    DECIMALS,
    BeamSearch,
    Episode,
    Terminal,
    TrailPrefix,
    decided,
)
from hoptrail.policies.search.explanation import explain, link_between
from hoptrail.policies.search.reranker import NOT_RERANKED, Reranker, RerankFit
from hoptrail.policies.search.scoring import (
    Reals,
    Scores,
    blend_by_length,
    blend_with_search,
    log_lengths,
    rank_first,
    reorder,
    round_score,
    search_fit,
)
from hoptrail.policies.search.walk_features import DEPTH, ranking_features, walk_features
from hoptrail.types import Hop, Trail

if TYPE_CHECKING:
    from hoptrail.policies.policy import AnyPolicy
    from hoptrail.policies.search.sampled_beam import SampledBeam


@dataclass(frozen=True, slots=True)
class _ScoredWalk:
    """A question that has been walked, and the scores of what was found, step by step."""

    episode: Episode
    trails: tuple[Decided, ...]
    search_fit: Reals | None
    """As search had a say in the scores; None where it had none, or by length."""
    blended: Scores
    """Before candidates were judged jointly."""
    judged: Scores
    """After."""
    rerank_fit: RerankFit


class PolicyRetriever:
    """Retrieves from one scope by walking it with one policy.

    Args:
        policy: π.
        view: The scope's passages and indexes; a retriever is good for one version of it.
        graph: The scope's graph.
        encoder: The memory's, or a cache before it.
        effort: The bounds.
        cache: Puts a cache before what encodes queries; none by default.
    """

    def __init__(
        self,
        policy: AnyPolicy,
        view: View,
        graph: GraphView,
        encoder: Encoder,
        effort: Effort,
        *,
        cache: Callable[[Encoder], Encoder] | None = None,
    ) -> None:
        self.reformulator = reformulator = Reformulator(
            encoder, reencode=effort.reencode, learned=policy.reformulator, cache=cache
        )
        encoder = for_questions(encoder)
        self.encoder = encoder = encoder if cache is None else cache(encoder)
        self.scope = RetrievalScope(view, graph, Lexicon(view, graph))
        self.search = BeamSearch(policy.first(effort.networks), reformulator, effort)
        self.reranker = (
            Reranker(self.scope, encoder, effort.rerank_top, policy.rerank_weight)
            if effort.rerank_top
            else None
        )
        self.calibration = policy.scores
        self.feedback_ranking = policy.feedback_ranking
        self._log_lengths = _log_lengths(view)
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
        explained: int = 0,
    ) -> list[RetrievalResult]:
        """The walk over each question; `k` passages each where the scope holds as many.

        Args:
            questions: In words.
            k: How many passages to rank.
            allowed: `(capacity,)` the slots that may be read and ranked; all by default.
            explore: A seed to draw trails with, rather than follow the likeliest; walks over
                relations, which are not learned from feedback, follow the likeliest all the same.
            explained: Of how many of the best it is said what their scores are made of.
        """
        with one_blas_thread():
            return self._retrieved(questions, k, allowed, explore, explained)

    def describe_ranking(
        self, question: str, count: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Reals]] | None:
        """What a ranking learned from feedback may weigh, of a ranking without one.

        Args:
            question: In words.
            count: How many passages of the ranking, where the scope holds as many.
            allowed: `(capacity,)` the slots that may be read and ranked; all by default.

        Returns:
            The slots, best first, `(n,)`, and their features by name, `(n,)` each. None where
            there is nothing to walk, or the walk is one over relations.
        """
        with one_blas_thread():
            if not (self.scope.view.size if allowed is None else allowed.any()):
                return None
            over_relations = self._over_relations
            if over_relations is not None and over_relations.topics(question, allowed):
                return None
            [walk] = self._walks([question], allowed, None)
            score, slots = _ranked(walk, count)
            slots += _rest(walk.episode.pool, score, count - len(slots))
            columns = ranking_features(walk.episode, slots, score)
            return np.asarray(slots, dtype=np.int64), columns

    def _retrieved(
        self,
        questions: Sequence[str],
        k: int,
        allowed: NDArray[np.bool_] | None,
        explore: int | None,
        explained: int,
    ) -> list[RetrievalResult]:
        """As `retrieve`: over relations where a question names an entity, else over texts."""
        if not (self.scope.view.size if allowed is None else allowed.any()):
            return [_nothing() for _ in questions]
        if self._over_relations is None:
            return self._over_texts(questions, k, allowed, explore, explained)
        named = [bool(self._over_relations.topics(q, allowed)) for q in questions]
        related = [q for q, names in zip(questions, named, strict=True) if names]
        others = [q for q, names in zip(questions, named, strict=True) if not names]
        over_relations = iter(self._over_relations.retrieve(related, k, allowed, explained))
        over_texts = iter(self._over_texts(others, k, allowed, explore, explained))
        return [next(over_relations if names else over_texts) for names in named]

    def _over_texts(
        self,
        questions: Sequence[str],
        k: int,
        allowed: NDArray[np.bool_] | None,
        explore: int | None,
        explained: int,
    ) -> list[RetrievalResult]:
        """The walks over what passages say; see `hoptrail.policies.search.beam`."""
        walks = self._walks(questions, allowed, explore)
        ranked_anew = explore is None  # what was drawn is put first, by no formula
        scores = [self._learned_order(walk) if ranked_anew else walk.judged for walk in walks]
        firsts_encoded = int(self.reformulator.learned is not None)
        results = [
            _finish(walk, one, k, firsts_encoded, self.calibration)
            for walk, one in zip(walks, scores, strict=True)
        ]
        if not explained or explore is not None:
            return results
        explanations = (
            explain(
                walk.episode,
                result.slots[:explained].tolist(),
                walk.blended,
                walk.judged,
                one,
                walk.search_fit,
                self._log_lengths,
            )
            for walk, one, result in zip(walks, scores, results, strict=True)
        )
        return [
            replace(result, explanations=explanation)
            for result, explanation in zip(results, explanations, strict=True)
        ]

    def _walks(
        self, questions: Sequence[str], allowed: NDArray[np.bool_] | None, explore: int | None
    ) -> list[_ScoredWalk]:
        """Each question walked to its end, and what was found scored."""
        if not questions:
            return []
        vectors = self.encoder.encode(list(questions))
        near = self.scope.view.dense.search(vectors, RANKING_DEPTH, allowed=allowed)[1]
        firsts = self.reformulator.first(questions, vectors)
        first_hits = nearest_slots(self.scope, firsts, allowed)
        pools = [
            CandidatePool(question, vector, self.scope, allowed, slots, first, hits)
            for question, vector, slots, first, hits in zip(
                questions, vectors, near, firsts, first_hits, strict=True
            )
        ]
        search_fits: list[Reals | None] = [None] * len(pools)
        if explore is not None:
            walks = self._sampled.sample(pools, explore)
            scores = [
                rank_first(episode.read_mass, (slot for trail in drawn for slot in trail.slots))
                for episode, drawn in walks
            ]
        else:
            walks = [(e, decided(e, TRAILS)) for e in self.search.run(pools)]
            if self._log_lengths is None:
                search_fits = [_search_fit(episode) for episode, _ in walks]
            scores = [
                self._blend(episode, fit)
                for (episode, _), fit in zip(walks, search_fits, strict=True)
            ]
        reranked = [(one, NOT_RERANKED) for one in scores]
        if self.reranker:
            reranked = self.reranker.rerank([episode for episode, _ in walks], scores)
        return [
            _ScoredWalk(episode, tuple(trails), fit, blended, judged, rerank_fit)
            for (episode, trails), fit, blended, (judged, rerank_fit) in zip(
                walks, search_fits, scores, reranked, strict=True
            )
        ]

    def _learned_order(self, walk: _ScoredWalk) -> Scores:
        """The scores in the order that was learned from feedback, where one was."""
        if self.feedback_ranking is None:
            return walk.judged
        score, slots = _ranked(walk, DEPTH_OF_FEEDBACK)
        order = self.feedback_ranking.order(ranking_features(walk.episode, slots, score))
        return reorder(walk.judged, [slots[place] for place in order])

    @cached_property
    def _sampled(self) -> SampledBeam:
        """What draws trails, with PyTorch's generators: imported when it is first asked for."""
        from hoptrail.policies.search.sampled_beam import SampledBeam

        return SampledBeam(self.search.policy, self.search.reformulator, self.search.effort)

    def _blend(self, episode: Episode, fit: Reals | None) -> Scores:
        """The scores of a walk: what the policy is sure of, and what search says of the rest."""
        if fit is not None:
            return blend_with_search(episode.read_mass, fit)
        assert self._log_lengths is not None
        pool, mass = episode.pool, episode.read_mass
        slots = list(dict.fromkeys([*mass, *(s for ranking in pool.rankings for s in ranking)]))
        sparse, dense, _ = pool.z_scores(slots)
        blended = blend_by_length(
            np.asarray([mass.get(slot, 0.0) for slot in slots]),
            sparse.astype(np.float64),
            dense.astype(np.float64),
            self._log_lengths[slots],
        )
        return dict(zip(slots, blended.tolist(), strict=True))


def _log_lengths(view: View) -> NDArray[np.float64] | None:
    """By slot of a view, where its passages differ much in length; see `scoring`."""
    alive = np.flatnonzero(view.alive)
    logarithms = log_lengths(view.sparse.lengths(alive))
    if logarithms is None:
        return None
    by_slot = np.zeros(len(view.alive))
    by_slot[alive] = logarithms
    return by_slot


def _ranked(
    walk: _ScoredWalk, depth: int, scores: Scores | None = None
) -> tuple[dict[int, float], list[int]]:
    """The scores of a walk, rounded, and the best by them, equals by content; at most `depth`."""
    values = walk.judged if scores is None else scores
    score = {slot: round_score(value) for slot, value in values.items()}
    key = walk.episode.pool.scope.view.content_key
    return score, sorted(score, key=lambda slot: (-score[slot], key(slot)))[:depth]


def _finish(
    walk: _ScoredWalk,
    scores: Scores,
    k: int,
    firsts_encoded: int,
    calibration: ScoreCalibration | None,
) -> RetrievalResult:
    """The ranking and the trails of a question that has been walked."""
    episode, fit = walk.episode, walk.rerank_fit
    pool = episode.pool
    depth = max(k, DEPTH)
    score, slots = _ranked(walk, depth, scores)
    rest = _rest(pool, score, depth - len(slots))
    features = walk_features(episode, [*slots, *rest], score)
    probabilities = complete = prices = None
    if calibration is not None:
        probabilities = calibration.probabilities(features)
        complete = calibration.completeness(features, probabilities)
        if calibration.stopping is not None:
            prices = calibration.stopping.prices(probabilities, complete)[:k]
        probabilities, complete = probabilities[:k], complete[:k]
    return RetrievalResult(
        slots=np.asarray((slots + rest)[:k], dtype=np.int64),
        scores=np.asarray([score[s] for s in slots] + [-1.0 - i for i in range(len(rest))])[:k],
        trails=_trails(episode),
        read=tuple(pool.reads),
        candidates=len(pool.slots),
        texts_encoded=episode.encoded + firsts_encoded + fit.texts,
        decided=walk.trails,
        pairs_scored=fit.pairs,
        features=features,
        probabilities=probabilities,
        complete=complete,
        prices=prices,
        sub_questions=fit.sub_questions,
    )


def _search_fit(episode: Episode) -> NDArray[np.float64]:
    """How well each candidate with read mass fits the question, and what was read for it."""
    mass, pool = episode.read_mass, episode.pool
    sparse, dense, _ = pool.z_scores(list(mass))
    table = episode.features.now()
    rows = {slot: row for slot, row in table.rows.items() if slot in episode.read}
    columns = [pool.position[slot] for slot in mass]
    return search_fit(
        (sparse + dense).astype(np.float64),
        table.beside[list(rows.values())][:, columns, PairFeature.TERM_COSINE],
        np.asarray([mass.get(slot, 0.0) for slot in rows]),
    )


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
    """The likeliest trails, those over the same set of passages as one."""
    of_set: dict[frozenset[int], list[Terminal]] = {}
    for terminal in episode.ranked_terminals():
        of_set.setdefault(frozenset(terminal.prefix.evidence), []).append(terminal)
    merged = [
        (ends[0], float(sum(np.exp(terminal.log_prob) for terminal in ends)))
        for ends in of_set.values()
    ]
    merged.sort(key=lambda one: -round(math.log(max(one[1], 1e-300)), DECIMALS))
    return tuple(
        Trail(
            _hops(episode.pool, likeliest.prefix),
            probability,
            likeliest.stop_reason,
            likeliest.stop_probability,
        )
        for likeliest, probability in merged[:TRAILS]
    )


def _hops(pool: CandidatePool, prefix: TrailPrefix) -> tuple[Hop, ...]:
    passages = pool.scope.view.passages(list(prefix.evidence))
    hops: list[Hop] = []
    steps = zip(passages, prefix.hops, prefix.stops, strict=True)
    for i, (passage, probability, stop) in enumerate(steps):
        query = pool.query(prefix.evidence[:i]).text or pool.question
        link = link_between(pool, prefix.evidence[:i], prefix.evidence[i])
        hops.append(Hop(query, passage.id, link, probability, stop, passage.namespace))
    return tuple(hops)


def _nothing() -> RetrievalResult:
    return RetrievalResult(np.zeros(0, np.int64), np.zeros(0), (), (), 0, 0)
