"""A ReAct agent with a memory across threads, and a scripted model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.runtime import Runtime

from hoptrail import Memory
from hoptrail.integrations.langchain import agent_tools
from hoptrail.integrations.langgraph import HoptrailStore
from hoptrail.memory.testing.hash_encoder import HashEncoder


class ScriptedModel:
    """Remembers what it is told, and answers a question by what the store and its tools say."""

    def __call__(self, messages: list[BaseMessage], remembered: list[str]) -> AIMessage:
        last = messages[-1]
        if isinstance(last, ToolMessage):
            return AIMessage(f"Done. {last.content}")
        text = str(last.content)
        if not text.endswith("?"):
            return self._call("remember", text=text)
        if remembered:
            return AIMessage(" ".join(remembered))
        return self._call("recall", question=text)

    @staticmethod
    def _call(name: str, **args: Any) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "call-1"}])


@pytest.fixture
def memory(tmp_path, small_policy) -> Iterator[Memory]:
    with Memory(tmp_path / "agent.db", encoder=HashEncoder(), policy=small_policy) as memory:
        yield memory


@pytest.fixture
def agent(memory) -> CompiledStateGraph:
    model = ScriptedModel()

    def think(state: MessagesState, config: RunnableConfig, runtime: Runtime) -> dict[str, Any]:
        user = config["configurable"]["user_id"]
        items = runtime.store.search(("users", user), query=state["messages"][-1].content, limit=2)
        return {"messages": [model(state["messages"], [item.value["text"] for item in items])]}

    builder = StateGraph(MessagesState)
    builder.add_node("think", think)
    builder.add_node("tools", ToolNode(agent_tools(memory, namespace=("users", "{user_id}"))))
    builder.add_edge(START, "think")
    builder.add_conditional_edges("think", tools_condition, {"tools": "tools", END: END})
    builder.add_edge("tools", "think")
    return builder.compile(checkpointer=InMemorySaver(), store=HoptrailStore(memory))


def say(agent: CompiledStateGraph, user: str, thread: str, text: str) -> list[BaseMessage]:
    config: Any = {"configurable": {"thread_id": thread, "user_id": user}}
    return agent.invoke({"messages": [HumanMessage(text)]}, config)["messages"]


def test_what_one_conversation_tells_another_knows_and_another_user_does_not(agent, memory) -> None:
    done = say(agent, "ann", "monday", "Ada Lind was born in Varn.")
    assert done[-2].artifact["written"] is True
    say(agent, "ann", "tuesday", "Varn stands on the Ister Beck.")
    answer = say(agent, "ann", "friday", "On which river stands the town where Ada was born?")
    assert len(answer) == 2  # a new thread: nothing of the others is in it
    assert set(re.findall(r"[^.]+\.", answer[-1].content.replace(". ", "."))) == {
        "Ada Lind was born in Varn.",
        "Varn stands on the Ister Beck.",
    }
    other = say(agent, "bob", "monday-bob", "On which river stands the town of Ada?")
    assert other[-1].content == "Done. Nothing is remembered here."
    assert memory.count(("users", "ann")) == 2
    assert memory.count(("users", "bob")) == 0


async def test_an_asynchronous_run_does_the_same(agent, memory) -> None:
    config: Any = {"configurable": {"thread_id": "1", "user_id": "ann"}}
    done = await agent.ainvoke({"messages": [HumanMessage("Ann likes tea.")]}, config)
    assert done["messages"][-2].artifact["written"] is True
    assert memory.count(("users", "ann")) == 1
