"""A reader asked every question: with gold evidence, and with what each retriever gives it.

What a retriever that walks gives is what its likeliest trail read, in that order; what any other
gives is the first passages of its ranking. The same reader reads all, so that what differs between
two answers is what was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hoptrail.api.answering import checked_answer
from hoptrail.errors import InputError
from hoptrail.evaluation.answers.graded_answer import GradedAnswer
from hoptrail.evaluation.answers.grading import AnswerJudge, grade_answer
from hoptrail.evaluation.benchmark import Ranking, Result
from hoptrail.memory.encoders.windows import count_tokens
from hoptrail.metrics.answer_scores import answer_rules
from hoptrail.types import AbstainingReader, Answer, Namespace, Passage, Question, Reader
from hoptrail.values.progress import Progress

if TYPE_CHECKING:
    from hoptrail.memory.store import Store

GOLD = "gold"
"""What stands for a retriever in reports where the reader was given the gold evidence."""
DEFAULT_RULES = "hotpotqa"
"""By which answers are measured where no benchmark says how."""
PASSAGES = 5
"""Passages that a reader is given of a ranking."""


@dataclass(frozen=True, slots=True)
class ReaderRun:
    """Who answers, from how much, and by whose rules that is measured."""

    reader: Reader
    rules: str | None = None
    """A key of `hoptrail.metrics.RULES`; None is that of the benchmark whose file is evaluated, and
    `DEFAULT_RULES` for other questions."""
    passages: int = PASSAGES
    """Of a ranking; a trail is read whole."""
    judge: AnswerJudge | None = None
    budgets: tuple[int, ...] = ()
    """Numbers of passages that every question is read with as well, for a curve of reading."""

    def __post_init__(self) -> None:
        answer_rules(self.rules or DEFAULT_RULES)
        if self.passages < 1:
            raise InputError(f"a reader needs at least 1 passage, got {self.passages}")
        if any(budget < 1 for budget in self.budgets) or list(self.budgets) != sorted(self.budgets):
            raise InputError(f"budgets must be rising numbers from 1, got {self.budgets}")

    def as_json(self) -> dict[str, object]:
        """What a report says of it."""
        judge = None if self.judge is None else getattr(self.judge, "__name__", repr(self.judge))
        return {
            "reader": repr(self.reader),
            "rules": self.rules or DEFAULT_RULES,
            "passages": self.passages,
            "judge": judge,
        }


def answer_questions(
    results: Sequence[Result],
    store: Store,
    answering: ReaderRun,
    progress: Progress | None = None,
) -> list[Result]:
    """The same results, with what the reader answers from the gold and from each ranking.

    Where every question has an answer, as in most published sets, a reader that may say that there
    is none is held to its likeliest answer, as the published systems are.

    Args:
        results: What `hoptrail.evaluation.run` gave.
        store: Where the passages are.
        answering: Who answers, and how that is measured.
        progress: Called with (questions done, questions in all).

    Returns:
        Results with `answers`, and with the gold as one more ranking, named `GOLD`.

    Raises:
        ReaderError: The reader cites what it was not given.
    """
    reader = answering.reader
    if isinstance(reader, AbstainingReader) and all(one.question.answerable for one in results):
        answering = replace(answering, reader=reader.without_abstaining())
    with_answers = []
    for done, result in enumerate(results, start=1):
        question = result.question
        evidence = {
            GOLD: question.supporting_ids,
            **{name: evidence_of(one, answering) for name, one in result.rankings.items()},
        }
        answers = {name: _graded(question, ids, store, answering) for name, ids in evidence.items()}
        rankings = {GOLD: gold_ranking(question), **result.rankings}
        readings = {
            name: [
                _graded(question, longer_evidence(one, answering, budget), store, answering)
                for budget in answering.budgets
            ]
            for name, one in result.rankings.items()
        }
        with_answers.append(replace(result, rankings=rankings, answers=answers, readings=readings))
        if progress:
            progress(done, len(results))
    return with_answers


def gold_ranking(question: Question) -> Ranking:
    """A ranking of what a question needs, and of nothing else."""
    ids = question.supporting_ids
    return Ranking(ids, tuple(float(len(ids) - place) for place in range(len(ids))))


def evidence_of(ranking: Ranking, answering: ReaderRun) -> tuple[str, ...]:
    """Ids of what a reader is given: the trail's passages, or the first of a ranking.

    Args:
        ranking: Of any retriever.
        answering: Says how many the first are.
    """
    if ranking.decisions and ranking.decisions[-1].read:
        return ranking.decisions[-1].read
    return ranking.ids[: answering.passages]


def longer_evidence(ranking: Ranking, answering: ReaderRun, budget: int) -> tuple[str, ...]:
    """Ids of what a reader is given within a budget: a trail whole, and then the ranking.

    Args:
        ranking: Of any retriever.
        answering: Says what is read without a budget.
        budget: Passages; a longer trail is read whole all the same.
    """
    trail = evidence_of(ranking, answering) if ranking.decisions else ()
    rest = [id_ for id_ in ranking.ids if id_ not in trail]
    return (*trail, *rest[: max(0, budget - len(trail))])


def answer_from(
    question: Question, ids: Sequence[str], store: Store, reader: Reader
) -> tuple[Answer, int]:
    """What a reader makes of passages, and how many tokens these have.

    Args:
        question: Its text and namespace are used.
        ids: Of the passages, in order.
        store: Where they are.
        reader: Who answers.

    Raises:
        ReaderError: The reader cites what it was not given.
    """
    passages = scope_passages(store, ids, question.namespace)
    answer = checked_answer(reader.read(question.text, passages), passages)
    return answer, sum(count_tokens(store.encoder, [passage.content for passage in passages]))


def scope_passages(store: Store, ids: Sequence[str], scope: Namespace) -> list[Passage]:
    """The passages with these ids in a namespace or below it, in this order.

    Args:
        store: Where they are.
        ids: Of passages that a ranking over this scope names.
        scope: The namespace that the question is asked in.

    Raises:
        UnknownId: One is not there.
    """
    if all(store.has(id_, scope) for id_ in ids):
        return store.get_many(ids, scope)
    below = [place for place in store.namespaces() if place[: len(scope)] == scope]
    places = [next((one for one in below if store.has(id_, one)), scope) for id_ in ids]
    return [store.get(id_, place) for id_, place in zip(ids, places, strict=True)]


def _graded(
    question: Question, ids: Sequence[str], store: Store, answering: ReaderRun
) -> GradedAnswer:
    answer, tokens = answer_from(question, ids, store, answering.reader)
    rules = answer_rules(answering.rules or DEFAULT_RULES)
    measures = grade_answer(answer, question, rules, answering.judge)
    return GradedAnswer(answer, tuple(ids), tokens, measures)
