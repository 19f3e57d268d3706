from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.set_likelihood import (
    forward_sums,
    reachable_subset,
    set_log_likelihood,
    subset_code,
    subsets,
)


def random_policy(batch: int, gold: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A proper policy: at each subset a softmax over the g reads, STOP and two distractors."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, 2**gold, gold + 3, generator=generator, dtype=torch.float64)
    read_already = torch.cat([subsets(gold), torch.zeros(2**gold, 3, dtype=torch.bool)], dim=1)
    log_probs = logits.masked_fill(read_already, -math.inf).log_softmax(-1)
    return log_probs[..., :gold], log_probs[..., gold]


def brute_force(log_read: Tensor, log_stop: Tensor, golds: list[int]) -> float:
    """Every order by itself, in plain Python."""
    total = 0.0
    for order in permutations(golds):
        code, log_prob = 0, 0.0
        for j in order:
            log_prob += float(log_read[code, j])
            code |= 1 << j
        total += math.exp(log_prob + float(log_stop[code]))
    return total


@pytest.mark.parametrize("gold", range(7))
def test_equals_the_sum_over_all_permutations(gold: int) -> None:
    log_read, log_stop = random_policy(3, gold)
    got = set_log_likelihood(log_read, log_stop).exp()
    expected = [brute_force(log_read[b], log_stop[b], list(range(gold))) for b in range(3)]
    assert got.tolist() == pytest.approx(expected, rel=1e-12)


def test_stop_may_be_given_for_the_full_set_alone() -> None:
    log_read, log_stop = random_policy(2, 3)
    torch.testing.assert_close(
        set_log_likelihood(log_read, log_stop[:, -1]), set_log_likelihood(log_read, log_stop)
    )


def test_unavailable_gold_takes_those_orders_out() -> None:
    log_read, log_stop = random_policy(2, 3)
    available = ~subsets(3).expand(2, -1, -1)
    available = available.clone()
    available[0, 0, 2] = False  # gold 2 only appears once something has been read
    available[1, :, 1] = False  # gold 1 never appears
    # What stands at masked places is not read.
    spoiled = log_read.masked_fill(~available, math.nan).requires_grad_(True)
    got = set_log_likelihood(spoiled, log_stop, available=available)
    masked = log_read.masked_fill(~available, -math.inf)
    assert got[0].exp().item() == pytest.approx(brute_force(masked[0], log_stop[0], [0, 1, 2]))
    assert got[1].item() == -math.inf
    got.sum().backward()
    assert spoiled.grad is not None
    assert torch.isfinite(spoiled.grad).all()
    assert (spoiled.grad[1] == 0).all()
    assert (spoiled.grad[~available] == 0).all()


def test_an_impossible_row_leaves_the_stop_without_gradient() -> None:
    log_read = torch.full((1, 2, 1), -math.inf, requires_grad=True)
    log_stop = torch.zeros(1, requires_grad=True)
    likelihood = set_log_likelihood(log_read, log_stop)
    likelihood.sum().backward()
    assert likelihood.item() == -math.inf
    assert log_stop.grad is not None
    assert log_stop.grad.item() == 0.0


def test_questions_with_fewer_gold_passages_share_a_batch() -> None:
    log_read, log_stop = random_policy(3, 3)
    members = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])
    target = subset_code(members)
    assert target.tolist() == [7, 5, 0]
    got = set_log_likelihood(log_read, log_stop, target=target).exp()
    expected = [
        brute_force(log_read[b], log_stop[b], members[b].nonzero().flatten().tolist())
        for b in range(3)
    ]
    assert got.tolist() == pytest.approx(expected, rel=1e-12)


def test_the_probabilities_of_all_sets_sum_to_one_without_distractors() -> None:
    gold = 4
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 2**gold, gold + 1, generator=generator, dtype=torch.float64)
    read_already = torch.cat([subsets(gold), torch.zeros(2**gold, 1, dtype=torch.bool)], dim=1)
    log_probs = logits.masked_fill(read_already, -math.inf).log_softmax(-1)
    ends = forward_sums(log_probs[..., :gold]) + log_probs[..., gold]
    assert ends.exp().sum().item() == pytest.approx(1.0, rel=1e-12)


