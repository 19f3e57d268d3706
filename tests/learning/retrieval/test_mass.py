"""No set of scores has more mass than its bound, and two points reach it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.learning.retrieval.mass import log_mass_bound, log_mass_bound_of_moments, share_bound

SCORES = st.lists(st.floats(-20, 20), min_size=1, max_size=30)


@given(SCORES, st.floats(0, 5))
def test_the_mass_is_never_above_the_bounds(scores: list[float], slack: float) -> None:
    x = torch.tensor([scores], dtype=torch.float64)
    count, ceiling = torch.tensor([float(len(scores))]), x.amax(-1) + slack
    plain = log_mass_bound(count, ceiling)
    tight = log_mass_bound_of_moments(count, ceiling, x.mean(-1), x.var(-1, unbiased=False))
    assert float(x.logsumexp(-1)) <= float(tight) + 1e-6
    assert float(tight) <= float(plain) + 1e-6


def test_two_points_reach_the_bound() -> None:
    x = torch.tensor([[3.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    tight = log_mass_bound_of_moments(
        torch.tensor([4.0]), x.amax(-1), x.mean(-1), x.var(-1, unbiased=False)
    )
    torch.testing.assert_close(tight, x.logsumexp(-1))


def test_nothing_left_out_is_a_share_of_zero() -> None:
    rest = log_mass_bound(torch.tensor([0.0]), torch.tensor([5.0]))
    assert float(share_bound(torch.tensor([1.0]), rest)) == 0
