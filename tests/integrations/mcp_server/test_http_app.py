"""The way into an HTTP server, without a network: who is let in, and how often."""

from __future__ import annotations

import httpx2
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from hoptrail.integrations.mcp_server.http_app import RateLimit
from hoptrail.integrations.mcp_server.tokens import Access, TokenTable

ANN, BOB = "ann-" + "a" * 20, "bob-" + "b" * 20


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_each_caller_has_its_own_rate_and_is_told_how_long_to_wait() -> None:
    clock = Clock()
    app = Starlette(
        routes=[Route("/", endpoint=RateLimit(PlainTextResponse("done"), 3, clock))],
        middleware=[
            Middleware(
                AuthenticationMiddleware,
                backend=BearerAuthBackend(TokenTable({ANN: Access(()), BOB: Access(())})),
            ),
            Middleware(AuthContextMiddleware),
        ],
    )
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:

        async def call(token: str) -> httpx2.Response:
            return await http.get("/", headers={"Authorization": f"Bearer {token}"})

        assert [(await call(ANN)).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert (await call(ANN)).headers["Retry-After"] == "20"
        assert (await call(BOB)).status_code == 200
        clock.now = 20.0
        assert [(await call(ANN)).status_code for _ in range(2)] == [200, 429]
        clock.now = 3600.0  # what was not used is not saved up
        assert [(await call(ANN)).status_code for _ in range(4)] == [200, 200, 200, 429]
