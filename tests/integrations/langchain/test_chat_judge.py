"""A chat model that grades passages for a pipeline."""

from __future__ import annotations

import json

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from hoptrail import Memory
from hoptrail.errors import InputError
from hoptrail.integrations.langchain import ChatJudge
from hoptrail.memory import Judge, Pipeline, Search


def test_a_chat_model_orders_what_search_brings(tmp_path, hash_encoder) -> None:
    texts = ["Fram was a ship.", "Archer was born in Larvik."]
    reply = AIMessage(json.dumps({"grades": {"1": 0, "2": 10}}))
    model = GenericFakeChatModel(messages=iter([reply]))
    with Memory(tmp_path / "ships.db", encoder=hash_encoder) as memory:
        memory.add(texts)
        first = memory.search("Who was born?", k=2)
        pipeline = Pipeline([Search(keep=2), Judge(ChatJudge(model), keep=2)])
        hits = memory.search("Who was born?", k=2, pipeline=pipeline)
    assert [hit.score for hit in hits] == [10, 0]
    assert hits[0].passage.id == first[1].passage.id


def test_what_is_no_chat_model_is_refused() -> None:
    with pytest.raises(InputError, match="must be a LangChain chat model"):
        ChatJudge("gpt")  # type: ignore[arg-type]
