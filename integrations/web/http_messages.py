"""What comes in and goes out: which callers are let in, a body read to its bound, JSON replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hoptrail.integrations.web.addresses import origins_of

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every reply: no browser guesses what it is, or keeps it."""


class BodyTooLargeError(Exception):
    """A request's body has more bytes than it may have."""


class CallerCheck:
    """Refuses requests to a Host or from an Origin that is not ours; the first line of defence.

    A page elsewhere can have a browser call an address of this machine, under a name of its own
    (DNS rebinding) or from its own Origin: both show in these headers.

    Args:
        app: What is guarded.
        names: As `caller_names` gives them.
        refuse: Makes the refusal of a status and a sentence.
    """

    def __init__(
        self, app: ASGIApp, names: Sequence[str], refuse: Callable[[int, str], Response]
    ) -> None:
        self._app = app
        self._names = frozenset(names)
        self._origins = frozenset(origins_of(names))
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Request(scope).headers
        origin = headers.get("origin")
        if not _among(headers.get("host", ""), self._names):
            refusal = self._refuse(421, "this server is not known by that name")
            await refusal(scope, receive, send)
        elif origin is not None and not _among(origin, self._origins):
            refusal = self._refuse(403, "a page from elsewhere may not call this server")
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _among(value: str, allowed: frozenset[str]) -> bool:
    name, _, port = value.rpartition(":")
    return value in allowed or (port.isdigit() and f"{name}:*" in allowed)


async def read_body(request: Request, most: int) -> bytes:
    """A request's body, read no further than it may go; empty where the caller has left.

    Args:
        request: The request.
        most: Bytes.

    Raises:
        BodyTooLargeError: It has more.
    """
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise BodyTooLargeError
            chunks.append(chunk)
    except ClientDisconnect:
        return b""
    return b"".join(chunks)


def json_reply(
    status: int, data: Mapping[str, Any], headers: Mapping[str, str] = HEADERS
) -> Response:
    """A reply of JSON.

    Args:
        status: HTTP's.
        data: JSON values.
        headers: What else it says.
    """
    text = json.dumps(data, ensure_ascii=True)
    return Response(text, status, headers, media_type="application/json")
