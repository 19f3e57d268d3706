"""The explorer as an ASGI application: a page of three files, and one address for what it asks.

The page itself is the same for everybody and holds nothing of the memory. Whatever it asks needs
the token, which comes to it behind the `#` of its address and so is in no log; a Host or an Origin
that is not ours is refused, as is a body that is too large.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hoptrail.errors import HoptrailError, UnknownId
from hoptrail.integrations.explorer.explorer_session import OPERATIONS, ExplorerSession
from hoptrail.integrations.operations.arguments import validation_text
from hoptrail.integrations.web import http_messages as web
from hoptrail.integrations.web.addresses import caller_names
from hoptrail.integrations.web.http_messages import (
    BodyTooLargeError,
    CallerCheck,
    json_reply,
    read_body,
)

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
    **web.HEADERS,
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
            body = arguments.model_validate_json(await read_body(request, MAX_BODY))
            result = await run_in_threadpool(carry_out, session, body)
        except BodyTooLargeError:
            return _failure(413, f"a request may have {MAX_BODY} bytes")
        except ValidationError as error:
            return _failure(400, validation_text(error))
        except UnknownId as error:
            return _failure(404, str(error))
        except HoptrailError as error:
            return _failure(400, str(error))
        return json_reply(200, result, HEADERS)

    routes = [Route(path, _file(*file)) for path, file in FILES.items()]
    routes.append(Route("/api/{operation}", operate, methods=["POST"]))
    names = caller_names(host, allowed_hosts)
    return Starlette(
        routes=routes, middleware=[Middleware(CallerCheck, names=names, refuse=_failure)]
    )


def _knows(request: Request, token: str) -> bool:
    """Whether a request has the token; comparing takes the same time for every other one."""
    header = request.headers.get("authorization", "")
    return secrets.compare_digest(header.encode(), f"Bearer {token}".encode())


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    data = Path(__file__).with_name("static").joinpath(name).read_bytes()

    async def serve_file(_: Request) -> Response:
        return Response(data, media_type=media_type, headers=HEADERS)

    return serve_file


def _failure(status: int, sentence: str) -> Response:
    return json_reply(status, {"error": sentence}, HEADERS)
