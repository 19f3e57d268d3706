"""Filters: what they mean, what is refused, and that no search steps outside of one."""

from __future__ import annotations

import json
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoptrail.errors import InputError
from hoptrail.memory.filters import Filter
from hoptrail.memory.index import filter_columns
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage
from hoptrail.values.json_values import plain_mapping

PASSAGES = [
    Passage("a", "x", metadata={"n": 1, "lang": "en", "tags": ["red", 1]}, written_at=100.0),
    Passage("b", "x", metadata={"n": 1.0, "lang": "de"}, written_at=200.0, title="B"),
    Passage("c", "x", metadata={"n": True, "lang": None}, written_at=300.0, expires_at=400.0),
    Passage("d", "x", metadata={"n": "1", "lang": "fr", "deep": {"k": [1, 2]}}, written_at=400.0),
    Passage("e", "x", written_at=500.0),
]
NESTED = [
    Passage("a", "x", metadata={"source": {"page": 3, "by.name": {"last": "Lind"}}}),
    Passage("b", "x", metadata={"source.page": 9, "source": {"page": 1}}),
    Passage("c", "x", metadata={"source": 5}),
    Passage("d", "x", metadata={"source": {"page": None}}),
]


def held(filter: dict) -> str:
    """The ids of those that fulfil it."""
    mask = Filter.parse(json.loads(json.dumps(filter))).passages_mask(PASSAGES)
    return "".join(p.id for p, holds in zip(PASSAGES, mask, strict=True) if holds)


