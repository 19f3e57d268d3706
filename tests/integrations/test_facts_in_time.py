"""What is not valid any more reaches no framework and no model, unless that time is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import mcp_types as types
import pytest
from langchain_core.documents import Document
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from hoptrail import Answer, InputError, Memory
from hoptrail.integrations.langchain import HoptrailRetriever, HoptrailVectorStore, agent_tools
from hoptrail.integrations.langgraph import HoptrailStore
from hoptrail.integrations.llama_index import LlamaIndexRetriever
from hoptrail.integrations.mcp_server.handlers import Handlers
from hoptrail.integrations.operations.bound_memory import BoundMemory
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

SECRET = "Zanzibar"
SPACE = ("a", "b")
QUESTION = "Where does Ann moor?"
AT = "2025-06-01T12:00:00Z"


@pytest.fixture
def memory(tmp_path):
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(
            [
                {"id": "old", "text": f"Ann moors in {SECRET}.", "valid_from": "2025-01-01"},
                {"id": "quay", "text": "Ann moors at a quay.", "links": ["old"]},
                {"id": "boat", "text": f"The boat of Ann is from {SECRET}."},
            ],
            namespace=SPACE,
        )
        yield memory


def end(memory: Memory) -> None:
    memory.supersede(
        "old", {"id": "new", "text": "Ann moors in Oslo."}, at="2025-07-01", namespace=SPACE
    )
    memory.update(
        "boat",
        text="The boat of Ann is from Oslo.",
        valid_from="2025-07-01",
        keep_history=True,
        namespace=SPACE,
    )


def call(memory: Memory, tool: str, **arguments: object) -> str:
    outcome = BoundMemory(memory, namespace=SPACE).call(tool, arguments)
    return outcome.text + repr(outcome.data)


def mcp_passages(memory: Memory) -> str:
    """All that a client lists and reads."""

    async def read() -> str:
        handlers = Handlers(lambda: BoundMemory(memory, namespace=SPACE))
        page = await handlers.list_resources(None, None)
        texts = [repr(page)]
        for uri in [*(one.uri for one in page.resources), "hoptrail://passage/old"]:
            params = types.ReadResourceRequestParams(uri=uri)
            try:
                texts.append(repr(await handlers.read_resource(None, params)))
            except MCPError as error:
                texts.append(repr(error))
        return "".join(texts)

    return asyncio.run(read())


def tool_of(memory: Memory, name: str) -> object:
    return next(one for one in agent_tools(memory, namespace=SPACE) if one.name == name)


def vector(memory: Memory) -> list[float]:
    return memory.store.encode_queries([QUESTION])[0].tolist()


SIGHTS: dict[str, Callable[[Memory], object]] = {
    "tool recall": lambda m: call(m, "recall", question=QUESTION, k=9),
    "tool search": lambda m: call(m, "search", query=QUESTION, k=9),
    "tool remember": lambda m: (
        "written': False" in call(m, "remember", text=f"Ann moors in {SECRET}.") and SECRET
    ),
    "tool update": lambda m: call(m, "update", id="old", metadata={"n": 1}),
    "tool link": lambda m: SECRET * ("Linked" in call(m, "link", source="old", target="quay")),
    "tool link to": lambda m: SECRET * ("Linked" in call(m, "link", source="quay", target="old")),
    "mcp resources": mcp_passages,
    "langchain retriever": lambda m: HoptrailRetriever(memory=m, k=9, namespace=SPACE).invoke(
        QUESTION
    ),
    "langchain tool": lambda m: tool_of(m, "recall").invoke({"question": QUESTION, "k": 9}),
    "vector store": lambda m: HoptrailVectorStore(m, namespace=SPACE).similarity_search(
        QUESTION, 9
    ),
    "vector store by vector": lambda m: HoptrailVectorStore(
        m, namespace=SPACE
    ).similarity_search_by_vector(vector(m), 9),
    "vector store, marginal": lambda m: HoptrailVectorStore(
        m, namespace=SPACE
    ).max_marginal_relevance_search(QUESTION, 9),
    "vector store by id": lambda m: HoptrailVectorStore(m, namespace=SPACE).get_by_ids(
        ["old", "boat", "boat@1"]
    ),
    "langgraph get": lambda m: HoptrailStore(m).get(SPACE, "old"),
    "langgraph search": lambda m: HoptrailStore(m).search(SPACE, query=QUESTION, limit=9),
    "langgraph listing": lambda m: HoptrailStore(m).search(SPACE, limit=9),
    "llama-index retriever": lambda m: LlamaIndexRetriever(m, k=9, namespace=SPACE).retrieve(
        QUESTION
    ),
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_what_is_not_valid_reaches_nobody(memory: Memory, sight: str) -> None:
    assert SECRET in repr(SIGHTS[sight](memory)), "the test would see nothing"
    end(memory)
    assert SECRET not in repr(SIGHTS[sight](memory))


def test_a_model_may_ask_for_another_time(memory: Memory) -> None:
    end(memory)
    for tool, arguments in (("recall", {"question": QUESTION}), ("search", {"query": QUESTION})):
        then = call(memory, tool, k=9, as_of=AT, **arguments)
        assert SECRET in then
        assert "Oslo" not in then
        assert '(id: "old", valid from 2025-01-01 00:00:00Z until 2025-07-01 00:00:00Z)' in then
        complaint = call(memory, tool, as_of="2025-06-01T12:00:00", **arguments)
        assert "must say its offset" in complaint
        ever = call(memory, tool, k=9, as_of="ever", **arguments)
        assert SECRET in ever
        assert "Oslo" in ever


def test_a_model_keeps_what_was_right_until_now(memory: Memory) -> None:
    call(memory, "update", id="quay", text="Ann moors at a buoy.", keep_history=True)
    assert "quay" in call(memory, "search", query="moors", k=9)
    assert "at a quay" not in call(memory, "search", query="moors", k=9)
    assert "at a quay" in call(memory, "search", query="moors", k=9, as_of="ever")
    assert "needs a text" in call(memory, "update", id="quay", keep_history=True)


def test_a_retriever_asks_as_of_a_time(memory: Memory) -> None:
    end(memory)

    def texts(documents: list[Document]) -> str:
        return " ".join(document.page_content for document in documents)

    for retriever, settings in (
        (HoptrailRetriever(memory=memory, k=9, search_kwargs={"as_of": AT}), {}),
        (HoptrailRetriever(memory=memory, k=9, as_of=AT), {}),
        (HoptrailRetriever(memory=memory, k=9), {"as_of": AT}),
    ):
        then = retriever.invoke(QUESTION, **settings)
        assert SECRET in texts(then)
        assert "Oslo" not in texts(then)
        assert then[0].metadata["hoptrail"].keys() >= {"valid_from", "valid_until"}
    for wrong in ("then", "2025-06-01T12:00:00"):
        with pytest.raises((InputError, ValidationError), match="as_of"):
            HoptrailRetriever(memory=memory).invoke(QUESTION, as_of=wrong)
        with pytest.raises((InputError, ValidationError), match="as_of"):
            HoptrailRetriever(memory=memory, search_kwargs={"as_of": wrong})


THEN: dict[str, Callable[[Memory], object]] = {
    "vector store": lambda m: HoptrailVectorStore(m, namespace=SPACE).similarity_search(
        QUESTION, 9, as_of=AT
    ),
    "vector store by vector": lambda m: HoptrailVectorStore(
        m, namespace=SPACE
    ).similarity_search_by_vector(vector(m), 9, as_of=AT),
    "vector store, marginal": lambda m: HoptrailVectorStore(
        m, namespace=SPACE
    ).max_marginal_relevance_search(QUESTION, 9, as_of=AT),
    "vector store as a retriever": lambda m: (
        HoptrailVectorStore(m, namespace=SPACE)
        .as_retriever(search_kwargs={"k": 9, "as_of": AT})
        .invoke(QUESTION)
    ),
    "langgraph get": lambda m: HoptrailStore(m, as_of=AT).get(SPACE, "old"),
    "langgraph search": lambda m: HoptrailStore(m, as_of=AT).search(SPACE, query=QUESTION),
    "langgraph filter": lambda m: HoptrailStore(m, as_of=AT).search(
        SPACE, query=QUESTION, filter={"title": {"$ne": "Title"}}
    ),
    "langgraph listing": lambda m: HoptrailStore(m, as_of=AT).search(SPACE),
    "llama-index retriever": lambda m: LlamaIndexRetriever(
        m, k=9, namespace=SPACE, as_of=AT
    ).retrieve(QUESTION),
}


@pytest.mark.parametrize("sight", THEN)
def test_an_application_asks_as_of_a_time(memory: Memory, sight: str) -> None:
    end(memory)
    then = repr(THEN[sight](memory))
    assert SECRET in then
    assert "Oslo" not in then


def test_a_store_of_then_is_read_only(memory: Memory) -> None:
    memory.add({"id": "far", "text": "Far.", "valid_until": "2025-07-01"}, namespace=("far",))
    now, then = HoptrailStore(memory), HoptrailStore(memory, as_of=AT)
    assert ("far",) not in now.list_namespaces()
    assert then.list_namespaces() == [("a", "b"), ("far",)]
    for write in (lambda: then.put(SPACE, "x", {"text": "x"}), lambda: then.delete(SPACE, "old")):
        with pytest.raises(InputError, match="is read only"):
            write()
    with pytest.raises(InputError, match="as_of"):
        HoptrailStore(memory, as_of="then")


def test_reading_what_was_lengthens_no_time(memory: Memory) -> None:
    store = HoptrailStore(memory, ttl={"refresh_on_read": True})
    store.put(SPACE, "short", {"text": "Ann is at sea."}, ttl=60)
    before = memory.get("short", SPACE).expires_at
    then = HoptrailStore(memory, as_of="ever", ttl={"refresh_on_read": True})
    assert then.get(SPACE, "short").value == {"text": "Ann is at sea."}
    assert memory.get("short", SPACE).expires_at == before
    store.get(SPACE, "short")
    assert memory.get("short", SPACE).expires_at > before


def test_a_memory_answers_as_of_a_time(memory: Memory) -> None:
    def all_texts(question: str, passages: Sequence[Passage]) -> Answer:
        return Answer(question, " ".join(passage.text for passage in passages))

    end(memory)
    with Memory(memory.store.path, encoder=HashEncoder(), reader=all_texts) as answering:
        then = answering.ask(QUESTION, 9, SPACE, as_of=AT).text
        assert SECRET in then
        assert "Oslo" not in then
        assert "Oslo" in answering.ask(QUESTION, 9, SPACE).text
        with pytest.raises(InputError, match="as_of"):
            answering.ask(QUESTION, as_of="then")
        answer = call(answering, "ask", question=QUESTION, k=9, as_of=AT)
        assert SECRET in answer
        assert "Oslo" not in answer


def test_a_document_goes_back_with_its_interval(memory: Memory) -> None:
    [first] = HoptrailRetriever(memory=memory, k=9, filter={"$id": "old"}).invoke(QUESTION)
    memory.update("old", valid_until="2030-01-01", namespace=SPACE)
    before = memory.get("old", SPACE)
    [document] = HoptrailRetriever(memory=memory, k=9, filter={"$id": "old"}).invoke(QUESTION)
    assert memory.upsert([document]).unchanged == ("old",)
    assert memory.upsert([first]).updated == ("old",)
    assert memory.upsert([document]).updated == ("old",)
    assert memory.get("old", SPACE).valid_until == before.valid_until
