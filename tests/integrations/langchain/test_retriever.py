"""A memory as a LangChain retriever, by LangChain's own suite and by what that does not ask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError

from hoptrail import InputError, Memory
from hoptrail.integrations.langchain import (
    HoptrailRetriever,
    RecallTool,
    documents,
)
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Cost, Hit, Hop, Link, Passage, Recall, Trail

QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"


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


def _data(trail: Trail) -> dict[str, Any]:
    hops = [
        {
            "query": hop.query,
            "id": hop.id,
            "namespace": list(hop.namespace),
            "link": hop.link,
            "probability": hop.probability,
            "stop_probability": hop.stop_probability,
        }
        for hop in trail.hops
    ]
    return {"probability": 0.25, "stop_reason": "policy", "stop_probability": 0.5, "hops": hops}


def test_documents_carry_the_passage_and_what_is_added_under_one_key() -> None:
    links = (Link("varn", "born_in", 2.0),)
    ada = Passage("ada", "Born in Varn.", "Ada Lind", {"page": 3}, ("atlas",), links)
    varn = Passage("varn", "A town.", metadata={"title": "own", "score": 4, "trail": [1]})
    trail = Trail((Hop("Who?", "ada", None, 0.5, 0.125, ("atlas",)),), 0.25, "policy", 0.5)
    recall = Recall(
        "Who?",
        (Hit(ada, 0.9, probability=0.7, complete=0.4), Hit(varn, 0.1)),
        (trail,),
        Cost(1.0, 1, 2, 1),
        "r7",
    )
    first, second = documents(recall)
    assert (first.id, first.page_content) == ("ada", "Born in Varn.")
    assert first.metadata == {
        "page": 3,
        "hoptrail": {
            "title": "Ada Lind",
            "namespace": ["atlas"],
            "score": 0.9,
            "probability": 0.7,
            "complete": 0.4,
            "recall": "r7",
            "trail": _data(trail),
            "links": [{"target": "varn", "kind": "born_in", "weight": 2.0}],
            "expires_at": None,
            "valid_from": None,
            "valid_until": None,
        },
    }
    assert second.metadata["hoptrail"]["trail"] is None
    second.metadata.pop("hoptrail")
    assert second.metadata == {"title": "own", "score": 4, "trail": [1]}


def test_a_trail_is_told_of_the_passage_that_it_read_and_not_of_another_of_the_same_id() -> None:
    anns, bobs = (Passage("pin", "4711", namespace=(who,)) for who in ("ann", "bob"))
    trail = Trail((Hop("PIN?", "pin", None, 0.5, 0.125, ("bob",)),), 0.25, "policy", 0.5)
    recall = Recall("PIN?", (Hit(anns, 0.9), Hit(bobs, 0.1)), (trail,), Cost(1.0, 1, 2, 1))
    assert [d.metadata["hoptrail"]["trail"] for d in documents(recall)] == [None, _data(trail)]
    assert [d.metadata["hoptrail"]["namespace"] for d in documents(recall)] == [["ann"], ["bob"]]


def test_documents_share_nothing_with_the_passages_that_they_are_of() -> None:
    ada = Passage("ada", "Born in Varn.", metadata={"a": {"b": [1]}, "hoptrail": {"mine": [2]}})
    recall = Recall("Who?", (Hit(ada, 0.9),), (), Cost(1.0, 1, 2, 1))
    document = documents(recall)[0]
    document.metadata["a"]["b"].append(3)
    document.metadata["hoptrail"]["metadata"]["hoptrail"]["mine"].append(3)
    assert ada.metadata == {"a": {"b": [1]}, "hoptrail": {"mine": [2]}}


def test_documents_go_back_where_they_came_from_and_keep_nothing_that_was_added(tmp_path) -> None:
    own = {"title": "mine", "score": 4.5, "namespace": "x", "trail": None, "recall": [1], "a": {}}
    passages = [
        Passage("ada", "Born in Varn.", "Ada Lind", own, ("ann",), (Link("varn", "born_in"),)),
        Passage("ada", "Born in Tolle.", None, {"hoptrail": {"namespace": ["x"]}}, ("bob",)),
        Passage("soon", "Gone soon.", expires_at=4e9),
    ]
    where = tmp_path / "a.db", tmp_path / "b.db"
    with (
        Memory(where[0], encoder=HashEncoder()) as memory,
        Memory(where[1], encoder=HashEncoder()) as copy,
    ):
        memory.add(passages)
        found = HoptrailRetriever(memory=memory).invoke("Who was born in Varn?")
        copy.add(found)
        again = HoptrailRetriever(memory=copy).invoke("Who was born in Varn?")
        both = [{(p.namespace, p.id): p for p in m.store.passages()} for m in (memory, copy)]
    written = [{key: replace(p, written_at=0.0) for key, p in one.items()} for one in both]
    assert written[0] == written[1] == {(p.namespace, p.id): p for p in passages}
    assert [d.page_content for d in again] == [d.page_content for d in found]


def test_a_document_that_went_through_json_keeps_its_time_to_go(tmp_path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        for said in (4_000_000_000, 4e9, "2096-10-02T07:06:40+00:00"):
            ours = {"namespace": [], "expires_at": said}
            document = Document(id="a", page_content="Tea.", metadata={"hoptrail": ours})
            memory.add(document, on_duplicate="replace")
            assert memory.get("a").expires_at == 4e9


def test_a_document_s_title_is_the_passage_s_and_stays_its_metadata(tmp_path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(Document(id="a", page_content="Tea.", metadata={"title": "Tea", "page": 1}))
        memory.add(Document(id="b", page_content="Rum.", metadata={"title": 7, "hoptrail": "x"}))
        found = {d.id: d for d in HoptrailRetriever(memory=memory).invoke("Tea?")}
    assert found["a"].metadata["title"] == found["a"].metadata["hoptrail"]["title"] == "Tea"
    assert found["b"].metadata["title"] == 7
    assert found["b"].metadata["hoptrail"]["metadata"] == {"hoptrail": "x"}


def test_settings_may_be_given_for_one_call_or_as_search_kwargs(shared_memory) -> None:
    retriever = HoptrailRetriever(memory=shared_memory, k=2)
    assert len(retriever.invoke(QUESTION, k=4, effort="fast")) == 4
    only = retriever.invoke(QUESTION, namespace=("ann",))
    assert [document.page_content for document in only] == ["Only Ann knows of the pike."]
    assert len(retriever.bind(k=1).invoke(QUESTION)) == 1
    three = HoptrailRetriever(memory=shared_memory, search_kwargs={"k": 3, "effort": "fast"})
    assert len(three.invoke(QUESTION)) == 3
    assert len(three.invoke(QUESTION, k=1)) == 1
    chosen = retriever.configurable_fields(k=ConfigurableField(id="k"))
    assert len(chosen.with_config(configurable={"k": 1}).invoke(QUESTION)) == 1


async def test_an_asynchronous_call_takes_the_same(shared_memory) -> None:
    retriever = HoptrailRetriever(memory=shared_memory, k=2, filter={"page": 3})
    assert [d.id for d in await retriever.ainvoke(QUESTION)] == ["ada"]
    assert await retriever.ainvoke(QUESTION, filter={"page": 4}) == []
    assert len(await retriever.abatch([QUESTION, "Who is Ann?"])) == 2
    with pytest.raises(InputError, match="not 'filtre'"):
        await retriever.ainvoke(QUESTION, filtre={})


def test_filters_hold_together_wherever_they_are_given(shared_memory) -> None:
    page = {"page": 3}
    for setting in ({"filter": page}, {"search_kwargs": {"filter": page}}):
        retriever = HoptrailRetriever(memory=shared_memory, k=5, **setting)
        assert [d.id for d in retriever.invoke(QUESTION)] == ["ada"]
        # What is asked for one call narrows, it never widens.
        assert retriever.invoke(QUESTION, filter={"page": {"$exists": False}}) == []
        assert [d.id for d in retriever.invoke(QUESTION, filter={"$id": "ada"})] == ["ada"]
    both = HoptrailRetriever(
        memory=shared_memory, filter=page, search_kwargs={"filter": {"$id": {"$ne": "ada"}}}
    )
    assert both.invoke(QUESTION) == []
    changed = {"page": 3}
    retriever = HoptrailRetriever(memory=shared_memory, filter=changed)
    changed["page"] = 99
    assert [d.id for d in retriever.invoke(QUESTION)] == ["ada"]


WRONG: list[dict[str, Any]] = [
    {"k": 0},
    {"k": "3"},
    {"k": 2.5},
    {"k": True},
    {"namespace": "ann"},
    {"namespace": ("",)},
    {"effort": "frantic"},
    {"effort": []},
    {"filter": "page"},
    {"filter": {"$no": 1}},
    {"filter": []},
    {"score_threshold": "high"},
    {"score_threshold": float("nan")},
    {"score_threshold": True},
    {"score_threshold": 10**400},
    {"search_kwargs": {"fetch_k": 20}},
    {"search_kwargs": {"k": 0}},
    {"search_kwargs": {"filter": {"$no": 1}}},
    {"search_kwargs": {"namespace": "ann"}},
    {"search_kwargs": [1]},
    {"k": 4, "search_kwargs": {"k": 3}},
    {"search_type": "mmr"},
    {"filters": {"page": 3}},
    {"where": {"page": 3}},
]


@pytest.mark.parametrize("setting", WRONG, ids=str)
def test_a_setting_that_cannot_be_used_is_refused_and_never_ignored(shared_memory, setting) -> None:
    for kind in (HoptrailRetriever, RecallTool):
        with pytest.raises(ValidationError):
            kind(memory=shared_memory, **setting)
    if not {"search_kwargs", "k"} <= set(setting):
        retriever = HoptrailRetriever(memory=shared_memory)
        with pytest.raises(InputError):
            retriever.invoke(QUESTION, **setting)
    with pytest.raises(ValidationError):
        HoptrailRetriever(memory="agent.db")


def test_a_setting_is_checked_when_it_is_changed_too(shared_memory) -> None:
    retriever = HoptrailRetriever(memory=shared_memory)
    with pytest.raises(ValidationError):
        retriever.k = 0
    with pytest.raises(ValidationError):
        retriever.filter = {"$no": 1}


def test_patience_is_said_where_it_is_made_or_in_a_call(tmp_path) -> None:
    with Memory(tmp_path / "calibrated.db", encoder=HashEncoder()) as memory:
        memory.add(
            [{"id": str(number), "text": f"Town {number} lies at a lake."} for number in "ab"]
        )
        retriever = HoptrailRetriever(memory=memory, search_kwargs={"patience": 0.5})
        assert len(retriever.invoke("Which town lies at a lake?")) == 1
        assert len(retriever.invoke("Which town lies at a lake?", patience=1e6)) == 2
        with pytest.raises(InputError, match="give one of them"):
            retriever.invoke("Which town?", until="complete")
