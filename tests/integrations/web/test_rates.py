"""Callers are counted each on its own."""

from __future__ import annotations

import pytest

from hoptrail import InputError
from hoptrail.integrations.web.rates import CallRates


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_caller_has_its_own_rate_and_is_told_how_long_to_wait() -> None:
    clock = Clock()
    rates = CallRates(3, clock)
    assert [rates.seconds_to_wait("ann") for _ in range(5)] == [0, 0, 0, 20, 20]
    assert rates.seconds_to_wait("bob") == 0
    clock.now = 20.0
    assert [rates.seconds_to_wait("ann") for _ in range(2)] == [0, 20]
    clock.now = 3600.0  # what was not used is not saved up
    assert [rates.seconds_to_wait("ann") for _ in range(4)] == [0, 0, 0, 20]
    with pytest.raises(InputError, match="calls_per_minute"):
        CallRates(0)
