"""Samples without replacement against enumeration on a tree of two choices."""

from __future__ import annotations

import math

import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.learning.estimators.stochastic_beam import (
    children,
    importance_weights,
    log_inclusion,
    sampled_policy_loss,
)

FIRST, SECOND = 3, 3


def tree(logits: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of the nine leaves of two choices among three, in float64."""
    first = logits[:FIRST].log_softmax(0)
    second = logits[FIRST:].view(FIRST, SECOND).log_softmax(-1)
    return (first[:, None] + second).reshape(-1)


def drawn(logits: torch.Tensor, k: int, samples: int, seed: int = 0):
    """Top-down: the leaves of `samples` samples of k, their log q, and all perturbed leaves."""
    generator = torch.Generator().manual_seed(seed)
    first = logits[:FIRST].log_softmax(0).expand(samples, -1)
    root = -torch.empty(samples, dtype=torch.float64).exponential_(generator=generator).log()
    at = children(first, root, generator=generator)  # (samples, 3)
    leaves = tree(logits).view(1, FIRST, SECOND).expand(samples, -1, -1)
    below = children(leaves, at, generator=generator).reshape(samples, -1)
    best = below.topk(k + 1, dim=-1)
    chosen = best.indices[:, :k]
    log_p = tree(logits).detach()[chosen]
    return chosen, log_inclusion(log_p, best.values[:, k]), below


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_the_largest_child_is_the_node_s_own(logits) -> None:
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.tensor([[-0.1, -3.0, -math.inf], [-2.0, -math.inf, -0.5]]).double()
    given = torch.tensor([1.5, -40.0]).double()
    found = children(log_probs, given, generator=generator)
    assert found.max(-1).values.tolist() == pytest.approx(given.tolist())
    assert (found == -math.inf).tolist() == [[False, False, True], [False, True, False]]
    with pytest.raises(InputError, match="a leaf"):
        children(torch.full((1, 2), -math.inf), torch.zeros(1), generator=generator)


def test_the_first_leaf_is_an_exact_draw(logits) -> None:
    chosen, _, below = drawn(logits, 2, 20_000)
    share = torch.bincount(chosen[:, 0], minlength=9) / len(chosen)
    assert share.tolist() == pytest.approx(tree(logits).exp().tolist(), abs=0.01)
    # Top-down perturbation leaves independent Gumbels at the leaves: their mean is Euler's.
    noise = (below - tree(logits)).mean(0)
    assert noise.tolist() == pytest.approx([0.5772] * 9, abs=0.03)


def test_inclusion_is_what_its_formula_says() -> None:
    log_p = torch.tensor([-0.5, -30.0, -2.0]).double()
    found = log_inclusion(log_p, torch.tensor(0.7).double())
    direct = [math.log(-math.expm1(-math.exp(p - 0.7))) for p in log_p.tolist()]
    assert found.tolist() == pytest.approx(direct)
    assert log_inclusion(log_p, torch.tensor(-math.inf).double()).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_estimate_of_an_expectation_is_unbiased(logits, k) -> None:
    value = torch.arange(9, dtype=torch.float64) - 2.0
    log_p = tree(logits)
    chosen, log_q, _ = drawn(logits, k, 20_000)
    weights = importance_weights(log_p[chosen], log_q, clip=math.inf)
    estimates = (weights * value[chosen]).sum(-1)
    error = float(estimates.std()) / math.sqrt(len(estimates))
    assert float(estimates.mean()) == pytest.approx(
        float((log_p.exp() * value).sum()), abs=4 * error
    )


@pytest.mark.parametrize("baseline", ["sample", "none"])
def test_the_gradient_equals_enumeration_under_another_policy(logits, baseline) -> None:
    """The sample comes from one policy, and what learns is another."""
    value = torch.tensor([2.0, -1.0, 0.0, 3.0, 0.5, 0.5, -2.0, 1.0, 4.0]).double()
    other = torch.randn(12, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    learner = (logits + 0.4 * other).requires_grad_()
    (tree(learner).exp() * value).sum().backward()
    exact = learner.grad.clone()
    chosen, log_q, _ = drawn(logits, 3, 60_000, seed=5)
    parts = []
    for part in range(20):  # a gradient of each part, for the error of their mean
        learner.grad = None
        rows = slice(part * 3000, (part + 1) * 3000)
        log_p = tree(learner)[chosen[rows]]
        sampled_policy_loss(log_p, log_q[rows], value[chosen[rows]], baseline=baseline).backward()
        parts.append(-learner.grad)
    found = torch.stack(parts)
    error = found.std(0) / math.sqrt(len(found))
    assert bool(((found.mean(0) - exact).abs() < 4 * error + 1e-3).all())
    assert float(exact.abs().max()) > 0.1


def test_the_baseline_lowers_the_variance(logits) -> None:
    value = 10.0 + torch.arange(9, dtype=torch.float64)

    def spread(baseline: str) -> float:
        chosen, log_q, _ = drawn(logits, 3, 2000)
        learner = logits.clone().requires_grad_()
        losses = sampled_policy_loss(
            tree(learner)[chosen], log_q, value[chosen], baseline=baseline, reduction="none"
        )
        gradients = [torch.autograd.grad(x, learner, retain_graph=True)[0] for x in losses[:300]]
        return float(torch.stack(gradients).var(0).sum())

    assert spread("sample") < 0.3 * spread("none")


def test_weights_are_clipped_and_absent_leaves_take_no_part() -> None:
    log_p = torch.tensor([[-0.1, -1.0, 5.0], [-2.0, -math.inf, -0.5]]).requires_grad_()
    log_q = torch.tensor([[-4.0, -0.5, 0.0], [-1.0, -1.0, -0.2]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    weights = importance_weights(log_p, log_q, clip=2.0)
    assert weights[0, 0] == 2.0
    assert weights[1].tolist() == pytest.approx([math.exp(-1), 0.0, math.exp(-0.3)])
    rewards = torch.tensor([[1.0, 0.0, 9.0], [1.0, 1.0, -1.0]])
    loss = sampled_policy_loss(log_p, log_q, rewards, mask=mask, clip=2.0)
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert log_p.grad[0, 2] == 0.0
    assert log_p.grad[1, 1] == 0.0
    assert bool((log_p.grad[:, 0] != 0).all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip": 0.0}, "clip should be above 0"),
        ({"baseline": "mean"}, "baseline should be"),
        ({"rewards": torch.zeros(1, 3)}, "rewards"),
        ({"log_probs": torch.zeros(2)}, "shape"),
    ],
)
def test_what_does_not_fit_is_refused(change, message) -> None:
    given = {
        "log_probs": torch.zeros(1, 2),
        "log_inclusion": torch.zeros(1, 2),
        "rewards": torch.zeros(1, 2),
    } | change
    with pytest.raises(InputError, match=message):
        sampled_policy_loss(**given)
