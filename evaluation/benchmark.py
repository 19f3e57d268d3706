"""Running retrievers over questions, one question at a time, each timed from text to ranking."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from hoptrail.errors import InputError
from hoptrail.evaluation.answers.graded_answer import GradedAnswer
from hoptrail.types import Namespace, Question, Trail
from hoptrail.values.progress import Progress

DEPTH = 100
"""Passages that a retriever is asked for."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a retriever that reads had enough at one point."""

    read: tuple[str, ...]
    """What it had read by then, in order."""
    stop: float
    """How sure it was to have all that it needs."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a retriever answers to one question."""

    ids: tuple[str, ...]
    """Best first, each once."""
    scores: tuple[float, ...]
    """One for each id; comparable within this ranking only."""
    hops: int = 0
    """Passages read on the way; 0 for a one-shot retriever."""
    milliseconds: float = 0.0
    """From the question's text to the ranking; `run` measures it."""
    decisions: tuple[Decision, ...] = ()
    """Along the likeliest way of reading, from nothing read to where it stopped."""
    trail: Trail | None = None
    """That way, hop by hop; None for a one-shot retriever."""
    needed: tuple[float, ...] = ()
    """One probability for each id, that it is needed; none where nothing is stated."""
    complete: tuple[float, ...] = ()
    """One for each id, that it and those before it suffice; likewise."""


class Retriever(Protocol):
    """What can be compared: baselines, the policy, and whatever a user brings."""

    @property
    def name(self) -> str:
        """What it is called in reports."""

    def rank(self, question: Question, k: int) -> Ranking:
        """The best k passages of the question's namespace: all k wherever it holds as many.

        The gold of the question must not be looked at.

        Args:
            question: What to answer; see `hoptrail.types.Question`.
            k: Length of the ranking.
        """


@dataclass(frozen=True, slots=True)
class Result:
    """One question and what every retriever answered."""

    question: Question
    rankings: Mapping[str, Ranking]
    answers: Mapping[str, GradedAnswer] = field(default_factory=dict)
    """What a reader answered from what each retriever gave it, where one was asked."""
    readings: Mapping[str, Sequence[GradedAnswer]] = field(default_factory=dict)
    """The same with more and more to read, a step for each budget."""


def run(
    retrievers: Sequence[Retriever],
    questions: Sequence[Question],
    *,
    k: int = DEPTH,
    progress: Progress | None = None,
) -> list[Result]:
    """What every retriever answers to every question.

    Retrievers take turns on each question, so that whatever else the machine does slows all of
    them alike. Before that each answers one question of every namespace untimed, which loads
    models and builds indexes.

    Args:
        retrievers: With different names.
        questions: Each with its gold.
        k: Length of a ranking.
        progress: Called with (questions done, questions in all).

    Returns:
        A result for each question, in their order.

    Raises:
        InputError: Nothing to run, a name used twice, a question without gold, or a ranking that
            is not one.
    """
    _check(retrievers, questions)
    for question in _one_of_each_namespace(questions):
        for retriever in retrievers:
            retriever.rank(_blind(question), k)
    results = []
    for done, question in enumerate(questions, start=1):
        rankings = {retriever.name: _timed(retriever, question, k) for retriever in retrievers}
        results.append(Result(question, rankings))
        if progress:
            progress(done, len(questions))
    return results


def check_questions(questions: Sequence[Question]) -> None:
    """Refuse questions on which nothing can be measured.

    Args:
        questions: As read from a file.

    Raises:
        InputError: There is none, or one names no passage that it needs.
    """
    if not questions:
        raise InputError("there are no questions to ask: the file is empty")
    bare = next((question for question in questions if not question.supporting_ids), None)
    if bare is not None:
        raise InputError(
            f"question {bare.id!r} names no supporting_ids: nothing can be measured on it"
        )


def _timed(retriever: Retriever, question: Question, k: int) -> Ranking:
    blinded = _blind(question)
    start = time.perf_counter()
    ranking = retriever.rank(blinded, k)
    spent = 1000 * (time.perf_counter() - start)
    ids, scores = ranking.ids, ranking.scores
    if len(ids) != len(scores) or len(ids) > k or len(set(ids)) != len(ids):
        raise InputError(
            f"{retriever.name} should give at most {k} different ids with a score each, got "
            f"{len(ids)} ids, {len(set(ids))} of them different, and {len(scores)} scores"
        )
    if not all(map(math.isfinite, scores)):
        raise InputError(f"{retriever.name} gave a score that is not finite to {question.id!r}")
    return replace(ranking, milliseconds=spent)


def _blind(question: Question) -> Question:
    """The question as a user asks it: what is known of its answer is taken out."""
    return Question(id=question.id, text=question.text, namespace=question.namespace)


def _one_of_each_namespace(questions: Sequence[Question]) -> list[Question]:
    first: dict[Namespace, Question] = {}
    for question in questions:
        first.setdefault(question.namespace, question)
    return list(first.values())


def _check(retrievers: Sequence[Retriever], questions: Sequence[Question]) -> None:
    names = [retriever.name for retriever in retrievers]
    if not names or len(set(names)) != len(names):
        raise InputError(f"retrievers must be at least one, with different names, got {names}")
    check_questions(questions)
