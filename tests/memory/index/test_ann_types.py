"""Approximate kinds: they propose, exact scores decide, and nothing dead ever comes back."""

from __future__ import annotations

import logging
from functools import cache
from threading import RLock

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoptrail.memory.index import ann_types, dense
from hoptrail.memory.index.ann_types import KINDS
from hoptrail.memory.index.dense import DenseIndex
from hoptrail.memory.index.slots import SlotTable

DIM = 32
QUERIES = 60


@cache
def data(count: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around centres, as texts about topics are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, DIM))
    found = centres[rng.integers(0, 40, count)] + 0.6 * rng.normal(size=(count, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def queries() -> np.ndarray:
    rng = np.random.default_rng(9)
    near = data(3000)[:QUERIES] + 0.1 * rng.normal(size=(QUERIES, DIM))
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


class Index:
    """A dense index with its slots, as a view holds them."""

    def __init__(self, name: str) -> None:
        self.table = SlotTable()
        self.dense = DenseIndex(self.table, RLock(), name)

    def add(self, vectors: np.ndarray) -> None:
        first = self.table.capacity
        rows = np.arange(first, first + len(vectors))
        self.table.add(rows, rows.astype(np.uint64))
        self.dense.add(vectors)

    def remove(self, slots: np.ndarray) -> None:
        self.table.mark_deleted(slots)
        self.dense.remove(slots)


def built(name: str, vectors: np.ndarray) -> Index:
    index = Index(name)
    index.add(vectors)
    return index


def recall(index: Index, k: int = 10, allowed: np.ndarray | None = None) -> float:
    """Of the k nearest by a scan, how many are found; what is found is held to be right."""
    _, slots = index.dense.search(queries(), k, allowed=allowed)
    scores, _ = index.dense.search(queries(), k, allowed=allowed)
    living = index.table.alive if allowed is None else index.table.alive & allowed
    everything = np.flatnonzero(living)
    exact = index.dense.scores_of(queries(), everything)
    found = 0
    for row in range(QUERIES):
        assert living[slots[row]].all()
        assert len(set(slots[row].tolist())) == k
        assert np.array_equal(scores[row], index.dense.scores_of(queries()[[row]], slots[row])[0])
        assert (np.diff(scores[row]) <= 0).all()
        best = everything[np.argsort(-exact[row], kind="stable")[:k]]
        found += len(np.intersect1d(best, slots[row]))
    return found / (k * QUERIES)


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_finds_what_a_scan_finds(name: str) -> None:
    index = built(name, data(4000))
    assert recall(index) >= 0.95
    assert index.dense.approximate is not None
    assert repr(index.dense) == f"<DenseIndex of 4000 passages: {name}, drift 0 %>"
    index.remove(np.arange(0, 4000, 7))
    assert recall(index) >= 0.95


@pytest.mark.parametrize("name", KINDS)
def test_what_is_allowed_is_looked_for_inside_the_search(name: str, monkeypatch) -> None:
    index = built(name, data(6000))
    allowed = np.random.default_rng(1).random(6000) < 0.5
    narrow = data(6000) @ queries()[0] < 0.2  # far from a query, so that its own lists hold none
    assert recall(index, allowed=allowed) == 1  # few enough to compare each
    monkeypatch.setattr(dense, "EXACT_AMONG", 0)
    assert recall(index, allowed=allowed) >= 0.95
    scores, slots = index.dense.search(queries()[:1], 10, allowed=narrow)
    assert narrow[slots].all()
    assert scores[0, 0] > -1
    assert index.dense.search(queries()[:1], 10, allowed=allowed & False)[0].shape == (1, 0)


@pytest.mark.parametrize("name", KINDS)
def test_a_state_restored_is_the_same_index_without_the_dead(name: str, caplog) -> None:
    index = built(name, data(4000))
    index.dense.settle()
    index.add(data(4100)[4000:])
    index.remove(np.arange(0, 4100, 9))
    state = index.dense.state()
    for array in state.values():
        array.setflags(write=False)  # as in a mapped file
    alive = index.table.alive
    copy = Index(name)
    copy.table.add(index.table.rowids[alive], index.table.keys[alive])
    caplog.set_level(logging.INFO)
    copy.dense.restore(state)
    assert recall(copy) >= 0.95
    assert not caplog.records  # nothing was trained
    moments = copy.dense.moments(queries())
    assert np.array_equal(moments, index.dense.moments(queries()))
    copy.add(data(4200)[4100:])
    copy.remove(np.arange(0, 60))
    assert recall(copy) >= 0.95
    again = Index(name)
    again.table.add(copy.table.rowids[copy.table.alive], copy.table.keys[copy.table.alive])
    again.dense.restore(copy.dense.state())
    assert recall(again) >= 0.95


@pytest.mark.parametrize("name", ["sq8", "lsh", "hnsw", "ivf"])
def test_of_what_is_dead_nothing_is_left_in_a_state(name: str) -> None:
    odd = (np.where(np.arange(DIM) % 2, 1, -1) / np.sqrt(DIM)).astype(np.float32)[None]
    index = built(name, np.concatenate([data(2000), odd]))
    before = index.dense.state()["faiss"].tobytes()
    held = faiss.downcast_index(index.dense.approximate._index)
    if name == "hnsw":
        held = faiss.downcast_index(held.storage)
    code = odd.tobytes() if name == "ivf" else held.sa_encode(odd).tobytes()
    index.remove(np.array([2000]))
    assert code in before
    assert code not in index.dense.state()["faiss"].tobytes()


def test_of_what_is_dead_no_code_is_left_in_a_block() -> None:
    index = built("ivf-pq4", data(3000))
    index.dense.settle()
    index.remove(np.arange(0, 3000, 2))
    state = index.dense.state()
    held = faiss.deserialize_index(state["faiss"])
    lists = faiss.downcast_InvertedLists(held.invlists)
    assert recall(index) >= 0.95
    ends = 0
    for number in range(held.nlist):
        size = lists.list_size(number)
        blocks = -(-size // lists.n_per_block)
        if blocks:
            codes = faiss.rev_swig_ptr(lists.get_codes(number), blocks * lists.block_size)
            codes = codes.reshape(blocks, lists.block_size)
            for place in range(size, blocks * lists.n_per_block):
                assert not lists.packer.unpack_1(codes, place).any()
                ends += 1
    assert ends > 100


def test_more_lists_are_looked_at_where_neighbours_are_scattered() -> None:
    """Around centres a few lists hold a query's neighbours; of vectors without any, many do."""
    scattered = np.random.default_rng(2).normal(size=(20_000, DIM)).astype(np.float32)
    scattered /= np.linalg.norm(scattered, axis=1, keepdims=True)
    looked_at = []
    for vectors in (data(20_000), scattered):
        index = built("ivf-pq4", vectors)
        index.dense.settle()
        state = index.dense.state()
        copy = Index("ivf-pq4")
        copy.table.add(index.table.rowids, index.table.keys)
        copy.dense.restore(state)
        looked_at.append(copy.dense.approximate._index.nprobe)
    assert looked_at[0] < looked_at[1] / 2
    assert looked_at[1] == 22  # a sixth of 128


def test_auto_is_exact_until_there_are_many_and_again_when_few_are_left(monkeypatch) -> None:
    monkeypatch.setattr(ann_types, "EXACT_UP_TO", 2000)
    index = built("auto", data(2000))
    assert recall(index) == 1
    assert index.dense.approximate is None
    index.add(data(2001)[2000:])
    assert recall(index) >= 0.95
    assert index.dense.approximate.kind.name == "ivf-pq4"
    index.remove(np.arange(1000))
    index.dense.settle()
    assert index.dense.approximate.kind.name == "ivf-pq4"
    index.remove(np.arange(1000, 1001))
    assert recall(index) == 1
    assert index.dense.approximate is None


def test_a_kind_asked_for_by_name_waits_until_there_is_something_to_train_on() -> None:
    index = built("hnsw", data(1000))
    assert recall(index) == 1
    assert repr(index.dense) == "<DenseIndex of 1000 passages: exact>"


@pytest.mark.parametrize(("name", "growth"), [("ivf-sq8", 0.2), ("hnsw", 4.0)])
def test_it_is_trained_anew_when_enough_has_come_or_gone(name: str, growth, caplog) -> None:
    caplog.set_level(logging.INFO)
    index = built(name, data(2000))
    assert index.dense.settle()
    assert not index.dense.settle()
    index.remove(np.arange(200))
    index.add(data(2000 + int(200 * growth / 0.2), 1)[2000:])
    assert not index.dense.settle()
    assert repr(index.dense).endswith(f": {name}, drift 20 %>")
    caplog.clear()
    index.remove(np.arange(200, 201))
    assert index.dense.settle()
    now = index.table.size
    assert f"({name}) on {now} passages: in place of {name}, drift 20 %" in caplog.text
    assert "is ready after" in caplog.text
    assert repr(index.dense) == f"<DenseIndex of {now} passages: {name}, drift 0 %>"


@pytest.mark.parametrize("name", ["sq8", "lsh", "ivf", "ivf-sq8", "ivf-pq", "ivf-pq4"])
def test_equals_are_ordered_by_key_however_many_there_are(name: str) -> None:
    index = Index(name)
    same = np.repeat(data(1), 400, axis=0)
    keys = np.random.default_rng(3).permutation(4000).astype(np.uint64)
    index.table.add(np.arange(4000), keys)
    index.dense.add(np.concatenate([data(3601)[1:], same]))
    _, slots = index.dense.search(data(1), 30)
    assert index.dense.approximate is not None
    assert slots[0].tolist() == (3600 + np.argsort(keys[3600:])[:30]).tolist()


changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 900), st.integers(1, 3)),
        st.tuples(st.just("remove"), st.integers(1, 900), st.integers(0, 99)),
        st.tuples(st.just("search"), st.just(0), st.just(0)),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("name", ["ivf-sq8", "ivf-pq", "ivf-pq4", "hnsw", "lsh"])
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=changes)
def test_after_any_changes_it_finds_what_a_fresh_one_does(name: str, steps) -> None:
    index = built(name, data(3000))
    for what, count, seed in steps:
        if what == "add":
            index.add(data(count, seed))  # of other seeds: about other topics
        elif what == "remove":
            living = np.flatnonzero(index.table.alive)
            index.remove(np.random.default_rng(seed).choice(living, count % len(living), False))
        index.dense.settle()
    living = index.table.alive
    fresh = built(name, index.dense.vectors(np.flatnonzero(living)))
    assert recall(index) >= recall(fresh) - 0.02
    exact = index.dense.scores_of(queries(), np.flatnonzero(living)).astype(float)
    mean, std = index.dense.moments(queries())
    assert np.allclose(mean, exact.mean(1), atol=1e-6)
    assert np.allclose(std, exact.std(1), atol=1e-6)
