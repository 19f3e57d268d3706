"""Runs the MCP server of a memory until its clients are gone or it is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from hoptrail.api.memory import Memory
from hoptrail.errors import ConfigError, MissingExtra
from hoptrail.integrations.operations.bound_memory import BoundMemory
from hoptrail.integrations.operations.recall_bounds import NO_BOUNDS, RecallBounds

if TYPE_CHECKING:
    from hoptrail.integrations.web.tokens import Access, TokenTable

MAX_CONNECTIONS = 100
"""Open connections; a further one is answered with 503."""


def serve(
    memory: Memory,
    *,
    transport: Literal["stdio", "http"] = "stdio",
    namespace: Sequence[str] = (),
    k: int | None = None,
    effort: str = "balanced",
    bounds: RecallBounds = NO_BOUNDS,
    read_only: bool = False,
    host: str = "127.0.0.1",
    port: int = 8000,
    tokens: Mapping[str, Access] | None = None,
    allowed_hosts: Sequence[str] = (),
    calls_per_minute: int = 600,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve a memory over MCP, until stdin ends or the process is interrupted.

    While it serves over stdio, stdout carries the protocol and nothing else: what is printed goes
    to stderr.

    Args:
        memory: What is served.
        transport: "stdio" for one client that started the process, "http" for many (streamable
            HTTP at `/mcp`).
        namespace: What callers read and write, where no token says it.
        k: Passages that come back unless a caller says how many; None for 5, and for 50 at most
            where `bounds` say how many.
        effort: What a recall may cost: "fast", "balanced" or "thorough".
        bounds: How much else decides what a recall returns.
        read_only: Offer nothing that writes, whatever a token says.
        host: Where an HTTP server listens; others than this machine reach it only by tokens.
        port: Of an HTTP server; 0 is any that is free.
        tokens: What each bearer token opens (HTTP); None is no token.
        allowed_hosts: Names that callers reach an HTTP server by.
        calls_per_minute: Requests that each caller of an HTTP server may send.
        announce: Called with the address once an HTTP server listens.

    Raises:
        MissingExtra: The `mcp` extra is not installed.
        ConfigError: There is no such transport or effort, the address cannot be used, or others
            could reach it without a token.
        InputError: A namespace or a number that is none.
    """
    try:
        from hoptrail.integrations.mcp_server import handlers
    except ImportError as error:
        raise MissingExtra("the MCP server needs the MCP SDK", "mcp") from error
    import anyio
    from mcp.server.stdio import stdio_server

    bound = BoundMemory(
        memory, namespace=namespace, k=k, effort=effort, bounds=bounds, read_only=read_only
    )
    if transport == "http":
        _serve_http(bound, host, port, tokens, allowed_hosts, calls_per_minute, announce)
        return
    if transport != "stdio":
        raise ConfigError(f'transport must be "stdio" or "http", got {transport!r}')
    server = handlers.memory_server(lambda: bound)

    async def serve_stdio() -> None:
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())

    anyio.run(serve_stdio)


def _serve_http(
    bound: BoundMemory,
    host: str,
    port: int,
    tokens: Mapping[str, Access] | None,
    allowed_hosts: Sequence[str],
    calls_per_minute: int,
    announce: Callable[[str], None] | None,
) -> None:
    from hoptrail.integrations.mcp_server.handlers import memory_server
    from hoptrail.integrations.mcp_server.http_app import PATH, http_app
    from hoptrail.integrations.web.bounded_connections import ConnectionLimits
    from hoptrail.integrations.web.running import run_app
    from hoptrail.integrations.web.tokens import TokenTable

    table = None if tokens is None else TokenTable(tokens)
    app = http_app(
        memory_server(binding_of(bound, table)),
        host=host,
        allowed_hosts=allowed_hosts,
        tokens=table,
        calls_per_minute=calls_per_minute,
    )
    run_app(
        app,
        host=host,
        port=port,
        limits=ConnectionLimits(MAX_CONNECTIONS),
        announce=None if announce is None else lambda url: announce(f"{url}{PATH}"),
    )


def binding_of(bound: BoundMemory, table: TokenTable | None) -> Callable[[], BoundMemory]:
    """The memory as the caller of the request at hand may use it: its token's part of it."""
    from mcp.server.auth.middleware.auth_context import get_access_token

    if table is None:
        return lambda: bound
    bindings = {
        digest: bound.within(access.namespace, read_only=access.read_only)
        for digest, access in table.access.items()
    }

    def of_caller() -> BoundMemory:
        token = get_access_token()
        assert token is not None, "a request without a token came past RequireAuthMiddleware"
        return bindings[token.client_id]

    return of_caller
