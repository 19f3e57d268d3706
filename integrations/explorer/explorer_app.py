"""The explorer as an ASGI application: a page of three files, and one address for what it asks.

The page itself is the same for everybody and holds nothing of the memory. Whatever it asks needs
the token, which comes to it behind the `#` of its address and so is in no log; a Host or an Origin
that is not ours is refused, as is a body that is too large.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hoptrail.errors import HoptrailError, UnknownId
from hoptrail.integrations.explorer.explorer_session import OPERATIONS, ExplorerSession
from hoptrail.integrations.operations.arguments import validation_text
from hoptrail.integrations.web.addresses import caller_names, origins_of

MAX_BODY = 2_500_000
"""Bytes of a request: a text of the greatest length, in most scripts."""
FILES = {
    "/": ("explorer.html", "text/html; charset=utf-8"),
    "/explorer.js": ("explorer.js", "text/javascript; charset=utf-8"),
    "/explorer.css": ("explorer.css", "text/css; charset=utf-8"),
}
"""What the page is made of, by its address."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer: only our own files run, and no page may frame or read us."""


def explorer_app(
    session: ExplorerSession, *, token: str, host: str, allowed_hosts: Sequence[str] = ()
) -> Starlette:
    """The explorer of a memory.

    Args:
        session: What answers.
        token: Whoever asks must have it.
        host: The address that it will listen at.
        allowed_hosts: Names that callers reach it by; of loopback none are needed.

    Raises:
        ConfigError: Others could reach it by no name.
    """

    async def operate(request: Request) -> Response:
        if not _knows(request, token):
            return _failure(401, "the token is missing or wrong: use the address that was printed")
        name = request.path_params["operation"]
        if name not in OPERATIONS:
            return _failure(404, f"there is no operation {name!r}")
        arguments, carry_out = OPERATIONS[name]
        try:
            body = arguments.model_validate_json(await _body(request))
            result = await run_in_threadpool(carry_out, session, body)
        except _TooLargeError:
            return _failure(413, f"a request may have {MAX_BODY} bytes")
        except ValidationError as error:
            return _failure(400, validation_text(error))
        except UnknownId as error:
            return _failure(404, str(error))
        except HoptrailError as error:
            return _failure(400, str(error))
        return _answer(200, result)

    routes = [Route(path, _file(*file)) for path, file in FILES.items()]
    routes.append(Route("/api/{operation}", operate, methods=["POST"]))
    names = caller_names(host, allowed_hosts)
    return Starlette(routes=routes, middleware=[Middleware(CallerCheck, names=names)])


class CallerCheck:
    """Refuses requests to a Host or from an Origin that is not ours; the first line of defence.

    A page elsewhere can have a browser call an address of this machine, under a name of its own
    (DNS rebinding) or from its own Origin: both show in these headers.

    Args:
        app: What is guarded.
        names: As `caller_names` gives them.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = frozenset(names)
        self._origins = frozenset(origins_of(names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with our headers on its answer, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Request(scope).headers
        origin = headers.get("origin")
        if not _among(headers.get("host", ""), self._names):
            await _failure(421, "this server is not known by that name")(scope, receive, send)
        elif origin is not None and not _among(origin, self._origins):
            await _failure(403, "a page from elsewhere may not call this server")(
                scope, receive, send
            )
        else:
            await self._app(scope, receive, send)


class _TooLargeError(Exception):
    """A request's body has more bytes than it may have."""


async def _body(request: Request) -> bytes:
    """A request's body, read no further than it may go."""
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_BODY:
                raise _TooLargeError
            chunks.append(chunk)
    except ClientDisconnect:
        return b""
    return b"".join(chunks)


def _knows(request: Request, token: str) -> bool:
    """Whether a request has the token; comparing takes the same time for every other one."""
    header = request.headers.get("authorization", "")
    return secrets.compare_digest(header.encode(), f"Bearer {token}".encode())


def _among(value: str, allowed: frozenset[str]) -> bool:
    name, _, port = value.rpartition(":")
    return value in allowed or (port.isdigit() and f"{name}:*" in allowed)


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    data = Path(__file__).with_name("static").joinpath(name).read_bytes()

    async def serve_file(_: Request) -> Response:
        return Response(data, media_type=media_type, headers=HEADERS)

    return serve_file


def _answer(status: int, data: dict[str, Any]) -> Response:
    text = json.dumps(data, ensure_ascii=True)
    return Response(text, status, HEADERS, media_type="application/json")


def _failure(status: int, sentence: str) -> Response:
    return _answer(status, {"error": sentence})
