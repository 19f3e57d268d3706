"""What changing a store's encoder costs beside the encoding alone, and what searches notice of it.

    python benchmarks/store/reencoding.py [--passages 10000] [--slow 256] [--switched 100000]
        [--out FILE]
    python benchmarks/store/reencoding.py --store STORES/s1000000/memory.db [--out FILE]

Three measurements, each a ratio within one run. The share of a change that its encoder takes, by
the clock and as processor time, with MiniLM and with one that costs next to nothing: the rest is
what reading, writing and switching take. The time of a hybrid search, its query's vector given,
while MiniLM is at work in a thread, beside that of searches between which it stands still, by the
clock and as the searching thread's processor time. And how long the switch keeps writers waiting,
with the first search after it.

With `--store` only the last of them, of a store that `store_search.py --keep` has left: its encoder
is changed, and changed again by the next call. Beside it another process writes all the time and
tells how long it had to wait; memory is what was resident at most beyond what was before.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from store_texts import Texts, WordVectors

from hoptrail.memory.encoders.transformer import Encoder, minilm
from hoptrail.memory.maintenance.reencoding import Reencoding
from hoptrail.memory.storage import next_vectors
from hoptrail.memory.store import Store
from hoptrail.types import Link, Passage

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
        parts = []
        for start in range(0, len(texts), self._at_once):
            self.go.wait()
            self.at_work.set()
            clock, cpu = time.perf_counter(), time.thread_time()
            parts.append(self.inner.encode(texts[start : start + self._at_once]))
            self.clock += time.perf_counter() - clock
            self.cpu += time.thread_time() - cpu
            self.at_work.clear()
        return np.concatenate(parts)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=256, help="passages that MiniLM encodes")
    parser.add_argument("--switched", type=int, default=100_000, help="passages of the switch")
    parser.add_argument("--seconds", type=float, default=20.0, help="of searches beside it")
    parser.add_argument("--store", type=Path, help="change the encoder of this one, and no more")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures = whole(args.store) if args.store else all_three(args)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def all_three(args: argparse.Namespace) -> dict[str, object]:
    """What is measured on stores that are made for it."""
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
    return {
        "passages": args.passages,
        "passages_of_minilm": args.slow,
        "share_of_encoding_alone": shares,
        "search": beside,
        "switch": {"passages": args.switched, **switching},
        "machine": f"{platform.machine()}, 1 thread, torch {torch.__version__}",
    }


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
    named_times = {"working" if at_work else "idle": t for at_work, t in times.items()}
    figures: dict[str, float] = {
        f"{n}_ms_median": statistics.median(t) for n, t in named_times.items()
    }
    figures |= {f"{n}_ms_p95": statistics.quantiles(t, n=20)[-1] for n, t in named_times.items()}
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
        with switches() as switch_times:
            assert Reencoding(store, WordVectors(seed=1)).run()
        after = worked(lambda: store.search("a b", 10))
    return {
        "switch_ms": switch_times[0],
        "first_search_after_cpu_ms": after,
        "first_search_of_all_cpu_ms": nothing,
    }


def whole(path: Path) -> dict[str, object]:
    """The change of a store to the other of two quick encoders, while another process writes."""
    with Store(path) as store:
        size, before = len(store), "word-vectors-384-1" in repr(store)
    old, new = WordVectors(seed=int(before)), Timed(WordVectors(seed=int(not before)), 1024)
    with (
        Store(path, encoder=old) as store,
        writing_beside(path) as waits,
        switches() as switch_times,
    ):
        highest = Peak()
        clock, cpu = time.perf_counter(), time.thread_time()
        assert Reencoding(store, new).run()
        took = time.perf_counter() - clock, time.thread_time() - cpu
        change_peak = highest.stop()
    with Store(path, encoder=new.inner) as store:
        highest = Peak()
        began = time.perf_counter()
        first = worked(lambda: store.search("badaba", 10))
        first_clock = 1000 * (time.perf_counter() - began)
        search_peak = highest.stop()
        view = repr(store.view())
    return {
        "passages": size,
        "whole_s": {"clock": took[0], "cpu": took[1]},
        "encoding_s": {"clock": new.clock, "cpu": new.cpu},
        "other_cpu_microseconds_a_passage": 1e6 * (took[1] - new.cpu) / size,
        "switch_ms": switch_times[0],
        "writer_beside": {
            "writes": len(waits),
            "ms_median": statistics.median(waits),
            "ms_p99": statistics.quantiles(waits, n=100, method="inclusive")[-1],
            "ms_longest": max(waits),
        },
        "peak_resident_bytes_more": {"change": change_peak, "first_search": search_peak},
        "first_search_after_ms": {"clock": first_clock, "cpu": first},
        "view": view,
        "machine": f"{platform.machine()}, 1 thread",
    }


@contextmanager
def switches() -> Iterator[list[float]]:
    """The milliseconds that each switch takes, its commit not included."""
    switch_times: list[float] = []
    inner = next_vectors.switch

    def timed(connection: object) -> None:
        switch_times.append(measured(lambda: inner(connection)))  # type: ignore[arg-type]

    next_vectors.switch = timed
    try:
        yield switch_times
    finally:
        next_vectors.switch = inner


@contextmanager
def writing_beside(path: Path) -> Iterator[list[float]]:
    """Another process that links two passages every tenth of a second; how long each took, in ms.

    The list is filled when the context ends.
    """
    waits: list[float] = []
    context = get_context("spawn")
    ended, messages = context.Event(), context.Queue()
    process = context.Process(target=_write, args=(path, ended, messages))
    process.start()
    messages.get()  # it has opened the store
    try:
        yield waits
    finally:
        ended.set()
        waits += messages.get(timeout=120)  # which fails if it has not lived to tell
        process.join()


def _write(path: Path, ended: Any, messages: Any) -> None:
    waits = []
    with Store(path) as store:
        messages.put(None)
        for number in itertools.count(1):
            link = Link("p1", kind="beside", weight=float(number))
            waits.append(measured(partial(store.link, "p0", link)))
            if ended.wait(0.1):
                break
        store.unlink("p0", "p1", kind="beside")
    messages.put(waits)


class Peak:
    """How many bytes more of this process than at first are resident at most, from now on."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak until here
        self._first = self._bytes("VmRSS")

    def stop(self) -> int:
        """The bytes."""
        return self._bytes("VmHWM") - self._first

    def _bytes(self, field: str) -> int:
        status = Path("/proc/self/status").read_text()
        line = next(row for row in status.splitlines() if row.startswith(field))
        return 1024 * int(line.split()[1])


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
