"""Soft probing: the limits, the bound of its error, and centroids that learn what is asked."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hoptrail.errors import InputError
from hoptrail.learning.retrieval.soft_lists import (
    SoftLists,
    probe_error,
    soft_probe_log_probs,
    spherical_means,
)


def unit(n: int, d: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(n, d, generator=generator), dim=-1)


VECTORS, QUERIES = unit(200, 8, 0), unit(12, 8, 1)
LOGITS = QUERIES @ VECTORS.T / 0.1


def test_all_lists_probed_is_exact_search() -> None:
    lists = SoftLists(VECTORS, 10, 10)
    torch.testing.assert_close(lists(QUERIES, VECTORS), torch.ones(12, 200))
    error = probe_error(lists, QUERIES, VECTORS, LOGITS)
    assert error.missed == pytest.approx(0, abs=1e-5)
    assert error.recall == error.looked_at == 1


def test_a_low_temperature_is_an_inverted_file() -> None:
    lists = SoftLists(VECTORS, 10, 3, temperature=1e-5)
    soft = lists(QUERIES, VECTORS)
    torch.testing.assert_close(soft, lists.seen(QUERIES, VECTORS).float(), atol=1e-3, rtol=0)


def test_the_error_is_at_most_what_is_missed() -> None:
    lists = SoftLists(VECTORS, 10, 3, temperature=0.05)
    weights = lists(QUERIES, VECTORS)
    exact = torch.softmax(LOGITS, dim=-1)
    soft = soft_probe_log_probs(LOGITS, weights).exp()
    missed = 1 - (weights * exact).sum(-1)
    assert bool(((soft - exact).abs().sum(-1) / 2 <= missed + 1e-6).all())


def test_gradients_reach_centroids_and_queries() -> None:
    lists = SoftLists(VECTORS[:20], 4, 2, temperature=0.5).double()
    asking = QUERIES[:2].double().requires_grad_()
    vectors = VECTORS[:20].double()

    def missed(asking: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return lists.missed_loss(asking, vectors, asking @ vectors.T)

    assert torch.autograd.gradcheck(missed, (asking, lists.centroids))


def test_fitting_the_centroids_misses_less_of_what_is_asked() -> None:
    lists = SoftLists(VECTORS, 10, 2)
    before = probe_error(lists, QUERIES, VECTORS, LOGITS)
    optimizer = torch.optim.Adam(lists.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        lists.missed_loss(QUERIES, VECTORS, LOGITS).backward()
        optimizer.step()
    after = probe_error(lists, QUERIES, VECTORS, LOGITS)
    assert after.missed < before.missed
    assert after.recall > before.recall


def test_k_means_finds_clusters_and_leaves_no_list_empty() -> None:
    centres = torch.eye(4)
    vectors = functional.normalize(centres.repeat(10, 1) + 0.05 * torch.randn(40, 4), dim=-1)
    means = spherical_means(vectors, 4)
    assert sorted((means @ centres.T).argmax(-1).tolist()) == [0, 1, 2, 3]


def test_more_probes_than_lists_are_refused() -> None:
    with pytest.raises(InputError, match="probes should be at most lists"):
        SoftLists(VECTORS, 4, 5)
