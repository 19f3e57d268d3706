"""Filters and namespaces are parsed where they come in, once, and refused in the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hoptrail import Filter, Memory, Passage
from hoptrail.errors import InputError
from hoptrail.memory import Pipeline, Search
from hoptrail.memory.testing.hash_encoder import HashEncoder


class ReadMapping(Mapping):
    """A filter that counts how often it is read from end to end."""

    def __init__(self, conditions: dict) -> None:
        self.conditions, self.reads = conditions, 0

    def __getitem__(self, key: str) -> object:
        return self.conditions[key]

    def __iter__(self) -> Iterator[str]:
        self.reads += 1
        return iter(self.conditions)

    def __len__(self) -> int:
        return len(self.conditions)


class ReadNamespace(tuple):
    """A namespace that counts how often its parts are read."""

    reads = 0

    def __iter__(self) -> Iterator[str]:
        self.reads += 1
        return super().__iter__()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "agent.db", encoder=HashEncoder()) as memory:
        memory.add(
            [
                Passage(f"p{i}", f"river number {i}", metadata={"n": i}, namespace=("a", "b"))
                for i in range(6)
            ]
        )
        yield memory


PIPELINE = Pipeline([Search(keep=5)])
SEARCHES: dict[str, Callable] = {
    "search": lambda m, **how: m.search("river", 2, **how),
    "search by words": lambda m, **how: m.search("river", 2, mode="sparse", **how),
    "fused search": lambda m, **how: m.search("river", 2, fusion="min-rank", **how),
    "pipeline in a search": lambda m, **how: m.search("river", 2, pipeline=PIPELINE, **how),
    "recall": lambda m, **how: m.recall("Which river?", 2, **how).hits,
    "recall of two": lambda m, **how: m.recall_many(["Which river?", "river 2"], 2, **how)[0].hits,
    "store's search": lambda m, **how: m.store.search("river", 2, **how),
    "pipeline": lambda m, **how: PIPELINE.search(m.store, "river", 2, **how).hits,
}
DOORS = SEARCHES | {
    "count": lambda m, **how: m.count(**how),
    "forget": lambda m, **how: m.forget(how.pop("filter"), **how),
    "store's count": lambda m, **how: m.store.count(**how),
    "store's forget": lambda m, **how: m.store.forget(how.pop("filter"), **how),
}


@pytest.mark.parametrize("search", SEARCHES)
def test_one_search_reads_its_filter_once_and_its_namespace_once(
    memory: Memory, search: str
) -> None:
    filter, namespace = ReadMapping({"n": {"$gte": 3}}), ReadNamespace(("a",))
    hits = SEARCHES[search](memory, filter=filter, namespace=namespace)
    assert len(hits) == 2
    assert all(hit.passage.metadata["n"] >= 3 for hit in hits)
    assert (filter.reads, namespace.reads) == (1, 1)


@pytest.mark.parametrize("search", SEARCHES)
def test_a_filter_that_was_parsed_before_finds_the_same(memory: Memory, search: str) -> None:
    conditions = {"n": {"$in": [1, 4]}}
    expected = SEARCHES[search](memory, filter=conditions)
    assert len(expected) == 2
    assert SEARCHES[search](memory, filter=Filter.parse(conditions)) == expected


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "filter",
    [["n"], {"$nor": []}, {"n": {"$near": 1}}, {"$or": []}, {"$and": [{"n": {"$gt": []}}]}],
)
def test_a_malformed_filter_is_refused_in_the_same_words_at_every_door(
    memory: Memory, door: str, filter: object
) -> None:
    with pytest.raises(InputError) as parsed:
        Filter.parse(filter)
    with pytest.raises(InputError) as refused:
        DOORS[door](memory, filter=filter)
    assert str(refused.value) == str(parsed.value)
    assert memory.count() == 6


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("namespace", ["ab", ("a", ""), ("a", 1), ("a\x1fb",)])
def test_a_malformed_namespace_is_refused_in_the_same_words_at_every_door(
    memory: Memory, door: str, namespace: object
) -> None:
    with pytest.raises(InputError) as expected:
        memory.store.get("p1", namespace)
    with pytest.raises(InputError) as refused:
        DOORS[door](memory, filter={"n": 1}, namespace=namespace)
    assert str(refused.value) == str(expected.value)
