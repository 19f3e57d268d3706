"""Chats of every library become turns: who spoke, when, and what came next."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, messages_to_dict

from hoptrail import InputError
from hoptrail.errors import FormatError
from hoptrail.formats import chat_passages

OPENAI = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "I moved to Larvik.", "timestamp": 1_700_000_000},
    {
        "role": "assistant",
        "content": [
            {"type": "reasoning", "text": "Hm."},
            {"type": "output_text", "text": "Noted."},
            {"type": "image_url", "image_url": {"url": "http://x.test/a.png"}},
        ],
    },
    {"role": "tool", "content": "42", "tool_call_id": "1"},
    {"role": "user", "content": "Thanks!", "created_at": "2024-01-02T03:04:05Z"},
]
LANGCHAIN = [
    SystemMessage("Be kind."),
    HumanMessage("I moved to Larvik."),
    AIMessage([{"type": "text", "text": "Noted."}]),
    HumanMessage("Thanks!"),
]


def said(messages) -> list[tuple[str, str]]:
    turns = chat_passages(messages, session="s")
    assert [link.target for turn in turns for link in turn.links] == [turn.id for turn in turns[1:]]
    return [(turn.metadata["speaker"], turn.text) for turn in turns]


SPOKEN = [("user", "I moved to Larvik."), ("assistant", "Noted."), ("user", "Thanks!")]


@pytest.mark.parametrize(
    "messages",
    [OPENAI, LANGCHAIN, messages_to_dict(LANGCHAIN), [dumpd(one) for one in LANGCHAIN]],
    ids=["openai", "langchain", "langchain-dicts", "langchain-dumps"],
)
def test_messages_of_every_library_say_the_same(messages) -> None:
    assert said(messages) == SPOKEN


def test_messages_of_llama_index_do_too() -> None:
    llms = pytest.importorskip("llama_index.core.llms")
    messages = [
        llms.ChatMessage(role="system", content="Be kind."),
        llms.ChatMessage(role="user", content="I moved to Larvik."),
        llms.ChatMessage(role="assistant", blocks=[llms.TextBlock(text="Noted.")]),
        llms.ChatMessage(role="user", content="Thanks!"),
    ]
    assert said(messages) == said([one.model_dump(mode="json") for one in messages]) == SPOKEN


def test_times_are_kept_as_text_however_they_are_given() -> None:
    turns = chat_passages(OPENAI, session="s", metadata={"app": "x"})
    assert [turn.metadata.get("said_at") for turn in turns] == [
        "2023-11-14T22:13:20+00:00",
        None,
        "2024-01-02T03:04:05Z",
    ]
    assert turns[0].metadata == {
        "app": "x",
        "speaker": "user",
        "session": "s",
        "said_at": "2023-11-14T22:13:20+00:00",
    }
    moment = datetime(2024, 1, 2, tzinfo=UTC)
    for value in (moment, moment.timestamp(), moment.timestamp() * 1000):
        (turn,) = chat_passages([{"role": "user", "content": "Hi.", "time": value}])
        assert turn.metadata["said_at"] == "2024-01-02T00:00:00+00:00"


@pytest.mark.parametrize(
    "messages",
    [
        "text",
        {"role": "user", "content": "x"},
        7,
        [7],
        [{"content": "x"}],
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": "x", "time": 1e99}],
    ],
    ids=str,
)
def test_what_is_no_message_is_refused(messages) -> None:
    with pytest.raises((InputError, FormatError)):
        chat_passages(messages)
