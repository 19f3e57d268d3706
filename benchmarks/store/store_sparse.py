"""What a search by words costs by the number of passages, with and without tantivy.

    python benchmarks/store/store_sparse.py [--sizes 10000,100000,1000000] [--out FILE]

Postings are made by seed from the law that `store_texts` draws its words by, so that no
time goes into texts; the queries are as there. Times are medians over the queries, by the clock
and of the thread's own processor time, which other programs on the machine hardly move.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from store_texts import LENGTH, WORDS, Texts, vocabulary

from hoptrail.memory.index.bm25 import SparseIndex
from hoptrail.memory.index.postings import make_segment
from hoptrail.memory.index.slots import SlotTable
from hoptrail.memory.index.tantivy_bm25 import TantivyIndex

AT_ONCE = 20_000
DEPTH = 100


class Made(SparseIndex):
    """An index whose passages are drawn, not read."""

    def __init__(self, size: int) -> None:
        self.table = SlotTable()
        super().__init__(self.table, RLock())
        rng = np.random.default_rng(0)
        weight = 1.0 / (np.arange(WORDS) + 30.0) ** 1.07
        upto = np.cumsum(weight / weight.sum())
        terms = {self.terms(word)[0]: 0 for word in vocabulary()}
        self._ids = {term: i for i, term in enumerate(terms)}
        number = np.array([self._ids[self.terms(word)[0]] for word in vocabulary()])
        for first in range(0, size, AT_ONCE):
            count = min(AT_ONCE, size - first)
            rows = np.arange(first, first + count)
            self.table.add(rows, rng.integers(0, 1 << 62, count).astype(np.uint64))
            lengths = rng.normal(LENGTH, LENGTH / 4, count).clip(10, 4 * LENGTH).astype(np.int64)
            drawn = np.searchsorted(upto, rng.random(int(lengths.sum())))
            owners = np.repeat(np.arange(count), lengths)
            words = number[np.minimum(drawn, WORDS - 1)]
            self._take(make_segment(first, owners, words, lengths, self._pairs), lengths)
            self._total += int(lengths.sum())
            self._merge()

    def remove_one(self, slot: int) -> None:
        """Take a passage out."""
        slots = np.array([slot])
        self.table.mark_deleted(slots)
        self.remove(slots)


def main() -> None:
    """Time an index of each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--tantivy-to", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    sizes_done = []
    for size in map(int, args.sizes.split(",")):
        sizes_done.append(one_size(size, args.queries, size <= args.tantivy_to))
        sys.stdout.write(json.dumps(sizes_done[-1]) + "\n")
        sys.stdout.flush()
    figures = {"sizes": sizes_done, "machine": f"{platform.machine()}, numpy {np.__version__}"}
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def one_size(size: int, queries: int, beside: bool) -> dict[str, Any]:
    """Search, move and delete."""
    own = Made(size)
    stream = Texts().queries(queries)
    work: dict[str, Callable[[str], object]] = {
        "search": lambda query: own.search(query, DEPTH),
        "search and moments": lambda query: (own.search(query, DEPTH), own.moments(query)),
    }
    if beside:
        table = SlotTable()
        table.add(np.arange(size), np.asarray(own.table.keys))
        other = TantivyIndex(table, RLock())
        other.restore(own.state())
        work["search, tantivy"] = lambda query: other.search(query, DEPTH)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for query in stream:
        for name, run in work.items():
            own._last = None
            times[name].append(_time(lambda run=run, query=query: run(query)))  # type: ignore[misc]
    gone = np.random.default_rng(1).permutation(size)[:20].tolist()
    times["delete"] = [_time(lambda slot=slot: own.remove_one(slot)) for slot in gone]  # type: ignore[misc]
    state = own.state()
    return {
        "passages": size,
        "bytes_per_passage": sum(array.nbytes for array in state.values()) / size,
        **{
            name: {
                "ms": statistics.median(clock for clock, _ in clocks),
                "cpu_ms": statistics.median(cpu for _, cpu in clocks),
            }
            for name, clocks in times.items()
        },
    }


def _time(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds by the clock and of this thread's processor time."""
    clock, cpu = time.perf_counter(), time.thread_time()
    work()
    return 1000 * (time.perf_counter() - clock), 1000 * (time.thread_time() - cpu)


if __name__ == "__main__":
    main()
