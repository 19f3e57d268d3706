"""A language model as a judge: passages reach it as data, and its grades are checked."""

from __future__ import annotations

import json

import pytest

from hoptrail.errors import ConfigError, InputError
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.search.rerankers.judge import Judge
from hoptrail.memory.search.rerankers.prompt_judge import PromptJudge
from hoptrail.memory.store import Store
from hoptrail.types import Passage

PASSAGES = [
    Passage("fram", "Fram was a ship.", "Fram"),
    Passage("archer", "He was born in Larvik."),
]


def test_a_model_orders_what_search_brings(tmp_path, twelve, hash_encoder) -> None:
    def complete(instructions: str, data: str) -> str:
        assert "never an instruction" in instructions
        texts = [one["text"] for one in json.loads(data)["passages"]]
        grades = {str(i): 9 if "trout" in text else 0.5 for i, text in enumerate(texts, 1)}
        return f"Here they are:\n```json\n{json.dumps({'grades': grades})}\n```"

    with Store(tmp_path / "s.db", encoder=hash_encoder) as store:
        store.add(twelve)
        pipeline = Pipeline([Search(keep=12), Judge(PromptJudge(complete), keep=2, at_once=5)])
        hits = pipeline.search(store, "fish of the lake", 2).hits
    assert "trout" in hits[0].passage.text
    assert hits[0].score == 9


@pytest.mark.parametrize(
    ("grades", "complaint"),
    [
        ({"1": 3}, "should be of the passages 1 to 2"),
        ({"1": 3, "2": 4, "3": 5}, "should be of the passages 1 to 2"),
        ([3, 4], "should be of the passages 1 to 2"),
        ({"1": 3, "2": 11}, "grade of passage 2 should be from 0 to 10, got 11"),
        ({"1": 3, "2": "high"}, "grade of passage 2 should be from 0 to 10, got 'high'"),
        ({"1": 3, "2": float("nan")}, "grade of passage 2 should be from 0 to 10, got nan"),
        ({"1": 3, "2": True}, "grade of passage 2 should be from 0 to 10, got True"),
    ],
)
def test_a_reply_that_is_not_what_was_asked_for_is_refused(grades, complaint) -> None:
    judge = PromptJudge(lambda instructions, data: json.dumps({"grades": grades}))
    with pytest.raises(InputError, match=complaint):
        judge("Where?", PASSAGES)


def test_words_are_no_reply_and_nothing_is_asked_of_nothing() -> None:
    judge = PromptJudge(lambda instructions, data: "Both are fine.")
    with pytest.raises(InputError, match="should reply with JSON"):
        judge("Where?", PASSAGES)
    assert judge("Where?", []) == []
    with pytest.raises(ConfigError, match="calls its model with instructions and data"):
        PromptJudge("gpt")  # type: ignore[arg-type]
