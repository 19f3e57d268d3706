"""Connections over a real socket: slow ends, too many of them, and what is no HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from hoptrail.integrations.web.addresses import listening_socket
from hoptrail.integrations.web.bounded_connections import ConnectionLimits, bounded_connections

LARGE = 20_000_000
GET = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def _small(_: object) -> Response:
    return Response(b"small")


async def _large(_: object) -> Response:
    return Response(b"x" * LARGE)


@asynccontextmanager
async def served(limits: ConnectionLimits) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """A server in this event loop, and its port."""
    app = Starlette(routes=[Route("/small", _small), Route("/large", _large)])
    config = uvicorn.Config(app, http=bounded_connections(limits), ws="none", log_config=None)
    server = uvicorn.Server(config)
    with listening_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield server, port
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A caller's end of a connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether nothing comes but the end."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_a_head_that_is_not_sent_in_time_ends_the_connection() -> None:
    async with (
        served(ConnectionLimits(head_seconds=1)) as (server, port),
        connected(port) as (silent, _),
        connected(port) as (reader, writer),
    ):
        started = time.monotonic()

        async def send_a_byte_now_and_then() -> None:
            for byte in GET % b"small":
                writer.write(bytes([byte]))
                await asyncio.sleep(0.1)

        slow = asyncio.create_task(send_a_byte_now_and_then())
        assert await ended(silent)
        assert await ended(reader)
        assert time.monotonic() - started >= 0.9
        slow.cancel()
        while server.server_state.connections:
            await asyncio.sleep(0.01)
        async with connected(port) as (reader, writer):
            for _ in range(3):  # who is quick may go on as long as he likes
                writer.write(GET % b"small")
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                assert await reader.readexactly(5) == b"small"
                await asyncio.sleep(0.5)


async def test_a_reply_that_is_not_taken_in_time_ends_the_connection() -> None:
    async with (
        served(ConnectionLimits(reply_seconds=0.5)) as (server, port),
        connected(port) as (_, writer),
    ):
        writer.write(GET % b"large")
        while not server.server_state.connections:
            await asyncio.sleep(0.01)
        while server.server_state.connections:  # nothing is read of it
            await asyncio.sleep(0.01)


async def test_a_large_reply_that_is_taken_comes_whole() -> None:
    async with served(ConnectionLimits()) as (_, port), connected(port) as (reader, writer):
        writer.write(GET % b"large")
        await reader.readuntil(b"\r\n\r\n")
        assert len(await reader.readexactly(LARGE)) == LARGE


async def test_a_connection_too_many_is_told_so_and_far_too_many_are_not_taken() -> None:
    async with served(ConnectionLimits(connections=2)) as (_, port), AsyncExitStack() as stack:
        ends = [await stack.enter_async_context(connected(port)) for _ in range(5)]
        for _, writer in ends[:4]:
            writer.write(GET % b"small")
        heads = [await reader.readuntil(b"\r\n\r\n") for reader, _ in ends[:4]]
        assert [head[9:12] for head in heads] == [b"200", b"200", b"503", b"503"]
        assert b"retry-after: 1" in heads[2].lower()
        assert "too many connections" in json.loads(await ends[2][0].read())["error"]
        assert await ended(ends[4][0])


async def test_what_is_no_http_is_refused_in_the_same_form() -> None:
    async with served(ConnectionLimits()) as (_, port):
        for wrong in (b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000):
            async with connected(port) as (reader, writer):
                writer.write(wrong)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 400")
