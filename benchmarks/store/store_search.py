"""What a hybrid search costs by the size of the store, beside bm25s plus raw FAISS.

    python benchmarks/store/store_search.py [--sizes 10000,100000,1000000] [--index flat]
        [--out FILE]

Texts and vectors are made up by seed (`store_texts`), so that a query's vector costs next to
nothing. Whatever is compared takes turns on each query, the sizes too. Times are the medians over
the queries, by the clock and of the thread's own processor time, which other programs on the
machine move less. Recall is of the dense search that was timed, against exact search of the same
store.

Beside it stand the ranks of bm25s and of raw FAISS, fused by hand: with a flat index, and where
the store's own is approximate, with one that FAISS's factory makes of the same lists and codes, as
many of the lists looked at, its candidates ranked again by whole vectors.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from store_texts import Texts, WordVectors

from hoptrail.memory.index.ann_types import (
    MAX_PROBE_FRACTION,
    AnnIndexType,
    IndexName,
    IvfFastScan,
    kind_for,
)
from hoptrail.memory.store import Store

AT_ONCE = 20_000
K, DEPTH = 10, 100


def main() -> None:
    """Build a store of each size and time what is asked of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--index", default="auto", help="the dense index, as `Store` takes it")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument(
        "--beside-to", type=int, default=100_000, help="the largest size that bm25s is built for"
    )
    parser.add_argument("--keep", type=Path, help="where stores stay, to be used again")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    encoder = WordVectors(args.dim)
    sizes = [int(size) for size in args.sizes.split(",")]
    queries = Texts(1).queries(args.queries)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        home = args.keep or Path(folder)
        paths = [home / f"s{size}" / "memory.db" for size in sizes]
        measurements = [
            one_size(path, encoder, size, args.index, opened)
            for path, size in zip(paths, sizes, strict=True)
        ]
        beside = [
            _beside(one, encoder, size, args.index) if size <= args.beside_to else None
            for one, size in zip(measurements, sizes, strict=True)
        ]
        work = [
            _work(one.pop("store"), other) for one, other in zip(measurements, beside, strict=True)
        ]
        turns = _turns(work, queries)
        for one, path, other, times in zip(measurements, paths, beside, turns, strict=True):
            one |= times
            one["dense_recall_at_10"] = _recall(path, encoder, args.index, queries)
            if other is not None and other.lists is not None:
                one["lists_recall_at_10"] = other.recall(queries)
            sys.stdout.write(json.dumps(one) + "\n")
    figures = {
        "index": args.index,
        "sizes": measurements,
        "largest_over_smallest": {
            kind: measurements[-1]["hoptrail"][kind] / measurements[0]["hoptrail"][kind]
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
    path: Path, encoder: WordVectors, size: int, index: IndexName, opened: ExitStack
) -> dict[str, Any]:
    """Build, close and open again."""
    build = _build(path, encoder, size, index)
    before, clock = _memory(), _Clock()
    store = opened.enter_context(Store(path, encoder=encoder, index=index))
    store.search("badaba", K)
    opening, memory = clock.stop(), _memory() - before
    disk = sum(f.stat().st_size for f in path.parent.rglob("*") if f.is_file())
    return {
        "passages": size,
        "view": repr(store.view()),
        "store": store,
        "build_s": build,
        "open_s": opening,
        "disk_bytes_per_passage": disk / size,
        "memory_bytes_per_passage": memory / size,
    }


def _beside(one: dict[str, Any], encoder: WordVectors, size: int, index: IndexName) -> _Beside:
    """What stands beside a store of this size; its memory and its time join the figures."""
    texts = Texts()
    gc.collect()
    before, clock = _memory(), _Clock()
    parts = (texts.texts(n) for n in _portions(size))
    libraries = _Beside([t for part in parts for t in part], encoder, kind_for(index, size, None))
    gc.collect()
    one["beside_build_s"] = clock.stop()
    one["beside_memory_bytes_per_passage"] = (_memory() - before) / size
    return libraries


def _work(store: Store, beside: _Beside | None) -> dict[str, Callable[[str], object]]:
    """What is timed of one size."""
    work: dict[str, Callable[[str], object]] = {
        "hoptrail": lambda query: store.search(query, K),
        "hoptrail, sparse": lambda query: store.search(query, K, mode="sparse"),
        "hoptrail, dense": lambda query: store.search(query, K, mode="dense"),
    }
    if beside is not None:
        work["bm25s"] = beside.words
        work["bm25s + flat"] = lambda query: beside.search(query, beside.flat)
        if beside.lists is not None:
            work["bm25s + lists"] = lambda query: beside.search(query, beside.lists)
    return work


def _build(
    path: Path, encoder: WordVectors, size: int, index: IndexName
) -> dict[str, float] | None:
    """A store with everything derived, if it is not there yet; what that took."""
    if path.exists():
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = Texts()
    built = _Clock()
    with Store(path, encoder=encoder, index=index) as store:
        for part, first in zip(_portions(size), range(0, size, AT_ONCE), strict=True):
            store.add(list(texts.passages(part, first)))
        store.view().save()
    return built.stop()


def _portions(size: int) -> list[int]:
    """How many passages are written at once."""
    return [min(AT_ONCE, size - first) for first in range(0, size, AT_ONCE)]


def _recall(path: Path, encoder: WordVectors, index: IndexName, queries: list[str]) -> float:
    """Of the ten nearest of each query, how many that index finds."""
    vectors = encoder.encode(queries)
    best_slots = []
    for kind in (index, "flat"):
        with Store(path, encoder=encoder, index=kind, read_only=True) as store:
            best_slots.append(store.view().dense.search(vectors, K)[1])
    pairs = zip(*best_slots, strict=True)
    return sum(len(np.intersect1d(here, exact)) for here, exact in pairs) / (K * len(queries))


def _turns(
    work: list[dict[str, Callable[[str], object]]], queries: list[str]
) -> list[dict[str, dict[str, float]]]:
    """Medians of each kind of work for each size."""
    times: list[dict[str, list[dict[str, float]]]] = [{name: [] for name in one} for one in work]
    for warm, query in enumerate([*queries[:5], *queries]):
        for one, durations in zip(work, times, strict=True):
            for name, run in one.items():
                clock = _Clock()
                run(query)
                if warm >= 5:
                    durations[name].append(clock.stop(1000))
    return [
        {
            name: {
                "ms": statistics.median(t["clock"] for t in values),
                "cpu_ms": statistics.median(t["cpu"] for t in values),
            }
            for name, values in durations.items()
        }
        for durations in times
    ]


class _Beside:
    """What one would put together by hand: a BM25 library and raw FAISS, ranks fused."""

    def __init__(self, texts: list[str], encoder: WordVectors, kind: AnnIndexType | None) -> None:
        import bm25s
        import faiss
        import Stemmer

        self._tokenize, self._stemmer = bm25s.tokenize, Stemmer.Stemmer("english")
        self._encoder = encoder
        self._sparse = bm25s.BM25()
        self._sparse.index(self._terms(texts), show_progress=False)
        faiss.omp_set_num_threads(1)
        self.flat = faiss.IndexFlatIP(encoder.dim)
        for start in range(0, len(texts), AT_ONCE):
            self.flat.add(encoder.encode(texts[start : start + AT_ONCE]))
        self.lists: Any = self._of_lists(kind) if isinstance(kind, IvfFastScan) else None

    def _of_lists(self, kind: IvfFastScan) -> Any:
        """The store's kind of index as FAISS's factory has it, over the vectors of the flat one."""
        import faiss

        count, dim = self.flat.ntotal, self.flat.d
        factory = f"IVF{kind.lists(count)},PQ{dim // 2}x4fs"
        codes = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
        codes.nprobe = max(kind.probes(codes.nlist), math.ceil(MAX_PROBE_FRACTION * codes.nlist))
        vectors = faiss.rev_swig_ptr(self.flat.get_xb(), count * dim).reshape(count, dim)
        codes.train(vectors[:: max(1, count // kind.points(count))])
        for start in range(0, count, AT_ONCE):
            codes.add(vectors[start : start + AT_ONCE])
        self._codes = codes  # or it goes with its Python object
        refined = faiss.IndexRefine(codes, self.flat)
        refined.k_factor = kind.overfetch
        return refined

    def words(self, query: str) -> list[int]:
        """The best by words alone."""
        documents, _ = self._sparse.retrieve(self._terms([query]), k=DEPTH, show_progress=False)
        best: list[int] = documents[0].tolist()
        return best

    def search(self, query: str, dense: Any) -> list[int]:
        """The best K by the sum of 1 / (60 + rank)."""
        _, near = dense.search(self._encoder.encode([query]), DEPTH)
        score: dict[int, float] = {}
        for row in (self.words(query), near[0].tolist()):
            for rank, i in enumerate(row):
                score[i] = score.get(i, 0.0) + 1 / (60 + rank)
        return sorted(score, key=lambda i: -score[i])[:K]

    def recall(self, queries: list[str]) -> float:
        """Of the ten nearest of each query, how many the lists find."""
        vectors = self._encoder.encode(queries)
        results = (index.search(vectors, DEPTH)[1][:, :K] for index in (self.lists, self.flat))
        pairs = zip(*results, strict=True)
        return sum(len(np.intersect1d(a, b)) for a, b in pairs) / (K * len(queries))

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
