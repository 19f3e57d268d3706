"""Services in processes of their own: what becomes of calls when something goes wrong."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.integrations.http_server import http_serving
from hoptrail.memory.encoders import transformer
from hoptrail.memory.testing.hash_encoder import HashEncoder

PROGRAM = str(Path(__file__).with_name("service_process.py"))
SECONDS = 120
"""For whatever a busy machine takes; nothing waits that long by itself."""
RATE = {"calls_per_minute": 1_000_000, "call_seconds": 60.0}


class ServiceProcess:
    """A running service."""

    def __init__(self, path: Path, *, before: list[str], settings: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-P", PROGRAM, str(path), json.dumps(settings)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def post(self, operation: str, **body: Any) -> httpx2.Response:
        return httpx2.post(f"{self.url}/v1/{operation}", json=body, timeout=SECONDS)

    def wait_for_metric(self, line: str) -> None:
        deadline = time.monotonic() + SECONDS
        while line not in httpx2.get(f"{self.url}/metrics", timeout=SECONDS).text:
            assert time.monotonic() < deadline, line
            time.sleep(0.02)

    def end(self, how: signal.Signals) -> str:
        """Send a signal; what the process still said, once it has gone."""
        self.process.send_signal(how)
        return self.process.communicate(timeout=SECONDS)[0]


@contextmanager
def service(
    path: Path, before: list[str] | None = None, **settings: Any
) -> Iterator[ServiceProcess]:
    one = ServiceProcess(path, before=before or [], settings={"limits": RATE, **settings})
    try:
        yield one
    finally:
        one.process.kill()
        one.process.communicate(timeout=SECONDS)


def texts_in(path: Path) -> set[str]:
    with Memory(path, encoder=HashEncoder(), policy=None) as memory:
        assert memory.verify() == []
        return {passage.text for passage in memory.store.passages()}


def test_told_to_end_it_answers_what_it_has_and_closes_the_memory(tmp_path) -> None:
    path = tmp_path / "agent.db"
    with service(path) as one, ThreadPoolExecutor(4) as callers:
        calls = [
            callers.submit(one.post, "remember", text=f"Heron {n} came slowly.") for n in range(4)
        ]
        one.wait_for_metric("hoptrail_calls_in_progress 4.0")
        assert one.end(signal.SIGTERM) == "closed\n"
        assert [call.result().status_code for call in calls] == [200] * 4
        assert one.process.returncode == 0
        with pytest.raises(httpx2.TransportError):
            one.post("search", query="heron")
    assert len(texts_in(path)) == 4


def test_killed_in_mid_write_it_has_all_that_it_acknowledged(tmp_path) -> None:
    path, acknowledged = tmp_path / "agent.db", set()
    texts = iter([f"Owl {n} was seen." for n in range(10_000)])
    lock = threading.Lock()

    def write(one: ServiceProcess) -> None:
        while True:
            with lock:
                text = next(texts)
            try:
                reply = one.post("remember", text=text)
            except httpx2.TransportError:
                return
            assert reply.status_code == 200
            acknowledged.add(text)

    for least in (20, 40):  # killed and started again, twice
        with service(path) as one:
            writers = [threading.Thread(target=write, args=(one,)) for _ in range(3)]
            for writer in writers:
                writer.start()
            while len(acknowledged) < least:
                time.sleep(0.01)
            one.end(signal.SIGKILL)
            for writer in writers:
                writer.join()
        assert acknowledged <= texts_in(path)
    with service(path) as one:
        assert one.post("search", query="owl", mode="sparse").json()["passages"]


def test_callers_that_leave_are_no_harm_and_their_writes_are_whole_or_not_there(tmp_path) -> None:
    path = tmp_path / "agent.db"
    with service(path) as one:
        address = (urlsplit(one.url).hostname, urlsplit(one.url).port)
        for n in range(12):
            body = json.dumps({"text": f"Rook {n} flew by."}).encode()
            head = b"POST /v1/remember HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
            message = head % len(body) + body
            with socket.create_connection(address) as caller:
                # Some leave in mid-head, some in mid-body, and some before the reply.
                caller.sendall(message[: (20, len(message) - 5, len(message))[n % 3]])
        assert one.post("remember", text="Rook 99 stayed.").status_code == 200
        one.wait_for_metric("hoptrail_calls_in_progress 0.0")
        assert one.end(signal.SIGTERM) == "closed\n"
    texts = texts_in(path)
    assert "Rook 99 stayed." in texts
    assert texts <= {f"Rook {n} flew by." for n in (2, 5, 8, 11)} | {"Rook 99 stayed."}


def refuse_and_go_on(one: ServiceProcess, *, words: str) -> set[str]:
    """Write until the disk is full; reading goes on. What was acknowledged."""
    texts = set()
    for n in range(2_000):
        text = f"Crane {n} " + " ".join(f"w{n}x{i}" for i in range(400))
        reply = one.post("remember", text=text)
        if reply.status_code != 200:
            break
        texts.add(text)
    assert reply.status_code == 503
    assert reply.headers["Retry-After"]
    assert reply.json()["error"].startswith("the store could not be written, and nothing was: ")
    assert words in reply.json()["error"]
    assert httpx2.get(f"{one.url}/health/live").status_code == 200
    assert one.post("search", query="Crane 0", mode="sparse", k=1).json()["passages"]
    return texts


def test_a_file_that_may_not_grow_refuses_writes_by_name_and_the_service_goes_on(tmp_path) -> None:
    path = tmp_path / "agent.db"
    with service(path) as one:
        one.post("remember", text="Crane 0 came first.")
        size = max(file.stat().st_size for file in tmp_path.iterdir())
        _, hard = resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (size + 200_000, hard))
        texts = refuse_and_go_on(one, words="disk")
        resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert one.post("remember", text="Crane 3000 has room again.").status_code == 200
        one.end(signal.SIGKILL)
    assert texts | {"Crane 0 came first.", "Crane 3000 has room again."} == texts_in(path)


def can_mount() -> bool:
    """Whether a small disk of our own can be made here."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="mounting a tmpfs needs user namespaces")
def test_a_full_disk_refuses_writes_by_name_and_the_service_goes_on(tmp_path) -> None:
    mount = 'mount -t tmpfs -o size=1500k tmpfs "$0" && exec "$@"'
    with service(
        tmp_path / "agent.db", before=["unshare", "-rm", "sh", "-c", mount, str(tmp_path)]
    ) as one:
        refuse_and_go_on(one, words="full")


def test_the_command_refuses_what_would_open_a_memory_to_others(tmp_path) -> None:
    arguments = ["serve", "--store", str(tmp_path / "a.db")]
    for more, sentence in (
        (["--host", "0.0.0.0"], "give it tokens"),
        (["--tokens", str(tmp_path / "none.json")], "cannot be read"),
        (["--calls-per-minute", "0"], "calls_per_minute must be"),
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "hoptrail", *arguments, *more],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert sentence in done.stderr
    assert not (tmp_path / "a.db").exists()


def test_the_command_offers_to_ask_without_a_reader_being_named(tmp_path, monkeypatch) -> None:
    offered = []
    monkeypatch.setattr(transformer, "minilm", lambda **_: HashEncoder())
    monkeypatch.setattr(
        http_serving, "serve_http", lambda memory, **_: offered.append(memory.has_reader)
    )
    assert main(["serve", "--store", str(tmp_path / "a.db")]) == 0
    assert offered == [True]
