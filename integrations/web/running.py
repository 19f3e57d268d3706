"""Runs an ASGI application at an address until the process is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from hoptrail.integrations.web.addresses import address_of, listening_socket
from hoptrail.integrations.web.bounded_connections import ConnectionLimits, bounded_connections


def run_app(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    limits: ConnectionLimits,
    announce: Callable[[str], None] | None = None,
    grace_seconds: int = 60,
) -> None:
    """Serve an application until the process is interrupted or told to end.

    Then it takes no further connection, answers the requests that it has, and returns: whoever
    called it can close what the application used.

    Args:
        app: What answers.
        host: The address to listen at.
        port: 0 is any that is free.
        limits: Of its connections.
        announce: Called with the address once it listens.
        grace_seconds: Seconds at the end for the requests that it has.

    Raises:
        InputError: It is no port.
        ConfigError: The address cannot be used.
        KeyboardInterrupt: The process was interrupted.
    """
    with listening_socket(host, port) as listening, _ended_by_a_signal():
        if announce is not None:
            announce(address_of(host, listening))
        config = uvicorn.Config(
            app,
            http=bounded_connections(limits),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=grace_seconds,
        )
        uvicorn.Server(config).run(sockets=[listening])


class EndedBySignal(BaseException):
    """The process was told to end: it unwinds, as for an interrupt, and closes what it has."""


@contextmanager
def _ended_by_a_signal() -> Iterator[None]:
    """Have SIGTERM end the block, and not the process.

    uvicorn raises the signal again when it has shut down, and the default would be to die before
    anything is closed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except EndedBySignal:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(*_: object) -> None:
    raise EndedBySignal
