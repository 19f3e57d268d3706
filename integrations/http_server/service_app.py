"""The service as an ASGI application: who is let in, what is asked, and how it is answered."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hoptrail.api.inputs import parse_scope
from hoptrail.errors import ConfigError, HoptrailError, InputError
from hoptrail.formats.json_views import recall_data
from hoptrail.integrations.http_server.open_api import open_api
from hoptrail.integrations.http_server.recall_batches import RecallBatches, RecallKind
from hoptrail.integrations.http_server.refusals import RefusalError, refusal_of, try_again
from hoptrail.integrations.http_server.server_limits import ServerLimits
from hoptrail.integrations.http_server.server_metrics import ServerMetrics
from hoptrail.integrations.operations.arguments import RecallArguments, validation_text
from hoptrail.integrations.operations.bound_memory import BoundMemory
from hoptrail.integrations.operations.operation import PROGRAM_OPERATIONS, Operation
from hoptrail.integrations.web.addresses import caller_names, is_loopback
from hoptrail.integrations.web.http_messages import (
    HEADERS,
    BodyTooLargeError,
    CallerCheck,
    json_reply,
    read_body,
)
from hoptrail.integrations.web.rates import CallRates
from hoptrail.integrations.web.tokens import Access, TokenTable, bearer_token

T = TypeVar("T")

logger = logging.getLogger(__name__)

THREADS = 8
"""Calls other than recalls that run side by side; the others wait."""
READY_SECONDS = 1.0
"""For which an answer on readiness holds, so that asking costs nothing."""


class Service:
    """Answers the requests of an HTTP service.

    Args:
        bound: The memory, and how callers without a token may use it.
        tokens: Who may call, and what each opens; None is everybody.
        limits: What a caller may cost.
    """

    def __init__(
        self, bound: BoundMemory, *, tokens: TokenTable | None, limits: ServerLimits
    ) -> None:
        self._bound = bound
        self._tokens = tokens
        self._limits = limits
        self._operations = {one.name: one for one in bound.operations}
        self._metrics = ServerMetrics()
        self._rates = CallRates(limits.calls_per_minute)
        self._batches = RecallBatches(
            bound.memory, most=limits.recalls_together, note_batch=self._metrics.note_batch
        )
        self._threads = ThreadPoolExecutor(THREADS, "hoptrail-calls")
        # Both only in the event loop.
        self._in_progress = 0
        self._ready_until = 0.0

    def routes(self) -> list[Route]:
        """What is answered where."""
        return [
            Route("/v1/{operation}", self.operate, methods=["POST"]),
            Route("/openapi.json", self.describe),
            Route("/health/live", self.live),
            Route("/health/ready", self.ready),
            Route("/metrics", self.measure),
        ]

    def close(self) -> None:
        """Wait for what is still being done, whether or not somebody waits for it."""
        self._batches.close()
        self._threads.shutdown()

    async def operate(self, request: Request) -> Response:
        """Carry out an operation."""
        name = request.path_params["operation"]
        with self._metrics.call(name if name in self._operations else "unknown") as tell:
            try:
                reply = await self._carry_out(request, name)
            except RefusalError as refusal:
                reply = refusal.reply()
            except Exception:
                logger.exception("an error that was not expected, in the operation %s", name[:100])
                sentence = "an error that was not expected: the server's log says which"
                reply = RefusalError(500, sentence).reply()
            tell(reply.status_code)
        return reply

    async def describe(self, _: Request) -> Response:
        """The OpenAPI document."""
        operations = list(self._operations.values())
        secured = self._tokens is not None
        return json_reply(200, open_api(operations, self._limits, secured=secured))

    async def live(self, _: Request) -> Response:
        """Whether the process answers."""
        return json_reply(200, {"status": "live"})

    async def ready(self, _: Request) -> Response:
        """Whether the memory can be read."""
        if time.monotonic() >= self._ready_until:
            try:
                await self._in_time(self._in_thread(self._bound.memory.count))
            except RefusalError as refusal:
                return refusal.reply()
            self._ready_until = time.monotonic() + READY_SECONDS
        return json_reply(200, {"status": "ready"})

    async def measure(self, request: Request) -> Response:
        """The metrics."""
        try:
            if not self._caller(request)[1].metrics:
                raise RefusalError(403, "this token does not open the metrics")
        except RefusalError as refusal:
            return refusal.reply()
        text, media_type = self._metrics.text()
        return Response(text, headers=HEADERS, media_type=media_type)

    async def _carry_out(self, request: Request, name: str) -> Response:
        caller, access = self._caller(request)
        operation = self._operations.get(name)
        wait = self._rates.seconds_to_wait(caller)
        if wait:
            raise try_again("too many calls: wait as long as Retry-After says", 429, wait)
        if operation is None:
            raise self._absence(name)
        if operation.writes and access.read_only:
            raise RefusalError(403, f"this token is for reading only: it cannot {name}")
        arguments, bound = self._parsed(await self._body(request), operation, access)
        with self._place():
            text = await self._in_time(self._text(operation, arguments, bound))
        if len(text) > self._limits.reply_bytes:
            raise RefusalError(
                422,
                f"the reply would have {len(text):,} bytes, {self._limits.reply_bytes:,} are sent "
                "at most: ask for fewer passages",
            )
        return Response(text, headers=HEADERS, media_type="application/json")

    def _absence(self, name: str) -> RefusalError:
        """What is said of an operation that is not offered."""
        named = next((one for one in PROGRAM_OPERATIONS if one.name == name), None)
        if named is not None and named.writes:
            return RefusalError(403, f"this memory is served for reading only: it cannot {name}")
        if named is not None:
            return RefusalError(404, f"this memory has no reader: it cannot {name}")
        names = ", ".join(self._operations)
        return RefusalError(404, f"there is no operation {name[:100]!r}: use one of {names}")

    def _caller(self, request: Request) -> tuple[str, Access]:
        """Who calls, and what that opens.

        Raises:
            RefusalError: Nobody who may.
        """
        if self._tokens is None:
            return "", Access(self._bound.namespace, self._bound.read_only, metrics=True)
        token = bearer_token(request.headers.get("authorization", ""))
        caller = None if token is None else self._tokens.caller(token)
        if caller is None:
            sentence = "a known token is needed, as Authorization: Bearer <token>"
            raise RefusalError(401, sentence, {"WWW-Authenticate": "Bearer"})
        return caller, self._tokens.access[caller]

    async def _body(self, request: Request) -> dict[str, Any]:
        """The JSON object that a request holds.

        Raises:
            RefusalError: It is too large, too slow, or something else.
        """
        most = self._limits.body_bytes
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                body = await read_body(request, most)
        except BodyTooLargeError:
            sentence = f"the body has more than {most:,} bytes, which is what a request may have"
            raise RefusalError(413, sentence) from None
        except TimeoutError:
            seconds = self._limits.body_seconds
            sentence = f"the body took longer than {seconds:g} seconds to arrive: send it again"
            raise RefusalError(408, sentence, {"Connection": "close"}) from None
        try:
            value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise RefusalError(400, f"the body is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise RefusalError(400, "the body must be one JSON object, an argument to a key")
        return value

    def _parsed(
        self, body: dict[str, Any], operation: Operation, access: Access
    ) -> tuple[Any, BoundMemory]:
        """The arguments of an operation, and the memory as it may be used for them.

        Raises:
            RefusalError: They do not fit, or name a namespace of others.
        """
        namespace = body.pop("namespace", None)
        try:
            arguments = operation.arguments.model_validate(body)
            if namespace is None:
                namespace = list(access.namespace)
            if not isinstance(namespace, list):
                raise InputError('namespace must be a list such as ["team", "ann"]')
            scope = parse_scope(namespace)
        except ValidationError as error:
            takes = ", ".join([*operation.arguments.model_fields, "namespace"])
            sentence = f"{validation_text(error)}; {operation.name} takes {takes}"
            raise RefusalError(422, sentence) from error
        except InputError as error:
            raise RefusalError(422, str(error)) from error
        if not parse_scope(access.namespace).includes(scope.namespace):
            raise RefusalError(
                403,
                f"this token opens the namespace {json.dumps(access.namespace)} and what is below "
                f"it, and not {json.dumps(scope.namespace)}",
            )
        return arguments, self._bound.within(scope.namespace)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """A place among the calls in progress.

        Raises:
            RefusalError: There is none left.
        """
        if self._in_progress >= self._limits.calls_at_once:
            raise try_again(
                f"{self._in_progress} calls are in progress, which is as many as may be: try again"
            )
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1

    async def _text(self, operation: Operation, arguments: Any, bound: BoundMemory) -> bytes:
        """The result of an operation as JSON text."""
        if isinstance(arguments, RecallArguments) and operation.name == "recall":
            kind = RecallKind(
                arguments.k or bound.k,
                bound.namespace,
                bound.effort,
                arguments.as_of or None,
                bound.bounds.or_of_call(arguments),
            )
            recall = await self._batches.recall(arguments.question, kind)
            return _json(recall_data(recall))
        return await self._in_thread(lambda: _json(bound.run(operation, arguments).data))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _in_time(self, work: Any) -> Any:
        """What a call comes to, if that takes no longer than it may.

        Raises:
            RefusalError: It takes longer, or the memory refuses.
        """
        try:
            async with asyncio.timeout(self._limits.call_seconds):
                return await work
        except TimeoutError as error:
            raise RefusalError(
                504,
                f"this takes longer than {self._limits.call_seconds:g} seconds; a write may still "
                "be carried out: look before you send it again",
            ) from error
        except HoptrailError as error:
            raise refusal_of(error, self._bound.memory) from error


def service_app(
    bound: BoundMemory,
    *,
    host: str,
    allowed_hosts: Sequence[str] = (),
    tokens: TokenTable | None = None,
    limits: ServerLimits | None = None,
) -> Starlette:
    """A memory as an HTTP service.

    Args:
        bound: The memory, and how callers without a token may use it.
        host: The address that it will listen at.
        allowed_hosts: Names that callers reach it by; of loopback none are needed.
        tokens: Who may call; None is everybody, which only loopback allows.
        limits: What a caller may cost; the usual ones if None.

    Raises:
        ConfigError: Others could reach it without a token, or by no name.
    """
    if not is_loopback(host) and tokens is None:
        raise ConfigError(
            f"a server at {host} can be reached by others: give it tokens, or host 127.0.0.1"
        )
    service = Service(bound, tokens=tokens, limits=limits or ServerLimits())
    names = caller_names(host, allowed_hosts)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    return Starlette(
        routes=service.routes(),
        middleware=[Middleware(CallerCheck, names=names, refuse=_refusal)],
        exception_handlers={HTTPException: _no_such_address},
        lifespan=lifespan,
    )


def _refusal(status: int, sentence: str) -> Response:
    return RefusalError(status, sentence).reply()


async def _no_such_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        sentence = f"{request.method} is not what this address takes"
    else:
        sentence = f"there is nothing at {request.url.path[:100]!r}: see /openapi.json"
    return RefusalError(error.status_code, sentence, error.headers).reply()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _json(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=True).encode("ascii")
