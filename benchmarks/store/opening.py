"""How long a large store takes from its path to its first answered search, and what memory.

    python benchmarks/store/opening.py FILE [--passages 1000000] [--out FILE]

The store is made where it is absent: synthetic texts of twenty words and synthetic vectors (384
dimensions, around 4,096 centres), added in bulk, and searched once, which builds its indexes and
their snapshot. It is then opened by a new process that knows nothing of it, several times; the
file's pages are in the system's cache, as they are after a first opening.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.store import Store
from hoptrail.types import Passage

AT_ONCE = 20_000
WORDS = 20
QUERIES = 30
OPENINGS = 3


class Synthetic:
    """Unit vectors around centres, by the number that a text begins with."""

    dim = 384
    fingerprint = "synthetic-384"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._centres = rng.normal(size=(4096, self.dim)).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)`."""
        out = np.empty((len(texts), self.dim), np.float32)
        for i, text in enumerate(texts):
            number = int(text[1:9])
            noise = np.random.default_rng(number).standard_normal(self.dim, dtype=np.float32)
            out[i] = self._centres[number % 4096] + 0.7 * noise
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        return out


def build(path: Path, count: int) -> dict[str, float]:
    """Make the store and its snapshot; the seconds of each."""
    rng = np.random.default_rng(1)
    started = time.perf_counter()
    with Store(path, encoder=Synthetic()) as store:
        for first in range(0, count, AT_ONCE):
            words = np.minimum(rng.zipf(1.3, size=(AT_ONCE, WORDS)) - 1, 49_999)
            store.add(
                Passage(str(n), f"n{n:08d} " + " ".join(f"w{word:05d}" for word in row))
                for n, row in enumerate(words[: count - first].tolist(), start=first)
            )
        added = time.perf_counter()
        store.view()
        return {"add": added - started, "index": time.perf_counter() - added}


def opened(path: Path) -> dict[str, Any]:
    """Seconds from a path to an answer, and of later answers; what it took of memory."""
    queries = [f"n{n:08d} w{n % 300:05d} w{n % 7:05d}" for n in range(QUERIES + 1)]
    encoder = Synthetic()
    before = memory()
    started, cpu = time.perf_counter(), time.process_time()
    with Store(path, encoder=encoder) as store:
        view = store.view()
        seen = time.perf_counter()
        hits = store.search(queries[0], 10)
        first, spent = time.perf_counter(), time.process_time() - cpu
        times = []
        for query in queries[1:]:
            turn = time.process_time()
            store.search(query, 10, mode="dense")
            times.append(1000 * (time.process_time() - turn))
        after = memory()
        assert len(hits) == 10
        return {
            "passages": view.size,
            "index": repr(view.dense),
            "seconds_to_view": seen - started,
            "seconds_to_first_answer": first - started,
            "cpu_seconds_to_first_answer": spent,
            "dense_cpu_ms_median": statistics.median(times),
            "private_mb": (after["RssAnon"] - before["RssAnon"]) / 1024,
            "mapped_mb": (after["RssFile"] - before["RssFile"]) / 1024,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def memory() -> dict[str, int]:
    """This process's resident memory in KiB, private and of files, as Linux tells it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {key: int(fields[key].split()[0]) for key in ("RssAnon", "RssFile")}


def main() -> None:
    """Build what is absent, open it, and print and write what that took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("store", type=Path)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    processes = multiprocessing.get_context("spawn")
    figures: dict[str, Any] = {}
    if not args.store.exists():
        with processes.Pool(1) as pool:
            figures["seconds_to_build"] = pool.apply(build, (args.store, args.passages))
    runs = []
    for _ in range(OPENINGS):
        with processes.Pool(1) as pool:
            runs.append(pool.apply(opened, (args.store,)))
            sys.stdout.write(json.dumps(runs[-1]) + "\n")
    figures["openings"] = runs
    figures["machine"] = f"{platform.machine()}, numpy {np.__version__}"
    figures["bytes"] = {
        "store": args.store.stat().st_size,
        "snapshots": sum(
            file.stat().st_size
            for file in args.store.with_name(args.store.name + ".index").iterdir()
        ),
    }
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
