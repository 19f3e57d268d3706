"""Learning a router: what is trained is what serves, and costs move what they name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.learning.indexes.routing import (
    RoutingConfig,
    cache_miss_rates,
    default_shards,
    learn_router,
    routing_costs,
    routing_loss,
    visit_probabilities,
)
from hoptrail.memory.encoders.vectors import Vectors, unit
from hoptrail.memory.index.learned.router import Router, kmeans_router

WIDTH = 16
QUICK = RoutingConfig(
    shards=16,
    probes=1,
    neighbours=0,
    steps=60,
    batch=64,
    sample=200,
    anchor=0.0,
    latency=0.1,
    learning_rate=0.5,
)


def turned_questions() -> tuple[Vectors, LabelledQueries]:
    """Clustered passages, and queries that lie where the passages of another cluster do."""
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(16, WIDTH)).astype(np.float32))
    of = np.repeat(np.arange(16), 20)
    passages = unit(centres[of] + 0.15 * rng.normal(size=(320, WIDTH)).astype(np.float32))
    gold = rng.integers(320, size=400)
    turned = centres[(of[gold] + 1) % 16] + 0.15 * rng.normal(size=(400, WIDTH))
    labelled = LabelledQueries(
        unit(turned.astype(np.float32)), [[int(i)] for i in gold], np.zeros(400, dtype=np.int64)
    )
    return passages, labelled


def met(router: Router, passages: Vectors, queries: LabelledQueries) -> float:
    shard = router.assign(passages)[np.asarray(queries.gold)[:, 0]]
    return float((router.route(queries.vectors, 1)[:, 0] == shard).mean())


def test_a_learned_router_goes_where_answers_lie_and_k_means_where_questions_lie() -> None:
    passages, queries = turned_questions()
    config = replace(QUICK, learn_partition=False)
    learned = learn_router(passages, queries, config)
    kmeans = kmeans_router(passages, 16, probes=1)
    assert met(learned, passages, queries) > met(kmeans, passages, queries) + 0.3
    np.testing.assert_array_equal(learned.assign(passages), kmeans.assign(passages))


def test_serving_gives_the_probabilities_of_training() -> None:
    passages, queries = turned_questions()
    router = learn_router(passages, queries, replace(QUICK, steps=3))
    logits = torch.tensor(queries.vectors) @ torch.tensor(router.routing).T
    served = router.log_probabilities(queries.vectors)
    np.testing.assert_allclose(served, torch.log_softmax(logits, -1).numpy(), atol=1e-5)
    np.testing.assert_array_equal(router.route(queries.vectors, 16), np.argsort(-served, axis=1))


def test_dearer_scans_are_shorter() -> None:
    passages, queries = turned_questions()

    def scanned(latency: float) -> float:
        router = learn_router(passages, queries, replace(QUICK, latency=latency, probes=2))
        sizes = np.bincount(router.assign(passages), minlength=16)
        return float(sizes[router.route(queries.vectors)].sum(1).mean())

    assert scanned(5.0) < scanned(0.0)


@pytest.mark.parametrize("name", ["latency", "locality", "cache", "bandwidth"])
def test_what_costs_more_is_used_less(name: str) -> None:
    passages, queries = turned_questions()

    def cost(weight: float) -> float:
        free = replace(QUICK, latency=0.0, probes=2, cached=0.3)
        router = learn_router(passages, queries, replace(free, **{name: weight}))
        log_route = torch.tensor(router.log_probabilities(queries.vectors))
        partition = torch.tensor(passages @ router.partition.T)
        shares = torch.softmax(partition, -1).mean(0)
        return float(getattr(routing_costs(log_route, shares, probes=2, cached=0.3), name))

    assert cost(5.0) < 0.95 * cost(0.0)


def test_an_anchor_holds_routes_where_k_means_had_them() -> None:
    passages, queries = turned_questions()
    start = kmeans_router(passages, 16, probes=1)

    def moved(anchor: float) -> float:
        router = learn_router(passages, queries, replace(QUICK, anchor=anchor))
        return float(np.abs(router.routing - start.routing).mean())

    assert moved(1.0) < 0.5 * moved(0.0)


def test_gradients_of_loss_and_costs_are_those_of_differences() -> None:
    torch.manual_seed(0)
    route = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assign = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    sizes = torch.randn(5, dtype=torch.float64, requires_grad=True)

    def loss(route: torch.Tensor, assign: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        log_route = torch.log_softmax(route, -1)
        costs = routing_costs(log_route, torch.softmax(sizes, 0), probes=2, cached=0.3)
        total = routing_loss(log_route, torch.log_softmax(assign, -1), probes=2)
        return total + costs.latency + costs.locality + costs.cache + costs.bandwidth

    assert torch.autograd.gradcheck(loss, (route, assign, sizes))


def test_the_loss_is_that_of_meeting_in_a_shard_that_is_visited() -> None:
    route, assign = torch.tensor([[0.7, 0.3]]), torch.tensor([[[0.2, 0.8]]])
    expected = -np.log((1 - 0.3**2) * 0.2 + (1 - 0.7**2) * 0.8)
    got = routing_loss(route.log(), assign.log(), probes=2).item()
    assert got == pytest.approx(expected, rel=1e-5)
    assert visit_probabilities(route.log(), 1)[0].tolist() == pytest.approx([0.7, 0.3])


def test_miss_rates_are_those_of_a_simulated_cache() -> None:
    rng = np.random.default_rng(0)
    popularity = np.asarray([0.5, 0.2, 0.1, 0.08, 0.05, 0.03, 0.02, 0.02])
    shares = torch.full((8,), 1 / 8, dtype=torch.float64)
    expected = cache_miss_rates(torch.tensor(popularity), shares, 3 / 8)
    cache: list[int] = []
    missed, visits = np.zeros(8), np.zeros(8)
    for shard in rng.choice(8, 40_000, p=popularity).tolist():
        visits[shard] += 1
        missed[shard] += shard not in cache
        cache = [shard, *[one for one in cache if one != shard]][:3]
    np.testing.assert_allclose(missed / visits, expected.numpy(), atol=0.05)
    assert float((shares * (1 - expected)).sum()) == pytest.approx(3 / 8)


def test_what_does_not_fit_is_refused() -> None:
    passages, queries = turned_questions()
    with pytest.raises(ConfigError, match="shards must be 1 to 320"):
        learn_router(passages, queries, RoutingConfig(shards=500))
    with pytest.raises(ConfigError, match="cached is a share"):
        RoutingConfig(cached=1.5)
    with pytest.raises(ConfigError, match="latency must be finite"):
        RoutingConfig(latency=-1)
    with pytest.raises(InputError, match=r"shapes \(b, shards\)"):
        routing_loss(torch.zeros(2, 3), torch.zeros(2, 3), probes=1)
    assert (default_shards(8674), default_shards(20805)) == (128, 256)
