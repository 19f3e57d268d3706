"""Files of predictions are scored as their benchmarks do it; expected values are by hand."""

from __future__ import annotations

import pytest

from hoptrail.errors import InputError
from hoptrail.evaluation.answers.official_scores import score_predictions
from hoptrail.formats.benchmarks.prediction_files import Prediction
from hoptrail.formats.benchmarks.question_sets import (
    BenchmarkQuestion,
    ContextParagraph,
    QuestionSet,
)
from hoptrail.types import Passage, Question

FACTS = (("Ada", 1), ("Varn", 0))


def hotpot(*answers: str) -> QuestionSet:
    return QuestionSet(
        "hotpotqa",
        tuple(
            BenchmarkQuestion(Question(f"q{at}", "?", (answer,)), f"q{at}", (), FACTS)
            for at, answer in enumerate(answers)
        ),
    )


def test_hotpotqa_is_scored_by_sentences_and_averaged_over_questions() -> None:
    questions = hotpot("Osk", "yes")
    first, second = questions.by_id
    predictions = {
        first: Prediction("the land Osk", FACTS[:1]),  # P ½, R 1; P 1, R ½
        second: Prediction("Yes", (*FACTS, ("Tolle", 0))),  # right; P ⅔, R 1
    }
    assert score_predictions(questions, predictions) == pytest.approx(
        {
            "answer_em": 0.5,
            "answer_f1": (2 / 3 + 1) / 2,
            "support_em": 0.0,
            "support_f1": (2 / 3 + 4 / 5) / 2,
            "joint_em": 0.0,
            "joint_f1": (1 / 2 + 4 / 5) / 2,
        }
    )


def musique(*answerable: bool) -> QuestionSet:
    passage = Passage("p", "Text.")
    return QuestionSet(
        "musique",
        tuple(
            BenchmarkQuestion(
                Question(f"q#{at}", "?", ("Osk",), ("p",), answerable=one),
                f"q{at // 2}",
                (ContextParagraph(passage, 3),),
            )
            for at, one in enumerate(answerable)
        ),
    )


def test_musique_full_counts_pairs_that_were_told_apart() -> None:
    questions = musique(True, False, False, True)
    told_apart, fooled = Prediction("", (), answerable=False), Prediction("Osk", (3,))
    keys = list(questions.by_id)
    predictions = dict(zip(keys, [fooled, told_apart, fooled, fooled], strict=True))
    scores = score_predictions(questions, predictions)
    assert scores["answer_f1"] == scores["support_f1"] == 1.0
    assert scores["answerability"] == 0.75
    assert scores["group_answer_sufficiency_f1"] == 0.5
    assert scores["group_support_sufficiency_f1"] == 0.5


def test_a_question_without_its_twin_is_refused() -> None:
    questions = musique(True, True, False)
    predictions = dict.fromkeys(questions.by_id, Prediction("Osk", (3,)))
    with pytest.raises(InputError, match="'q0' has no twin"):
        score_predictions(questions, predictions)
    nothing = musique(False)
    with pytest.raises(InputError, match="no question has an answer"):
        score_predictions(nothing, dict.fromkeys(nothing.by_id, Prediction("")))
