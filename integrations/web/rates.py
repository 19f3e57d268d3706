"""How often each caller of a server may call."""

from __future__ import annotations

import time
from collections.abc import Callable

from hoptrail.values.numbers import whole


class CallRates:
    """Lets each caller send so many requests a minute, on average; as many at once at most.

    A token bucket for each caller that is known, or one for all where nobody is: they cannot grow.

    Args:
        per_minute: Requests, at least 1.
        clock: Tells seconds.

    Raises:
        InputError: It is no such number.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = whole(per_minute, "calls_per_minute", least=1)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def seconds_to_wait(self, caller: str) -> int:
        """Count a request of a caller, unless it has to wait.

        Args:
            caller: One of the callers that are known, so that no stranger makes a bucket.

        Returns:
            0 where it may go on, or the seconds after which it may.
        """
        now = self._clock()
        left, then = self._buckets.get(caller, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - then) * self._per_minute / 60)
        if left < 1:
            return max(1, round((1 - left) * 60 / self._per_minute))
        self._buckets[caller] = (left - 1, now)
        return 0
