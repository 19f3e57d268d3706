"""A file of predictions as its benchmark scores it, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from hoptrail.errors import InputError
from hoptrail.formats.benchmarks.prediction_files import Prediction, QuestionKey, support_of
from hoptrail.formats.benchmarks.question_sets import BenchmarkQuestion, QuestionSet
from hoptrail.metrics.answer_scores import (
    AnswerRules,
    answer_rules,
    pair_sufficiency,
    score_answer,
    score_jointly,
    score_support,
)


def score_predictions(
    questions: QuestionSet, predictions: Mapping[QuestionKey, Prediction]
) -> dict[str, float]:
    """What a benchmark says of predictions, as means over its questions.

    Support is compared as the benchmark does it: by sentences, or for MuSiQue by paragraphs.
    2WikiMultiHopQA's triples of evidence have no part in the joint measures.

    Args:
        questions: The benchmark.
        predictions: One for each question, by its namespace and id.

    Returns:
        `answer_em`, `answer_f1`, `support_em`, `support_f1`, `joint_em` and `joint_f1`, over the
        questions that have an answer; where some have none, `answerability` and, as MuSiQue-Full
        has it, `group_answer_sufficiency_f1` and `group_support_sufficiency_f1`.

    Raises:
        InputError: No question has an answer, or some have none, and not every one has its twin.
    """
    rules = answer_rules(questions.rules)
    rows = [(item, predictions[key]) for key, item in questions.by_id.items()]
    columns = [_measures(item, one, rules) for item, one in rows if item.question.answerable]
    if not columns:
        raise InputError("no question has an answer: there is nothing to compare answers with")
    means = {name: fmean(column[name] for column in columns) for name in columns[0]}
    if len(columns) < len(rows):
        means |= _sufficiency(rows, rules)
    return means


def _measures(
    item: BenchmarkQuestion, prediction: Prediction, rules: AnswerRules
) -> dict[str, float]:
    answer = score_answer(prediction.answer, item.question.answers, rules)
    support = score_support(prediction.support, support_of(item), rules)
    joint = score_jointly(answer, support)
    return {
        "answer_em": answer.exact,
        "answer_f1": answer.f1,
        "support_em": support.exact,
        "support_f1": support.f1,
        "joint_em": joint.exact,
        "joint_f1": joint.f1,
    }


def _sufficiency(
    rows: Sequence[tuple[BenchmarkQuestion, Prediction]], rules: AnswerRules
) -> dict[str, float]:
    """Over pairs of a question and its twin without an answer."""
    pairs: dict[str, list[tuple[BenchmarkQuestion, Prediction]]] = {}
    for item, prediction in rows:
        pairs.setdefault(item.published_id, []).append((item, prediction))
    answers, supports = [], []
    for pair in pairs.values():
        stated = [prediction.answerable for _, prediction in pair]
        answerable = [item.question.answerable for item, _ in pair]
        if sorted(answerable) != [False, True]:
            raise InputError(f"question {pair[0][0].published_id!r} has no twin to be told from")
        measures = _measures(*pair[answerable.index(True)], rules)
        answers.append(pair_sufficiency(stated, answerable, measures["answer_f1"]))
        supports.append(pair_sufficiency(stated, answerable, measures["support_f1"]))
    right = (item.question.answerable == one.answerable for item, one in rows)
    return {
        "answerability": fmean(map(float, right)),
        "group_answer_sufficiency_f1": fmean(answers),
        "group_support_sufficiency_f1": fmean(supports),
    }