@pytest.mark.parametrize(
    ("filter", "ids"),
    [
        ({}, "abcde"),
        ({"lang": "en"}, "a"),
        ({"n": 1}, "ab"),
        ({"n": True}, "c"),
        ({"n": "1"}, "d"),
        ({"lang": None}, "ce"),
        ({"lang": {"$exists": True}}, "abcd"),
        ({"lang": {"$ne": "en"}}, "bcde"),
        ({"lang": {"$in": ["en", "fr", None]}}, "acde"),
        ({"lang": {"$nin": ["en", "fr"]}}, "bce"),
        ({"lang": {"$gt": "de", "$lte": "fr"}}, "ad"),
        ({"n": {"$gte": 0}}, "ab"),
        ({"n": {"$lt": 1}}, ""),
        ({"n": {"$gte": "0"}}, "d"),
        ({"tags": {"$contains": 1}}, "a"),
        ({"tags": {"$contains": True}}, ""),
        ({"tags": ["red", 1]}, "a"),
        ({"deep": {"k": [1, 2]}}, "d"),
        ({"deep": {"$eq": {"k": [1, True]}}}, ""),
        ({"$title": "B"}, "b"),
        ({"$title": {"$exists": False}}, "acde"),
        ({"$id": {"$in": ["a", "e"]}}, "ae"),
        ({"$written_at": {"$gte": 200, "$lt": 400}}, "bc"),
        ({"$written_at": {"$lt": "1970-01-01T00:05:00"}}, "ab"),
        ({"$written_at": {"$lt": "1970-01-01T01:05:00+01:00"}}, "ab"),
        ({"$expires_at": {"$gt": "1970-01-01"}}, "c"),
        ({"$expires_at": None}, "abde"),
        ({"lang": "en", "n": 2}, ""),
        ({"$or": [{"lang": "en"}, {"$id": "e"}], "n": 1}, "a"),
        ({"$and": [{"n": 1}, {"$not": {"lang": "en"}}]}, "b"),
        ({"$not": {"lang": "en", "n": 1}}, "bcde"),
    ],
)
def test_what_a_filter_means(filter: dict, ids: str) -> None:
    assert held(filter) == ids


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("lang", "the filter must be a dict, got 'lang'"),
        ({1: 2}, "keys must be strings, got 1"),
        ({"$lang": 1}, r"there is no '\$lang': a key of the metadata, one of \$id"),
        ({"n": {"$near": 1}}, r"the filter: 'n': there is no operator '\$near'"),
        ({"n": {"$gt": 1, "x": 2}}, "there is no operator 'x'"),
        ({"n": {"$gt": [1]}}, r"'n' \$gt takes a number or a string, got \[1\]"),
        ({"n": {"$gt": True}}, "takes a number or a string, got True"),
        ({"n": {"$in": "en"}}, r"\$in takes a list, got 'en'"),
        ({"n": {"$exists": 1}}, "takes true or false, got 1"),
        ({"n": {1, 2}}, r"\[\"n\"\] is a set, for which JSON has nothing"),
        ({"n": float("nan")}, r"\[\"n\"\] is a number that JSON cannot hold: nan"),
        ({"$or": []}, r"\$or takes a list of filters, at least one, got \[\]"),
        ({"$and": [{"n": {"$x": 1}}]}, r"the filter: \$and: 'n': there is no operator"),
        ({"$not": [1]}, r"\$not must be a dict"),
        ({"$written_at": {"$gt": "yesterday"}}, "such as 2026-01-31T12:00:00Z, got 'yesterday'"),
        ({"$written_at": True}, "must be seconds since 1970"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_place(wrong: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Filter.parse(wrong)


def test_a_filter_too_deep_is_refused() -> None:
    deep: dict = {"n": 1}
    for _ in range(600):
        deep = {"$not": deep}
    with pytest.raises(InputError, match="more than 32 filters deep"):
        Filter.parse(deep)
    for _ in range(600):
        deep = {"$not": deep}
    with pytest.raises(InputError, match="lists and dicts deep"):
        Filter.parse(deep)


leaves = st.one_of(
    st.builds(lambda f, v: {f: v}, st.sampled_from("nm"), st.sampled_from([0, 1, True, "1", None])),
    st.builds(
        lambda f, o, v: {f: {o: v}},
        st.sampled_from("nm"),
        st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$ne"]),
        st.sampled_from([0, 1, 1.5, "1"]),
    ),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=5,
)


def model(filter: dict, metadata: dict) -> bool:
    """What a filter means, said again in another way."""
    ((name, wanted),) = filter.items()
    if name == "$and":
        return all(model(part, metadata) for part in wanted)
    if name == "$or":
        return any(model(part, metadata) for part in wanted)
    if name == "$not":
        return not model(wanted, metadata)
    value = metadata.get(name)
    ((operator, bound),) = wanted.items() if isinstance(wanted, dict) else (("$eq", wanted),)
    typed = (isinstance(value, bool), isinstance(value, str), value is None)
    alike = typed == (isinstance(bound, bool), isinstance(bound, str), bound is None)
    if operator in ("$eq", "$ne"):
        return (alike and value == bound) == (operator == "$eq")
    if not alike or value is None:
        return False
    return {
        "$gt": value > bound,
        "$gte": value >= bound,
        "$lt": value < bound,
        "$lte": value <= bound,
    }[operator]


@settings(max_examples=60, deadline=None)
@given(
    filter=trees,
    rows=st.lists(
        st.dictionaries(st.sampled_from("nm"), st.sampled_from([0, 1, 1.5, 2, True, "1", None]))
    ),
)
def test_masks_equal_the_model(filter: dict, rows: list[dict]) -> None:
    passages = [Passage(str(i), "x", metadata=row) for i, row in enumerate(rows)]
    found = Filter.parse(filter).passages_mask(passages)
    assert found.tolist() == [model(filter, row) for row in rows]


def test_a_mask_follows_what_is_written(store: Store) -> None:
    def allowed() -> list[str]:
        view = store.view()
        mask = view.allowed(Filter.parse({"n": {"$gte": 1}}))
        return sorted(p.id for p in view.passages(np.flatnonzero(mask)))

    store.add([Passage("a", "river", metadata={"n": 1}), Passage("b", "river")])
    assert allowed() == ["a"]
    store.add([Passage("c", "river", metadata={"n": 2})])
    assert allowed() == ["a", "c"]
    store.update("a", metadata={})
    store.update("b", metadata={"n": 7})
    assert allowed() == ["b", "c"]
    store.delete(["c"])
    assert allowed() == ["b"]
    assert store.view().allowed(None) is None


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
def test_search_finds_the_best_inside_the_filter_however_few(store: Store, mode: str) -> None:
    store.add(
        Passage(f"p{i}", f"river bridge {i}" + " old stone" * (i % 3), metadata={"n": i})
        for i in range(400)
    )
    store.delete([f"p{i}" for i in range(0, 400, 50)])
    rare = {"n": {"$in": [17, 350, 399, 123]}}
    found = store.search("old river bridge", 10, mode=mode, filter=rare)
    assert sorted(hit.passage.id for hit in found) == ["p123", "p17", "p399"]
    every = {hit.passage.id: hit.score for hit in store.search("old river bridge", 400, mode=mode)}
    assert {hit.passage.id: hit.score for hit in found}.items() <= every.items()
    assert store.search("old river", 10, mode=mode, filter={"n": 1000}) == []
    with pytest.raises(InputError, match="the filter must be a dict"):
        store.search("river", mode=mode, filter=["n"])


def test_what_another_process_changes_meanwhile_is_not_returned(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Store(path, encoder=HashEncoder()) as store, Store(path, encoder=HashEncoder()) as other:
        store.add([Passage(str(i), f"river {i}", metadata={"ok": True}) for i in range(3)])
        read = type(store.view()).passages

        def late(view, slots):
            if other.get("1").metadata["ok"]:
                other.update("1", metadata={"ok": False})
            return read(view, slots)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(store.view()), "passages", late)
            found = store.search("river", filter={"ok": True})
        assert sorted(hit.passage.id for hit in found) == ["0", "2"]


@pytest.mark.parametrize(
    ("filter", "ids"),
    [
        ({"source.page": {"$gt": 1}}, "ab"),
        ({"source.page": {"$exists": True}}, "abd"),
        ({"source.page": None}, "cd"),
        ({"source": {"page": 1}}, "b"),
        ({"source.by.name.last": "Lind"}, "a"),
        ({"source.by": {"$exists": True}}, ""),
        ({"source.page.deeper": {"$exists": True}}, ""),
        ({"source..page": {"$exists": True}}, ""),
    ],
)
def test_a_path_of_keys_reaches_into_dicts(tmp_path: Path, filter: dict, ids: str) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        store.add(NESTED)
        found = store.search("x", 10, mode="dense", filter=filter)
        assert "".join(sorted(hit.passage.id for hit in found)) == ids
        assert store.count(filter=filter) == len(ids)
        assert store.forget(filter) == len(ids)


KEYS = ["n", "a.b", "a", "b", "é", "it's", 'quo"ted', "back\\slash", "", "a b", "$x", "[0]", "a..b"]
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**30, 0.1, 1.0, -0.0, 1e300, 1.5e-7]),
    st.text(max_size=3),
    st.lists(st.integers(0, 2), max_size=2),
)
values = st.recursive(
    leaves, lambda inner: st.dictionaries(st.sampled_from(KEYS), inner), max_leaves=4
)


