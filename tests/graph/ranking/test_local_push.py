from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import InputError
from hoptrail.graph.adjacency.adjacency import Adjacency, Ranks, Tables, make_adjacency
from hoptrail.graph.adjacency.ragged import none, records
from hoptrail.graph.adjacency.updates import updated
from hoptrail.graph.ranking.local_push import LocalPush, one_of_each

BLOCK = 100
"""Passages that name each other and share entities; nothing leads from one block to the next but
the hub."""
HUB = 0
"""A passage that one in twenty names."""

RANKS = Ranks(lambda slots: np.argsort(slots, kind="stable"))


def tables(slots: np.ndarray, n: int, rng: np.random.Generator) -> Tables:
    """Passages each of which names four of its block, and holds three of its block's entities."""
    block = slots // BLOCK
    names = np.minimum((block * BLOCK)[:, None] + rng.integers(0, BLOCK, (len(slots), 4)), n - 1)
    names[slots % 20 == 7, 0] = HUB
    entity = block[:, None] * 30 + rng.integers(0, 30, (len(slots), 3))
    pairs = np.unique(np.repeat(slots, 3).astype(np.int64) << 32 | entity.ravel())
    start = np.tile(np.arange(4) * 20, len(slots))
    return Tables(
        titles=records(slots, slots, np.zeros_like(slots)),
        surface_mentions=records(np.repeat(slots, 4), start, start + 9, names.ravel()),
        entities=records(pairs >> 32, pairs & 0xFFFFFFFF),
        links=none(4),
    )


def graph(n: int) -> Adjacency:
    found = tables(np.arange(n), n, np.random.default_rng(0))
    return make_adjacency(found, (n, n, 30 * (n // BLOCK)), n, RANKS)


class Counted(LocalPush):
    """A walk that knows how much of the graph it has read."""

    read = 0

    def edges(self, nodes: np.ndarray) -> tuple[np.ndarray, ...]:
        found = super().edges(nodes)
        self.read += len(found[0])
        return found


def visits(walk: LocalPush, tolerance: float, seeds: range = range(200, 230)) -> np.ndarray:
    weights = {slot: 0.8 ** (slot - seeds[0]) for slot in seeds}
    slots, often = walk.visits(weights, damping=0.7, iterations=20, tolerance=tolerance)
    found = np.zeros(walk.arrays.n)
    found[slots] = often
    return found


def test_with_a_tolerance_it_ranks_nearly_as_without_and_reads_a_part() -> None:
    walk = Counted(graph(2000), 50)
    exact = visits(walk, 0.0)
    whole, walk.read = walk.read, 0
    found = visits(walk, 1e-3)
    assert walk.read < whole / 4
    best, first = np.argsort(-exact)[:15], np.argsort(-found)[:15]
    assert len(set(best) & set(first)) >= 13
    assert np.abs(found - exact).max() < 0.05 * exact.max()
    assert np.abs(visits(walk, 1e-4) - exact).max() < np.abs(found - exact).max()


def test_what_it_reads_does_not_grow_with_the_graph() -> None:
    small, large = Counted(graph(2000), 50), Counted(graph(20_000), 50)
    visits(small, 1e-3)
    visits(large, 1e-3)
    assert len(large.arrays.mentions_in[HUB]) > 5 * len(small.arrays.mentions_in[HUB])
    assert large.read < 1.3 * small.read


def test_walks_over_one_graph_do_not_disturb_each_other() -> None:
    walk = LocalPush(graph(2000), 50)
    alone = visits(walk, 1e-3)
    visits(walk, 1e-3, range(900, 950))
    assert visits(walk, 1e-3).tolist() == alone.tolist()


def test_the_rows_of_a_walk_sum_up_their_edges() -> None:
    walk = LocalPush(graph(2000), 50)
    nodes = np.array([HUB, 5, 207, 2000, 2031])
    place, _, forth, _ = walk.edges(nodes)
    total, read = walk.rows(nodes)
    np.testing.assert_allclose(np.bincount(place, weights=forth, minlength=5), total, rtol=1e-6)
    assert np.bincount(place, minlength=5).tolist() == read.tolist()


def test_a_passage_more_leaves_most_sums_as_they_were() -> None:
    n, rng = 2000, np.random.default_rng(1)
    found = tables(np.arange(n), n, np.random.default_rng(0))
    room = n + 1, n + 1, 30 * (n // BLOCK)
    before = make_adjacency(found, room, n, RANKS)
    new = tables(np.array([n]), n + 1, rng)
    after = updated(before, new, np.array([n]), room, n + 1, RANKS)
    assert after.mentions_out.values is before.mentions_out.values
    nodes = np.arange(after.n + after.passages_by_entity.rows)
    grown = LocalPush(after, 50, LocalPush(before, 50)).rows(nodes)
    made = LocalPush(after, 50).rows(nodes)
    np.testing.assert_allclose(grown[0], made[0], rtol=1e-12)
    assert grown[1].tolist() == made[1].tolist()


def test_a_tolerance_below_0_is_refused() -> None:
    with pytest.raises(InputError, match="tolerance must not be negative, got -1"):
        visits(LocalPush(graph(2000), 50), -1.0)


def test_one_of_each_id_is_left_whatever_the_scratch_held() -> None:
    rng = np.random.default_rng(3)
    for size in (1, 5, 400):
        ids = rng.integers(0, 90, size)
        scratch = rng.integers(-5, size, 90).astype(np.int32)
        left = one_of_each(ids, scratch)
        assert sorted(left.tolist()) == np.unique(ids).tolist()
