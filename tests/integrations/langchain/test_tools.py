"""A memory as LangChain tools, by LangChain's own suites and by what they do not ask."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from hoptrail import ConfigError, EncoderMissing, InputError, Memory
from hoptrail.integrations.langchain import (
    HoptrailRetriever,
    RecallTool,
    agent_tools,
    recall_tool,
)
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"


class WithMemory:
    """Hands the shared memory to the suites' properties, which take no fixture."""

    memory: Memory

    @pytest.fixture(autouse=True)
    def _memory(self, shared_memory: Memory) -> None:
        self.memory = shared_memory


class _Tool(WithMemory):
    @property
    def tool_constructor(self) -> type[BaseTool]:
        return RecallTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"memory": self.memory}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"question": QUESTION, "k": 3}


class TestToolAlone(_Tool, ToolsUnitTests):
    """LangChain's unit tests."""


class TestToolAtWork(_Tool, ToolsIntegrationTests):
    """LangChain's integration tests."""


def test_what_scores_below_the_threshold_is_left_out(shared_memory) -> None:
    scores = [
        d.metadata["hoptrail"]["score"]
        for d in HoptrailRetriever(memory=shared_memory, k=5).invoke(QUESTION)
    ]
    least = scores[1]
    for setting in ({"score_threshold": least}, {"search_kwargs": {"score_threshold": least}}):
        retriever = HoptrailRetriever(memory=shared_memory, k=5, **setting)
        assert len(retriever.invoke(QUESTION)) == sum(score >= least for score in scores)
    tool = recall_tool(shared_memory, score_threshold=1e9)
    assert tool.invoke({"question": QUESTION}) == "Nothing is remembered here."


def test_a_model_reads_passages_and_a_program_the_recall(shared_memory) -> None:
    tool = recall_tool(shared_memory, k=2, effort="fast")
    call = {"name": "recall", "args": {"question": QUESTION}, "id": "1", "type": "tool_call"}
    message = tool.invoke(call)
    head, passage = message.content.split("\n\n")[:2]
    assert head == f'Recall (recall: "{message.artifact["id"]}")'
    assert re.match(r'\[1\] (?:"[\w ]+"|Untitled) \(id: "\w+"(?:, .+)?\)\n> ', passage)
    assert len(message.artifact["passages"]) == 2
    assert message.artifact["question"] == QUESTION
    assert message.status == "success"
    whole = recall_tool(shared_memory, k=6).invoke(call).artifact["passages"]
    assert {p["id"]: p["metadata"] for p in whole}["ada"] == {"page": 3}
    json.dumps(whole)


MISTAKEN: list[dict[str, Any]] = [
    {"question": " "},
    {"question": None},
    {"question": 7},
    {"question": "\ud800"},
    {"question": "long " * 10_000},
    {"query": "Who?"},
    {},
    {"question": "Who?", "k": 100},
    {"question": "Who?", "k": 0},
    {"question": "Who?", "k": 2.5},
    {"question": "Who?", "k": "3"},
    {"question": "Who?", "namespace": []},
    {"question": "Who?", "filter": {}},
]


@pytest.mark.parametrize("args", MISTAKEN, ids=lambda args: str(args)[:50])
async def test_a_model_is_told_what_is_wrong_with_its_call(shared_memory, args) -> None:
    tool = recall_tool(shared_memory, name="look_up", namespace=("ann",))
    call = {"name": "look_up", "args": args, "id": "1", "type": "tool_call"}
    for message in (tool.invoke(call), await tool.ainvoke(call)):
        assert message.status == "error"
        assert message.artifact is None
        assert len(message.content.splitlines()) == 1
        assert "pike" not in message.content
    wrong = next((name for name in args if name != "question"), "question")
    assert wrong in message.content


def test_what_only_the_program_can_mend_is_not_handed_to_the_model(tmp_path) -> None:
    class Unset(HashEncoder):
        def encode(self, texts):
            if any("Who?" in text for text in texts):
                raise ConfigError("there is no device 'cuda:7'")
            return super().encode(texts)

    call = {"name": "recall", "args": {"question": "Who?"}, "id": "1", "type": "tool_call"}
    with Memory(tmp_path / "a.db", encoder=Unset()) as memory:
        memory.add("Ada Lind was born in Varn.")
        with pytest.raises(ConfigError, match="cuda:7"):
            recall_tool(memory).invoke(call)
    with (
        Memory(tmp_path / "a.db", encoder=None) as memory,
        pytest.raises(EncoderMissing, match="recall needs an encoder"),
    ):
        recall_tool(memory).invoke(call)


def test_a_model_cannot_leave_its_namespace_nor_its_filter(shared_memory) -> None:
    tool = recall_tool(shared_memory, namespace=("ann",))
    assert set(tool.args) == {"question", "k"}
    assert tool.invoke({"question": QUESTION}).count("(id: ") == 1
    empty = recall_tool(shared_memory, namespace=("nobody",))
    assert empty.invoke({"question": QUESTION}) == "Nothing is remembered here."
    paged = recall_tool(shared_memory, search_kwargs={"filter": {"page": 3}, "k": 4})
    assert paged.invoke({"question": QUESTION, "k": 5}).count("(id: ") == 1
    with pytest.raises(InputError, match="takes no 'filter' when it is called"):
        paged.invoke({"question": QUESTION}, filter={})


