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

from hoptrail.integrations.mcp_server.http_app import BearerVerifier, RateLimit
from hoptrail.integrations.web.rates import CallRates
from hoptrail.integrations.web.tokens import Access, TokenTable

ANN, BOB = "ann-" + "a" * 20, "bob-" + "b" * 20


async def test_each_caller_of_a_token_has_its_own_rate() -> None:
    tokens = TokenTable({ANN: Access(()), BOB: Access(())})
    app = Starlette(
        routes=[Route("/", endpoint=RateLimit(PlainTextResponse("done"), CallRates(3)))],
        middleware=[
            Middleware(
                AuthenticationMiddleware,
                backend=BearerAuthBackend(BearerVerifier(tokens)),
            ),
            Middleware(AuthContextMiddleware),
        ],
    )
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:

        async def call(token: str) -> httpx2.Response:
            return await http.get("/", headers={"Authorization": f"Bearer {token}"})

        assert [(await call(ANN)).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert (await call(ANN)).headers["Retry-After"] in ("19", "20")
        assert (await call(BOB)).status_code == 200
