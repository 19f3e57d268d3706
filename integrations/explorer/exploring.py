"""Runs the explorer of a memory until it is interrupted."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

from hoptrail.api.memory import Memory
from hoptrail.errors import InputError, MissingExtra
from hoptrail.integrations.explorer.explorer_session import ExplorerSession
from hoptrail.integrations.web.tokens import check_token

MAX_CONNECTIONS = 50
"""Open connections; a further one is answered with 503."""


def explore(
    memory: Memory,
    *,
    policies: Mapping[str, Memory] | None = None,
    namespace: Sequence[str] = (),
    read_only: bool = False,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    allowed_hosts: Sequence[str] = (),
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve a local page over a memory, until the process is interrupted.

    Args:
        memory: What is explored.
        policies: Further memories over the same file by the name of their policy, to compare with.
        namespace: The scope that the page may see: every namespace that begins with it.
        read_only: Offer nothing that writes.
        host: Where it listens; this machine alone unless told otherwise.
        port: 0 is any that is free.
        token: Whoever asks must have it; one is drawn if None.
        allowed_hosts: Names that callers reach it by, where it does not listen at loopback.
        announce: Called with the address to open, its token included, once it listens.

    Raises:
        MissingExtra: The `explore` extra is not installed.
        ConfigError: The address cannot be used, others could reach it by no name, or the token is
            too short to be a secret.
        InputError: A namespace or a number that is none.
    """
    try:
        from hoptrail.integrations.explorer.explorer_app import explorer_app
        from hoptrail.integrations.web.bounded_connections import ConnectionLimits
        from hoptrail.integrations.web.running import run_app
    except ImportError as error:
        raise MissingExtra("the explorer needs Starlette and uvicorn", "explore") from error

    if token is None:
        token = secrets.token_urlsafe(24)
    check_token(token)
    if not isinstance(memory, Memory):
        raise InputError(f"memory must be a Memory, got {type(memory).__name__}")
    session = ExplorerSession(memory, policies=policies, namespace=namespace, read_only=read_only)
    app = explorer_app(session, token=token, host=host, allowed_hosts=allowed_hosts)
    run_app(
        app,
        host=host,
        port=port,
        limits=ConnectionLimits(MAX_CONNECTIONS),
        announce=None if announce is None else lambda url: announce(f"{url}/#token={token}"),
    )
