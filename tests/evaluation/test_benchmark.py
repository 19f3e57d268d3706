from __future__ import annotations

import time

import pytest

from hoptrail.errors import InputError
from hoptrail.evaluation.benchmark import Ranking, run
from hoptrail.types import Question


class Scripted:
    """A retriever that answers what it is told to, and remembers what it was asked."""

    def __init__(self, name, ids=("a", "b"), scores=None, seconds=0.0) -> None:
        self.name = name
        self.asked: list[Question] = []
        self._ranking = Ranking(tuple(ids), tuple(scores or [1.0] * len(ids)), hops=2)
        self._seconds = seconds

    def rank(self, question: Question, k: int) -> Ranking:
        self.asked.append(question)
        time.sleep(self._seconds)
        return self._ranking


QUESTIONS = [
    Question("1", "one?", ("yes",), ("a",), "bridge", ("n",), "unbiased"),
    Question("2", "two?", ("no",), ("b",), namespace=("n",)),
    Question("3", "three?", (), ("c",), namespace=("m",)),
]


def test_retrievers_take_turns_and_every_namespace_is_warmed_up() -> None:
    told = []
    first, second = Scripted("first"), Scripted("second")
    results = run([first, second], QUESTIONS, progress=lambda *step: told.append(step))
    assert [question.id for question in first.asked] == ["1", "3", "1", "2", "3"]
    assert [question.id for question in second.asked] == ["1", "3", "1", "2", "3"]
    assert [result.question for result in results] == QUESTIONS
    assert all(list(result.rankings) == ["first", "second"] for result in results)
    assert results[0].rankings["first"].hops == 2
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_retriever_is_not_shown_the_answer() -> None:
    spy = Scripted("spy")
    run([spy], QUESTIONS)
    for question in spy.asked:
        assert (question.answers, question.supporting_ids) == ((), ())
        assert (question.kind, question.selection) == (None, None)
        assert question.namespace


def test_time_is_measured_around_the_call() -> None:
    (result, *_) = run([Scripted("slow", seconds=0.02)], QUESTIONS)
    assert 20 <= result.rankings["slow"].milliseconds < 500


@pytest.mark.parametrize(
    ("retriever", "message"),
    [
        (Scripted("r", ["a", "a"]), "r should give at most 2 different ids .* 2 ids, 1 of them"),
        (Scripted("r", ["a", "b", "c"]), "got 3 ids"),
        (Scripted("r", ["a"], [1.0, 2.0]), "and 2 scores"),
        (Scripted("r", ["a"], [float("nan")]), "r gave a score that is not finite to '1'"),
    ],
)
def test_what_is_no_ranking_is_refused(retriever, message) -> None:
    with pytest.raises(InputError, match=message):
        run([retriever], QUESTIONS, k=2)


def test_what_cannot_be_run_is_refused() -> None:
    with pytest.raises(InputError, match=r"different names, got \['r', 'r'\]"):
        run([Scripted("r"), Scripted("r")], QUESTIONS)
    with pytest.raises(InputError, match=r"at least one, with different names, got \[\]"):
        run([], QUESTIONS)
    with pytest.raises(InputError, match="no questions to ask"):
        run([Scripted("r")], [])
    with pytest.raises(InputError, match="question '4' names no supporting_ids"):
        run([Scripted("r")], [*QUESTIONS, Question("4", "four?")])
