"""How sure an answer is, by what the reader and the walk say of whether there is one."""

from __future__ import annotations

import pytest

from hoptrail.api.answer_certainty import weigh_answer
from hoptrail.policies.networks.score_calibration import UNANSWERABLE
from hoptrail.types import Answer, Evidence

ANSWER = Answer("Who?", "Ann", 0.2, 0.4, (Evidence("a"),))


def test_a_walk_that_says_what_of_any_question_would_be_said_changes_nothing() -> None:
    answer = weigh_answer(ANSWER, 1 - UNANSWERABLE)
    assert answer.answerable == pytest.approx(0.4)
    assert answer.text is None
    assert answer.probability == pytest.approx(0.6)
    assert answer.evidence == ()


def test_a_walk_that_is_sure_lets_the_reader_answer() -> None:
    answer = weigh_answer(ANSWER, 0.95)
    assert answer.text == "Ann"
    assert answer.evidence == ANSWER.evidence
    # By hand: odds 0.4 / 0.6 times 0.95 / 0.05, less 0.65 / 0.35.
    odds = (0.4 / 0.6) * (0.95 / 0.05) / (0.65 / 0.35)
    assert answer.answerable == pytest.approx(odds / (1 + odds))
    assert answer.probability == pytest.approx(0.5 * odds / (1 + odds))


def test_a_walk_that_found_nothing_outvotes_the_reader() -> None:
    sure = Answer("Who?", "Ann", 0.7, 0.8)
    assert weigh_answer(sure, 0.9).known
    assert not weigh_answer(sure, 0.1).known


def test_where_one_of_them_does_not_say_the_other_decides() -> None:
    assert weigh_answer(ANSWER, None).text is None
    assert weigh_answer(Answer("Who?", "Ann", 0.3, 0.6), None).probability == pytest.approx(0.3)
    unsaid = Answer("Who?", "Ann")
    assert weigh_answer(unsaid, 0.01) == unsaid
