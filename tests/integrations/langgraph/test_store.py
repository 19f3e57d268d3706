"""LangGraph's store over a memory, beside LangGraph's own store in memory as the oracle."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from hoptrail import ConfigError, InputError, Memory
from hoptrail.integrations.langgraph import HoptrailStore
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder

ANN = ("users", "ann")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path, clock, small_policy) -> Iterator[HoptrailStore]:
    below = Store(tmp_path / "a.db", encoder=HashEncoder(), clock=clock)
    with Memory(below, policy=small_policy) as memory:
        yield HoptrailStore(memory, namespace=("graph",))


LABELS = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["1", "2", "é/."])
SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["x", "y", "1", 0.5])
VALUES = st.dictionaries(
    st.sampled_from(["n", "tag", "a.b", "$odd"]),
    SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from("pq"), SCALARS),
    max_size=3,
)
CONDITIONS = (
    SCALARS
    | st.lists(SCALARS, max_size=2)
    | st.dictionaries(st.sampled_from("pq"), SCALARS, max_size=2)
    | st.dictionaries(st.sampled_from(["$eq", "$ne"]), SCALARS, min_size=1)
)
FILTERS = st.none() | st.dictionaries(st.sampled_from(["n", "tag", "a.b"]), CONDITIONS, max_size=2)
PUTS = st.builds(
    PutOp,
    NAMESPACES,
    KEYS,
    st.none() | VALUES,
    index=st.sampled_from([None, False, ["tag"]]),
    ttl=st.none(),
)
GETS = st.builds(GetOp, NAMESPACES, KEYS, refresh_ttl=st.booleans())
PREFIXES = st.lists(LABELS, max_size=2).map(tuple)
SEARCHES = st.builds(
    SearchOp,
    PREFIXES,
    FILTERS,
    limit=st.just(100),
    offset=st.just(0),
    refresh_ttl=st.booleans(),
    query=st.none() | st.sampled_from(["x", "y and 1"]),
)
PATHS = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=2).map(tuple)
MATCHES = st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), PATHS)
LISTINGS = st.builds(
    ListNamespacesOp,
    st.none() | st.lists(MATCHES, max_size=2).map(tuple),
    max_depth=st.none() | st.integers(1, 3),
    limit=st.integers(0, 4),
    offset=st.integers(0, 2),
)
BATCHES = st.lists(st.lists(PUTS | GETS | SEARCHES | LISTINGS, max_size=6), max_size=5)


def comparable(operation: Any, result: Any) -> Any:
    """A result without times, and of a search without order: a walk's is its own."""
    if result is None or isinstance(operation, ListNamespacesOp):
        return result
    if isinstance(operation, GetOp):
        return result.namespace, result.key, result.value
    return sorted(((one.namespace, one.key, one.value) for one in result), key=repr)


class Oracle(InMemoryStore):
    """Lists no namespace without an item, which a read or a delete leaves there."""

    def _handle_list_namespaces(self, op):
        for namespace in [one for one, items in self._data.items() if not items]:
            del self._data[namespace]
        return super()._handle_list_namespaces(op)


@settings(max_examples=25, deadline=None)
@given(batches=BATCHES)
def test_it_does_what_langgraph_s_own_store_does(batches) -> None:
    oracle = Oracle()
    with (
        tempfile.TemporaryDirectory() as folder,
        Memory(f"{folder}/a.db", encoder=HashEncoder()) as memory,
    ):
        memory.add("No item, but beside the items.", namespace=("elsewhere",))
        store = HoptrailStore(memory, namespace=("graph",))
        for operations in batches:
            expected = oracle.batch(operations)
            results = store.batch(operations)
            for operation, right, result in zip(operations, expected, results, strict=True):
                assert comparable(operation, result) == comparable(operation, right), operation


@pytest.mark.parametrize(
    "filter", [{"n": {"$gt": 1}}, {"n": {"$gte": 1, "$lt": 3}}, {"n": {"$lte": "2"}}]
)
def test_ranges_hold_between_numbers_and_nowhere_else(store, filter) -> None:
    oracle = InMemoryStore()
    for one in (store, oracle):
        for n in (0, 1, 2, 3.5, "2"):
            one.put(ANN, str(n) + type(n).__name__, {"n": n})
    assert {item.key for item in store.search(ANN, filter=filter)} == {
        item.key for item in oracle.search(ANN, filter=filter)
    }
    store.put(ANN, "none", {"n": None})
    store.put(ANN, "text", {"n": "many"})
    assert not {"none", "text"} & {item.key for item in store.search(ANN, filter=filter)}


