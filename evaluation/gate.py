"""Whether an update of a policy is let through: not before it is shown to do no harm.

The policy that learned from feedback and the one it started from answer the same questions, none of
which it learned from. The update is let through if the paired interval of the difference (bootstrap
by cluster) lies above -1 point, on at least 100 questions. What is measured:

- *on feedback that was held back*, each fifth of it in turn where a ranking is learned, which takes
  no time to learn five times: the average precision of the passages that were found useful
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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.feedback import Feedback
from hoptrail.memory.filters import Filter
from hoptrail.memory.store import Store
from hoptrail.memory.views.view import View
from hoptrail.metrics.bootstrap import Bootstrap, Interval, clusters_of
from hoptrail.metrics.ranking import recall_at
from hoptrail.policies.data.judged_questions import useful_rows
from hoptrail.policies.environment.efforts import DEFAULT
from hoptrail.policies.feedback.learned_ranking import (
    RankedRecall,
    RankingConfig,
    fit_ranking,
    judged_passages,
)
from hoptrail.policies.feedback.store_walkers import StoreWalkers
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.types import FilterDict, Question

LEAST = 100
"""Questions that a verdict needs."""
SHARE = 0.2
"""Of the feedback that is held back, where that is more."""
MARGIN = -1.0
"""Points that the interval must lie above."""
PARTS = 5
"""Of the feedback, each of which judges a ranking that the others teach."""
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
    telling = _telling(entries)
    count = max(LEAST, math.ceil(SHARE * len(telling)))
    chosen = set(sorted(telling)[:count])
    learn = [f for f in entries if _question_key(f.recall.question) not in chosen]
    return learn, [feedback for key, feedback in telling.items() if key in chosen]


def _telling(entries: Sequence[Feedback]) -> dict[str, Feedback]:
    """By question the latest feedback that tells useful from useless; enough of it to judge by."""
    telling = {_question_key(one.recall.question): one for one in entries if tells(one)}
    if len(telling) < LEAST:
        raise InputError(
            f"an update is judged on at least {LEAST} questions, and of the {len(entries)} recalls "
            f"with feedback {len(telling)} say of different questions what was useful and what was "
            "not: collect more, or give questions whose passages are known with --questions"
        )
    return telling


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
    values = []
    for policy in (before, after):
        asker = _Asker(StoreWalkers(store, encoder, policy))
        values.append([_precision(asker.ranked_again(f), f) for f in feedback])
    return _verdict("average precision", _clusters(feedback), *values)


def judge_in_turn(ranked: Sequence[RankedRecall], config: RankingConfig) -> Verdict:
    """The verdict on a ranking learned from feedback, by all of that feedback.

    A fifth of the questions, by a hash of their text, is held back at a time: it judges the ranking
    that the other four fifths teach (cross-validation, Stone 1974). So every question judges, and
    none a ranking that learned from it; the one that is let through learns from all. The
    difference is that from the walk without such a ranking: one that the policy has already
    learned from these questions.

    Args:
        ranked: The feedback, oldest first, as `rank_again` gives it.
        config: The settings that it is learned with.

    Raises:
        InputError: There is too little to judge by, or to learn from.
    """
    keys = [_question_key(one.feedback.recall.question) for one in ranked]
    latest = {id(feedback) for feedback in _telling([one.feedback for one in ranked]).values()}
    part = {key: place % PARTS for place, key in enumerate(sorted(set(keys)))}
    judges, before, after = [], [], []
    for held_back in range(PARTS):
        teaching = [one for one, key in zip(ranked, keys, strict=True) if part[key] != held_back]
        ranking = fit_ranking(judged_passages(teaching), config)
        for one, key in zip(ranked, keys, strict=True):
            if part[key] == held_back and id(one.feedback) in latest:
                judges.append(one.feedback)
                before.append(_precision(_places(one.order()), one.feedback))
                after.append(_precision(_places(one.order(ranking)), one.feedback))
    return _verdict("average precision", _clusters(judges), before, after)


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
        asker = _Asker(StoreWalkers(store, encoder, policy))
        values.append([asker.recall(question) for question in questions])
    return _verdict("recall@5", questions, *values)


def _clusters(feedback: Sequence[Feedback]) -> list[Question]:
    """Feedback as questions that need what was useful; those that share some are one cluster."""
    return [
        Question(f.recall.id, f.recall.question, supporting_ids=tuple(map(str, useful_rows(f))))
        for f in feedback
    ]


def _places(rows: Sequence[int]) -> dict[int, int]:
    return {row: place for place, row in enumerate(rows)}


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
class _Asker:
    """Asks a store's scopes with one policy."""

    walkers: StoreWalkers

    def ranked_again(self, feedback: Feedback) -> dict[int, int]:
        """Place by rowid in today's ranking for the question of a recall."""
        recall = feedback.recall
        walker = self.walkers.of(recall.namespace, recall.effort)
        return _places(self._rows(walker, recall.question, recall.filter))

    def recall(self, question: Question) -> float:
        """Recall@5 of a question."""
        walker = self.walkers.of(question.namespace, DEFAULT)
        view = walker.scope.view
        gold = [_row_of(view, gold_id, question) for gold_id in question.supporting_ids]
        rows = self._rows(walker, question.text, None)
        return recall_at([str(row) for row in rows], [str(row) for row in gold], 5)

    def _rows(self, walker: PolicyRetriever, question: str, filter: FilterDict | None) -> list[int]:
        view = walker.scope.view
        allowed = view.allowed(Filter.parse_optional(filter))
        [walk] = walker.retrieve([question], RANKED, allowed=allowed)
        return [int(view.rowids[slot]) for slot in walk.slots]


def _row_of(view: View, id_: str, question: Question) -> int:
    slot = view.slot_of(id_, question.namespace)
    if slot is None:
        raise InputError(f"question {question.id!r} needs passage {id_!r}, which the store lacks")
    return int(view.rowids[slot])


def _question_key(text: str) -> str:
    """A hash of a question's words, the same for the same question."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()
