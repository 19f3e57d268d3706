"""LangChain: its own conformance suites, and what they do not ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_core.documents import Document
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import RetrieversIntegrationTests, ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from pydantic import ValidationError

from hoptrail import Memory
from hoptrail.integrations.langchain import (
    HoptrailRetriever,
    RecallTool,
    documents,
    recall_tool,
)
from hoptrail.memory.testing import HashEncoder
from hoptrail.policies.network import NetworkConfig, PolicyNetwork
from hoptrail.policies.policy import Policy
from hoptrail.types import Cost, Hit, Hop, Passage, Recall, Trail

QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"


@pytest.fixture(scope="session")
def shared_memory(tmp_path_factory) -> Memory:
    torch.manual_seed(0)
    path: Path = tmp_path_factory.mktemp("langchain") / "agent.db"
    memory = Memory(path, encoder=HashEncoder(), policy=Policy([PolicyNetwork(NetworkConfig())]))
    memory.add(
        [
            {"id": "ada", "title": "Ada Lind", "text": "Ada Lind was born in Varn.", "page": 3},
            {"id": "varn", "title": "Varn", "text": "Varn stands on the Ister Beck."},
            {"id": "ister", "title": "Ister Beck", "text": "It flows into Lake Sorrel."},
            {"id": "trout", "title": "Trout", "text": "The trout is a fish of cold lakes."},
            {"id": "tolle", "title": "Tolle", "text": "Tolle has a tower of seven bells."},
        ]
    )
    memory.add("Only Ann knows of the pike.", namespace=("ann",))
    return memory


class WithMemory:
    """Hands the shared memory to the suites' properties, which take no fixture."""

    memory: Memory

    @pytest.fixture(autouse=True)
    def _memory(self, shared_memory: Memory) -> None:
        self.memory = shared_memory


class TestRetriever(WithMemory, RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[HoptrailRetriever]:
        return HoptrailRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"memory": self.memory}

    @property
    def retriever_query_example(self) -> str:
        return QUESTION


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


def test_documents_carry_the_passage_and_the_trail_as_plain_data() -> None:
    ada = Passage("ada", "Born in Varn.", "Ada Lind", {"page": 3}, ("atlas",))
    varn = Passage("varn", "A town.")
    trail = Trail((Hop("Who?", "ada", None, 0.5, 0.125),), 0.25, "policy", 0.5)
    recall = Recall("Who?", (Hit(ada, 0.9), Hit(varn, 0.1)), (trail,), Cost(1.0, 1, 2, 1), "r7")
    assert documents(recall) == [
        Document(
            id="ada",
            page_content="Born in Varn.",
            metadata={
                "page": 3,
                "title": "Ada Lind",
                "namespace": ["atlas"],
                "score": 0.9,
                "recall": "r7",
                "trail": {
                    "probability": 0.25,
                    "stop": "policy",
                    "sure": 0.5,
                    "hops": [
                        {
                            "query": "Who?",
                            "id": "ada",
                            "link": None,
                            "probability": 0.5,
                            "stop": 0.125,
                        }
                    ],
                },
            },
        ),
        Document(
            id="varn",
            page_content="A town.",
            metadata={
                "title": None,
                "namespace": [],
                "score": 0.1,
                "recall": "r7",
                "trail": None,
            },
        ),
    ]


def test_documents_go_into_a_memory_as_they_came_out(shared_memory, tmp_path) -> None:
    found = HoptrailRetriever(memory=shared_memory, k=5).invoke(QUESTION)
    with Memory(tmp_path / "copy.db", encoder=HashEncoder()) as copy:
        copy.add(found)
        assert (copy.get("ada").title, copy.get("ada").metadata["page"]) == ("Ada Lind", 3)


async def test_settings_may_be_given_for_one_call(shared_memory) -> None:
    retriever = HoptrailRetriever(memory=shared_memory, k=2)
    assert len(retriever.invoke(QUESTION, k=4, effort="fast")) == 4
    assert len(await retriever.ainvoke(QUESTION, k=1)) == 1
    only = retriever.invoke(QUESTION, namespace=("ann",))
    assert [document.page_content for document in only] == ["Only Ann knows of the pike."]
    assert len(await retriever.abatch([QUESTION, "Who is Ann?"])) == 2
    with pytest.raises(ValidationError):
        HoptrailRetriever(memory=shared_memory, k=0)


def test_a_model_reads_passages_and_a_program_the_recall(shared_memory) -> None:
    tool = recall_tool(shared_memory, k=2, effort="fast")
    call = {"name": "recall", "args": {"question": QUESTION}, "id": "1", "type": "tool_call"}
    message = tool.invoke(call)
    assert message.content.startswith("[1] ")
    assert "(id: " in message.content
    assert len(message.artifact["passages"]) == 2
    assert message.artifact["question"] == QUESTION
    assert message.status == "success"


def test_a_model_is_told_what_is_wrong_with_its_question(shared_memory) -> None:
    tool = recall_tool(shared_memory, name="look_up")
    call = {"name": "look_up", "args": {"question": " "}, "id": "1", "type": "tool_call"}
    message = tool.invoke(call)
    assert message.status == "error"
    assert "a question must not be empty" in message.content


def test_a_model_cannot_leave_its_namespace(shared_memory) -> None:
    tool = recall_tool(shared_memory, namespace=("ann",))
    assert set(tool.args) == {"question", "k"}
    assert tool.invoke({"question": QUESTION, "namespace": []}).count("[") == 1
    empty = recall_tool(shared_memory, namespace=("nobody",))
    assert empty.invoke({"question": QUESTION}) == "Nothing is remembered here."
