"""What changing a store's encoder costs beside the encoding alone, and what searches notice of it.

    python benchmarks/reencoding.py [--passages 10000] [--slow 256] [--switched 100000] [--out FILE]

Three measurements, each a ratio within one run. The share of a change that its encoder takes, by
the clock and as processor time, with MiniLM and with one that costs next to nothing: the rest is
what reading, writing and switching take. The time of a hybrid search, its query's vector given,
while MiniLM is at work in a thread, beside that of searches between which it stands still, by the
clock and as the searching thread's processor time. And how long the switch keeps writers waiting,
with the first search after it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from store_texts import Texts, WordVectors

from hoptrail.memory import pending
from hoptrail.memory.encoder import Encoder, minilm
from hoptrail.memory.reencoding import Reencoding
from hoptrail.memory.store import Store
from hoptrail.types import Passage

TURN = 10
"""Searches before the thread is stopped or let go on."""


class Timed:
    """An encoder that adds up what its work takes, and waits where it is told to."""

    def __init__(self, inner: Encoder, at_once: int = 32) -> None:
        self._at_once = at_once  # a network's batch: between two of them it can wait
        self.inner, self.fingerprint, self.dim = inner, inner.fingerprint, inner.dim
        self.clock = self.cpu = 0.0
        self.go = Event()
        self.go.set()
        self.at_work = Event()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The inner encoder's vectors."""
        found = []
        for start in range(0, len(texts), self._at_once):
            self.go.wait()
            self.at_work.set()
            clock, cpu = time.perf_counter(), time.thread_time()
            found.append(self.inner.encode(texts[start : start + self._at_once]))
            self.clock += time.perf_counter() - clock
            self.cpu += time.thread_time() - cpu
            self.at_work.clear()
        return np.concatenate(found)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=256, help="passages that MiniLM encodes")
    parser.add_argument("--switched", type=int, default=100_000, help="passages of the switch")
    parser.add_argument("--seconds", type=float, default=20.0, help="of searches beside it")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = minilm()
    passages = list(Texts(1).passages(args.passages, titled=True))
    network.encode([p.content for p in passages[:8]])
    with TemporaryDirectory() as folder:
        shares = {
            "minilm": share(Path(folder) / "slow.db", passages[: args.slow], network),
            "word vectors": share(Path(folder) / "quick.db", passages, WordVectors(seed=1)),
        }
        beside = searches(Path(folder) / "beside.db", passages, network, args.seconds)
        many = list(Texts(3).passages(args.switched))
        switching = switch(Path(folder) / "switch.db", many)
    figures = {
        "passages": args.passages,
        "passages_of_minilm": args.slow,
        "share_of_encoding_alone": shares,
        "search": beside,
        "switch": {"passages": args.switched, **switching},
        "machine": f"{platform.machine()}, 1 thread, torch {torch.__version__}",
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def share(path: Path, passages: Sequence[Passage], encoder: Encoder) -> dict[str, float]:
    """Of a whole change, what its encoder takes."""
    with Store(path, encoder=WordVectors()) as store:
        store.add(passages)
        timed = Timed(encoder)
        clock, cpu = time.perf_counter(), time.thread_time()
        assert Reencoding(store, timed).run()
        whole = time.perf_counter() - clock, time.thread_time() - cpu
    rest = 1e6 * (whole[1] - timed.cpu) / len(passages)
    return {
        "clock": timed.clock / whole[0],
        "cpu": timed.cpu / whole[1],
        "other_cpu_microseconds_a_passage": rest,
        "passages_a_second_by_cpu": len(passages) / whole[1],
    }


def searches(
    path: Path, passages: Sequence[Passage], encoder: Encoder, seconds: float
) -> dict[str, float]:
    """Milliseconds of a search beside a change at work and one that stands still, in turns."""
    times: dict[bool, list[float]] = {True: [], False: []}
    cpu: dict[bool, list[float]] = {True: [], False: []}
    with Store(path, encoder=WordVectors(), queries_kept=4096) as store:
        store.add(passages)
        queries = Texts(2).queries(256)
        store.encode_queries(queries)
        store.view()
        timed = Timed(encoder, at_once=4)
        change = Reencoding(store, timed, batch=64).start()
        turn, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            working = turn % 2 == 0
            (timed.go.set if working else timed.go.clear)()
            while timed.at_work.is_set() != working:
                time.sleep(0.001)
            for query in queries[TURN * turn % 250 :][:TURN]:
                began_cpu = time.thread_time()
                times[working].append(measured(lambda query=query: store.search(query, 10)))
                cpu[working].append(1000 * (time.thread_time() - began_cpu))
            turn += 1
        timed.go.set()
        change.stop()
    found = {"working" if at_work else "idle": t for at_work, t in times.items()}
    figures: dict[str, float] = {f"{n}_ms_median": statistics.median(t) for n, t in found.items()}
    figures |= {f"{n}_ms_p95": statistics.quantiles(t, n=20)[-1] for n, t in found.items()}
    figures["working_cpu_ms_median"] = statistics.median(cpu[True])
    figures["idle_cpu_ms_median"] = statistics.median(cpu[False])
    for kind in ("", "_cpu"):
        at_work, idle = figures[f"working{kind}_ms_median"], figures[f"idle{kind}_ms_median"]
        figures[f"ratio_of{kind}_medians"] = at_work / idle
    return {**figures, "searches": len(times[True]) + len(times[False])}


def switch(path: Path, passages: Sequence[Passage]) -> dict[str, float]:
    """How long a switch takes, and the first search after it."""
    with Store(path, encoder=WordVectors()) as store:
        store.add(passages)
        nothing = worked(lambda: store.search("a b", 10))
        held: list[float] = []
        inner = pending.switch

        def timed(connection: object) -> None:
            held.append(measured(lambda: inner(connection)))  # type: ignore[arg-type]

        pending.switch = timed  # type: ignore[assignment]
        try:
            assert Reencoding(store, WordVectors(seed=1)).run()
        finally:
            pending.switch = inner
        after = worked(lambda: store.search("a b", 10))
    return {
        "switch_ms": held[0],
        "first_search_after_cpu_ms": after,
        "first_search_of_all_cpu_ms": nothing,
    }


def measured(do: Callable[[], object]) -> float:
    """The milliseconds that something takes."""
    began = time.perf_counter()
    do()
    return 1000 * (time.perf_counter() - began)


def worked(do: Callable[[], object]) -> float:
    """The milliseconds of processor time that something takes."""
    began = time.process_time()
    do()
    return 1000 * (time.process_time() - began)


if __name__ == "__main__":
    main()
