"""What callers of an HTTP service may cost it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hoptrail.integrations.web.bounded_connections import ConnectionLimits
from hoptrail.values.numbers import above_zero, whole


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of size, rate and time.

    Raises:
        InputError: One of them is no number, or too small.
    """

    body_bytes: int = 1_000_000
    """Of a request: a text of the greatest length, in any script, and its metadata."""
    reply_bytes: int = 4_000_000
    """Of a reply: so that nobody asks for more than he can have read."""
    calls_per_minute: int = 600
    """That each token, or everybody where there are none, may make on average."""
    calls_at_once: int = 64
    """In progress, those of recalls that wait included; a further one is told to come again."""
    call_seconds: float = 30.0
    """Until a call is answered, if only by saying that it takes longer."""
    body_seconds: float = 10.0
    """From a request's head to the end of its body."""
    recalls_together: int = 32
    """Recalls that are walked as one; 1 walks each by itself."""
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)

    def __post_init__(self) -> None:
        for name in (
            "body_bytes",
            "reply_bytes",
            "calls_per_minute",
            "calls_at_once",
            "recalls_together",
        ):
            whole(getattr(self, name), name, least=1)
        above_zero(self.call_seconds, "call_seconds")
        above_zero(self.body_seconds, "body_seconds")
