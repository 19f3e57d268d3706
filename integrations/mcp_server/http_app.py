"""The way into an HTTP server: who may call, under which names, how much and how often."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mcp.server import Server
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware, get_access_token
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.streamable_http_manager import (
    StreamableHTTPASGIApp,
    StreamableHTTPSessionManager,
)
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hoptrail.errors import ConfigError
from hoptrail.integrations.mcp_server.tokens import TokenTable
from hoptrail.integrations.web.addresses import caller_names, is_loopback, origins_of

PATH = "/mcp"
MAX_BODY = 1_000_000
"""Bytes of a request: a text of the greatest length, in any script, and its metadata."""


def http_app(
    server: Server[object],
    *,
    host: str,
    allowed_hosts: Sequence[str] = (),
    tokens: TokenTable | None = None,
    calls_per_minute: int = 600,
    clock: Callable[[], float] = time.monotonic,
) -> Starlette:
    """A server as an ASGI application at `/mcp`.

    No request leaves anything behind: there are no sessions that could be taken over or pile up.

    Args:
        server: What answers.
        host: The address that it will listen at.
        allowed_hosts: Names that callers reach it by, `name` or `name:port`; of loopback, which
            is known by itself, none are needed.
        tokens: Who may call; None is everybody, which only loopback allows.
        calls_per_minute: What each caller may send, on average; so many at once at most.
        clock: Tells seconds.

    Raises:
        ConfigError: Others could reach it without a token, or by no name.
    """
    if not is_loopback(host) and tokens is None:
        raise ConfigError(
            f"a server at {host} can be reached by others: give it tokens, or host 127.0.0.1"
        )
    names = caller_names(host, allowed_hosts)
    manager = StreamableHTTPSessionManager(
        server,
        json_response=True,
        stateless=True,
        security_settings=TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=names,
            allowed_origins=origins_of(names),
        ),
        max_request_body_size=MAX_BODY,
    )
    endpoint: ASGIApp = RateLimit(StreamableHTTPASGIApp(manager), calls_per_minute, clock)
    middleware = []
    if tokens is not None:
        endpoint = RequireAuthMiddleware(endpoint, [])
        middleware = [
            Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(tokens)),
            Middleware(AuthContextMiddleware),
        ]
    return Starlette(
        routes=[Route(PATH, endpoint=endpoint)],
        middleware=middleware,
        lifespan=lambda _: manager.run(),
    )


class RateLimit:
    """Lets each caller send so many requests a minute; the others are told to wait.

    A bucket for each known token, or one for all where there are none: it cannot grow.

    Args:
        app: What is guarded.
        per_minute: Requests.
        clock: Tells seconds.
    """

    def __init__(self, app: ASGIApp, per_minute: int, clock: Callable[[], float]) -> None:
        self._app = app
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 429."""
        token = get_access_token()
        caller = token.client_id if token else ""
        now = self._clock()
        left, then = self._buckets.get(caller, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - then) * self._per_minute / 60)
        if left < 1:
            wait = max(1, round((1 - left) * 60 / self._per_minute))
            refusal = Response(
                "Too many requests", status_code=429, headers={"Retry-After": str(wait)}
            )
            await refusal(scope, receive, send)
            return
        self._buckets[caller] = (left - 1, now)
        await self._app(scope, receive, send)