def _call(name: str, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": "1", "type": "tool_call"}


class _SearchTool:
    """One of the tools that `agent_tools` makes, as LangChain's suites want it."""

    @pytest.fixture(autouse=True)
    def _tool(self, memory: Memory) -> None:
        self.tool = agent_tools(memory, namespace=("team", "ann"))[1]

    @property
    def tool_constructor(self) -> BaseTool:
        return self.tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "Varn", "k": 1}


class TestSearchToolAlone(_SearchTool, ToolsUnitTests):
    """LangChain's unit tests."""


class TestSearchToolAtWork(_SearchTool, ToolsIntegrationTests):
    """LangChain's integration tests."""


def test_an_agent_has_seven_tools_and_two_for_reading_only(memory) -> None:
    tools = {tool.name: tool for tool in agent_tools(memory)}
    assert list(tools) == [
        "recall",
        "search",
        "remember",
        "update",
        "forget",
        "link",
        "feedback",
    ]
    assert set(tools["remember"].args) == {"text", "title", "metadata", "links", "expires_at"}
    assert [tool.name for tool in agent_tools(memory, read_only=True)] == ["recall", "search"]


async def test_an_agent_writes_recalls_judges_and_forgets(memory) -> None:
    tools = {tool.name: tool for tool in agent_tools(memory, namespace=("team", "ann"))}
    written = await tools["remember"].ainvoke(
        _call("remember", text="Lake Sorrel is deep.", links=[{"target": "ister", "kind": "fed"}])
    )
    id_ = written.artifact["id"]
    assert memory.get(id_, ("team", "ann")).links[0].kind == "fed"
    recall = await tools["recall"].ainvoke(_call("recall", question=QUESTION))
    told = re.match(r'Recall \(recall: "(\w+)"\)', recall.content)
    assert told is not None
    for call in [
        _call("feedback", recall=told[1], reward=1.0),
        _call("update", id=id_, title="Lake Sorrel"),
        _call("link", source=id_, target="ada"),
        _call("forget", ids=[id_]),
    ]:
        message = tools[call["name"]].invoke(call)
        assert message.status == "success", message.content
        assert message.artifact
    assert memory.feedback_given(("team", "ann"))[0].reward == 1.0
    assert memory.count() == 5


@pytest.mark.parametrize(
    ("name", "args", "complaint"),
    [
        ("recall", {"question": " "}, "question"),
        ("recall", {"question": "Who?", "k": "3"}, "recall takes question, k"),
        ("recall", {"question": "Who?", "namespace": ["team", "bob"]}, "namespace"),
        ("recall", {"question": "Who?", "config": {"configurable": {"user": "bob"}}}, "config"),
        ("recall", {"question": "Who?", "run_manager": 1}, "run_manager"),
        ("remember", {"text": "x", "links": [{"target": "nobody"}]}, "nobody"),
        ("forget", {"ids": ["pike"]}, "pike"),
        ("update", {"id": "ada"}, "needs a text"),
        ("feedback", {"recall": "x", "reward": 2}, "reward"),
    ],
)
async def test_a_mistake_is_told_to_the_model_with_what_would_be_right(
    memory, name, args, complaint
) -> None:
    tools = {tool.name: tool for tool in agent_tools(memory, namespace=("team", "{user}"))}
    config: Any = {"configurable": {"user": "ann"}}
    call = _call(name, **args)
    for message in (
        tools[name].invoke(call, config),
        await tools[name].ainvoke(call, config),
    ):
        assert message.status == "error"
        assert message.content.startswith("This call cannot be used: ")
        assert complaint in message.content
    assert memory.count() == 5


async def test_the_run_says_whose_memory_it_is(memory) -> None:
    tools = {tool.name: tool for tool in agent_tools(memory, namespace=("team", "{user_id}"))}
    ann: Any = {"configurable": {"user_id": "ann"}}
    bob: Any = {"configurable": {"user_id": "bob", "namespace": ["team", "ann"]}}
    assert "Bob" not in tools["search"].invoke({"query": "pike", "k": 50}, ann)
    assert tools["search"].invoke({"query": "Ada", "k": 50}, bob).count("(id: ") == 1
    await tools["remember"].ainvoke({"text": "Bob likes tea."}, bob)
    assert memory.count(("team", "bob")) == 2
    for config in ({}, {"configurable": {}}, {"configurable": {"user_id": ("bob",)}}):
        with pytest.raises(ConfigError, match="user_id"):
            tools["search"].invoke({"query": "Ada"}, config)


def test_hostile_texts_reach_no_model_but_as_quotations(
    tmp_path, small_policy, hostile_texts
) -> None:
    with Memory(tmp_path / "h.db", encoder=HashEncoder(), policy=small_policy) as memory:
        memory.add([{"title": text, "text": f"pond {text}"} for text in hostile_texts])
        tools = {tool.name: tool for tool in agent_tools(memory)}
        for call in (_call("recall", question="pond?", k=50), _call("search", query="pond", k=50)):
            content = tools[call["name"]].invoke(call).content
            heads = [line for line in content.splitlines() if line and line[0] != ">"]
            assert len(heads) == 50 + (call["name"] == "recall")
            assert not set(content) & set("\x1b\x07\r\x85\u2028\u202e\u2066\u200b\ufeff")
