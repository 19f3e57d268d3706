"""A transformer, and questions over passages of its words whose evidence it does not find yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.policies.data.training_data import TrainingSet

WORDS = "old bridge river city under built".split()


@pytest.fixture
def base(tiny_bert: Path) -> TransformerEncoder:
    return TransformerEncoder(tiny_bert, device="cpu")


@pytest.fixture
def one_set(tmp_path: Path) -> TrainingSet:
    """Passages of words, and questions that need a passage of other words, and then a third."""
    corpus, questions = tmp_path / "corpus.jsonl", tmp_path / "questions.jsonl"
    passages = [
        {"id": f"p{i}", "text": " ".join([one, WORDS[i - 1], one])} for i, one in enumerate(WORDS)
    ]
    passages.append({"id": "long", "text": " . ".join(["the city of it and the river"] * 20)})
    rows = [
        {
            "id": f"q{i}",
            "question": f"who {one}",
            "supporting_ids": [f"p{(i + 2) % 6}", f"p{(i + 3) % 6}"],
        }
        for i, one in enumerate(WORDS)
    ]
    corpus.write_text("\n".join(map(json.dumps, passages)))
    questions.write_text("\n".join(map(json.dumps, rows)))
    return TrainingSet(corpus, questions)


@pytest.fixture
def apart(tmp_path: Path) -> TrainingSet:
    """Six questions that fall into three clusters, each of two over three passages of their own."""
    corpus, questions = tmp_path / "apart.jsonl", tmp_path / "apart-questions.jsonl"
    passages, rows = [], []
    for number in range(3):
        one, other = WORDS[2 * number : 2 * number + 2]
        ids = [f"{number}-{place}" for place in "abc"]
        texts = [f"{one} {other}", f"{other} {WORDS[number - 1]} {other}", f"a {one} when {one}"]
        passages += [{"id": id, "text": text} for id, text in zip(ids, texts, strict=True)]
        rows += [
            {"id": f"{number}-1", "question": f"who {one}", "supporting_ids": ids[:2]},
            {"id": f"{number}-2", "question": f"when {other}", "supporting_ids": ids[1:]},
        ]
    corpus.write_text("\n".join(map(json.dumps, passages)))
    questions.write_text("\n".join(map(json.dumps, rows)))
    return TrainingSet(corpus, questions)
