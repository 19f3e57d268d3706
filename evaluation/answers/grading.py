"""One answer against what is known of the question: text, evidence, and whether there is one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from hoptrail.errors import InputError
from hoptrail.metrics.answer_scores import (
    AnswerRules,
    score_answer,
    score_jointly,
    score_support,
)
from hoptrail.types import Answer, Question

AnswerJudge = Callable[[str, Sequence[str], str], float]
"""Says how right an answer is, in [0, 1], from the question, the accepted answers and the answer:
a person's rule, or a language model that a user brings."""

ANSWER_MEASURES = (
    "answer_em",
    "answer_f1",
    "support_em",
    "support_f1",
    "joint_em",
    "joint_f1",
)
"""Of a question that has an answer; `answerability` is measured on every one."""
JUDGED = "answer_judged"
"""What a judge says, where there is one."""


def grade_answer(
    answer: Answer, question: Question, rules: AnswerRules, judge: AnswerJudge | None = None
) -> dict[str, float]:
    """What an answer is worth.

    A question that has an answer is measured by `ANSWER_MEASURES`; support is compared by passage.
    Every question is measured by `answerability`: 1.0 where it was rightly said whether there is an
    answer.

    Args:
        answer: What was answered; none counts as an empty text.
        question: With its accepted answers and its gold passages.
        rules: Whose evaluation.
        judge: Asked where an answer was given.

    Raises:
        InputError: The judge gives no number in [0, 1].
    """
    measures = {"answerability": float(answer.known == question.answerable)}
    if not question.answerable:
        return measures
    text = score_answer(answer.text or "", question.answers, rules)
    evidence = {one.id for one in answer.evidence}
    support = score_support(evidence, set(question.supporting_ids), rules)
    joint = score_jointly(text, support)
    values = (text.exact, text.f1, support.exact, support.f1, joint.exact, joint.f1)
    measures = {**dict(zip(ANSWER_MEASURES, values, strict=True)), **measures}
    if judge is not None:
        measures[JUDGED] = _judgement(judge, question, answer) if answer.known else 0.0
    return measures


def check_answers(questions: Sequence[Question]) -> None:
    """Refuse questions on which no answer can be measured, before anything is asked.

    Args:
        questions: As read from a file.

    Raises:
        InputError: One has an answer by its file, which does not say what it is.
    """
    bare = next((one for one in questions if one.answerable and not one.answers), None)
    if bare is not None:
        raise InputError(
            f'question {bare.id!r} names no answers: give them, or "answerable": false where the '
            "corpus does not hold any"
        )


def answerable_auc(stated: Sequence[float | None], answerable: Sequence[bool]) -> float | None:
    """How well stated probabilities tell questions with an answer from those without: AUROC.

    The share of all pairs, one of each, in which the one with an answer has the higher probability;
    a tie counts half (Hanley and McNeil 1982).

    Args:
        stated: Of each question, that there is an answer.
        answerable: Whether there is.

    Returns:
        In [0, 1]; None where all questions are of one sort, or the reader states nothing.
    """
    if None in stated:
        return None
    p, y = np.asarray(stated, dtype=np.float64), np.asarray(answerable, dtype=bool)
    if y.all() or not y.any():
        return None
    above = p[y][:, None] - p[~y][None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def _judgement(judge: AnswerJudge, question: Question, answer: Answer) -> float:
    value = judge(question.text, question.answers, answer.text or "")
    if not isinstance(value, bool | int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise InputError(
            f"the judge should give a number from 0 to 1, got {value!r} for question "
            f"{question.id!r}"
        )
    return float(value)
