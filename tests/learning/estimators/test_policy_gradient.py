"""Unbiasedness is shown on a toy two-hop process, small enough to enumerate all that can happen."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.estimators.policy_gradient import (
    entropy,
    evidence_reward,
    leave_one_out_advantages,
    reinforce_loss,
)

PASSAGES = 3
STOP = PASSAGES
GOLD = torch.tensor([True, False, True])


class TwoHops:
    """Reads one of three passages or stops; after a read, another one or stops; then it ends."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.theta = torch.randn(
            1 + PASSAGES, PASSAGES + 1, generator=generator, dtype=torch.float64, requires_grad=True
        )
        self.trails = [(STOP,)] + [
            (a, b) for a in range(PASSAGES) for b in range(PASSAGES + 1) if b != a
        ]
        self.returns = self._returns()  # (n,)

    def policy(self) -> Tensor:
        """log pi: row 0 before anything is read, row 1 + a after passage a."""
        already = torch.zeros(1 + PASSAGES, PASSAGES + 1, dtype=torch.bool)
        already[range(1, 1 + PASSAGES), range(PASSAGES)] = True
        return self.theta.masked_fill(already, -math.inf).log_softmax(-1)

    def log_probs(self) -> Tensor:
        """log p of each trail, `(n,)`."""
        pi = self.policy()
        return torch.stack(
            [pi[0, t[0]] + (pi[1 + t[0], t[1]] if len(t) > 1 else 0.0) for t in self.trails]
        )

    def entropies(self) -> Tensor:
        """The sum of the entropies at the states that each trail visits, `(n,)`."""
        at = entropy(self.policy())
        return torch.stack([at[0] + (at[1 + t[0]] if len(t) > 1 else 0.0) for t in self.trails])

    def gradient(self, value: Tensor) -> Tensor:
        return torch.autograd.grad(value, self.theta)[0]

    def objective(self, weight: float = 0.0) -> Tensor:
        """E[R] + weight * H, exactly."""
        log_probs = self.log_probs()
        p = log_probs.exp()
        return (p * self.returns).sum() - weight * (p * log_probs).sum()

    def _returns(self) -> Tensor:
        read = torch.zeros(len(self.trails), PASSAGES, dtype=torch.bool)
        for row, trail in enumerate(self.trails):
            read[row, [a for a in trail if a != STOP]] = True
        return evidence_reward(read, GOLD, read.sum(-1), cost=0.1).double()


def test_the_toy_is_a_distribution_and_its_entropy_adds_up() -> None:
    toy = TwoHops()
    p = toy.log_probs().exp()
    assert len(toy.trails) == 10
    assert p.sum().item() == pytest.approx(1.0)
    assert (p * toy.entropies()).sum().item() == pytest.approx(-(p * p.log()).sum().item())


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("bonus", ["none", "sampled", "by state"])
def test_leave_one_out_is_unbiased_over_all_tuples_of_samples(samples: int, bonus: str) -> None:
    toy = TwoHops()
    weight = 0.0 if bonus == "none" else 0.7
    tuples = torch.tensor(list(product(range(len(toy.trails)), repeat=samples)))  # (n^s, s)
    log_probs = toy.log_probs()
    losses = reinforce_loss(
        log_probs[tuples],
        toy.returns[tuples],
        entropies=toy.entropies()[tuples] if bonus == "by state" else None,
        entropy_weight=weight,
        reduction="none",
    )
    chance = log_probs.detach()[tuples].sum(-1).exp()  # of drawing this tuple
    expected = toy.gradient((chance * losses).sum())
    torch.testing.assert_close(-expected, toy.gradient(toy.objective(weight)))


@pytest.mark.parametrize("baseline", ["none", torch.full((1, 1), 0.4, dtype=torch.float64)])
def test_other_baselines_are_unbiased_too(baseline: Tensor | str) -> None:
    toy = TwoHops(seed=1)
    log_probs = toy.log_probs()
    losses = reinforce_loss(
        log_probs[:, None], toy.returns[:, None], baseline=baseline, reduction="none"
    )
    expected = toy.gradient((log_probs.detach().exp() * losses).sum())
    torch.testing.assert_close(-expected, toy.gradient(toy.objective()))


def test_sampled_gradients_average_to_the_exact_one() -> None:
    toy = TwoHops()
    generator = torch.Generator().manual_seed(11)
    p = toy.log_probs().detach().exp()
    runs, batch = 50, 400
    estimates = []
    for _ in range(runs):
        drawn = torch.multinomial(p, batch * 4, replacement=True, generator=generator)
        drawn = drawn.reshape(batch, 4)
        loss = reinforce_loss(toy.log_probs()[drawn], toy.returns[drawn])
        estimates.append(-toy.gradient(loss))
    stacked = torch.stack(estimates)  # (runs, ...)
    error = stacked.mean(0) - toy.gradient(toy.objective())
    standard = stacked.std(0) / math.sqrt(runs)
    # Four standard errors on each of ten or so parameters: a chance of 1e-3 for another seed.
    assert (error.abs() <= 4 * standard + 1e-9).all()


