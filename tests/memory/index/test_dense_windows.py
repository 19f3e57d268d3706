"""Passages with several vectors score by the best of them, whatever comes and goes."""

from __future__ import annotations

from threading import RLock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoptrail.memory.encoders.windows import SHARE
from hoptrail.memory.index import ann_types, dense_windows
from hoptrail.memory.index.dense import DenseIndex
from hoptrail.memory.index.slots import SlotTable

DIM = 8


class Index:
    """A dense index with its slots, and all vectors of each slot by which to check it."""

    def __init__(self, name: str = "flat") -> None:
        self.table = SlotTable()
        self.dense = DenseIndex(self.table, RLock(), name)
        self.all: dict[int, np.ndarray] = {}

    def add(self, passages: list[np.ndarray]) -> None:
        rows = np.arange(self.table.capacity, self.table.capacity + len(passages))
        self.table.add(rows, rows.astype(np.uint64))
        owners = np.repeat(np.arange(len(passages)), [len(p) - 1 for p in passages])
        main = np.stack([p[0] for p in passages])
        self.dense.add(main, np.concatenate([p[1:] for p in passages]), owners)
        near = [p[:1] + np.float32(SHARE) * (p - p[:1]) for p in passages]
        self.all.update(zip(rows.tolist(), near, strict=True))

    def remove(self, slots: list[int]) -> None:
        gone = np.asarray(slots, dtype=np.int64)
        self.table.mark_deleted(gone)
        self.dense.remove(gone)
        for slot in slots:
            del self.all[slot]

    def check(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> None:
        """Every answer is that of comparing all vectors with each query."""
        slots = np.asarray(sorted(s for s in self.all if allowed is None or allowed[s]), dtype=int)
        wide = queries.astype(np.float64)
        best = np.array(
            [[(self.all[s].astype(np.float64) @ q).max() for s in slots] for q in wide]
        ).reshape(len(queries), len(slots))
        scores, ranked = self.dense.search(queries, k, allowed=allowed)
        for row, expected in enumerate(best.round(6)):
            order = np.lexsort((slots, -expected))[:k]
            assert ranked[row].tolist() == slots[order].tolist()
            assert scores[row] == pytest.approx(expected[order], abs=1e-6)
        assert self.dense.scores_of(queries, slots) == pytest.approx(best, abs=2e-6)
        if len(slots):
            assert self.dense.cosines(queries[0], slots) == pytest.approx(best[0], abs=2e-6)


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    rows = rng.normal(size=(count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def passages(rng: np.random.Generator, count: int, long: float = 0.3) -> list[np.ndarray]:
    return [unit(rng, rng.integers(3, 9) if rng.random() < long else 1) for _ in range(count)]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), long=st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_search_and_scores_are_those_of_the_best_vector(seed: int, long: float) -> None:
    rng = np.random.default_rng(seed)
    index = Index()
    for _ in range(4):
        index.add(passages(rng, int(rng.integers(1, 30)), long))
        index.check(unit(rng, 3), int(rng.integers(1, 12)))
        living = sorted(index.all)
        index.remove(rng.permutation(living)[: rng.integers(0, len(living))].tolist())
        index.check(unit(rng, 3), 5)
        index.check(unit(rng, 2), 4, rng.random(index.table.capacity) < 0.4)


def test_equals_are_ordered_by_content_whichever_vector_they_score_by() -> None:
    rng = np.random.default_rng(1)
    one, other = unit(rng, 2)
    index = Index()
    index.add([np.stack([other, one, other]), one[None]] * 40)
    index.check(one[None], 30)


def test_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_windows, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(dense_windows, "QUERIES_AT_ONCE", 2)
    monkeypatch.setattr(dense_windows, "EXACT_AT_ONCE", 2)
    rng = np.random.default_rng(2)
    index = Index()
    index.add(passages(rng, 60, 0.5))
    index.check(unit(rng, 5), 10)


def test_a_state_has_the_windows_of_the_living() -> None:
    rng = np.random.default_rng(3)
    index = Index()
    index.add(passages(rng, 50, 0.5))
    index.remove(list(range(0, 50, 3)))
    again = Index()
    living = sorted(index.all)
    again.table.add(np.arange(len(living)), np.arange(len(living), dtype=np.uint64))
    again.dense.restore(index.dense.state())
    again.all = dict(enumerate(index.all[slot] for slot in living))
    again.check(unit(rng, 4), 8)
    again.add(passages(rng, 20, 0.5))
    again.remove([1, 2, 40])
    again.check(unit(rng, 4), 8)


def test_windows_of_the_dead_are_given_back() -> None:
    rng = np.random.default_rng(4)
    index = Index()
    for _ in range(30):
        index.add(passages(rng, 20, 1.0))
        index.remove(sorted(index.all)[:-20])
    windows = index.dense._windows
    assert len(windows) == sum(len(index.all[slot]) - 1 for slot in index.all)
    assert len(windows._rows) <= 2 * len(windows)
    index.check(unit(rng, 3), 10)


def test_moments_are_those_of_the_wholes() -> None:
    rng = np.random.default_rng(5)
    long, queries = passages(rng, 40, 0.5), unit(rng, 3)
    index, wholes = Index(), Index()
    index.add(long)
    wholes.add([p[:1] for p in long])
    for mine, theirs in zip(
        index.dense.moments(queries), wholes.dense.moments(queries), strict=True
    ):
        assert mine.tobytes() == theirs.tobytes()


def test_without_long_passages_all_answers_keep_their_bits() -> None:
    rng = np.random.default_rng(6)
    short, queries = passages(rng, 300, 0.0), unit(rng, 8)
    index, before = Index(), Index()
    index.add(short)
    before.table.add(np.arange(300), np.arange(300, dtype=np.uint64))
    before.dense.add(np.concatenate(short))
    for mine, theirs in zip(
        index.dense.search(queries, 20), before.dense.search(queries, 20), strict=True
    ):
        assert mine.tobytes() == theirs.tobytes()
    slots = np.arange(300)
    products = np.concatenate(short)[slots] @ queries[0]
    assert index.dense.cosines(queries[0], slots).tobytes() == products.tobytes()
    assert "windows" not in index.dense.state()


@pytest.mark.parametrize("name", ["sq8", "hnsw", "ivf-sq8"])
def test_an_approximate_index_has_the_windows_beside_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ann_types, "LEAST", 100)
    rng = np.random.default_rng(7)
    index = Index(name)
    some = passages(rng, 900, 0.1)
    exact = Index()
    for one in (index, exact):
        one.add(some)
    facts = np.stack([vectors[-1] for vectors in some if len(vectors) > 1])
    scores, slots = index.dense.search(facts, 3)
    assert index.dense.approximate is not None
    expected, best = exact.dense.search(facts, 3)
    assert slots[:, 0].tolist() == best[:, 0].tolist()
    assert scores[:, 0] == pytest.approx(expected[:, 0], abs=1e-6)
    long = [slot for slot, vectors in enumerate(some) if len(vectors) > 1]
    assert set(best[:, 0].tolist()) & set(long)
