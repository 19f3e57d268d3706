"""Walking relations: from the entity that a question names to those that answer it.

A trail is a sequence of relations. It follows each to *all* the entities that it leads to, so that
its cost is bounded by beam × hops and not by the thousands of entities on the way; on each single
walk no entity is entered twice. The answers are where trails stop:

    score(i) = Σ over the paths p that the beam followed of π(p, STOP) · [p ends at i]

the probability that i is among the answers. What no trail ends at follows by hybrid score.

Entities are passages that say nothing when read (`hoptrail.graph.ranking.relations`): a
question that
names none is walked over texts, as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.adjacency.ragged import Ints
from hoptrail.graph.ranking.relations import Named
from hoptrail.graph.view import GraphView
from hoptrail.memory.encoders.query_side import family
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.search import hybrid_search
from hoptrail.memory.views.view import View
from hoptrail.policies.networks.relation_scorer import (
    TOPIC,
    ArrayRelationScorer,
    Scorer,
    Trained,
    relation_words,
)
from hoptrail.policies.relations.similarity import Similarity
from hoptrail.policies.result import TRAILS, Explanation, RetrievalResult
from hoptrail.policies.search.scoring import round_score
from hoptrail.types import HitSource, Hop, Shares, Trail

if TYPE_CHECKING:
    from hoptrail.policies.policy import AnyPolicy

BEAM = 8
"""Paths that are followed from each number of relations to the next."""
NEGLIGIBLE = 1e-5
"""Paths less probable than this are not followed."""


@dataclass(frozen=True, slots=True)
class Path:
    """Relations walked from one of a question's topics, and where they led."""

    topic: Named
    asked: int
    """Row of the question with this topic's name taken out."""
    relations: tuple[int, ...]
    walks: Ints
    """`(w, t + 1)`: slots, from the topic on."""
    log_prob: float
    hops: tuple[float, ...]
    """π of each relation where it was chosen."""
    stops: tuple[float, ...]
    """π(STOP) where each was chosen."""


class Choice(NamedTuple):
    """A relation that could be walked next."""

    path: Path
    relation: int
    log_prob: float
    """Log π of it."""
    stop: float
    """π(STOP) beside it."""

    @property
    def key(self) -> tuple[int, ...]:
        """Orders choices of equal probability."""
        return (self.path.asked, *self.path.relations, self.relation)


@dataclass(frozen=True, slots=True)
class PathTerminal:
    """A path that stopped."""

    path: Path
    probability: float
    stop_reason: str
    stop_probability: float
    """π(STOP) where it stopped."""


def scorer_of(policy: AnyPolicy, names: Sequence[str], encoder: Encoder) -> Scorer:
    """What leads walks over relations of these names.

    The policy's own scorer where it has one for this encoder's vectors, else similarity of words.

    Args:
        policy: It may hold a trained scorer.
        names: Of the scope's relations.
        encoder: The one that made the scope's vectors.
    """
    trained = policy.relations
    if trained is not None and trained.encoder == family(encoder):
        scorer = trained if isinstance(trained, ArrayRelationScorer) else trained.arrays()
        return Trained(scorer, names, encoder)
    return Similarity(names, encoder)


def masked(question: str, topic: Named) -> str:
    """The question with the topic's name taken out.

    Args:
        question: In words.
        topic: Where it names an entity.
    """
    return f"{question[: topic.start]}{TOPIC}{question[topic.end :]}".strip()