def test_the_baseline_lowers_the_variance() -> None:
    toy = TwoHops()
    tuples = torch.tensor(list(product(range(len(toy.trails)), repeat=2)))
    chance = toy.log_probs().detach()[tuples].sum(-1).exp()

    def spread(returns: Callable[[Tensor], Tensor], baseline: str) -> float:
        second = 0.0
        for row, weight in zip(tuples, chance, strict=True):
            log_probs = toy.log_probs()[row][None]
            loss = reinforce_loss(log_probs, returns(toy.returns[row])[None], baseline=baseline)
            second += float(weight) * float(toy.gradient(loss).square().sum())
        return second

    # With the same mean, the smaller second moment is the smaller variance. The shift is what a
    # baseline is for: good and bad trails alike earn about ten.
    assert spread(lambda r: r + 10, "leave-one-out") < 0.1 * spread(lambda r: r + 10, "none")


def test_no_gradient_flows_into_returns_or_baseline() -> None:
    log_probs = torch.zeros(1, 2, requires_grad=True)
    returns = torch.tensor([[1.0, 2.0]], requires_grad=True)
    baseline = torch.tensor([[0.5]], requires_grad=True)
    reinforce_loss(log_probs, returns, baseline=baseline).backward()
    assert returns.grad is None
    assert baseline.grad is None
    assert log_probs.grad is not None
    assert log_probs.grad.tolist() == [[-0.25, -0.75]]


def test_leave_one_out_advantages_by_hand() -> None:
    returns = torch.tensor([[1.0, 2.0, 6.0]])
    assert leave_one_out_advantages(returns).tolist() == [[-3.0, -1.5, 4.5]]


def test_evidence_reward_by_hand() -> None:
    gold = torch.tensor([True, True, False, False])
    read = torch.tensor(
        [
            [True, True, False, False],  # all of it
            [True, False, False, False],  # half: precision 1, recall 1/2
            [True, True, True, True],  # twice too much
            [False, False, True, False],  # beside the point
            [False, False, False, False],  # nothing
        ]
    )
    reward = evidence_reward(read, gold, read.sum(-1), cost=0.05)
    expected = [1.0 - 0.1, 2 / 3 - 0.05, 2 / 3 - 0.2, -0.05, 0.0]
    assert reward.tolist() == pytest.approx(expected)
    missing = evidence_reward(read, gold, read.sum(-1), cost=0.0, gold_total=torch.tensor(3))
    assert missing.tolist() == pytest.approx([4 / 5, 1 / 2, 4 / 7, 0.0, 0.0])
    none_needed = evidence_reward(read, torch.zeros_like(read), read.sum(-1), cost=0.0)
    assert none_needed.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_entropy_with_impossible_actions() -> None:
    log_probs = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]).log().requires_grad_(True)
    got = entropy(log_probs)
    got.sum().backward()
    assert got.tolist() == pytest.approx([math.log(2), 0.0])
    assert log_probs.grad is not None
    assert torch.isfinite(log_probs.grad).all()


def test_bad_input_is_refused() -> None:
    one = torch.zeros(1, 1)
    with pytest.raises(InputError, match="leave-one-out baseline needs at least 2 samples, got 1"):
        reinforce_loss(one, one)
    with pytest.raises(InputError, match=r"returns should have shape \(1, 1\), got \(1, 2\)"):
        reinforce_loss(one, torch.zeros(1, 2))
    with pytest.raises(InputError, match=r"log_probs should have shape \(b, s\), got \(2,\)"):
        reinforce_loss(torch.zeros(2), torch.zeros(2))
    with pytest.raises(InputError, match=r"baseline should broadcast to \(1, 1\), got \(3,\)"):
        reinforce_loss(one, one, baseline=torch.zeros(3))
    with pytest.raises(InputError, match="baseline should be 'leave-one-out'"):
        reinforce_loss(one, one, baseline="mean")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="entropy_weight should be at least 0"):
        reinforce_loss(one, one, baseline="none", entropy_weight=-1.0)
    yes = torch.tensor([True])
    with pytest.raises(InputError, match="cost should be at least 0, got -1"):
        evidence_reward(yes, yes, torch.tensor(1), cost=-1)
    with pytest.raises(InputError, match=r"read should be a bool tensor, got torch\.int64"):
        evidence_reward(yes.long(), yes, torch.tensor(1), cost=0)
