"""Sampling is compared with exact probabilities of a four-item toy, at a fixed seed."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.learning.estimators.relaxed import (
    gumbel_noise,
    gumbel_top_k,
    plackett_luce_log_prob,
    relaxed_top_k,
    straight_through_top_k,
    temperature_softmax,
)

ITEMS = torch.tensor([0.5, 0.25, 0.15, 0.1], dtype=torch.float64)


def order_probability(order: tuple[int, ...], p: list[float]) -> float:
    left, total = 1.0, 1.0
    for item in order:
        total *= p[item] / left
        left -= p[item]
    return total


def test_gumbel_top_k_draws_each_order_as_often_as_it_should() -> None:
    draws = 40_000
    generator = torch.Generator().manual_seed(0)
    sample = gumbel_top_k(ITEMS.log().expand(draws, -1), 2, generator=generator)
    counts = Counter(map(tuple, sample.indices.tolist()))
    orders = list(permutations(range(4), 2))
    assert set(counts) == set(orders)
    for order in orders:
        exact = order_probability(order, ITEMS.tolist())
        # Four standard errors of a frequency, at most 0.01 here.
        tolerance = 4 * math.sqrt(exact * (1 - exact) / draws)
        assert counts[order] / draws == pytest.approx(exact, abs=tolerance)


def test_gumbel_top_k_gives_exact_log_probabilities() -> None:
    scores = ITEMS.log().expand(50, -1) + 3.0  # unnormalised
    sample = gumbel_top_k(scores, 3, generator=torch.Generator().manual_seed(1))
    for row, drawn in enumerate(sample.indices.tolist()):
        exact = order_probability(tuple(drawn), ITEMS.tolist())
        assert sample.log_order[row].exp().item() == pytest.approx(exact)
        assert sample.log_probs[row].exp().tolist() == pytest.approx(ITEMS[drawn].tolist())


def test_temperature_sharpens_what_is_drawn() -> None:
    draws = 20_000
    generator = torch.Generator().manual_seed(2)
    scores = ITEMS.log().expand(draws, -1)
    sample = gumbel_top_k(scores, 1, generator=generator, temperature=0.5)
    exact = (ITEMS.square() / ITEMS.square().sum()).tolist()
    counts = torch.bincount(sample.indices.flatten(), minlength=4) / draws
    # Four standard errors at p = 1/2 and 20 000 draws: 0.014.
    assert counts.tolist() == pytest.approx(exact, abs=0.0142)
    assert sample.log_probs[0].exp().item() == pytest.approx(exact[int(sample.indices[0])])


def test_gumbel_noise_has_the_moments_of_its_law() -> None:
    noise = gumbel_noise(torch.empty(200_000), generator=torch.Generator().manual_seed(3))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.012)  # Euler's constant
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.035)
    assert torch.isfinite(noise).all()


def test_same_generator_state_same_sample_and_global_state_untouched() -> None:
    before = torch.get_rng_state()
    scores = torch.zeros(5, 20)
    first = gumbel_top_k(scores, 4, generator=torch.Generator().manual_seed(9)).indices
    again = gumbel_top_k(scores, 4, generator=torch.Generator().manual_seed(9)).indices
    assert torch.equal(first, again)
    assert torch.equal(before, torch.get_rng_state())


def test_masked_items_are_never_drawn_and_get_no_gradient() -> None:
    scores = torch.zeros(200, 4, requires_grad=True)
    mask = torch.tensor([True, False, True, True]).expand(200, -1)
    sample = gumbel_top_k(scores, 3, generator=torch.Generator().manual_seed(4), mask=mask)
    assert (sample.indices.sort(-1).values == torch.tensor([0, 2, 3])).all()
    sample.log_order.sum().backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert (scores.grad[:, 1] == 0).all()


def test_order_probabilities_sum_to_one_and_have_right_gradients() -> None:
    orders = torch.tensor(list(permutations(range(4), 3)))
    scores = ITEMS.log().clone().requires_grad_(True)
    total = plackett_luce_log_prob(scores.expand(len(orders), -1), orders).exp().sum()
    assert total.item() == pytest.approx(1.0)
    picked = orders[:5]
    assert torch.autograd.gradcheck(
        lambda s: plackett_luce_log_prob(s.expand(5, -1), picked), (scores,)
    )


def test_temperature_softmax_by_hand() -> None:
    scores = torch.tensor([[0.0, math.log(2), 50.0]])
    mask = torch.tensor([[True, True, False]])
    got = temperature_softmax(scores, temperature=0.5, mask=mask)
    assert got[0].tolist() == pytest.approx([0.2, 0.8, 0.0])


def test_straight_through_is_hard_forward_and_relaxed_backward() -> None:
    generator = torch.Generator().manual_seed(5)
    scores = torch.randn(6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(6, 5, dtype=torch.bool)
    mask[:, 4] = False
    value = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    hard = straight_through_top_k(scores, 2, temperature=0.7, mask=mask)
    best = scores.detach()[:, :4].topk(2).indices
    assert torch.equal(hard.detach(), torch.zeros_like(value).scatter(1, best, 1.0))
    (got,) = torch.autograd.grad((hard * value).sum(), scores)
    soft = relaxed_top_k(scores.masked_fill(~mask, -math.inf), 2, temperature=0.7)
    (expected,) = torch.autograd.grad((soft * value).sum(), scores)
    torch.testing.assert_close(got, expected)
    assert (got[:, 4] == 0).all()
    assert got[:, :4].abs().sum() > 0


def test_straight_through_with_noise_samples_the_set() -> None:
    draws = 20_000
    generator = torch.Generator().manual_seed(6)
    hard = straight_through_top_k(ITEMS.log().expand(draws, -1), 2, generator=generator)
    pairs = permutations(range(4), 2)
    exact = [0.0] * 4
    for pair in pairs:
        for item in pair:
            exact[item] += order_probability(pair, ITEMS.tolist())
    assert hard.mean(0).tolist() == pytest.approx(exact, abs=0.0142)


def test_relaxed_top_k_sums_to_k_and_hardens_as_it_cools() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, -math.inf]], dtype=torch.float64)
    for k in (1, 2, 3):
        shares = relaxed_top_k(scores, k, temperature=0.5)
        assert shares.sum().item() == pytest.approx(k)
        assert shares[0, 3].item() == 0.0
    cold = relaxed_top_k(scores, 2, temperature=0.01)
    assert cold[0].tolist() == pytest.approx([1.0, 0.0, 1.0, 0.0], abs=1e-9)
    one = relaxed_top_k(scores, 1, temperature=0.5)
    torch.testing.assert_close(one, temperature_softmax(scores, temperature=0.5))


def test_relaxed_top_k_has_finite_right_gradients() -> None:
    free = torch.tensor([[0.3, -0.2, 1.0, 0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: relaxed_top_k(s, 3, temperature=0.8), (free,))
    extreme = torch.tensor([[500.0, 0.0, -500.0, -math.inf]], requires_grad=True)
    shares = relaxed_top_k(extreme, 3, temperature=0.1)
    (shares * torch.arange(4.0)).sum().backward()
    assert shares[0].tolist() == pytest.approx([1.0, 1.0, 1.0, 0.0])
    assert extreme.grad is not None
    assert torch.isfinite(extreme.grad).all()


def test_bad_input_is_refused() -> None:
    generator = torch.Generator()
    mask = torch.tensor([[True, True, False]])
    with pytest.raises(InputError, match=r"k should be in 1 \.\. 2, the entries of the shortest"):
        gumbel_top_k(torch.zeros(1, 3), 3, generator=generator, mask=mask)
    with pytest.raises(InputError, match=r"k should be in 1 \.\. 3, .* got 0"):
        straight_through_top_k(torch.zeros(1, 3), 0)
    with pytest.raises(InputError, match="temperature should be above 0, got 0"):
        gumbel_top_k(torch.zeros(1, 3), 1, generator=generator, temperature=0)
    with pytest.raises(InputError, match="draw 1 takes an item that is not there"):
        plackett_luce_log_prob(torch.zeros(1, 3), torch.tensor([[0, 0]]))
    with pytest.raises(InputError, match=r"scores should have shape \(b, n\), got \(3,\)"):
        relaxed_top_k(torch.zeros(3), 1)
