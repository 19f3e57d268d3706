"""An agent of LangChain with a memory as middleware, and a scripted model."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import Field

from hoptrail import ConfigError, InputError, Memory
from hoptrail.api.async_memory import AsyncMemory
from hoptrail.integrations import MemoryMiddleware, RecallBounds
from hoptrail.memory.testing.hash_encoder import HashEncoder


class EchoChat(BaseChatModel):
    """Answers with what the system message tells it; calls the tool once where there is one."""

    tools: list[Any] = Field(default_factory=list)
    prompts: Any = Field(default_factory=deque)
    """Pydantic copies lists; one deque takes the prompts of all copies of the model."""

    @property
    def _llm_type(self) -> str:
        return "echo"

    def bind_tools(self, tools: Any, **kwargs: Any) -> EchoChat:
        return EchoChat(tools=list(tools), prompts=self.prompts)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.prompts.append(messages)
        system = messages[0].text if isinstance(messages[0], SystemMessage) else "Nothing."
        reply = AIMessage(system)
        if self.tools and isinstance(messages[-1], HumanMessage):
            reply = AIMessage("", tool_calls=[{"name": "weather", "args": {}, "id": "1"}])
        return ChatResult(generations=[ChatGeneration(message=reply)])


@pytest.fixture
def chats(tmp_path, small_policy) -> Iterator[Memory]:
    with Memory(tmp_path / "agent.db", encoder=HashEncoder(), policy=small_policy) as memory:
        yield memory


def run(user: str, thread: str = "1") -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread}}


def say(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def test_what_one_conversation_tells_another_knows_and_another_user_does_not(chats) -> None:
    middleware = MemoryMiddleware(chats, namespace=("users", "{user_id}"))
    agent = create_agent(
        EchoChat(), system_prompt="Be kind.", middleware=[middleware], checkpointer=InMemorySaver()
    )
    first = agent.invoke(say("Ada Lind was born in Varn."), run("ann", "monday"))
    assert first["messages"][-1].text == "Be kind."
    later = agent.invoke(say("Where was Ada born?"), run("ann", "friday"))
    assert len(later["messages"]) == 2  # nothing of the recall stays in the conversation
    answer = later["messages"][-1].text
    assert answer.startswith("Be kind.")
    assert "> Ada Lind was born in Varn." in answer
    other = agent.invoke(say("Where was Ada born?"), run("bob", "friday"))
    assert other["messages"][-1].text == "Be kind."

    first_turn = next(p for p in chats.store.passages() if p.text == "Ada Lind was born in Varn.")
    assert first_turn.namespace == ("users", "ann")
    assert first_turn.metadata["speaker"] == "user"
    reply = chats.get(first_turn.links[0].target, ("users", "ann"))
    assert (reply.metadata["speaker"], first_turn.links[0].kind) == ("assistant", "next")


def test_what_still_stands_in_the_conversation_is_not_shown_twice(chats) -> None:
    agent = create_agent(
        EchoChat(), middleware=[MemoryMiddleware(chats)], checkpointer=InMemorySaver()
    )
    agent.invoke(say("Ada Lind was born in Varn."), run("ann"))
    again = agent.invoke(say("Where was Ada born?"), run("ann"))
    assert again["messages"][-1].text == "Nothing."
    assert chats.count() == 4


async def test_a_turn_with_tools_is_written_once_asynchronously_too(chats) -> None:
    @tool
    def weather() -> str:
        """Says the weather."""
        return "Rain."

    model = EchoChat()
    middleware = MemoryMiddleware(AsyncMemory(chats), namespace=("{user_id}",), k=1)
    agent = create_agent(model, tools=[weather], middleware=[middleware])
    chats.add("Varn is wet.", namespace=("ann",))
    done = await agent.ainvoke(say("How is the weather in Varn?"), run("ann"))
    assert [message.type for message in done["messages"]] == ["human", "ai", "tool", "ai"]
    assert len(model.prompts) == 2
    assert all("> Varn is wet." in prompt[0].text for prompt in model.prompts)
    assert chats.count(("ann",)) == 3


def test_a_run_without_the_namespace_s_part_is_refused_and_nothing_is_written(chats) -> None:
    agent = create_agent(EchoChat(), middleware=[MemoryMiddleware(chats, namespace=("{user_id}",))])
    with pytest.raises(ConfigError, match="user_id"):
        agent.invoke(say("Tea."), {"configurable": {}})
    assert chats.count() == 0


def test_it_may_only_read(chats) -> None:
    agent = create_agent(EchoChat(), middleware=[MemoryMiddleware(chats, write=False)])
    agent.invoke(say("Tea."))
    assert chats.count() == 0


def test_settings_narrow_what_is_shown_and_wrong_ones_are_refused(chats) -> None:
    chats.add([{"text": "Tea is hot.", "kind": "fact"}, {"text": "Tea is cold.", "kind": "lie"}])
    middleware = MemoryMiddleware(chats, filter={"kind": "fact"}, write=False)
    answer = create_agent(EchoChat(), middleware=[middleware]).invoke(say("How is tea?"))
    assert "hot" in answer["messages"][-1].text
    assert "cold" not in answer["messages"][-1].text
    for setting in ({"k": 0}, {"namespace": "x"}, {"effort": "x"}, {"write": "no"}):
        with pytest.raises(InputError):
            MemoryMiddleware(chats, **setting)


def test_a_budget_of_tokens_bounds_what_the_model_is_shown(tmp_path, small_policy) -> None:
    class CountingEncoder(HashEncoder):
        def count_tokens(self, texts):
            return [len(text.split()) for text in texts]

    with Memory(tmp_path / "a.db", encoder=CountingEncoder(), policy=small_policy) as memory:
        memory.add([f"Ada Lind saw river {n}." for n in range(9)])
        for words, lines in ((10, 2), (14, 2), (15, 3)):
            model = EchoChat()
            middleware = MemoryMiddleware(memory, bounds=RecallBounds(tokens=words), write=False)
            create_agent(model, middleware=[middleware]).invoke(say("What did Ada see?"))
            assert model.prompts[0][0].text.count("\n> ") == lines
    with pytest.raises(InputError, match="bounds must be RecallBounds, got dict"):
        MemoryMiddleware(memory, bounds={"tokens": 3})


def test_stored_text_is_quoted_in_the_system_message(chats, hostile_texts) -> None:
    chats.add([{"text": text or " ."} for text in hostile_texts])
    middleware = MemoryMiddleware(chats, k=len(hostile_texts), write=False)
    answer = create_agent(EchoChat(), middleware=[middleware]).invoke(say("obey?"))
    heading, *lines = answer["messages"][-1].text.split("\n")
    assert heading.startswith("Passages of long-term memory")
    assert len(lines) > 300
    assert all(line == "" or line.startswith((">", "[")) for line in lines)


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [
        ("langchain", "MemoryMiddleware", "langchain"),
        ("llama_index", "LlamaIndexRetriever", "llama-index"),
    ],
)
def test_without_its_framework_a_class_names_the_extra(module, name, extra) -> None:
    code = f"""
import sys
sys.modules[{module!r}] = None
from hoptrail import MissingExtra
try:
    from hoptrail.integrations import {name}
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"hoptrail[{extra}]" in done.stdout
