"""Wherever a model is shown what was stored or answered, no hostile text leaves its quotation.

LlamaIndex's retriever and memory block, middleware and chat reader have the same beside their own
tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from hoptrail import Answer, Evidence, Memory
from hoptrail.integrations.function_calling import MemoryTools, anthropic_result, openai_output
from hoptrail.integrations.langchain import agent_tools, recall_tool
from hoptrail.integrations.mcp_server.handlers import memory_server
from hoptrail.integrations.operations.bound_memory import BoundMemory
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

UNSAFE = set("\x1b\x07\r\x85\u2028\u202e\u2066\u200b\ufeff\u00ad\U000e0041")
STRING = r'"(?:[^"\\]|\\.)*"'
HEADS = [
    rf"\[\d+\] (Untitled|{STRING}) \(id: {STRING}\)",
    rf"Recall \(recall: {STRING}\)",
    rf"Answer: {STRING} \(recall: {STRING}, probability: 0\.50\)",
    r"It rests on:",
]
K = 50


def forger(question: str, passages: Sequence[Passage]) -> Answer:
    """A reader whose answer is as hostile as what it read, and rests on all of it."""
    evidence = tuple(Evidence(passage.id, passage.namespace) for passage in passages)
    return Answer(question, passages[0].text, 0.5, None, evidence)


@pytest.fixture(scope="module")
def hostile_memory(tmp_path_factory, small_policy, hostile_texts):
    path = tmp_path_factory.mktemp("hostile") / "h.db"
    with Memory(path, encoder=HashEncoder(), policy=small_policy, reader=forger) as memory:
        memory.add(
            [
                {"id": f"{n} {text}"[:900], "title": text, "text": f"pond {n} {text}"}
                for n, text in enumerate(hostile_texts)
            ]
        )
        yield memory


def by_openai(memory: Memory, name: str, arguments: dict[str, object]) -> str:
    outcome = MemoryTools(memory).call(name, arguments)
    outputs = [openai_output("c1", outcome)["output"], openai_output("c1", outcome, "chat")]
    assert outputs[0] == outputs[1]["content"]
    return str(outputs[0])


def by_langchain(memory: Memory, name: str, arguments: dict[str, object]) -> str:
    tool = next(one for one in agent_tools(memory) if one.name == name)
    return str(
        tool.invoke({"name": name, "args": arguments, "id": "c1", "type": "tool_call"}).content
    )


def by_recall_tool(memory: Memory, name: str, arguments: dict[str, object]) -> str:
    assert name == "recall"
    call = {"name": name, "args": arguments, "id": "c1", "type": "tool_call"}
    return str(recall_tool(memory).invoke(call).content)


SURFACES: dict[str, Callable[[Memory, str, dict[str, object]], str]] = {
    "operation": lambda memory, *call: BoundMemory(memory).call(*call).text,
    "openai": by_openai,
    "anthropic": lambda memory, *call: anthropic_result("c1", MemoryTools(memory).call(*call))[
        "content"
    ],
    "langchain": by_langchain,
}
ANSWERING = list(SURFACES)
SURFACES["recall_tool"] = by_recall_tool


def check(text: str, heads: int) -> None:
    """Nothing but the heads that are ours stands outside of a quotation, and nothing hides."""
    assert not set(text) & UNSAFE
    lines = [line for line in text.splitlines() if line and not line.startswith(">")]
    assert all(any(re.fullmatch(head, line) for head in HEADS) for line in lines)
    assert len(lines) == heads


@pytest.mark.parametrize("surface", ANSWERING)
def test_an_answer_and_what_it_rests_on_stay_quoted(hostile_memory, surface) -> None:
    text = SURFACES[surface](hostile_memory, "ask", {"question": "pond?", "k": K})
    check(text, K + 2)


@pytest.mark.parametrize("surface", ["openai", "anthropic", "recall_tool"])
def test_what_goes_back_to_a_provider_stays_quoted(hostile_memory, surface) -> None:
    show = SURFACES[surface]
    check(show(hostile_memory, "recall", {"question": "pond?", "k": K}), K + 1)
    if surface != "recall_tool":
        check(show(hostile_memory, "search", {"query": "pond", "k": K}), K)


async def test_an_mcp_client_is_shown_answers_that_stay_quoted(hostile_memory) -> None:
    from mcp import Client

    async with Client(memory_server(lambda: BoundMemory(hostile_memory))) as client:
        result = await client.call_tool("ask", {"question": "pond?", "k": K})
    check(result.content[0].text, K + 2)
    assert not set(repr(result.structured_content).replace("\\\\", "")) & UNSAFE


def test_what_a_call_repeats_of_its_arguments_is_one_line(hostile_memory, hostile_texts) -> None:
    bound = BoundMemory(hostile_memory)
    for text in hostile_texts:
        for name, arguments in (
            (text, {}),
            ("forget", {"ids": [f"x{text}"]}),
            ("feedback", {"recall": f"x{text}", "reward": 1.0}),
            ("search", {"query": "pond", text or "x": 1}),
        ):
            outcome = bound.call(name, arguments)
            assert outcome.is_error
            assert not set(outcome.text) & (UNSAFE | {"\n"})
            assert outcome.text.startswith("This call cannot be used: ")
