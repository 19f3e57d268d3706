"""The measures of collapse where they are known, and a monitor that names the remedy."""

from __future__ import annotations

import math

import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.learning.retrieval.collapse import (
    CollapseMonitor,
    alignment,
    effective_rank,
    hubness,
    retrieval_entropy,
    uniformity,
)

AXES = torch.eye(6, dtype=torch.float64)
ONE_PLACE = torch.ones(6, 6, dtype=torch.float64)
HUB = torch.rand(40, 300, generator=torch.Generator().manual_seed(0)) + 2 * torch.eye(1, 300)


def test_alignment_is_the_squared_distance_of_directions() -> None:
    assert float(alignment(AXES, 3 * AXES)) == 0
    assert float(alignment(AXES, -AXES)) == pytest.approx(4)


def test_uniformity_is_0_in_one_place_and_falls_as_vectors_part() -> None:
    assert float(uniformity(ONE_PLACE)) == pytest.approx(0)
    assert float(uniformity(AXES)) == pytest.approx(-4)  # all squared distances are 2


def test_uniformity_and_alignment_have_gradients() -> None:
    vectors = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    others = torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(uniformity, (vectors,))
    assert torch.autograd.gradcheck(lambda v: alignment(v, others), (vectors,))


def test_effective_rank_counts_directions() -> None:
    assert effective_rank(AXES) == pytest.approx(6)
    assert effective_rank(ONE_PLACE) == pytest.approx(1)


def test_hubness_is_0_where_all_are_alike_and_high_for_a_hub() -> None:
    assert hubness(AXES, 1) == 0
    hub = torch.zeros(40, 30)
    hub[:, 0] = 1
    assert hubness(hub, 1) > 4


def test_retrieval_entropy_goes_from_0_to_1() -> None:
    assert retrieval_entropy(torch.full((2, 5), -math.log(5))) == pytest.approx(1)
    sure = torch.tensor([[0.0, -math.inf, -math.inf]])
    assert retrieval_entropy(sure) == 0


@pytest.mark.parametrize(
    ("vectors", "logits", "remedy"),
    [
        (ONE_PLACE, None, "more negatives"),
        (AXES[[0, 0, 0, 1, 1, 1]], None, "regularise"),
        (AXES, torch.zeros(6, 6), "lower the temperature"),
        (AXES, HUB, "normalise"),
    ],
)
def test_a_warning_names_what_helps_and_is_given_once(
    vectors: torch.Tensor, logits: torch.Tensor | None, remedy: str, caplog
) -> None:
    monitor = CollapseMonitor("a tower", every=2)
    monitor.observe(0, AXES)
    assert monitor.warnings == []
    monitor.observe(1, vectors, logits=logits)
    assert monitor.last == monitor.first
    monitor.observe(2, vectors, logits=logits)
    monitor.observe(4, vectors, logits=logits)
    assert any(remedy in warning for warning in monitor.warnings)
    assert caplog.text.count(remedy) == 1
    assert monitor.describe()["warnings"] == monitor.warnings


def test_scores_so_sharp_that_nothing_else_is_tried_are_seen_at_the_start() -> None:
    monitor = CollapseMonitor("a tower")
    monitor.observe(0, AXES, logits=AXES * 1000)
    assert "raise the temperature" in monitor.warnings[0]


def test_one_vector_says_nothing() -> None:
    monitor = CollapseMonitor("a tower")
    monitor.observe(0, AXES[:1])
    assert monitor.last is None
    with pytest.raises(InputError, match="at least 2 vectors"):
        uniformity(AXES[:1])
