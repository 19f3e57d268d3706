"""Feedback made ready to learn from: pools as they were asked, labels, and rewards of trails.

What was useful (`judged_questions`) is a label whose weight is the reward. Recalls that drew their
trails are learned from trail by trail:

    reward(trail) = sum over its passages that were judged of (reward - READING)

so that a passage is worth reading where it is useful often enough. Where only the recall as a whole
was judged, that says nothing of one trail beside another: the first one alone, which is a draw from
the policy, answers for it, with reward(recall) - the mean over all recalls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hoptrail.graph.graph import Graph
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.feedback import Feedback
from hoptrail.memory.filters import Filter
from hoptrail.memory.store import Store
from hoptrail.policies.data.examples import (
    AT_ONCE,
    Example,
    PoolFeatures,
    Source,
    detours,
    enter_all,
    to_enter,
)
from hoptrail.policies.data.judged_questions import USEFUL, useful_rows
from hoptrail.policies.environment.candidates import CandidatePool, RetrievalScope
from hoptrail.policies.environment.efforts import effort
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.environment.state import State
from hoptrail.policies.environment.terms import Lexicon
from hoptrail.policies.reformulation.learned import LearnedReformulator
from hoptrail.types import Namespace, Question

READING = 0.2
"""What reading a passage costs. At 1/2, a policy that is seldom right learns to read nothing."""


@dataclass(frozen=True, slots=True)
class DrawnTrail:
    """A trail of a recall that explored."""

    slots: State
    stopped: bool
    log_q: float
    """Log-probability that a recall like this one draws it; draws it first, if it is alone."""
    reward: float


@dataclass(frozen=True, slots=True)
class JudgedRecall:
    """One recall that was judged, with its pool."""

    example: Example
    """Its gold is what was useful."""
    weight: float
    """Of that label; 0 where nothing was useful."""
    complete: bool
    """Whether what was useful was enough, so that STOP should follow."""
    drawn: tuple[DrawnTrail, ...]
    """Empty where the recall drew nothing."""
    alone: bool
    """Whether the first trail answers for the recall as a whole."""


def prepare_feedback(
    store: Store,
    feedback: Sequence[Feedback],
    encoder: Encoder,
    *,
    learned: LearnedReformulator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[JudgedRecall]:
    """The feedback in its order, each with its pool; the passages that it names are read.

    Args:
        store: The memory whose recalls were judged.
        feedback: All of it that is learned from together.
        encoder: The store's.
        learned: The reformulator of the policy that is to learn.
        progress: Called with (done, total).
    """
    scopes = _Scopes(store)
    cache = CachedEncoder if learned is not None else None  # the store's encoder has its own
    reformulators = {
        reencode: Reformulator(encoder, reencode=reencode, learned=learned, cache=cache)
        for reencode in (False, True)
    }
    encoder = query_side(encoder)
    whole = [f.reward for f in feedback if f.reward is not None]
    mean = sum(whole) / len(whole) if whole else 0.0
    out: list[JudgedRecall] = []
    for start in range(0, len(feedback), AT_ONCE):
        part = feedback[start : start + AT_ONCE]
        texts = [f.recall.question for f in part]
        vectors = encoder.encode(texts)
        firsts = reformulators[False].first(texts, vectors)
        recalls = []
        for one, vector, first in zip(part, vectors, firsts, strict=True):
            scope = scopes.of(one.recall.namespace)
            allowed = scope.view.allowed(Filter.parse_optional(one.recall.filter))
            pool = CandidatePool(one.recall.question, vector, scope, allowed, first=first)
            recalls.append(_prepare_recall(one, pool, mean))
        for reencode, reformulator in reformulators.items():
            states = [
                (judged.example, state)
                for judged, one in zip(recalls, part, strict=True)
                if effort(one.recall.effort).reencode == reencode
                for state in _states(judged)
            ]
            enter_all(states, reformulator)
        for judged in recalls:
            judged.example.mark()
        out += recalls
        if progress:
            progress(len(out), len(feedback))
    return out


class _Scopes:
    """The scopes of a store that were asked."""

    def __init__(self, store: Store) -> None:
        self.store, self.graph = store, Graph(store)
        self._scopes: dict[Namespace, RetrievalScope] = {}

    def of(self, namespace: Namespace) -> RetrievalScope:
        if namespace not in self._scopes:
            view = self.store.view(namespace)
            graph = self.graph.view(view)
            self._scopes[namespace] = RetrievalScope(view, graph, Lexicon(view, graph))
        return self._scopes[namespace]


def _prepare_recall(feedback: Feedback, pool: CandidatePool, mean: float) -> JudgedRecall:
    useful = _slots(pool, useful_rows(feedback))
    gold = tuple(useful)
    useless = {row: 0.0 for row, reward in feedback.passages.items() if reward < USEFUL}
    turns = dict.fromkeys([*detours(pool, gold), *((slot,) for slot in _slots(pool, useless))])
    ids = tuple(p.id for p in pool.scope.view.passages(list(useful)))
    question = Question(
        id=feedback.recall.id,
        text=feedback.recall.question,
        supporting_ids=ids,
        namespace=feedback.recall.namespace,
    )
    return JudgedRecall(
        example=Example(question, PoolFeatures(pool), gold, tuple(turns), source=Source.FEEDBACK),
        weight=sum(useful.values()) / len(useful) if useful else 0.0,
        complete=feedback.reward is not None and feedback.reward >= USEFUL,
        drawn=_drawn_trails(feedback, pool, mean),
        alone=not feedback.passages,
    )


def _drawn_trails(feedback: Feedback, pool: CandidatePool, mean: float) -> tuple[DrawnTrail, ...]:
    view = pool.scope.view
    trails = []
    for trail in feedback.recall.trails:
        slots = [view.slot_of_rowid(rowid) for rowid in trail.passages]
        if trail.log_inclusion is None or None in slots:
            continue
        state = tuple(slot for slot in slots if slot is not None)
        if feedback.passages:
            judged = [feedback.passages[r] for r in trail.passages if r in feedback.passages]
            reward = sum(value - READING for value in judged)
            trails.append(DrawnTrail(state, trail.stopped, trail.log_inclusion, reward))
        elif trail.place == 0 and feedback.reward is not None:
            reward = feedback.reward - mean
            trails.append(DrawnTrail(state, trail.stopped, trail.log_prob, reward))
    return tuple(trails)


def _states(judged: JudgedRecall) -> list[State]:
    """What is entered before training: the way to what was drawn, and what imitation looks at."""
    way = [trail.slots[:n] for trail in judged.drawn for n in range(len(trail.slots) + 1)]
    return [*to_enter(judged.example), *way]


def _slots(pool: CandidatePool, rewards: dict[int, float]) -> dict[int, float]:
    """Rewards by slot instead of rowid; what the scope no longer holds is left out."""
    view = pool.scope.view
    slots = {view.slot_of_rowid(rowid): reward for rowid, reward in rewards.items()}
    return {slot: reward for slot, reward in slots.items() if slot is not None}
