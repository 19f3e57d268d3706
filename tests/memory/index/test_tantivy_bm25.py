"""With tantivy before it the sparse index gives what it gives without, to the last bit."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoptrail.errors import ConfigError, MissingExtra
from hoptrail.memory.content_hash import content_key
from hoptrail.memory.index import tantivy_bm25
from hoptrail.memory.index.bm25 import SparseIndex
from hoptrail.memory.index.slots import SlotTable
from hoptrail.memory.index.tantivy_bm25 import TantivyIndex
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

pytest.importorskip("tantivy", reason="needs the extra hoptrail[tantivy]")

WORDS = "bridge river canal boat painter loire delft museum".split()
WORDS += "1.2.1 C++ don't 北京是首都 서울에서 كِتاب".split()
TEXT = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
STEP = st.one_of(
    st.tuples(st.just("add"), st.lists(TEXT, min_size=1, max_size=8)),
    st.tuples(st.just("remove"), st.lists(st.integers(0, 50), min_size=1, max_size=4)),
    st.tuples(st.just("search"), TEXT, st.integers(1, 6), st.integers(0, 3)),
)


class Both:
    """Our index and the one with tantivy over the same slots."""

    def __init__(self) -> None:
        self.table = SlotTable()
        self.own = SparseIndex(self.table, RLock())
        self.other = TantivyIndex(self.table, RLock())

    def add(self, texts: list[str]) -> None:
        keys = np.asarray([content_key(t) for t in texts], dtype=np.uint64)
        first = self.table.capacity
        self.table.add(np.arange(first, first + len(texts)), keys)
        for index in (self.own, self.other):
            index.add(texts)

    def remove(self, which: list[int]) -> None:
        living = np.flatnonzero(self.table.alive)
        if len(living):
            gone = np.unique(living[np.asarray(which) % len(living)])
            self.table.mark_deleted(gone)
            for index in (self.own, self.other):
                index.remove(gone)

    def compare(self, query: str, k: int, allowed: np.ndarray | None = None) -> None:
        for mask in (None, allowed):
            own = self.own.search(query, k, allowed=mask)
            other = self.other.search(query, k, allowed=mask)
            assert own[0].tolist() == other[0].tolist()
            assert own[1].tolist() == other[1].tolist()
        assert self.own.moments(query) == self.other.moments(query)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=14), st.sampled_from([0, 4]))
def test_any_adds_and_removes_give_the_same_ranking(
    steps: list[tuple[Any, ...]], fetched: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tantivy_bm25, "FETCHED", fetched)
        patch.setattr(tantivy_bm25, "MARGIN", 1)
        both = Both()
        for step in [*steps, ("search", "bridge river river boat", 3, 2)]:
            if step[0] == "search":
                _, query, k, modulus = step
                slots = np.arange(both.table.capacity)
                both.compare(query, k, slots % (modulus + 2) > 0)
            else:
                getattr(both, step[0])(step[1])


def test_none_of_the_best_is_missed_where_tantivy_orders_otherwise() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(60)]
    chance = 1 / np.arange(1, 61)
    both = Both()
    texts = [
        " ".join(rng.choice(words, size=int(rng.integers(1, 200)), p=chance / chance.sum()))
        for _ in range(800)
    ]
    both.add(texts)
    for query in ("w1 w2 w3", "w0 w50", "w10 w10 w20 w30 w40"):
        for k in (1, 10, 100):
            both.compare(query, k)
    both.remove(list(range(150)))  # a fifth: dead within it
    both.compare("w1 w2 w30", 10)
    both.remove(list(range(150)))  # more than it may hold: made anew
    assert both.other._held == both.table.size
    both.compare("w1 w2 w30", 10)


def test_a_store_searches_by_tantivy_when_told_to(tmp_path: Path, twelve: list[Passage]) -> None:
    path = tmp_path / "memory.db"
    with Store(path, encoder=HashEncoder(8), sparse="tantivy") as store:
        store.add(twelve)
        assert isinstance(store.view().sparse, TantivyIndex)
        store.view().save()
        found = store.search("clock tower of the town", 3, mode="sparse")
        both = store.search("clock tower of the town", 3)
    with Store(path, encoder=HashEncoder(8)) as store:
        assert store.search("clock tower of the town", 3, mode="sparse") == found
        assert store.search("clock tower of the town", 3) == both
    with Store(path, encoder=HashEncoder(8), sparse="tantivy") as store:  # from a snapshot
        assert store.search("clock tower of the town", 3, mode="sparse") == found
        store.delete([found[0].passage.id])
        assert store.search("clock tower of the town", 2, mode="sparse")[0] != found[0]


def test_an_unknown_kind_and_a_missing_extra_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="auto, own, tantivy, got 'lucene'"):
        Store(tmp_path / "memory.db", sparse="lucene")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "tantivy", None)
    with pytest.raises(MissingExtra, match=r"hoptrail\[tantivy\]"):
        Store(tmp_path / "memory.db", sparse="tantivy")