def test_gradients_agree_with_finite_differences() -> None:
    log_read, log_stop = random_policy(2, 3, seed=5)
    available = (~subsets(3)).expand(2, -1, -1)
    log_read = log_read.masked_fill(~available, 0.0).requires_grad_(True)
    log_stop = log_stop.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda r, s: set_log_likelihood(r, s, available=available), (log_read, log_stop)
    )


def test_the_gradient_is_the_posterior_of_each_step() -> None:
    log_read, log_stop = random_policy(1, 4, seed=2)
    log_read.requires_grad_(True)
    set_log_likelihood(log_read, log_stop).sum().backward()
    assert log_read.grad is not None
    assert torch.isfinite(log_read.grad).all()
    sizes = subsets(4).sum(-1)
    for size in range(4):  # exactly one step is taken from the sets of each size
        assert log_read.grad[0, sizes == size].sum().item() == pytest.approx(1.0)


def test_subsets_have_a_fixed_bit_order() -> None:
    assert subsets(2).tolist() == [[False, False], [True, False], [False, True], [True, True]]
    assert subset_code(subsets(5)).tolist() == list(range(32))
    assert subsets(0).shape == (1, 0)


def test_reachable_subset_is_the_largest_that_some_order_reads() -> None:
    everything = ~subsets(3)
    never_two = everything.clone()
    never_two[:, 2] = False
    chain = torch.zeros(8, 3, dtype=torch.bool)
    chain[0b000, 1] = True  # 1 first, then 0, and 2 only from where nothing leads
    chain[0b010, 0] = True
    chain[0b001, 2] = True
    nothing = torch.zeros(8, 3, dtype=torch.bool)
    available = torch.stack([everything, never_two, chain, nothing])
    assert reachable_subset(available).tolist() == [0b111, 0b011, 0b011, 0]
    tie = torch.zeros(1, 4, 2, dtype=torch.bool)
    tie[0, 0] = True
    assert reachable_subset(tie).tolist() == [0b01]


def test_reachable_targets_always_have_a_likelihood() -> None:
    generator = torch.Generator().manual_seed(7)
    available = torch.rand(64, 16, 4, generator=generator) < 0.4
    available &= ~subsets(4)
    log_read = torch.full((64, 16, 4), -1.0)
    target = reachable_subset(available)
    likelihood = set_log_likelihood(
        log_read, torch.zeros(64, 16), available=available, target=target
    )
    assert torch.isfinite(likelihood).all()
    reached = forward_sums(log_read, available=available) != -math.inf
    assert (subsets(4).sum(-1) * reached).max(-1).values.equal(subsets(4).sum(-1)[target])


def test_an_evaluation_first_does_not_spoil_training_after_it() -> None:
    log_read, log_stop = random_policy(1, 5)
    with torch.inference_mode():
        expected = set_log_likelihood(log_read, log_stop).item()
    likelihood = set_log_likelihood(log_read.requires_grad_(True), log_stop).sum()
    likelihood.backward()
    assert likelihood.item() == expected


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"number of gold passages should be in 0 .. 6, got 7"):
        subsets(7)
    with pytest.raises(InputError, match=r"expected shape \(b, 2\^g, g\), got \(1, 3, 2\)"):
        set_log_likelihood(torch.zeros(1, 3, 2), torch.zeros(1))
    with pytest.raises(InputError, match=r"log_stop should have shape \(1,\) or \(1, 4\)"):
        set_log_likelihood(torch.zeros(1, 4, 2), torch.zeros(2))
    with pytest.raises(InputError, match=r"target codes should be in 0 \.\. 3"):
        set_log_likelihood(torch.zeros(1, 4, 2), torch.zeros(1), target=torch.tensor([4]))
    with pytest.raises(InputError, match="target should be int64"):
        set_log_likelihood(torch.zeros(1, 4, 2), torch.zeros(1), target=torch.tensor([1.0]))
    with pytest.raises(InputError, match="available should be a bool tensor"):
        set_log_likelihood(torch.zeros(1, 4, 2), torch.zeros(1), available=torch.ones(1, 4, 2))
