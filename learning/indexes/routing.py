"""Learning which shards a question is looked for in, and which shard a passage lies in.

p(s | q) and p(s | v) are softmaxes over products with a routing and a partition matrix
(`hoptrail.memory.index.learned.router`, which serves what is learned here). With the passages v
that a query needs, the queries' n probes, and the shares x_s of all passages in each shard:

    visits      w_s = 1 - (1 - p(s | q))^n, that shard s is among n draws of p(s | q)
    accuracy    -log sum_s w_s p(s | v), that the shard of v is visited; the mean over v
    latency     E_q sum_s w_s x_s, the share of all passages that is scanned
    locality    E_q exp(entropy of p(s | q)) / n, separate places that a query's passages lie in
    cache       E_q sum_s w_s m_s / E_q sum_s w_s, the share of visits that miss the cache
    bandwidth   E_q sum_s w_s m_s x_s, the share of all bytes that is read past the cache

    loss = accuracy + weighted costs + anchor * |r - r_0|^2

m_s is the miss rate of a least-recently-used cache that holds a share b of all passages, by the
characteristic time T: m_s = exp(-f_s T) with f_s = E_q w_s and sum_s x_s (1 - m_s) = b. T moves
with f and x, and the gradient goes through it (one Newton step from the root).

Source: a routing matrix that is learned for a given partition, Vecchiato et al. 2024 (2404.11731);
learned partitions, Dong et al. 2020 (1901.08544); the characteristic time, Che et al. 2002 (IEEE
JSAC 20). The costs in one objective are ours.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.execution.processes import refuse_several
from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.learned.router import Router, kmeans_router
from hoptrail.values.numbers import above_zero, whole
from hoptrail.values.progress import TrainingProgress, silent

NEWTON_STEPS = 60
"""That find the characteristic time; the last one has gradients."""


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """How a router is learned."""

    shards: int | None = None
    """How many; by default the power of two near 1.5 √n, as for inverted lists."""
    probes: int = 8
    """Shards that a question is looked for in."""
    neighbours: int = 10
    """Of each query, nearest passages that it should find, besides those that it asks for."""
    steps: int = 300
    """Batches."""
    batch: int = 256
    """Queries in a step."""
    sample: int = 2048
    """Passages in a step whose shards say how large these are."""
    learning_rate: float = 0.05
    """Its peak; it falls by half a cosine."""
    latency: float = 0.5
    """What a scanned share of all passages costs, times the number of shards over the probes."""
    locality: float = 0.0
    """What a separate place costs."""
    cache: float = 0.0
    """What a share of visits that miss the cache costs."""
    bandwidth: float = 0.0
    """What a share of all bytes that is read costs, times shards over probes."""
    cached: float = 0.25
    """Share of all passages that the cache holds: b."""
    anchor: float = 1e-3
    """What it costs to move a shard's routing away from its centroid."""
    learn_partition: bool = True
    """Move passages between shards too; else they lie where k-means puts them."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("probes", "steps", "batch", "sample"):
            whole(getattr(self, name), name, least=1, error=ConfigError)
        whole(self.neighbours, "neighbours", least=0, error=ConfigError)
        above_zero(self.learning_rate, "learning_rate", error=ConfigError)
        if not 0 < self.cached < 1:
            raise ConfigError(f"cached is a share between 0 and 1, got {self.cached}")
        for name in ("latency", "locality", "cache", "bandwidth", "anchor"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"{name} must be finite and at least 0, got {getattr(self, name)}"
                )


@dataclass(frozen=True, slots=True, eq=False)
class RoutingCosts:
    """What the visits of queries cost; scalars, with gradients."""

    latency: Tensor
    """The share of all passages that a query scans."""
    locality: Tensor
    """Separate places, of the probes."""
    cache: Tensor
    """The share of visits that miss the cache."""
    bandwidth: Tensor
    """The share of all bytes that a query reads past the cache."""


def routing_loss(log_route: Tensor, log_assign: Tensor, *, probes: int) -> Tensor:
    """Minus log of the probability that a query visits the shard of what it needs: a scalar.

    Args:
        log_route: log p(s | q), `(b, shards)`.
        log_assign: log p(s | v) of m passages of each query, `(b, m, shards)`.
        probes: Shards that a query visits: n.

    Raises:
        InputError: The shapes do not fit.
    """
    if log_assign.dim() != 3 or log_route.shape != (len(log_assign), log_assign.shape[2]):
        raise InputError(
            "routes and assignments have the shapes (b, shards) and (b, m, shards), got "
            f"{tuple(log_route.shape)} and {tuple(log_assign.shape)}"
        )
    log_visits = visit_probabilities(log_route, probes).log()
    return -torch.logsumexp(log_visits.unsqueeze(1) + log_assign, -1).mean()


def visit_probabilities(log_route: Tensor, probes: int) -> Tensor:
    """How likely each shard is among some draws with replacement, `(b, shards)`, above 0.

    Args:
        log_route: log p(s | q), `(b, shards)`.
        probes: How many draws.
    """
    route = log_route.exp().clamp(max=1 - 1e-6)
    return -torch.expm1(probes * torch.log1p(-route)).clamp(max=-1e-30)


def routing_costs(log_route: Tensor, shares: Tensor, *, probes: int, cached: float) -> RoutingCosts:
    """What it costs that queries go where they go; see the module.

    Args:
        log_route: log p(s | q), `(b, shards)`.
        shares: Of all passages in each shard, `(shards,)`, with the sum 1.
        probes: Shards that a query visits: n.
        cached: Share of all passages that a cache holds, in (0, 1): b.
    """
    route = log_route.exp()
    visits = visit_probabilities(log_route, probes)
    misses = cache_miss_rates(visits.mean(0), shares, cached)
    entropy = -(route * log_route).sum(1)
    return RoutingCosts(
        latency=(visits @ shares).mean(),
        locality=entropy.exp().mean() / probes,
        cache=(visits @ misses).mean() / visits.sum(1).mean(),
        bandwidth=(visits @ (misses * shares)).mean(),
    )


def cache_miss_rates(rates: Tensor, shares: Tensor, cached: float) -> Tensor:
    """How often a visit of each shard misses a least-recently-used cache, `(shards,)`.

    Args:
        rates: Visits of each shard a query, `(shards,)`, above 0.
        shares: Sizes of the shards, `(shards,)`, with the sum 1.
        cached: The cache's size, in (0, 1).
    """
    fixed_rates, fixed_shares = rates.detach(), shares.detach()
    # The cache's content grows with T and is concave in it: Newton from 0 climbs to the root.
    time = torch.zeros((), dtype=rates.dtype)
    for _ in range(NEWTON_STEPS):
        left = fixed_shares * torch.exp(-fixed_rates * time)
        slope = (left * fixed_rates).sum().clamp(min=1e-30)
        time = time + (cached - (fixed_shares.sum() - left.sum())) / slope
    content = (shares * -torch.expm1(-rates * time)).sum()
    slope = (fixed_shares * fixed_rates * torch.exp(-fixed_rates * time)).sum()
    time = time + (cached - content) / slope  # of value 0, and with the root's gradient
    return torch.exp(-rates * time)


def learn_router(
    passages: Vectors,
    queries: LabelledQueries,
    config: RoutingConfig | None = None,
    *,
    progress: TrainingProgress = silent,
) -> Router:
    """Learn a router from queries, beginning with that of k-means.

    Args:
        passages: `(n, d)` L2-normalised.
        queries: Of the same encoder.
        config: The settings; those of `RoutingConfig()` by default.
        progress: Told of every step.

    Raises:
        ConfigError: There are more shards than passages, or `torchrun` started several processes.
    """
    refuse_several("a router of shards")
    config = config or RoutingConfig()
    shards = config.shards or default_shards(len(passages))
    probes = min(config.probes, shards)
    start = kmeans_router(passages, shards, probes=probes, seed=config.seed)
    rng = np.random.default_rng(config.seed)
    needed = _needed(passages, queries, config.neighbours)
    vectors = torch.tensor(passages)
    first = torch.tensor(start.routing)
    routing, partition = nn.Parameter(first.clone()), nn.Parameter(torch.tensor(start.partition))
    weights = [routing, partition] if config.learn_partition else [routing]
    optimizer = torch.optim.Adam(weights, config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for step in range(config.steps):
        drawn = rng.choice(len(queries), config.batch)
        sample = torch.tensor(rng.choice(len(passages), min(config.sample, len(passages)), False))
        log_route = torch.log_softmax(torch.tensor(queries.vectors[drawn]) @ routing.T, -1)
        log_assign = torch.log_softmax(vectors[needed[drawn]] @ partition.T, -1)
        shares = torch.softmax(vectors[sample] @ partition.T, -1).mean(0)
        accuracy = routing_loss(log_route, log_assign, probes=probes)
        costs = routing_costs(log_route, shares, probes=probes, cached=config.cached)
        loss = accuracy + _weighted(costs, config, shards / probes)
        loss = loss + config.anchor * (routing - first).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        figures = {name: float(getattr(costs, name).detach()) for name in RoutingCosts.__slots__}
        progress(
            "router", step + 1, config.steps, {"accuracy": float(accuracy.detach()), **figures}
        )
    made_of = {"config": asdict(config), "queries": len(queries), "passages": len(passages)}
    return Router(routing.detach().numpy(), partition.detach().numpy(), probes, made_of)


def default_shards(passages: int) -> int:
    """How many shards for so many passages: the power of two near 1.5 √n.

    Args:
        passages: n, at least 1.
    """
    return min(passages, 1 << round(math.log2(1.5 * math.sqrt(passages))))


def _weighted(costs: RoutingCosts, config: RoutingConfig, scale: float) -> Tensor:
    """The costs as the loss has them; shares of all passages in units of an even shard's visits."""
    return (
        config.latency * scale * costs.latency
        + config.locality * costs.locality
        + config.cache * costs.cache
        + config.bandwidth * scale * costs.bandwidth
    )


def _needed(passages: Vectors, queries: LabelledQueries, neighbours: int) -> Tensor:
    """Rows of the passages that each query needs, `(m, w)`: gold, and nearest ones to fill up."""
    width = neighbours + max(len(rows) for rows in queries.gold)
    width = min(width, len(passages))
    rows = np.zeros((len(queries), width), dtype=np.int64)
    for begin in range(0, len(queries), 512):
        cosines = queries.vectors[begin : begin + 512] @ passages.T
        near = np.argsort(-cosines, axis=1, kind="stable")[:, :width]
        for i, row in enumerate(near, begin):
            gold = list(dict.fromkeys(queries.gold[i]))
            rows[i] = [*gold, *[one for one in row.tolist() if one not in gold]][:width]
    return torch.tensor(rows)
