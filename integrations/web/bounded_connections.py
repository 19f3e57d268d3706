"""A server's connections, bounded in number and in how slow their other ends may be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from hoptrail.integrations.web.http_messages import HEADERS, json_reply
from hoptrail.values.numbers import above_zero, whole


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections a server has, and how long each may take.

    Raises:
        InputError: One of them is no number above 0.
    """

    connections: int = 100
    """Open ones; a request on a further one is answered with 503."""
    head_seconds: float = 10.0
    """From the first byte of a request, or from the connection, to the end of its head."""
    reply_seconds: float = 30.0
    """Until a reply that was written is taken."""

    def __post_init__(self) -> None:
        whole(self.connections, "connections", least=1)
        above_zero(self.head_seconds, "head_seconds")
        above_zero(self.reply_seconds, "reply_seconds")


_SENTENCE = b'{"error": "this is no HTTP request, or its head is too long"}'
_NO_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SENTENCE), _SENTENCE)
)


class BoundedConnection(H11Protocol):
    """A connection whose other end has to send a head, and to take a reply, within a time.

    uvicorn itself bounds only the time between two requests: who sends a byte now and then, or
    asks and never reads, would hold a connection for as long as it likes.
    """

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are far too many."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that whatever is not taken is noticed
        self._start("head", self.limits.head_seconds)
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()
        elif len(self.connections) > self.limits.connections:
            self.app = _refuse

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._stop("head")
        self._stop("reply")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Go on with a request; from its first byte on, its head is waited for."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop("head")
        elif not self.transport.is_closing():
            self._start("head", self.limits.head_seconds)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request by HTTP, as every other refusal is said."""
        self.transport.write(_NO_REQUEST)
        self.transport.close()

    def pause_writing(self) -> None:
        """Wait for the other end to take what was written, for so long."""
        super().pause_writing()
        self._start("reply", self.limits.reply_seconds)

    def resume_writing(self) -> None:
        """It has taken all of it."""
        super().resume_writing()
        self._stop("reply")

    def _start(self, what: str, seconds: float) -> None:
        if what not in self._timers:
            self._timers[what] = self.loop.call_later(seconds, self._give_up)

    def _stop(self, what: str) -> None:
        timer = self._timers.pop(what, None)
        if timer is not None:
            timer.cancel()

    def _give_up(self) -> None:
        """End the connection at once: closing it would wait for the other end."""
        self.transport.abort()


def bounded_connections(limits: ConnectionLimits) -> type[BoundedConnection]:
    """The class of a server's connections.

    Args:
        limits: Of each.
    """
    return type("BoundedConnection", (BoundedConnection,), {"limits": limits})


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    sentence = "there are too many connections to this server: try again in a while"
    headers = {**HEADERS, "Retry-After": "1", "Connection": "close"}
    await json_reply(503, {"error": sentence}, headers)(scope, receive, send)
