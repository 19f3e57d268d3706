"""Answers are measured with the gold, with the policy's trail and with what searches find."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hoptrail.errors import InputError, ReaderError
from hoptrail.evaluation.answers.grading import answerable_auc, grade_answer
from hoptrail.evaluation.answers.reader_run import ReaderRun, evidence_of, longer_evidence
from hoptrail.evaluation.answers.reading_curve import plot_reading
from hoptrail.evaluation.benchmark import Decision, Ranking
from hoptrail.evaluation.evaluate import Settings, evaluate
from hoptrail.evaluation.report import answer_rows
from hoptrail.formats.jsonl import question_record, write_jsonl
from hoptrail.metrics.answer_scores import RULES
from hoptrail.types import Answer, Evidence, Passage, Question

SETTINGS = Settings(retrievers=("dense", "policy"))


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def report(corpus, questions, hash_encoder, last_name_reader):
    answering = ReaderRun(last_name_reader, passages=2, judge=lambda *_: 0.5)
    return evaluate(corpus, questions, SETTINGS, encoder=hash_encoder, answering=answering)


def test_every_retriever_and_the_gold_have_the_keys_of_the_contract(report) -> None:
    assert list(report["retrievers"]) == ["gold", "dense", "policy"]
    for means in report["retrievers"].values():
        assert {"answer_em", "answer_f1", "support_f1", "joint_f1"} <= set(means)
    gold = report["retrievers"]["gold"]
    assert (gold["answer_em"], gold["support_f1"], gold["joint_f1"]) == (1.0, 1.0, 1.0)
    assert gold["answer_judged"] == 0.5
    assert report["splits"]["all"]["intervals"]["gold"]["answer_f1"] == [1.0, 1.0]
    json.dumps(report, allow_nan=False)


def test_a_question_carries_what_was_read_and_what_came_of_it(report, three_hops) -> None:
    (row,) = report["questions"]
    assert (row["text"], row["answers"]) == (three_hops.text, ["Lake Sorrel"])
    gold = row["answered"]["gold"]
    assert gold["text"] == "Lake Sorrel"
    assert gold["read"] == list(three_hops.supporting_ids)
    assert gold["evidence"][-1] == {"id": "p-ister-beck", "field": "text", "start": 42, "end": 53}
    assert row["answered"]["dense"]["read"] == [hit["id"] for hit in row["ranked"]["dense"][:2]]
    assert row["answered"]["policy"]["read"] == row["decisions"]["policy"][-1]["read"]
    assert [hop["id"] for hop in row["trails"]["policy"]["hops"]] == (
        row["answered"]["policy"]["read"]
    )
    assert row["titles"]["p-ada-lind"] == "Ada Lind"
    assert row["metrics"]["gold"]["joint_f1"] == 1.0
    assert gold["tokens"] > 30


def test_the_policy_s_lead_in_answers_is_stated_against_the_gold_as_well(report) -> None:
    pairs = {(one["against"], one["measure"]) for one in report["splits"]["all"]["comparisons"]}
    assert {("gold", "answer_f1"), ("dense", "answer_f1"), ("dense", "recall@5")} <= pairs
    assert ("gold", "recall@5") not in pairs


def test_answers_are_a_table(report) -> None:
    heading, *rows = answer_rows(report)
    assert heading[:3] == ["evidence", "answer EM", "answer F1"]
    assert rows[0][:3] == ["gold", "100.0", "100.0"]


def test_questions_without_an_answer_count_for_answerability_alone(
    corpus, tmp_path, three_hops, hash_encoder, last_name_reader
) -> None:
    absent = Question("q-2", "Who?", (), ("p-stone-house",), answerable=False)
    file = tmp_path / "both.jsonl"
    write_jsonl(file, map(question_record, [three_hops, absent]))
    answering = ReaderRun(last_name_reader)
    report = evaluate(corpus, file, Settings(("dense",)), encoder=hash_encoder, answering=answering)
    gold = report["retrievers"]["gold"]
    assert gold["answer_f1"] == 1.0
    assert gold["answerability"] == 1.0
    assert gold["answerable_auc"] == 1.0
    assert "answer_f1" not in report["questions"][1]["metrics"]["gold"]
    bare = tmp_path / "bare.jsonl"
    write_jsonl(bare, [question_record(replace(three_hops, answers=()))])
    with pytest.raises(InputError, match=r"'q-1' names no answers: .*answerable"):
        evaluate(corpus, bare, Settings(("dense",)), encoder=hash_encoder, answering=answering)


def test_evidence_that_was_not_read_is_refused(corpus, questions, hash_encoder) -> None:
    class Forger:
        def read(self, question: str, passages: list[Passage]) -> Answer:
            return Answer(question, "x", 1.0, 1.0, (Evidence("p-nowhere"),))

    with pytest.raises(ReaderError, match="cites the passage 'p-nowhere', which it was not given"):
        evaluate(corpus, questions, SETTINGS, encoder=hash_encoder, answering=ReaderRun(Forger()))


def test_a_trail_is_read_whole_and_a_ranking_to_its_budget(last_name_reader) -> None:
    answering = ReaderRun(last_name_reader, passages=2)
    ranking = Ranking(("a", "b", "c", "d"), (4.0, 3.0, 2.0, 1.0))
    assert evidence_of(ranking, answering) == ("a", "b")
    walked = replace(ranking, decisions=(Decision((), 0.1), Decision(("c", "a", "b"), 0.9)))
    assert evidence_of(walked, answering) == ("c", "a", "b")
    with pytest.raises(InputError, match="at least 1 passage, got 0"):
        ReaderRun(last_name_reader, passages=0)
    with pytest.raises(InputError, match="no rules 'squad'"):
        ReaderRun(last_name_reader, rules="squad")


def test_no_answer_is_worth_nothing_where_there_is_one(three_hops) -> None:
    nothing = Answer(three_hops.text, None, 0.9, 0.1)
    measures = grade_answer(nothing, three_hops, RULES["musique"])
    assert set(measures.values()) == {0.0}
    absent = replace(three_hops, answerable=False)
    assert grade_answer(nothing, absent, RULES["musique"]) == {"answerability": 1.0}


class Doubter:
    """Says the first word, or that there is none."""

    def __init__(self, sure: bool = False) -> None:
        self.sure = sure

    def read(self, question: str, passages: Sequence[Passage]) -> Answer:
        return Answer(question, passages[0].text.split()[0] if self.sure else None, 0.5, 0.5)

    def without_abstaining(self) -> Doubter:
        return Doubter(sure=True)


def test_where_all_questions_have_answers_none_is_withheld(
    corpus, questions, tmp_path, three_hops, hash_encoder
) -> None:
    def text(file: Path) -> str | None:
        settings, answering = Settings(("dense",)), ReaderRun(Doubter())
        report = evaluate(corpus, file, settings, encoder=hash_encoder, answering=answering)
        return report["questions"][0]["answered"]["gold"]["text"]

    absent = Question("q-2", "Who?", (), ("p-stone-house",), answerable=False)
    both = tmp_path / "both.jsonl"
    write_jsonl(both, map(question_record, [three_hops, absent]))
    assert text(questions)
    assert text(both) is None


def test_a_judge_says_a_share_or_is_refused(three_hops) -> None:
    answer = Answer(three_hops.text, "a lake", 0.9, 0.9)
    judged = grade_answer(answer, three_hops, RULES["musique"], lambda *_: 0.25)
    assert judged["answer_judged"] == 0.25
    for value in (2.0, float("nan"), "yes"):
        with pytest.raises(InputError, match="the judge should give a number from 0 to 1"):
            grade_answer(answer, three_hops, RULES["musique"], lambda *_, v=value: v)


def test_the_auc_counts_ordered_pairs() -> None:
    """By hand: of 2 · 2 pairs, two are ordered, one is a tie and one is turned round."""
    assert answerable_auc([0.9, 0.4, 0.4, 0.5], [True, True, False, False]) == 0.625
    assert answerable_auc([0.9, 0.4], [True, True]) is None
    assert answerable_auc([0.9, None], [True, False]) is None


def test_a_longer_context_begins_with_the_trail(last_name_reader) -> None:
    answering = ReaderRun(last_name_reader)
    ranking = Ranking(("a", "b", "c", "d"), (4.0, 3.0, 2.0, 1.0))
    assert longer_evidence(ranking, answering, 3) == ("a", "b", "c")
    walked = replace(ranking, decisions=(Decision(("c", "a"), 0.9),))
    assert longer_evidence(walked, answering, 1) == ("c", "a")
    assert longer_evidence(walked, answering, 3) == ("c", "a", "b")
    with pytest.raises(InputError, match="budgets must be rising numbers from 1"):
        ReaderRun(last_name_reader, budgets=(5, 2))


def test_answers_are_measured_against_what_was_read(
    corpus, questions, hash_encoder, last_name_reader, tmp_path
) -> None:
    answering = ReaderRun(last_name_reader, budgets=(1, 12))
    report = evaluate(
        corpus, questions, Settings(("dense",)), encoder=hash_encoder, answering=answering
    )
    short, long = report["reading"]["dense"]
    assert (short["passages"], long["passages"]) == (1.0, 12.0)
    assert short["tokens"] < long["tokens"]
    assert long["low"] <= long["answer_f1"] <= long["high"]
    plot_reading(report, tmp_path / "reading.svg")
    assert "tokens read" in (tmp_path / "reading.svg").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="no curve of reading"):
        plot_reading({**report, "reading": {}}, tmp_path / "none.svg")
