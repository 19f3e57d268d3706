"""The way into an HTTP server: who may call, under which names, how much and how often."""

from __future__ import annotations

from collections.abc import Sequence

from mcp.server import Server
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware, get_access_token
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
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
from hoptrail.integrations.web.addresses import caller_names, is_loopback, origins_of
from hoptrail.integrations.web.rates import CallRates
from hoptrail.integrations.web.tokens import TokenTable

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

    Raises:
        InputError: A rate below 1.
        ConfigError: Others could reach it without a token, or by no name.
    """
    if not is_loopback(host) and tokens is None:
        raise ConfigError(
            f"a server at {host} can be reached by others: give it tokens, or host 127.0.0.1"
        )
    names = caller_names(host, allowed_hosts)
    rates = CallRates(calls_per_minute)
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
    endpoint: ASGIApp = RateLimit(StreamableHTTPASGIApp(manager), rates)
    middleware = []
    if tokens is not None:
        endpoint = RequireAuthMiddleware(endpoint, [])
        middleware = [
            Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(BearerVerifier(tokens))),
            Middleware(AuthContextMiddleware),
        ]
    return Starlette(
        routes=[Route(PATH, endpoint=endpoint)],
        middleware=middleware,
        lifespan=lambda _: manager.run(),
    )


class RateLimit:
    """Lets each caller send so many requests a minute; the others are told to wait.

    Args:
        app: What is guarded.
        rates: How often each may.
    """

    def __init__(self, app: ASGIApp, rates: CallRates) -> None:
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 429."""
        token = get_access_token()
        wait = self._rates.seconds_to_wait(token.client_id if token else "")
        if wait:
            refusal = Response(
                "Too many requests", status_code=429, headers={"Retry-After": str(wait)}
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


class BearerVerifier:
    """Knows our tokens, as the SDK's `TokenVerifier`.

    Args:
        tokens: The tokens.
    """

    def __init__(self, tokens: TokenTable) -> None:
        self._tokens = tokens

    async def verify_token(self, token: str) -> AccessToken | None:
        """The caller, if the token is known."""
        caller = self._tokens.caller(token)
        if caller is None:
            return None
        return AccessToken(token=token, client_id=caller, scopes=[])
