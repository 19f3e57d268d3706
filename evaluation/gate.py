"""Whether an update of a policy is let through: not before it is shown to do no harm.

The policy that learned from feedback and the one it started from answer the same questions, none of
which it learned from. The update is let through if the paired interval of the difference (bootstrap
by cluster) lies above -1 point, on at least 100 questions. What is measured:

- *on feedback that was held back*: the average precision of the passages that were found useful
  among all that the recall had returned, in the order in which each policy ranks them. What was not
  returned was not judged and takes no part (condensed lists, Sakai 2007), so this sees whether
  useful passages come before useless ones, and not whether better ones would be found. Rewards that
  are wrong lower it for both.
- *on questions whose passages are known*: recall@5.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.graph.graph import Graph
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.feedback import Feedback
from hoptrail.memory.filters import Filter
from hoptrail.memory.store import Store
from hoptrail.memory.views.view import View
from hoptrail.metrics.bootstrap import Bootstrap, Interval, clusters_of
from hoptrail.metrics.ranking import recall_at
from hoptrail.policies.data.judged_questions import useful_rows
from hoptrail.policies.environment.efforts import DEFAULT, effort
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.types import FilterDict, Namespace, Question

LEAST = 100
"""Questions that a verdict needs."""
SHARE = 0.2
"""Of the feedback that is held back, where that is more."""
MARGIN = -1.0
"""Points that the interval must lie above."""
RANKED = 100
"""How deep a policy's ranking is looked at."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found."""

    measure: str
    questions: int
    clusters: int
    before: float
    """Of the policy that was started from, in points."""
    after: float
    difference: Interval
    """In points."""

    @property
    def accepted(self) -> bool:
        """Whether the update is let through."""
        return self.difference.low > MARGIN

    def __str__(self) -> str:
        between = self.difference
        return (
            f"{self.measure} {self.before:.1f} -> {self.after:.1f} on {self.questions} questions "
            f"that were held back, difference {between.mean:+.1f} "
            f"[{between.low:.1f}, {between.high:.1f}] points, which must lie above {MARGIN:.0f}"
        )


def hold_back(entries: Sequence[Feedback]) -> tuple[list[Feedback], list[Feedback]]:
    """Feedback to learn from, and feedback to be judged by.

    What is held back depends on the questions' text alone, so that it stays so when more comes. It
    is a fifth of the questions of which something useful and something useless was returned, and
    `LEAST` where that is more; for each of these the latest feedback judges, and none teaches.

    Args:
        entries: Feedback, oldest first.

    Returns:
        What may teach, and what judges: feedback on different questions.

    Raises:
        InputError: There are too few.
    """
    telling: dict[str, Feedback] = {}
    for feedback in entries:
        if tells(feedback):
            telling[_question_key(feedback.recall.question)] = feedback
    if len(telling) < LEAST:
        raise InputError(
            f"an update is judged on at least {LEAST} questions, and of the {len(entries)} recalls "
            f"with feedback {len(telling)} say of different questions what was useful and what was "
            "not: collect more, or give questions whose passages are known with --questions"
        )
    count = max(LEAST, math.ceil(SHARE * len(telling)))
    chosen = set(sorted(telling)[:count])
    learn = [f for f in entries if _question_key(f.recall.question) not in chosen]
    return learn, [feedback for key, feedback in telling.items() if key in chosen]


def without(feedback: Sequence[Feedback], questions: Sequence[Question]) -> list[Feedback]:
    """The feedback on other questions than these.

    Args:
        feedback: Feedback.
        questions: Those that will judge, compared by their text.
    """
    judging_keys = {_question_key(question.text) for question in questions}
    return [f for f in feedback if _question_key(f.recall.question) not in judging_keys]


def tells(feedback: Feedback) -> bool:
    """Whether it says of something returned that it was useful, and of something that not.

    Args:
        feedback: On one recall.
    """
    useful = useful_rows(feedback).keys() & set(feedback.recall.returned)
    return 0 < len(useful) < len(feedback.recall.returned)


def judge_by_feedback(
    store: Store, encoder: Encoder, before: Policy, after: Policy, feedback: Sequence[Feedback]
) -> Verdict:
    """The verdict on feedback that was held back.

    Args:
        store: Where the questions were asked.
        encoder: The store's.
        before: The policy that the update started from.
        after: The policy that learned.
        feedback: Feedback that `after` did not learn from, as `hold_back` gives it.
    """
    clusters = [
        Question(f.recall.id, f.recall.question, supporting_ids=tuple(map(str, useful_rows(f))))
        for f in feedback
    ]
    values = []
    for policy in (before, after):
        walkers = _Walkers(store, encoder, policy)
        values.append([_precision(walkers.ranked_again(f), f) for f in feedback])
    return _verdict("average precision", clusters, *values)