class RelationRetriever:
    """Walks the relations of one scope.

    Args:
        view: The scope's passages; a retriever is good for one version of it.
        graph: The scope's graph.
        scorer: π over its relations.
        encoder: For questions.
        hops: Relations that one trail may walk.
    """

    def __init__(
        self, view: View, graph: GraphView, scorer: Scorer, encoder: Encoder, hops: int
    ) -> None:
        self._view, self._encoder, self._scorer = view, encoder, scorer
        self.relations = graph.relations()
        self._names = graph.entity_names()
        self._hops = hops

    def topics(self, question: str, allowed: NDArray[np.bool_] | None = None) -> list[Named]:
        """The entities with relations that a question names.

        Args:
            question: In words.
            allowed: `(capacity,)` the slots that count; all by default.
        """
        topics = []
        for named in self._names.find(question):
            slots = [slot for slot in named.slots if allowed is None or allowed[slot]]
            if self.relations.leaving(np.asarray(slots, dtype=np.int64)).any():
                topics.append(Named(tuple(slots), named.start, named.end))
        return topics

    def retrieve(
        self,
        questions: Sequence[str],
        k: int,
        allowed: NDArray[np.bool_] | None = None,
        explained: int = 0,
    ) -> list[RetrievalResult]:
        """The walk over each question, all of which name a topic; `k` passages each.

        Args:
            questions: Each names at least one topic.
            k: How many passages to rank.
            allowed: `(capacity,)` the slots that may be ranked; all by default.
            explained: Of how many of the best it is said what their scores are made of.
        """
        topics = [self.topics(question, allowed) for question in questions]
        rows, encoded = self._scorer.read(
            [
                masked(q, topic)
                for q, named in zip(questions, topics, strict=True)
                for topic in named
            ]
        )
        vectors = self._encoder.encode(list(questions))
        frontier: list[list[Path]] = []
        texts: list[int] = []
        row = 0
        for named in topics:
            share = float(-np.log(len(named)))
            starts = [np.asarray(topic.slots, dtype=np.int64)[:, None] for topic in named]
            frontier.append(
                [
                    Path(topic, row + i, (), start, share, (), ())
                    for i, (topic, start) in enumerate(zip(named, starts, strict=True))
                ]
            )
            texts.append(1 + sum(encoded[row : row + len(named)]))  # the question itself is one
            row += len(named)
        endings: list[list[PathTerminal]] = [[] for _ in questions]
        entered = [{int(s) for path in paths for s in path.walks[:, 0]} for paths in frontier]
        for hop in range(self._hops + 1):
            frontier = self._step(frontier, endings, rows, hop == self._hops, allowed)
            for seen, paths in zip(entered, frontier, strict=True):
                seen.update(*(np.unique(path.walks[:, -1]).tolist() for path in paths))
        return [
            replace(
                self._finish(question, vector, terminals, seen, k, allowed, explained),
                texts_encoded=count,
            )
            for question, vector, terminals, seen, count in zip(
                questions, vectors, endings, entered, texts, strict=True
            )
        ]

    def _step(
        self,
        frontier: list[list[Path]],
        endings: list[list[PathTerminal]],
        rows: Any,
        last: bool,
        allowed: NDArray[np.bool_] | None,
    ) -> list[list[Path]]:
        """One relation further on the likeliest paths of every question."""
        paths = [path for ones in frontier for path in ones]
        if not paths:
            return frontier
        available = np.zeros((len(paths), len(self.relations) + 1), dtype=np.bool_)
        for choices, path in zip(available, paths, strict=True):
            choices[-1] = len(path.relations) > 0
            if not last:
                choices[:-1] = self.relations.leaving(path.walks[:, -1])
        going_on = [bool(choices[:-1].any()) for choices in available]
        log_probs = self._scorer.log_probs(
            rows[[path.asked for path in paths]], [path.relations for path in paths], available
        )
        grown: list[list[Path]] = []
        at = 0
        for ones, ended in zip(frontier, endings, strict=True):
            chosen: list[Choice] = []
            for row, path in enumerate(ones, start=at):
                here, stop = log_probs[row, :-1], float(np.exp(log_probs[row, -1]))
                if path.relations:
                    reason = "policy" if going_on[row] else "budget" if last else "exhausted"
                    ended.append(
                        PathTerminal(path, float(np.exp(path.log_prob)) * stop, reason, stop)
                    )
                likely = np.flatnonzero(path.log_prob + here > np.log(NEGLIGIBLE))
                chosen += [Choice(path, int(r), float(here[r]), stop) for r in likely]
            at += len(ones)
            grown.append(self._followed(chosen, allowed))
        return grown

    def _followed(self, chosen: list[Choice], allowed: NDArray[np.bool_] | None) -> list[Path]:
        """The likeliest of the chosen continuations that lead anywhere."""
        chosen.sort(key=lambda c: (-round(c.path.log_prob + c.log_prob, 6), c.key))
        grown: list[Path] = []
        for path, relation, log_prob, stop in chosen:
            walks = self.relations.follow(path.walks, relation)
            if allowed is not None:
                walks = walks[allowed[walks[:, -1]]]
            if len(walks):
                grown.append(
                    Path(
                        topic=path.topic,
                        asked=path.asked,
                        relations=(*path.relations, relation),
                        walks=walks,
                        log_prob=path.log_prob + log_prob,
                        hops=(*path.hops, float(np.exp(log_prob))),
                        stops=(*path.stops, stop),
                    )
                )
            if len(grown) == BEAM:
                break
        return grown

    def _finish(
        self,
        question: str,
        vector: Vectors,
        endings: list[PathTerminal],
        entered: set[int],
        k: int,
        allowed: NDArray[np.bool_] | None,
        explained: int,
    ) -> RetrievalResult:
        """The ranking and the trails of a question that has been walked."""
        score: dict[int, float] = {}
        times: dict[int, int] = {}
        for ending in endings:
            ends, counts = np.unique(ending.path.walks[:, -1], return_counts=True)
            for slot, count in zip(ends.tolist(), counts.tolist(), strict=True):
                score[slot] = score.get(slot, 0.0) + ending.probability
                times[slot] = times.get(slot, 0) + count
        score = {slot: round_score(value) for slot, value in score.items()}
        key = self._view.content_key
        slots = sorted(score, key=lambda s: (-score[s], -times[s], key(s)))[:k]
        scores = [score[slot] for slot in slots]
        rest = self._rest(question, vector, score, k, allowed)[: k - len(slots)]
        scores += [-1.0 - i for i in range(len(rest))]
        endings = sorted(endings, key=lambda e: (-round(e.probability, 6), e.path.relations))
        return RetrievalResult(
            slots=np.asarray(slots + rest, dtype=np.int64),
            scores=np.asarray(scores),
            trails=tuple(self._trail(question, e, score) for e in endings[:TRAILS]),
            read=tuple(sorted(entered, key=key)),
            candidates=len(entered),
            texts_encoded=0,
            explanations=self._explanations(endings, score, slots[:explained]),
        )

    def _explanations(
        self, endings: Sequence[PathTerminal], score: dict[int, float], slots: Sequence[int]
    ) -> dict[int, Explanation]:
        """All of a score is what the policy gave the paths that end there, each over relations."""
        return {
            slot: Explanation(Shares(score[slot], links=1.0), self._sources(endings, slot))
            for slot in slots
        }

    def _sources(self, endings: Sequence[PathTerminal], slot: int) -> tuple[HitSource, ...]:
        """The last relation of every path that ends at a passage, the likeliest path first."""
        sources: dict[HitSource, None] = {}
        for ending in endings:
            walks = ending.path.walks
            before = walks[walks[:, -1] == slot][:1, -2]
            for passage in self._view.passages(before.tolist()):
                name = self.relations.names[ending.path.relations[-1]]
                sources[HitSource(None, None, name, passage.id, passage.namespace)] = None
        return tuple(sources)

    def _rest(
        self,
        question: str,
        vector: Vectors,
        score: dict[int, float],
        k: int,
        allowed: NDArray[np.bool_] | None,
    ) -> list[int]:
        """What no trail ended at, by hybrid score, as many as a list of k can need."""
        if len(score) >= k:
            return []
        count = min(k + len(score), self._view.size)
        _, hits = hybrid_search.search(
            self._view, question, vector, count, "hybrid", allowed=allowed
        )
        listed = [int(slot) for slot in hits]
        if len(listed) < count:
            alive = np.flatnonzero(self._view.alive if allowed is None else allowed)
            order = self._view.order(np.zeros(len(alive)), alive)
            listed = list(dict.fromkeys([*listed, *alive[order].tolist()]))
        return [slot for slot in listed if slot not in score]

    def _trail(self, question: str, ending: PathTerminal, score: dict[int, float]) -> Trail:
        """The path as one of its walks shows it: one to the best of its answers."""
        path = ending.path
        ends = path.walks[:, -1].tolist()
        best = max(range(len(ends)), key=lambda i: (score[ends[i]], -i))
        first, *others = self._view.passages(path.walks[best].tolist())
        began = float(np.exp(path.log_prob) / np.prod(path.hops))
        hops = [Hop(question, first.id, None, began, namespace=first.namespace)]
        walked: list[str] = []
        steps = zip(others, path.relations, path.hops, path.stops, strict=True)
        for passage, relation, probability, stop in steps:
            name = self.relations.names[relation]
            walked.append(relation_words(name))
            query = f"{question} > {' > '.join(walked)}"
            hops.append(Hop(query, passage.id, name, probability, stop, passage.namespace))
        return Trail(tuple(hops), ending.probability, ending.stop_reason, ending.stop_probability)
