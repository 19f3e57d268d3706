"""What a hybrid search costs by the size of the store, beside bm25s plus a flat FAISS index.

    python benchmarks/store_search.py [--sizes 10000,100000,1000000] [--index flat] [--out FILE]

Texts and vectors are made up by seed (`store_texts`), so that a query's vector costs next to
nothing. Whatever is compared takes turns on each query. Times are the medians over the queries, by
the clock and of the thread's own processor time, which other programs on the machine hardly move.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from store_texts import Texts, WordVectors

from hoptrail.memory.dense_kinds import IndexName
from hoptrail.memory.store import Store

AT_ONCE = 20_000
K, DEPTH = 10, 100


def main() -> None:
    """Build a store of each size and time what is asked of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--index", default="auto", help="the dense index, as `Store` takes it")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument(
        "--beside-to", type=int, default=100_000, help="the largest size that bm25s is built for"
    )
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    encoder = WordVectors(args.dim)
    sizes = [int(size) for size in args.sizes.split(",")]
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "memory.db"
            queries = Texts(1).queries(args.queries)
            beside = size <= args.beside_to
            found.append(one_size(path, encoder, size, args.index, queries, beside))
            sys.stdout.write(json.dumps(found[-1]) + "\n")
            sys.stdout.flush()
    figures = {
        "index": args.index,
        "sizes": found,
        "largest_over_smallest": {
            kind: found[-1]["hoptrail"][kind] / found[0]["hoptrail"][kind]
            for kind in ("ms", "cpu_ms")
        },
        "k": K,
        "dim": args.dim,
        "queries": args.queries,
        "machine": f"{platform.machine()}, numpy {np.__version__}",
    }
    sys.stdout.write(json.dumps(figures["largest_over_smallest"]) + "\n")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def one_size(
    path: Path, encoder: WordVectors, size: int, index: IndexName, queries: list[str], beside: bool
) -> dict[str, Any]:
    """Build, close, open again and search."""
    texts = Texts()
    kept: list[str] = []
    built = _Clock()
    with Store(path, encoder=encoder, index=index) as store:
        for first in range(0, size, AT_ONCE):
            part = list(texts.passages(min(AT_ONCE, size - first), first))
            kept += [p.text for p in part] if beside else []
            store.add(part)
        view = store.view()
        view.save()
    build = built.stop()
    before = _memory()
    opened = _Clock()
    with Store(path, encoder=encoder, index=index) as store:
        store.search(queries[0], K)
        opening = opened.stop()
        memory = _memory() - before
        work: dict[str, Callable[[str], object]] = {
            "hoptrail": lambda query: store.search(query, K),
            "hoptrail, sparse": lambda query: store.search(query, K, mode="sparse"),
            "hoptrail, dense": lambda query: store.search(query, K, mode="dense"),
        }
        if beside:
            work["bm25s + flat"] = _Beside(kept, encoder).search
        times = _turns(work, queries)
        view = store.view()
        state = repr(view)
    disk = sum(f.stat().st_size for f in path.parent.rglob("*") if f.is_file())
    return {
        "passages": size,
        "view": state,
        **times,
        "build_s": build,
        "open_s": opening,
        "disk_bytes_per_passage": disk / size,
        "memory_bytes_per_passage": memory / size,
    }


def _turns(
    work: dict[str, Callable[[str], object]], queries: list[str]
) -> dict[str, dict[str, float]]:
    times: dict[str, list[dict[str, float]]] = {name: [] for name in work}
    for warm, query in enumerate([*queries[:5], *queries]):
        for name, run in work.items():
            clock = _Clock()
            run(query)
            if warm >= 5:
                times[name].append(clock.stop(1000))
    return {
        name: {
            "ms": statistics.median(t["clock"] for t in taken),
            "cpu_ms": statistics.median(t["cpu"] for t in taken),
        }
        for name, taken in times.items()
    }


class _Beside:
    """What one would put together by hand: a BM25 library and a flat index, ranks fused."""

    def __init__(self, texts: list[str], encoder: WordVectors) -> None:
        import bm25s
        import faiss
        import Stemmer

        self._tokenize, self._stemmer = bm25s.tokenize, Stemmer.Stemmer("english")
        self._encoder = encoder
        self._sparse = bm25s.BM25()
        self._sparse.index(self._terms(texts), show_progress=False)
        faiss.omp_set_num_threads(1)
        self._dense = faiss.IndexFlatIP(encoder.dim)
        for start in range(0, len(texts), AT_ONCE):
            self._dense.add(encoder.encode(texts[start : start + AT_ONCE]))

    def search(self, query: str) -> list[int]:
        """The best K by the sum of 1 / (60 + rank)."""
        words, _ = self._sparse.retrieve(self._terms([query]), k=DEPTH, show_progress=False)
        _, near = self._dense.search(self._encoder.encode([query]), DEPTH)
        score: dict[int, float] = {}
        for row in (words[0].tolist(), near[0].tolist()):
            for rank, i in enumerate(row):
                score[i] = score.get(i, 0.0) + 1 / (60 + rank)
        return sorted(score, key=lambda i: -score[i])[:K]

    def _terms(self, texts: list[str]) -> Any:
        return self._tokenize(texts, stopwords="en", stemmer=self._stemmer, show_progress=False)


class _Clock:
    """Seconds since it was made, by the clock and of this thread's processor time."""

    def __init__(self) -> None:
        self._clock, self._cpu = time.perf_counter(), time.thread_time()

    def stop(self, factor: float = 1.0) -> dict[str, float]:
        """The time gone by, times a factor."""
        return {
            "clock": factor * (time.perf_counter() - self._clock),
            "cpu": factor * (time.thread_time() - self._cpu),
        }


def _memory() -> int:
    """Bytes of this process's own memory, without what is mapped from files."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(row for row in status.read_text().splitlines() if row.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
