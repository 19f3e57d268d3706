"""A graph brought up to date is the one that is made from everything, whatever changed before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoptrail.graph.adjacency import adjacency as arrays_module
from hoptrail.graph.adjacency import updates
from hoptrail.graph.adjacency.adjacency import (
    Adjacency,
    Ranks,
    Tables,
    empty_adjacency,
    make_adjacency,
    packed,
)
from hoptrail.graph.adjacency.ragged import RaggedArray, by_key, group
from hoptrail.graph.adjacency.updates import updated
from hoptrail.graph.ranking.local_push import LocalPush

NAMES, ENTITIES = 6, 5


def ranks(slots: np.ndarray) -> np.ndarray:
    """Order by a content that has nothing to do with the order of slots."""
    return np.argsort(-(slots * 7919 % 101), kind="stable")


class World:
    """Passages as rows, by slot; what a store and its tables say."""

    def __init__(self) -> None:
        self.capacity = 0
        self.rows: dict[int, dict[str, list[tuple[int, ...]]]] = {}

    def write(self, draw: dict[str, Any], old: int | None) -> int:
        """A passage in a new slot, in place of an old one or not."""
        if old is not None:
            del self.rows[old]
        slot, self.capacity = self.capacity, self.capacity + 1
        self.rows[slot] = {
            "titles": [(slot, name, int(i > 0)) for i, name in enumerate(draw["titles"])],
            "surface_mentions": [
                (slot, 10 * i, 10 * i + 4, name) for i, name in enumerate(draw["surface_mentions"])
            ],
            "entities": [(slot, entity) for entity in draw["entities"]],
            "links": [],
        }
        living = sorted(self.rows)
        self.rows[slot]["links"] = sorted(
            {(slot, living[i % len(living)], i % 2, weight(i)) for i in draw["links"]}
        )
        return slot

    def tables(self, slots: set[int]) -> Tables:
        """What the tables say of some passages, and the links from and to them."""
        links = [
            link
            for row in self.rows.values()
            for link in row["links"]
            if link[1] in self.rows and (link[0] in slots or link[1] in slots)
        ]

        def of(what: str, columns: int) -> np.ndarray:
            rows = [row for slot in sorted(slots) for row in self.rows[slot][what]]
            return np.array(rows, dtype=np.int32).reshape(-1, columns)

        found = np.array(links, dtype=np.int32).reshape(-1, 4)
        return Tables(of("titles", 3), of("surface_mentions", 4), of("entities", 2), found)

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.capacity, NAMES, ENTITIES


def weight(i: int) -> int:
    return int(packed(np.array([0.5 + i], dtype=np.float32))[0])


def picture(a: Adjacency) -> dict[str, Any]:
    """Every list of a graph, its order too where it means something."""
    found: dict[str, Any] = {}
    for name, lists in vars(a).items():
        if isinstance(lists, RaggedArray):
            rows = [lists[i].tolist() for i in range(lists.rows)]
            found[name] = [sorted(row) for row in rows] if name == "passages_by_entity" else rows
    return found | {"n": a.n, "living": a.living}


PASSAGE = st.fixed_dictionaries(
    {
        "titles": st.lists(st.integers(0, NAMES - 1), max_size=2, unique=True),
        "surface_mentions": st.lists(st.integers(0, NAMES - 1), max_size=4),
        "entities": st.lists(st.integers(0, ENTITIES - 1), max_size=3, unique=True),
        "links": st.lists(st.integers(0, 9), max_size=2, unique=True),
    }
)
STEP = st.one_of(
    st.tuples(st.just("write"), st.lists(PASSAGE, min_size=1, max_size=4)),
    st.tuples(st.just("rewrite"), st.integers(0, 9), PASSAGE),
    st.tuples(st.just("scan again"), st.integers(0, 9), st.lists(st.integers(0, 5), max_size=3)),
    st.tuples(st.just("delete"), st.lists(st.integers(0, 9), min_size=1, max_size=3)),
)


def apply(world: World, step: tuple[Any, ...]) -> tuple[set[int], set[int]]:
    """Do it; the slots whose rows are new, and those that are gone."""
    living = sorted(world.rows)
    if step[0] == "write":
        return {world.write(each, None) for each in step[1]}, set()
    if not living:
        return set(), set()
    if step[0] == "delete":
        gone = {living[i % len(living)] for i in step[1]}
        for slot in gone:
            del world.rows[slot]
        return set(), gone
    slot = living[step[1] % len(living)]
    if step[0] == "rewrite":
        return {world.write(step[2], slot)}, {slot}
    world.rows[slot]["surface_mentions"] = [
        (slot, 10 * i, 10 * i + 4, n) for i, n in enumerate(step[2])
    ]
    return {slot}, set()


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=12), st.sampled_from([0, 3, 1000]), st.sampled_from([1, 12]))
def test_any_changes_give_what_is_made_from_everything(
    steps: list[tuple[Any, ...]], few: int, shared: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(updates, "FEW", few)
        patch.setattr(arrays_module, "MAX_SHARED", shared)
        world, found = World(), empty_adjacency()
        walk = LocalPush(found, 3)
        for step in steps:
            before, seen = found, picture(found)
            new, gone = apply(world, step)
            touched = np.array(sorted(new | gone), dtype=np.int64)
            living = len(world.rows)
            found = updated(found, world.tables(new), touched, world.sizes, living, Ranks(ranks))
            assert picture(before) == seen  # who still reads it is not disturbed
            whole = make_adjacency(world.tables(set(world.rows)), world.sizes, living, Ranks(ranks))
            assert picture(found) == picture(whole)
            walk = LocalPush(found, 3, walk)
            if living:
                seeds = dict.fromkeys(world.rows, 1.0)
                slots, one = walk.visits(seeds, damping=0.7, iterations=5)
                same, other = LocalPush(whole, 3).visits(seeds, damping=0.7, iterations=5)
                assert slots.tolist() == same.tolist()
                np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_change_of_one_passage_replaces_only_what_it_reaches() -> None:
    world = World()
    for i in range(5):
        world.write(
            {"titles": [i], "surface_mentions": [(i + 1) % 5], "entities": [i], "links": []}, None
        )
    a = make_adjacency(world.tables(set(world.rows)), world.sizes, 5, Ranks(ranks))
    new = world.write({"titles": [5], "surface_mentions": [2], "entities": [2], "links": [0]}, None)
    touched = np.array([new])
    b = updated(a, world.tables({new}), touched, world.sizes, 6, Ranks(ranks))
    changed = {
        k: set(v.changed) for k, v in vars(b).items() if isinstance(v, RaggedArray) and v.changed
    }
    assert changed == {
        "titles": {5}, "passages_by_name": {5}, "surface_mentions": {5}, "mentioners_by_name": {2},
        "mentions_out": {5}, "mentions_in": {2},
        "entities": {5}, "passages_by_entity": {2}, "links_out": {5}, "links_into": {0, 5},
    }  # fmt: skip
    assert b.mentions_out.values is a.mentions_out.values


def test_lists_read_the_same_before_and_after_a_replacement_is_merged_in() -> None:
    values = np.arange(12, dtype=np.int32).reshape(6, 2)
    lists = group(np.array([0, 0, 2, 2, 2, 3]), values, 4)
    new = {2: values[:1], 5: values[4:], 0: values[:0]}
    replaced = lists.with_rows(new, 6)
    assert lists.counts().tolist() == [2, 0, 3, 1]
    assert replaced.counts().tolist() == [0, 0, 1, 1, 0, 2]
    asked = np.array([5, 1, 2, 4, 3])
    owner, found = replaced.gather(asked)
    assert owner.tolist() == [0, 0, 2, 4]
    assert found.tolist() == [*values[4:].tolist(), [0, 1], [10, 11]]
    assert replaced.lengths(asked).tolist() == [2, 0, 1, 0, 1]
    owner, found = replaced.all()
    merged = group(owner, found, 6)
    assert [merged[i].tolist() for i in range(6)] == [replaced[i].tolist() for i in range(6)]
    assert {k: v.tolist() for k, v in by_key(owner, found, np.array([1, 3])).items()} == {
        1: [],
        3: [[10, 11]],
    }
