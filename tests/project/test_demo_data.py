"""The demo's data holds together: links resolve, answers are there, every hop is needed."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib import resources
from itertools import pairwise
from typing import Any

import pytest

CORPUS = "demo/corpus.jsonl"
QUESTIONS = "demo/questions.jsonl"
KINDS = {"bridge", "comparison", "bridge_comparison"}


def load(name: str) -> list[dict[str, Any]]:
    text = resources.files("hoptrail").joinpath(name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def bare_title(passage: dict[str, Any]) -> str:
    """The title without its parenthesised tail, as a text would mention it."""
    return re.sub(r" \(.*\)$", "", passage["title"])


def names(text: str, title: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(title)}(?!\w)", text, re.IGNORECASE) is not None


@pytest.fixture(scope="module")
def passages() -> dict[str, dict[str, Any]]:
    return {passage["id"]: passage for passage in load(CORPUS)}


@pytest.fixture(scope="module")
def questions() -> list[dict[str, Any]]:
    return load(QUESTIONS)


@pytest.fixture(scope="module")
def bridges(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [question for question in questions if question["kind"] == "bridge"]


def test_there_are_enough_passages_and_multi_hop_questions(passages, questions):
    assert len(passages) >= 150
    assert sum(len(question["supporting_ids"]) >= 2 for question in questions) >= 40


@pytest.mark.parametrize("name", [CORPUS, QUESTIONS])
def test_ids_are_unique(name):
    repeated = [key for key, n in Counter(row["id"] for row in load(name)).items() if n > 1]
    assert repeated == []


def test_titles_and_texts_are_unique(passages):
    assert len({passage["title"] for passage in passages.values()}) == len(passages)
    assert len({passage["text"] for passage in passages.values()}) == len(passages)


def test_texts_are_of_passage_length(passages):
    lengths = {key: len(passage["text"].split()) for key, passage in passages.items()}
    assert {key: n for key, n in lengths.items() if not 25 <= n <= 80} == {}


def test_links_resolve_and_lead_elsewhere(passages):
    links = [(key, link) for key, p in passages.items() for link in p.get("links", [])]
    assert [(key, link) for key, link in links if link not in passages or link == key] == []
    assert len({key for key, _ in links}) >= 0.4 * len(passages)


def test_supporting_ids_resolve_and_do_not_repeat(passages, questions):
    for question in questions:
        ids = question["supporting_ids"]
        assert question["kind"] in KINDS, question["id"]
        assert len(set(ids)) == len(ids) >= 2, question["id"]
        assert set(ids) <= set(passages), question["id"]


def test_answers_stand_in_a_supporting_passage(passages, questions):
    for question in questions:
        contents = [
            f"{passages[key]['title']}. {passages[key]['text']}"
            for key in question["supporting_ids"]
        ]
        for answer in question["answers"]:
            if question["kind"] != "bridge" and answer in {"yes", "no"}:
                continue
            assert any(answer in content for content in contents), (question["id"], answer)


def test_a_bridge_question_names_none_of_the_passages_behind_its_first(passages, bridges):
    for question in bridges:
        for key in question["supporting_ids"][1:]:
            title = bare_title(passages[key])
            assert not names(question["question"], title), (question["id"], title)


def test_a_bridge_question_is_answered_only_by_its_last_passage(passages, bridges):
    for question in bridges:
        *before, last = (passages[key]["text"] for key in question["supporting_ids"])
        answer = question["answers"][0]
        assert answer in last, question["id"]
        assert not any(answer in text for text in before), question["id"]


def test_a_bridge_question_can_be_walked(passages, bridges):
    for question in bridges:
        ids = question["supporting_ids"]
        for source, target in pairwise(ids):
            mentioned = names(passages[source]["text"], bare_title(passages[target]))
            linked = target in passages[source].get("links", [])
            assert mentioned or linked, (question["id"], source, target)
