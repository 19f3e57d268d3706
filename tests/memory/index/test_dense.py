"""The dense index: exact neighbours of the living, and exact moments without a scan."""

from __future__ import annotations

from threading import RLock

import numpy as np
import pytest

from hoptrail.errors import InputError
from hoptrail.memory.index.dense import DenseIndex
from hoptrail.memory.index.slots import SlotTable


class Index:
    """A dense index with its slots, as a view holds them."""

    def __init__(self, vectors: np.ndarray | None = None, keys: np.ndarray | None = None) -> None:
        self.table = SlotTable()
        self.dense = DenseIndex(self.table, RLock())
        if vectors is not None:
            self.add(vectors, keys)

    def add(self, vectors: np.ndarray, keys: np.ndarray | None = None) -> None:
        first = self.table.capacity
        rows = np.arange(first, first + len(vectors))
        self.table.add(rows, rows.astype(np.uint64) if keys is None else keys)
        self.dense.add(vectors)

    def remove(self, slots: np.ndarray) -> None:
        self.table.mark_deleted(slots)
        self.dense.remove(slots)


def unit(rng: np.random.Generator, count: int, dim: int = 16) -> np.ndarray:
    vectors = rng.normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_search_is_exact_over_the_living() -> None:
    rng = np.random.default_rng(0)
    vectors, queries = unit(rng, 500), unit(rng, 100)
    index = Index(vectors[:300])
    index.add(vectors[300:])
    gone = rng.permutation(500)[:200]
    index.remove(gone[:120])
    index.remove(gone[120:])
    cosines = queries @ vectors.T
    cosines[:, gone] = -2
    scores, slots = index.dense.search(queries, 20)
    assert np.array_equal(slots, np.argsort(-cosines, axis=1)[:, :20])
    assert np.allclose(scores, np.sort(cosines)[:, ::-1][:, :20], atol=2e-6)


def test_a_query_scores_the_same_alone_and_in_a_batch() -> None:
    rng = np.random.default_rng(1)
    index, queries = Index(unit(rng, 400, 384)), unit(rng, 150, 384)
    scores, slots = index.dense.search(queries, 30)
    for row in range(0, 150, 7):
        alone = index.dense.search(queries[row : row + 1], 30)
        assert np.array_equal(alone[0][0], scores[row])
        assert np.array_equal(alone[1][0], slots[row])
    assert np.array_equal(index.dense.scores_of(queries[:3], slots[0])[0], scores[0])


def test_fewer_than_k_alive_gives_them_all() -> None:
    rng = np.random.default_rng(2)
    index = Index(unit(rng, 5))
    index.remove(np.array([0, 3]))
    scores, slots = index.dense.search(unit(rng, 2), 10)
    assert scores.shape == slots.shape == (2, 3)
    assert set(slots[0].tolist()) == {1, 2, 4}
    index.remove(np.array([1, 2, 4]))
    assert index.dense.search(unit(rng, 2), 10)[1].shape == (2, 0)
    assert Index().dense.search(unit(rng, 1), 10)[1].shape == (1, 0)


def test_equals_are_ordered_by_key_however_many_there_are() -> None:
    rng = np.random.default_rng(3)
    vectors = np.repeat(unit(rng, 1), 300, axis=0)
    keys = rng.permutation(300).astype(np.uint64)
    index = Index(vectors, keys)
    for k in (1, 10, 299):
        _, slots = index.dense.search(vectors[:2], k)
        assert keys[slots[1]].tolist() == list(range(k))


def test_moments_are_those_of_a_scan() -> None:
    rng = np.random.default_rng(4)
    vectors, queries = unit(rng, 300), unit(rng, 7)
    index = Index(vectors)
    gone = rng.permutation(300)[:100]
    index.remove(gone)
    cosines = queries @ np.delete(vectors, gone, axis=0).T
    mean, std = index.dense.moments(queries)
    assert np.allclose(mean, cosines.mean(1), atol=1e-7)
    assert np.allclose(std, cosines.std(1), atol=1e-7)
    assert [m.tolist() for m in Index().dense.moments(queries[:1])] == [[0.0], [0.0]]


def test_vectors_come_back_by_slot() -> None:
    vectors = unit(np.random.default_rng(5), 20)
    index = Index(vectors[:10])
    index.add(vectors[10:])
    assert np.array_equal(index.dense.vectors([13, 2]), vectors[[13, 2]])
    assert index.dense.dim == 16


def test_a_query_of_another_width_is_refused() -> None:
    rng = np.random.default_rng(6)
    index = Index(unit(rng, 3)).dense
    for wrong in (unit(rng, 1, 8), unit(rng, 1)[0]):
        with pytest.raises(InputError, match=r"shape \(n, 16\), got"):
            index.search(wrong, 1)


def test_an_emptied_index_takes_another_width() -> None:
    rng = np.random.default_rng(7)
    index = Index(unit(rng, 3))
    index.remove(np.arange(3))
    vectors = unit(rng, 4, 8)
    index.add(vectors)
    scores, slots = index.dense.search(vectors[:1], 9)
    assert slots[0, 0] == 3
    assert slots.shape == (1, 4)
    assert np.allclose(index.dense.moments(vectors[:1])[0], (vectors @ vectors[0]).mean())
    assert scores[0, 0] == pytest.approx(1)


def test_a_state_restored_is_the_same_index() -> None:
    rng = np.random.default_rng(8)
    index, queries = Index(unit(rng, 50)), unit(rng, 3)
    index.remove(np.arange(0, 50, 3))
    copy = Index()
    alive = index.table.alive
    copy.table.add(index.table.rowids[alive], index.table.keys[alive])
    copy.dense.restore(index.dense.state())
    assert np.array_equal(copy.dense.search(queries, 9)[0], index.dense.search(queries, 9)[0])
    assert np.array_equal(copy.dense.moments(queries), index.dense.moments(queries))
