"""Runs the HTTP service of a memory until it is told to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hoptrail.api.memory import Memory
from hoptrail.errors import InputError, MissingExtra
from hoptrail.integrations.operations.bound_memory import BoundMemory
from hoptrail.integrations.operations.operation import PROGRAM_OPERATIONS
from hoptrail.integrations.operations.recall_bounds import NO_BOUNDS, RecallBounds
from hoptrail.integrations.web.tokens import Access, TokenTable

if TYPE_CHECKING:
    from hoptrail.integrations.http_server.server_limits import ServerLimits


def serve_http(
    memory: Memory,
    *,
    namespace: Sequence[str] = (),
    k: int | None = None,
    effort: str = "balanced",
    bounds: RecallBounds = NO_BOUNDS,
    read_only: bool = False,
    host: str = "127.0.0.1",
    port: int = 8080,
    tokens: Mapping[str, Access] | None = None,
    allowed_hosts: Sequence[str] = (),
    limits: ServerLimits | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve a memory over HTTP, until the process is interrupted or told to end.

    Then it answers the calls that it has. What was acknowledged is in the store in any case.

    Args:
        memory: What is served.
        namespace: What callers read and write, where no token says it.
        k: Passages that come back unless a caller says how many; None as for `BoundMemory`.
        effort: What a recall may cost: "fast", "balanced" or "thorough".
        bounds: How much else decides what a recall returns, where a call does not say.
        read_only: Offer nothing that writes, whatever a token says.
        host: Where it listens; others than this machine reach it only by tokens.
        port: 0 is any that is free.
        tokens: What each bearer token opens; None is no token.
        allowed_hosts: Names that callers reach it by.
        limits: What a caller may cost; the usual ones if None.
        announce: Called with the address once it listens.

    Raises:
        MissingExtra: The `server` extra is not installed.
        ConfigError: There is no such effort, the address cannot be used, or others could reach it
            without a token.
        InputError: A namespace or a number that is none.
    """
    try:
        from hoptrail.integrations.http_server.server_limits import ServerLimits
        from hoptrail.integrations.http_server.service_app import service_app
        from hoptrail.integrations.web.running import run_app
    except ImportError as error:
        raise MissingExtra("the HTTP service needs a web server", "server") from error

    if not isinstance(memory, Memory):
        raise InputError(f"memory must be a Memory, got {type(memory).__name__}")
    bound = BoundMemory(
        memory,
        namespace=namespace,
        k=k,
        effort=effort,
        bounds=bounds,
        read_only=read_only or memory.store.read_only,
        operations=PROGRAM_OPERATIONS,
    )
    limits = limits or ServerLimits()
    table = None if tokens is None else TokenTable(tokens)
    app = service_app(bound, host=host, allowed_hosts=allowed_hosts, tokens=table, limits=limits)
    run_app(
        app,
        host=host,
        port=port,
        limits=limits.connections,
        announce=announce,
        grace_seconds=math.ceil(limits.call_seconds + limits.connections.reply_seconds),
    )
