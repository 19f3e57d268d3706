"""A chat model that answers: passages reach it as data, and its citations are checked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from pydantic import Field

from hoptrail import Passage
from hoptrail.errors import InputError, ReaderError
from hoptrail.integrations.langchain import ChatReader
from hoptrail.outputs.prompts import prompt_data

PASSAGES = [
    Passage("fram", "Fram was designed by Colin Archer.", "Fram"),
    Passage("archer", "Archer was born in Larvik.", "Colin Archer", namespace=("a",)),
]


class Recording(GenericFakeChatModel):
    """A chat model with fixed replies that remembers what it was told."""

    prompts: list[Any] = Field(default_factory=list)

    def _generate(self, messages: list[Any], *args: Any, **kwargs: Any) -> Any:
        self.prompts.append(messages)
        return super()._generate(messages, *args, **kwargs)


def replying(reply: object) -> Recording:
    text = reply if isinstance(reply, str) else json.dumps(reply)
    return Recording(messages=iter([AIMessage(text)]), prompts=[])


def test_it_answers_and_the_words_are_found_in_what_it_cites() -> None:
    model = replying({"answer": "Larvik", "citations": [2, 1, 2], "probability": 0.9})
    answer = ChatReader(model).read("Where was Fram's designer born?", PASSAGES)
    assert (answer.text, answer.probability) == ("Larvik", 0.9)
    first, second = answer.evidence
    assert (first.id, first.namespace, first.field) == ("archer", ("a",), "text")
    assert PASSAGES[1].text[first.start : first.end] == "Larvik"
    assert (second.id, second.start, second.end) == ("fram", None, None)


def test_a_reply_between_fences_is_read() -> None:
    reply = '```json\n{"answer": "Colin Archer", "citations": [2]}\n```'
    answer = ChatReader(replying(reply)).read("Who?", PASSAGES)
    assert answer.probability is None
    assert answer.evidence[0].field == "title"


def test_no_answer_is_an_outcome_and_nothing_read_asks_nobody() -> None:
    model = replying({"answer": None, "citations": [], "probability": 0.8})
    answer = ChatReader(model).read("Who sank it?", PASSAGES)
    assert (answer.known, answer.probability, answer.evidence) == (False, 0.8, ())
    silent = replying("never asked")
    assert not ChatReader(silent).read("Who sank it?", []).known
    assert silent.prompts == []


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ("Larvik.", "should reply with JSON"),
        ({"answer": "Larvik", "citations": [3]}, 'cites the passage "3", and was given 1 to 2'),
        ({"answer": "Larvik", "citations": ["fram"]}, 'cites the passage "fram"'),
        ({"answer": "Larvik", "citations": [True]}, "cites the passage"),
        ({"answer": "Larvik", "citations": []}, "cites no passage"),
        ({"answer": "Larvik"}, "cites no passage"),
        ({"answer": ["Larvik"], "citations": [1]}, "should be a text or null"),
        ({"answer": "x", "citations": [1], "probability": 2}, "should be from 0 to 1"),
    ],
)
def test_what_it_was_not_given_it_cannot_cite(reply: object, complaint: str) -> None:
    with pytest.raises(ReaderError, match=complaint):
        ChatReader(replying(reply)).read("Where?", PASSAGES)


def test_no_stored_text_leaves_its_quotation(hostile_texts) -> None:
    passages = [Passage(f"p{i}", text, text) for i, text in enumerate(hostile_texts)]
    data = json.loads(prompt_data("Who?", passages))
    assert [passage["text"] for passage in data["passages"]] == hostile_texts
    lines = prompt_data("Who?", passages).splitlines()
    assert sum(line.strip().startswith('"number"') for line in lines) == len(hostile_texts)
    model = replying({"answer": None})
    ChatReader(model).read("Who?", passages)
    ((system, human),) = model.prompts
    assert human.content == prompt_data("Who?", passages)
    assert not any(text in system.content for text in hostile_texts if text.strip())


def test_what_is_no_chat_model_is_refused() -> None:
    with pytest.raises(InputError, match="got str"):
        ChatReader("gpt")