def test_pages_of_a_search_and_of_a_listing_join_without_gap_or_overlap(store) -> None:
    for n in range(7):
        store.put(("users", f"u{n}"), "k", {"text": f"Fact {n}"})
    for query in (None, "Fact"):
        pages = [store.search(("users",), query=query, limit=3, offset=at) for at in (0, 3, 6, 9)]
        assert [len(page) for page in pages] == [3, 3, 1, 0]
        assert len({item.namespace for page in pages for item in page}) == 7
    assert store.list_namespaces(limit=3, offset=5) == [("users", "u5"), ("users", "u6")]
    assert store.list_namespaces(max_depth=1) == [("users",)]
    assert store.list_namespaces(prefix=("users", "*"), suffix=("u3",)) == [("users", "u3")]


def test_a_query_is_walked_and_what_is_not_indexed_comes_last_without_a_score(store) -> None:
    store.put(ANN, "ada", {"text": "Ada Lind was born in Varn.", "n": 1})
    store.put(ANN, "varn", {"text": "Varn stands on the Ister Beck.", "n": 2})
    store.put(ANN, "secret", {"text": "Varn and Ada"}, index=False)
    question = "On which river stands the town where Ada Lind was born?"
    items = store.search(ANN, query=question)
    assert [item.key for item in items][2] == "secret"
    assert [item.score is None for item in items] == [False, False, True]
    late = store.search(ANN, query=question, filter={"n": {"$gt": 1}})
    assert [item.key for item in late] == ["varn"]
    recall = store.memory.recall(question, 2, ("graph",))
    assert [item.key for item in items][:2] == [passage.id for passage in recall.passages]


def test_fields_say_which_texts_a_query_finds(store) -> None:
    named = HoptrailStore(store.memory, namespace=("graph",), fields=["fact.text", "tags[*]"])
    named.put(ANN, "k", {"fact": {"text": "Ada."}, "tags": ["x", "y"], "noise": "zebra"})
    named.put(ANN, "own", {"fact": {"text": "Ada."}, "noise": "zebra"}, index=["noise"])
    named.put(ANN, "none", {"noise": "zebra"})
    texts = {p.id: p.text for p in store.memory.store.passages(("graph",))}
    assert texts == {"k": "Ada.\nx\ny", "own": "zebra", "none": "(not to be found by its words)"}
    items = named.search(ANN, query="zebra")
    assert [item.score is None for item in items] == [False, False, True]


def test_an_item_is_gone_when_its_time_is_over_and_a_read_lets_it_begin_anew(store, clock) -> None:
    store.put(ANN, "k", {"text": "Short."}, ttl=1)
    store.put(ANN, "for ever", {"text": "Long."})
    updated = store.get(ANN, "k").updated_at
    clock.now += 50
    assert store.get(ANN, "k", refresh_ttl=True).updated_at == updated
    clock.now += 50
    keys = {item.key for item in store.search(ANN, query="Short.", refresh_ttl=True)}
    assert keys == {"k", "for ever"}
    clock.now += 50
    assert store.get(ANN, "k", refresh_ttl=False) is not None
    clock.now += 11
    assert store.get(ANN, "k") is None
    assert [item.key for item in store.search(ANN)] == ["for ever"]
    with pytest.raises(InputError, match="ttl"):
        store.put(ANN, "k", {"text": "x"}, ttl=0)


def test_a_configured_time_is_taken_where_none_is_said(store, clock) -> None:
    short = HoptrailStore(
        store.memory, namespace=("graph",), ttl={"default_ttl": 1, "refresh_on_read": False}
    )
    short.put(ANN, "k", {"text": "Short."})
    short.put(ANN, "stays", {"text": "Long."}, ttl=None)
    clock.now += 59
    assert short.get(ANN, "k") is not None
    clock.now += 2
    assert [item.key for item in short.search(ANN)] == ["stays"]