@pytest.mark.parametrize("arrow", [True, False])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(KEYS), values), min_size=1, max_size=8),
    more=st.lists(st.dictionaries(st.sampled_from(KEYS), values), max_size=3),
    wanted=values,
    scattered=st.booleans(),
)
def test_a_view_sees_the_fields_that_a_passage_has(
    arrow: bool, rows: list, more: list, wanted: object, scattered: bool, monkeypatch, tmp_path
) -> None:
    monkeypatch.setattr(filter_columns, "ARROW", arrow and filter_columns.ARROW)
    monkeypatch.setattr(filter_columns, "SCATTERED", 0 if scattered else 4)
    with Store(tmp_path / f"{time.monotonic_ns()}.db", encoder=HashEncoder()) as store:
        for start, part in ((0, rows), (len(rows), more)):  # what comes later is read by itself
            made = (Passage(f"p{start + i}", "x", metadata=row) for i, row in enumerate(part))
            store.add(made)
            view, passages = store.view(), list(store.passages())
            order = [view.slot_of(passage.id) for passage in passages]
            for name in [key for key in KEYS if not key.startswith("$")] + ["a.b.n", "a.a.b.b.n"]:
                for test in ({name: {"$eq": wanted}}, {name: {"$exists": True}}):
                    expected = Filter.parse(test).passages_mask(passages)
                    assert view.allowed(Filter.parse(test))[order].tolist() == expected.tolist(), (
                        name,
                        wanted,
                    )


def test_values_are_compared_as_metadata_stores_them() -> None:
    stored = plain_mapping({"when": date(2024, 5, 3), "n": np.int64(7), "cost": Decimal("1.5")}, "")
    passage = Passage("a", "x", metadata=stored)
    for condition in (
        {"when": date(2024, 5, 3)},
        {"when": {"$gte": datetime(2024, 5, 1), "$lt": "2024-06"}},
        {"n": np.float32(7)},
        {"n": {"$in": np.arange(8)}},
        {"cost": {"$lte": Decimal("1.50")}},
        {"$written_at": {"$lt": datetime(1970, 1, 2, tzinfo=UTC)}},
    ):
        assert Filter.parse(condition).passages_mask([passage]).tolist() == [True]


@pytest.mark.parametrize("dots", [2, 30, 5000])
def test_a_field_of_many_dots_is_looked_up_at_once(store: Store, dots: int) -> None:
    name = ".".join(["a"] * (dots + 1))
    deep: object = "found"
    for _ in range(min(dots, 500) + 1):
        deep = {"a": deep, "a.b": {}, "": {}}
    store.add([Passage("deep", "one river", metadata=deep), Passage("other", "another river")])
    started = time.perf_counter()
    hits = store.search("river", 2, filter={name: "found"})
    assert [hit.passage.id for hit in hits] == ["deep"] * (dots <= 500)
    assert store.count(filter={name: {"$exists": False}}) == 2 - (dots <= 500)
    assert time.perf_counter() - started < 5


def test_a_long_list_and_many_conditions_take_no_longer_than_they_are(store: Store) -> None:
    store.add([Passage(f"p{i}", "a river", metadata={"n": i}) for i in range(3000)])
    started = time.perf_counter()
    assert store.count(filter={"n": {"$in": [*range(2000, 100_000)]}}) == 1000
    assert len(store.search("river", 9, filter={"$or": [{"n": i} for i in range(900)]})) == 9
    assert time.perf_counter() - started < 10
    with pytest.raises(InputError, match="1,001 conditions"):
        store.count(filter={"$or": [{"n": i} for i in range(1001)]})


def test_equality_of_deep_values_needs_no_depth_of_python(store: Store) -> None:
    deep: object = 1.0
    for _ in range(500):
        deep = [deep]
    store.add([Passage("a", "x", metadata={"deep": deep}), Passage("b", "x", metadata={"deep": 1})])
    assert [hit.passage.id for hit in store.search("x", 2, filter={"deep": deep})] == ["a"]
