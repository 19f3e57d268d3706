"""Servers in processes of their own, and the SDK's clients at their stdin, stdout and port."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from hoptrail import ConfigError, InputError, Memory
from hoptrail.integrations.mcp_server.serving import serve
from hoptrail.integrations.web.tokens import Access
from hoptrail.memory.testing.hash_encoder import HashEncoder

PROGRAM = str(Path(__file__).with_name("server_process.py"))
ANN, BOB, GUEST = "ann-" + "a" * 20, "bob-" + "b" * 20, "guest-" + "c" * 20
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
REMEMBER = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "remember", "arguments": {"text": "Ann keeps bees beyond Varn."}},
}
"""A text of no other test: a cached vector would need no encoder, which is to print."""


def stdio(path: Path, **settings: Any) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable, args=["-P", PROGRAM, str(path), json.dumps(settings)]
    )


@contextmanager
def http_server(path: Path, **settings: Any) -> Iterator[str]:
    """A server's address; it ends with the block."""
    settings = {"transport": "http", "port": 0, **settings}
    process = subprocess.Popen(
        [sys.executable, "-P", PROGRAM, str(path), json.dumps(settings)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=30)


@asynccontextmanager
async def caller(url: str, token: str | None = None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


def post(url: str, message: dict[str, Any], **headers: str) -> httpx2.Response:
    """A request as it goes over the wire, whoever sends it."""
    return httpx2.post(
        url,
        content=json.dumps(message),
        headers={
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        timeout=60,
    )


async def test_several_clients_each_with_a_process_lose_nothing(tmp_path) -> None:
    path = tmp_path / "agent.db"

    async def write(name: str) -> list[str]:
        async with Client(stdio(path, namespace=["team"])) as client:
            return [
                (
                    await client.call_tool("remember", {"text": f"{name} saw {n} herons."})
                ).structured_content["id"]
                for n in range(10)
            ]

    ids = await asyncio.gather(*(write(name) for name in ("Ann", "Bob", "Cem")))
    assert len({one for written in ids for one in written}) == 30
    async with Client(stdio(path, namespace=["team"], read_only=True)) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["recall", "search"]
        result = await client.call_tool("recall", {"question": "Who saw 7 herons?", "k": 30})
        assert len(result.structured_content["passages"]) == 30
    with Memory(path, encoder=HashEncoder()) as memory:
        assert memory.count(("team",)) == memory.count() == 30


def test_stdout_carries_the_protocol_and_nothing_else(tmp_path) -> None:
    """Also where the encoder prints."""
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    messages = [INITIALIZE, initialized, REMEMBER]
    process = subprocess.Popen(
        [sys.executable, "-P", PROGRAM, str(tmp_path / "agent.db"), "{}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.writelines(json.dumps(message) + "\n" for message in messages)
    process.stdin.flush()
    lines = [process.stdout.readline() for _ in range(2)]
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "")
    answers = {answer["id"]: answer for answer in map(json.loads, lines)}  # in any order
    assert set(answers) == {1, 2}
    assert answers[2]["result"]["structuredContent"]["written"] is True
    assert "encoding" in errors


async def test_a_token_opens_its_namespace_and_no_other(tmp_path) -> None:
    tokens = {
        ANN: (["team", "ann"], False),
        BOB: (["team", "bob"], False),
        GUEST: (["team"], True),
    }
    with http_server(tmp_path / "agent.db", tokens=tokens) as url:
        async with caller(url, ANN) as ann, caller(url, BOB) as bob, caller(url, GUEST) as guest:
            written = await ann.call_tool("remember", {"text": "Ann's PIN is 4711."})
            await bob.call_tool("remember", {"text": "Bob likes tea."})
            id_ = written.structured_content["id"]
            seen = await bob.call_tool("recall", {"question": "What is Ann's PIN?", "k": 50})
            assert [p["text"] for p in seen.structured_content["passages"]] == ["Bob likes tea."]
            assert (await bob.call_tool("forget", {"ids": [id_]})).is_error
            assert len((await bob.list_resources()).resources) == 1
            assert [tool.name for tool in (await guest.list_tools()).tools] == ["recall", "search"]
            both = await guest.call_tool("search", {"query": "Ann Bob"})
            assert len(both.structured_content["passages"]) == 2
        assert post(url, REMEMBER).status_code == 401
        assert post(url, REMEMBER, Authorization=f"Bearer {ANN}x").status_code == 401
        assert post(url, REMEMBER, Authorization=f"Basic {ANN}").status_code == 401
        assert post(url, REMEMBER, Authorization=f"Bearer {GUEST}").json()["result"]["isError"]
    with Memory(tmp_path / "agent.db", encoder=HashEncoder()) as memory:
        assert memory.get(id_, ("team", "ann")).text == "Ann's PIN is 4711."
        assert memory.count() == 2


async def test_an_http_server_is_guarded_and_many_clients_lose_nothing(tmp_path) -> None:
    with http_server(tmp_path / "agent.db") as url:
        assert url.startswith("http://127.0.0.1:")

        async def write(name: str) -> None:
            async with caller(url) as client:
                for n in range(5):
                    result = await client.call_tool("remember", {"text": f"{name} saw {n} owls."})
                    assert result.structured_content["written"]

        await asyncio.gather(*(write(name) for name in ("Ann", "Bob", "Cem", "Dee")))
        assert post(url, INITIALIZE).status_code == 200
        # A page on the web that has a browser call us, under its own name or by rebinding one.
        assert post(url, REMEMBER, Origin="https://evil.example").status_code == 403
        assert post(url, REMEMBER, Host="evil.example").status_code == 421
        assert post(url, REMEMBER, Origin="null").status_code == 403
        assert post(url, REMEMBER, Content_Type="text/plain").status_code == 400
        large = json.loads(json.dumps(REMEMBER))
        large["params"]["arguments"]["text"] = "x" * 1_000_000
        assert post(url, large).status_code == 413
    with Memory(tmp_path / "agent.db", encoder=HashEncoder()) as memory:
        assert memory.count() == 20


def test_a_server_that_others_reach_needs_tokens_and_its_names(memory) -> None:
    with pytest.raises(ConfigError, match="give it tokens"):
        serve(memory, transport="http", host="0.0.0.0")
    tokens = {ANN: Access(("ann",))}
    with pytest.raises(ConfigError, match="allowed hosts"):
        serve(memory, transport="http", host="0.0.0.0", tokens=tokens)
    with pytest.raises(ConfigError, match="at least 20"):
        serve(memory, transport="http", tokens={"secret": Access(())})
    with pytest.raises(ConfigError, match="no token"):
        serve(memory, transport="http", tokens={})
    with pytest.raises(ConfigError, match="transport"):
        serve(memory, transport="sse")
    with pytest.raises(InputError, match="calls_per_minute"):
        serve(memory, transport="http", calls_per_minute=0)
    with (
        socket.create_server(("127.0.0.1", 0)) as busy,
        pytest.raises(ConfigError, match="cannot listen"),
    ):
        serve(memory, transport="http", port=busy.getsockname()[1])


@pytest.mark.slow
async def test_the_command_serves_a_file_that_it_makes_and_for_reading_only(tmp_path) -> None:
    """With the encoder and the policy that ship."""
    store = str(tmp_path / "agent.db")
    command = ["-P", "-m", "hoptrail", "mcp", "--store", store, "--namespace", "team/ann"]
    parameters = StdioServerParameters(command=sys.executable, args=command)
    async with Client(parameters) as client:
        for text in ("Fram was designed by Colin Archer.", "Colin Archer was born in Larvik."):
            assert (await client.call_tool("remember", {"text": text})).structured_content[
                "written"
            ]
    parameters = StdioServerParameters(command=sys.executable, args=[*command, "--read-only"])
    async with Client(parameters) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["recall", "search"]
        question = "Where was the designer of the ship Fram born?"
        result = await client.call_tool("recall", {"question": question})
        texts = {passage["text"] for passage in result.structured_content["passages"]}
        assert "Colin Archer was born in Larvik." in texts


def test_the_command_refuses_what_would_open_a_memory_to_others(tmp_path) -> None:
    arguments = ["mcp", "--store", str(tmp_path / "a.db"), "--transport", "http"]
    for more, sentence in (
        (["--host", "0.0.0.0"], "give it tokens"),
        (["--tokens", str(tmp_path / "none.json")], "cannot be read"),
        (["--port", "70000"], "port must be"),
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "hoptrail", *arguments, *more],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert sentence in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "a.db").exists()
