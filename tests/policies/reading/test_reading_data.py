"""What a reader learns from: evidence, passages near it, and the steps of a question."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.errors import FormatError
from hoptrail.learning.answering.answer_network import NO_ANSWER, YES
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.windows import tokenizer_of
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.reading.reading_data import ReadingCorpus, answered_questions
from hoptrail.policies.reading.recurring_names import ClozeQuestions
from hoptrail.policies.reading.trail_sampling import sample_trail, trail_of, without_answer

PASSAGES = [
    {
        "id": "a",
        "title": "Old Bridge",
        "text": "Long ago it was built for all who came from old places by City River.",
    },
    {
        "id": "b",
        "title": "City River",
        "text": "He was built under Under City. Long after it he built what is the Old Bridge.",
    },
    {"id": "c", "title": "The River", "text": "It was built by it. City River was old."},
    {"id": "d", "text": "Somewhere else.", "namespace": ["other"]},
]
QUESTIONS = [
    {
        "id": "q1",
        "question": "who built the bridge",
        "answers": ["City River"],
        "supporting_ids": ["a", "b"],
        "steps": [
            {"question": "Old Bridge >> built by", "answer": "City River"},
            {"question": "where was #1 built", "answer": "Under City"},
        ],
    },
    {
        "id": "q2",
        "question": "is it old",
        "answers": ["yes"],
        "supporting_ids": ["c"],
        "triples": [["The River", "builder", "it"], ["The River", "mouth", "the sea"]],
    },
    {"id": "q3", "question": "nobody knows", "answers": [], "supporting_ids": ["c"]},
]


@pytest.fixture
def tokenizer(tiny_bert):
    return tokenizer_of(TransformerEncoder(tiny_bert, device="cpu").model.tokenizer)


@pytest.fixture
def corpus(tmp_path: Path, tokenizer) -> ReadingCorpus:
    file = tmp_path / "corpus.jsonl"
    file.write_text("\n".join(map(json.dumps, PASSAGES)))
    return ReadingCorpus(file, tokenizer, HashEncoder())


@pytest.fixture
def questions(tmp_path: Path, corpus: ReadingCorpus):
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, QUESTIONS)))
    return answered_questions(corpus, file)


def test_steps_and_triples_are_questions_with_the_evidence_that_says_them(questions) -> None:
    assert [(one.text, one.part_of != "") for one in questions] == [
        ("who built the bridge", False),
        ("Old Bridge >> built by", True),
        ("where was City River built", True),
        ("is it old", False),
        ("What is the builder of The River?", True),
    ]
    assert [one.gold for one in questions] == [(0, 1), (0, 1), (1,), (2,), (2,)]
    assert set(questions[0].distractors) == {2, 3}
    assert questions[0].cluster != questions[3].cluster
    assert questions[3].classes == (YES,)


def test_a_step_that_is_none_is_refused(tmp_path, corpus) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({**QUESTIONS[0], "steps": [{"question": "#2", "answer": "x"}]}))
    with pytest.raises(FormatError, match="question 'q1' has steps or triples that are none"):
        answered_questions(corpus, file)


def test_a_memory_is_a_corpus_too(tmp_path, tokenizer) -> None:
    with Memory(tmp_path / "agent.db", encoder=HashEncoder()) as memory:
        memory.add({"id": "a", "text": "the old bridge"})
    corpus = ReadingCorpus(tmp_path / "agent.db", tokenizer, HashEncoder())
    assert corpus.contents == ["the old bridge"]


def test_what_is_right_follows_from_what_a_trail_holds(corpus, questions) -> None:
    named, yes = questions[0], questions[3]
    complete = trail_of(corpus, named, [2, 1, 0])
    assert {place for place, _ in complete.target.spans} == {0, 1, 2}
    assert complete.target.evidence == (False, True, True)
    assert complete.target.classes == ()
    assert without_answer(corpus, named, [0, 1, 2]) == []
    assert trail_of(corpus, named, []).target.classes == (NO_ANSWER,)
    assert trail_of(corpus, yes, [2, 0]).target.classes == (YES,)
    assert trail_of(corpus, yes, [0]).target.classes == (NO_ANSWER,)


def test_trails_are_drawn_complete_and_not_and_by_the_seed_alone(corpus, questions) -> None:
    def draws(seed: int) -> list[tuple[int, ...]]:
        rng = np.random.default_rng(seed)
        return [
            tuple(len(one.ids) for one in sample_trail(corpus, questions[0], 2, rng).passages)
            for _ in range(60)
        ]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert {len(one) for one in draws(1)} >= {1, 2, 3}


def test_a_name_is_left_out_of_a_sentence_and_found_elsewhere(corpus, tokenizer) -> None:
    cloze = ClozeQuestions(corpus, tokenizer)
    rng = np.random.default_rng(0)
    trails = [trail for _ in range(300) if (trail := cloze.draw(rng))]
    assert trails
    answered = [trail for trail in trails if trail.target.spans]
    assert answered
    assert len(answered) < len(trails)
    for trail in answered:
        for place, (first, last) in trail.target.spans:
            tokens = trail.passages[place]
            assert tokens.begins[first]
            assert tokens.ends[last]
    without = ClozeQuestions(corpus, tokenizer, excluded=range(len(PASSAGES)))
    assert len(without) == 0