def judge_by_questions(
    store: Store, encoder: Encoder, before: Policy, after: Policy, questions: Sequence[Question]
) -> Verdict:
    """The verdict on questions whose passages are known.

    Args:
        store: Where the questions were asked.
        encoder: The store's.
        before: The policy that the update started from.
        after: The policy that learned.
        questions: At least `LEAST`, each with its gold.

    Raises:
        InputError: There are too few, or one needs a passage that the store lacks.
    """
    if len(questions) < LEAST:
        raise InputError(f"an update is judged on at least {LEAST} questions, got {len(questions)}")
    bare = next((question for question in questions if not question.supporting_ids), None)
    if bare is not None:
        raise InputError(f"question {bare.id!r} names no supporting_ids: it can judge nothing")
    values = []
    for policy in (before, after):
        walkers = _Walkers(store, encoder, policy)
        values.append([walkers.recall(question) for question in questions])
    return _verdict("recall@5", questions, *values)


def _verdict(
    measure: str, questions: Sequence[Question], before: list[float], after: list[float]
) -> Verdict:
    bootstrap = Bootstrap(clusters_of(questions))
    points: tuple[NDArray[np.float64], ...] = (100 * np.asarray(before), 100 * np.asarray(after))
    return Verdict(
        measure=measure,
        questions=len(questions),
        clusters=bootstrap.count,
        before=float(points[0].mean()),
        after=float(points[1].mean()),
        difference=bootstrap.paired(points[1], points[0]),
    )


def _precision(place: Mapping[int, int], feedback: Feedback) -> float:
    """Average precision of what was useful among what was returned, by places in a ranking."""
    useful = useful_rows(feedback)
    returned = feedback.recall.returned
    # What a ranking does not hold comes last, useless before useful: the worst that can be.
    order = sorted(returned, key=lambda row: (place.get(row, RANKED), row in useful))
    hits, total = 0, 0.0
    for rank, row in enumerate(order, start=1):
        if row in useful:
            hits += 1
            total += hits / rank
    return total / hits if hits else 0.0


@dataclass(slots=True)
class _Walkers:
    """Walks a store's scopes with one policy."""

    store: Store
    encoder: Encoder
    policy: Policy
    _graph: Graph | None = None
    _known: dict[tuple[Namespace, str], PolicyRetriever] = field(default_factory=dict)

    def ranked_again(self, feedback: Feedback) -> dict[int, int]:
        """Place by rowid in today's ranking for the question of a recall."""
        recall = feedback.recall
        walker = self._walker(recall.namespace, recall.effort)
        rows = self._rows(walker, recall.question, recall.filter)
        return {row: place for place, row in enumerate(rows)}

    def recall(self, question: Question) -> float:
        """Recall@5 of a question."""
        walker = self._walker(question.namespace, DEFAULT)
        view = walker.scope.view
        gold = [_row_of(view, gold_id, question) for gold_id in question.supporting_ids]
        rows = self._rows(walker, question.text, None)
        return recall_at([str(row) for row in rows], [str(row) for row in gold], 5)

    def _rows(self, walker: PolicyRetriever, question: str, filter: FilterDict | None) -> list[int]:
        view = walker.scope.view
        allowed = view.allowed(Filter.parse_optional(filter))
        [walk] = walker.retrieve([question], RANKED, allowed=allowed)
        return [int(view.rowids[slot]) for slot in walk.slots]

    def _walker(self, scope: Namespace, named: str) -> PolicyRetriever:
        walker = self._known.get((scope, named))
        if walker is None:
            if self._graph is None:
                self._graph = Graph(self.store)
            view = self.store.view(scope)
            graph = self._graph.view(view)
            walker = PolicyRetriever(self.policy, view, graph, self.encoder, effort(named))
            self._known[scope, named] = walker
        return walker


def _row_of(view: View, id_: str, question: Question) -> int:
    slot = view.slot_of(id_, question.namespace)
    if slot is None:
        raise InputError(f"question {question.id!r} needs passage {id_!r}, which the store lacks")
    return int(view.rowids[slot])


def _question_key(text: str) -> str:
    """A hash of a question's words, the same for the same question."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()
