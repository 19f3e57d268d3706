"""What the HTTP service does under load: throughput, waiting, and whether a reply is lost or mixed.

    python benchmarks/server/service_load.py [--passages 400] [--callers 16] [--calls 64]
        [--rounds 1] [--encoder hash] [--out FILE]

Callers on the same machine ask over sockets that stay open, each its next question once it has the
last answer. Services that walk each recall by itself and services that walk together what arrives
together take turns, over the same store and questions. A reply is lost if none came, and mixed if
it is not what the same question got from a service that nobody else asked. Every time is given by
the clock, and as processor time of the service for a call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

WRITES = ("calls_a_second", "p50_ms", "p99_ms", "cpu_ms_a_call")
TOGETHER = {"unbatched": 1, "batched": 32}


def main() -> None:
    """Serve, load, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=400)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--calls", type=int, default=64, help="recalls of a round")
    parser.add_argument("--writes", type=int, default=100, help="texts that are remembered")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--encoder", choices=("hash", "minilm"), default="hash")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--together", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.encoder, args.together)
        return
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder) / "memory.db", args)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def serve(path: Path, encoder: str, together: int) -> None:
    """Be a service, in a process of its own."""
    from hoptrail import Memory
    from hoptrail.integrations import ConnectionLimits, ServerLimits, serve_http

    limits = ServerLimits(
        calls_per_minute=10**9,
        calls_at_once=1_000,
        call_seconds=300,
        recalls_together=together,
        connections=ConnectionLimits(connections=1_000),
    )
    with Memory(path, encoder=named_encoder(encoder)) as memory:
        serve_http(memory, port=0, limits=limits, announce=lambda url: print(url, flush=True))


def named_encoder(name: str) -> Any:
    """The encoder of a name."""
    from hoptrail.memory.encoders.transformer import minilm
    from hoptrail.memory.testing.hash_encoder import HashEncoder

    return HashEncoder() if name == "hash" else minilm()


def measure(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of services over a store of generated passages."""
    from hoptrail import Memory

    rivers = [f"river {n % 40} of valley {n % 7}" for n in range(args.passages)]
    with Memory(path, encoder=named_encoder(args.encoder)) as memory:
        memory.add(
            {"id": f"p{n}", "title": f"Place {n}", "text": f"Place {n} lies on the {river}."}
            for n, river in enumerate(rivers)
        )
    questions = [f"Which place is beyond place {n % args.passages}?" for n in range(args.calls)]
    bodies = [("recall", {"question": one, "k": 5}) for one in questions]
    texts = [{"text": f"Heron {n} was seen at place {n}."} for n in range(args.writes)]
    expected: list[Any] = []
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in TOGETHER}
    for turn in range(args.rounds):
        for name, together in TOGETHER.items():
            with Service(path, args.encoder, together) as service:
                if not expected:
                    expected = [told(one) for one in service.load(bodies, 1)["replies"]]
                service.load(bodies[: args.callers], args.callers)  # loads what it walks with
                rounds[name].append(service.load(bodies, args.callers, expected))
                if turn == args.rounds - 1 and name == "batched":
                    writes = service.load([("remember", text) for text in texts], args.callers)
    with Memory(path, encoder=None, policy=None) as memory:
        stored = {passage.id for passage in memory.store.passages()}
    ids = [json.loads(body)["id"] for _, body, _ in writes["replies"]]
    return {
        "passages": args.passages,
        "callers": args.callers,
        "calls_a_round": args.calls,
        "encoder": args.encoder,
        **{name: summary(results) for name, results in rounds.items()},
        "writes": {
            **{name: writes[name] for name in WRITES},
            "acknowledged": len(ids),
            "lost": len(set(ids) - stored),
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} processors at a load of "
        f"{os.getloadavg()[2]:.0f}, Python {platform.python_version()}",
    }


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The rounds of one kind: sums of what may not be, medians of the rest."""
    for one in results:
        one.pop("replies")
    sums = {"lost", "mixed"}
    return {
        name: sum(one[name] for one in results)
        if name in sums
        else statistics.median(one[name] for one in results)
        for name in results[0]
    }


def told(reply: tuple[int, bytes, float]) -> Any:
    """What a reply says, without what no two have in common."""
    status, body, _ = reply
    data = json.loads(body)
    return status, data.get("question"), [hit["id"] for hit in data.get("passages", ())]


class Service:
    """A service in a process, and what it is asked."""

    def __init__(self, path: Path, encoder: str, together: int) -> None:
        self._command = [sys.executable, __file__, "--serve", str(path), "--encoder", encoder]
        self._command += ["--together", str(together)]

    def __enter__(self) -> Service:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._url = urlsplit(self._process.stdout.readline().strip())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def load(
        self, calls: list[tuple[str, Any]], callers: int, expected: list[Any] | None = None
    ) -> dict[str, Any]:
        """Make calls, so many at once, and look at the replies."""
        before = self._metrics()
        started = time.perf_counter()
        replies = asyncio.run(self._call_all(calls, callers))
        seconds = time.perf_counter() - started
        after = self._metrics()
        answers = [one for one in replies if one is not None]
        waits = sorted(1000 * wait for _, _, wait in answers)
        walks = after.get("hoptrail_recall_batch_size_count", 0) - before.get(
            "hoptrail_recall_batch_size_count", 0
        )
        spent = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
        return {
            "calls_a_second": len(answers) / seconds,
            "p50_ms": statistics.median(waits),
            "p99_ms": waits[min(len(waits) - 1, round(0.99 * len(waits)))],
            "cpu_ms_a_call": 1000 * spent / len(calls),
            "calls_a_walk": len(calls) / walks if walks else 0.0,
            "lost": sum(one is None or one[0] != 200 for one in replies),
            "mixed": sum(
                one is not None and told(one) != other
                for one, other in zip(replies, expected or map(told, answers), strict=False)
            ),
            "replies": replies,
        }

    def _metrics(self) -> dict[str, float]:
        status, body, _ = asyncio.run(self._call_all([("/metrics", None)], 1))[0] or (0, b"", 0.0)
        assert status == 200
        lines = [line.split() for line in body.decode().splitlines() if not line.startswith("#")]
        return {line[0]: float(line[1]) for line in lines}

    async def _call_all(
        self, calls: list[tuple[str, Any]], callers: int
    ) -> list[tuple[int, bytes, float] | None]:
        """The status, body and seconds of each reply; None where none came."""
        replies: list[tuple[int, bytes, float] | None] = [None] * len(calls)
        rows = iter(enumerate(calls))

        async def call() -> None:
            reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
            for row, (name, body) in rows:
                began = time.perf_counter()
                writer.write(request(name, body))
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
                content = await reader.readexactly(length)
                replies[row] = int(head[9:12]), content, time.perf_counter() - began
            writer.close()

        await asyncio.gather(*(call() for _ in range(callers)), return_exceptions=True)
        return replies


def request(name: str, body: Any) -> bytes:
    """A request as it goes over the wire."""
    if body is None:
        return b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % name.encode()
    content = json.dumps(body).encode()
    head = f"POST /v1/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


if __name__ == "__main__":
    main()