def test_an_item_that_is_put_again_keeps_the_time_when_it_came(store, clock) -> None:
    store.put(ANN, "k", {"n": 1})
    first = store.get(ANN, "k")
    clock.now += 10
    store.put(ANN, "k", {"n": 2})
    second = store.get(ANN, "k")
    assert second.value == {"n": 2}
    assert second.created_at == first.created_at
    assert (second.updated_at - first.updated_at).total_seconds() == 10


def test_a_batch_is_written_whole_or_not_at_all(store) -> None:
    store.put(ANN, "old", {"n": 1})
    with pytest.raises(InputError):
        store.batch([PutOp(ANN, "old", None), PutOp(ANN, "new", {"n": {1, 2}})])
    with pytest.raises(InputError):
        store.batch([PutOp(ANN, "new", {"n": 1}), PutOp(ANN, "worse", {"n": "\ud800"})])
    assert [item.key for item in store.search(())] == ["old"]
    store.batch([PutOp(ANN, "new", {"n": 1}), PutOp(ANN, "old", None), PutOp(ANN, "none", None)])
    assert [item.key for item in store.search(())] == ["new"]


async def test_asynchronous_calls_do_the_same(store) -> None:
    await asyncio.gather(*(store.aput(ANN, str(n), {"text": f"Fact {n}"}) for n in range(8)))
    assert (await store.aget(ANN, "3")).value == {"text": "Fact 3"}
    assert len(await store.asearch(("users",), query="Fact", limit=20)) == 8
    await store.adelete(ANN, "3")
    assert await store.aget(ANN, "3") is None
    assert await store.alist_namespaces(prefix=("users",)) == [ANN]
    results = await store.abatch([GetOp(ANN, "1"), SearchOp(ANN, limit=2)])
    assert results[0].key == "1"
    assert len(results[1]) == 2


def test_passages_that_were_written_otherwise_are_items_too(store) -> None:
    store.memory.add(
        {"id": "a", "title": "Ada", "text": "Born in Varn.", "page": 3}, namespace=("graph", "x")
    )
    store.memory.add({"id": "root", "text": "Born at the root."}, namespace=("graph",))
    item = store.get(("x",), "a")
    assert item.value == {"text": "Born in Varn.", "title": "Ada", "metadata": {"page": 3}}
    assert [one.key for one in store.search((), query="Born", limit=1)] == ["a"]
    assert [one.key for one in store.search(())] == ["a"]
    assert store.list_namespaces() == [("x",)]


def test_the_store_s_own_namespace_is_never_left(store) -> None:
    other = HoptrailStore(store.memory, namespace=("other",))
    store.put(ANN, "k", {"text": "Secret."})
    assert other.get(ANN, "k") is None
    assert other.search((), query="Secret.") == other.search(()) == []
    assert other.list_namespaces() == []
    other.delete(ANN, "k")
    assert store.get(ANN, "k") is not None


def test_values_share_nothing_with_what_is_stored(store) -> None:
    value: dict[str, Any] = {"list": [1]}
    store.put(ANN, "k", value)
    value["list"].append(2)
    store.get(ANN, "k").value["list"].append(3)
    assert store.get(ANN, "k").value == {"list": [1]}


def test_text_in_place_of_a_namespace_is_refused_rather_than_read_as_its_letters(store) -> None:
    for call in (
        lambda: store.put("ann", "k", {"text": "a"}),
        lambda: store.get("ann", "k"),
        lambda: store.delete("ann", "k"),
        lambda: store.search("ann"),
        lambda: store.list_namespaces(prefix="ann"),
    ):
        with pytest.raises(InputError, match=r'\("ann",\) say'):
            call()
    assert store.list_namespaces() == []


def test_what_cannot_be_used_is_refused_by_name(store) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.batch([GetOp(("a.b",), "k")])
    for call in (
        lambda: store.search(ANN, filter={"n": {"$near": 1}}),
        lambda: store.search(ANN, filter={"n": {"$eq": 1, "p": 1}}),
        lambda: store.search(ANN, limit=-1),
        lambda: store.search(ANN, offset=-1),
        lambda: store.list_namespaces(limit=-1),
        lambda: store.put(ANN, "k", ["no dict"]),
        lambda: HoptrailStore("agent.db"),
        lambda: HoptrailStore(store.memory, namespace="graph"),
        lambda: HoptrailStore(store.memory, fields="text"),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(ConfigError, match="frantic"):
        HoptrailStore(store.memory, effort="frantic")
