"""What each kind of dense index costs and finds, beside exact search, in one run.

    python benchmarks/search/dense_indexes.py [--sizes 10000 100000] [--stores FILE...] [--out FILE]

Vectors are synthetic (384 dimensions, unit length, around 1,000 centres), or those of stores;
queries are other vectors of the same kind. One query at a time, k = 10; the kinds take turns on
each query, in one thread. Times are the processor's, which other programs on the machine change
little. Recall is against exact search, bytes are FAISS's own, beside the vectors that every kind
is scored from.

With --changes, what each kind finds when a tenth of its passages, drawn at random, has gone and as
many others have come, beside a fresh index of the same passages.
"""

from __future__ import annotations

import argparse
import json
import platform
import sqlite3
import statistics
import sys
import time
from contextlib import closing
from pathlib import Path
from threading import RLock
from typing import Any

import faiss
import numpy as np

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.index.ann_types import KINDS
from hoptrail.memory.index.dense import DenseIndex
from hoptrail.memory.index.slots import Slots, SlotTable

DIM, CENTRES, SPREAD, K = 384, 1000, 1.0, 10


def synthetic(count: int, seed: int) -> Vectors:
    """Unit vectors around centres: the noise is as long as the centres are."""
    centres = np.random.default_rng(0).standard_normal((CENTRES, DIM), dtype=np.float32)
    rng = np.random.default_rng(seed)
    vectors = SPREAD * rng.standard_normal((count, DIM), dtype=np.float32)
    vectors += centres[rng.integers(0, CENTRES, count)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def stored(files: list[Path]) -> Vectors:
    """The different vectors of some stores, shuffled."""
    parts = []
    for file in files:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as store:
            rows = store.execute("SELECT vector FROM vectors").fetchall()
        parts.append(np.frombuffer(b"".join(row[0] for row in rows), "<f4").reshape(len(rows), -1))
    samples = np.unique(np.concatenate(parts), axis=0)
    np.random.default_rng(0).shuffle(samples)
    return samples


def index_of(
    name: str, vectors: Vectors, table: SlotTable | None = None
) -> tuple[DenseIndex, float]:
    """An index of that kind, ready to be searched, and the processor's seconds that took."""
    table = table or SlotTable()
    rows = np.arange(len(vectors))
    table.add(rows, rows.astype(np.uint64))
    index = DenseIndex(table, RLock(), name)  # type: ignore[arg-type]
    # The vectors lie there already, as in a snapshot; the sums play no part here.
    index.restore({"vectors": vectors, "sum": np.zeros(DIM), "outer": np.zeros((DIM, DIM))})
    started = time.process_time()
    index.settle()
    return index, time.process_time() - started


def changed(vectors: Vectors, queries: Vectors, names: list[str]) -> dict[str, dict[str, float]]:
    """Recall of each kind after changes, and of a fresh one; the last eleventh is what comes."""
    come = len(vectors) // 11
    gone = np.random.default_rng(3).choice(len(vectors) - come, come, False)
    left = np.delete(np.arange(len(vectors)), gone)
    remaining = np.ascontiguousarray(vectors[left])
    nearest = left[index_of("flat", remaining)[0].search(queries, K)[1]]
    results = {}
    for name in names:
        table = SlotTable()
        index, _ = index_of(name, np.ascontiguousarray(vectors[:-come]), table)
        table.mark_deleted(gone)
        index.remove(gone)
        rows = np.arange(len(vectors) - come, len(vectors))
        table.add(rows, rows.astype(np.uint64))
        index.add(vectors[-come:])
        slots = index.search(queries, K)[1]
        again = left[index_of(name, remaining)[0].search(queries, K)[1]]
        results[name] = {
            "recall_at_10_changed": _recall(slots, nearest),
            "recall_at_10_fresh": _recall(again, nearest),
        }
        sys.stdout.write(f"{len(vectors)} {name}: {index!r} {json.dumps(results[name])}\n")
        sys.stdout.flush()
    return results


def _recall(slots: Slots, nearest: Slots) -> float:
    pairs = zip(slots, nearest, strict=True)
    return sum(len(np.intersect1d(here, exact)) for here, exact in pairs) / nearest.size


def measured(vectors: Vectors, queries: Vectors, names: list[str]) -> dict[str, dict[str, Any]]:
    """Seconds, milliseconds, recall and bytes of each kind."""
    indexes: dict[str, DenseIndex] = {}
    results: dict[str, dict[str, Any]] = {}
    for name in ["flat", *names]:
        indexes[name], seconds = index_of(name, vectors)
        state = indexes[name].state()
        index_bytes = int(state["faiss"].nbytes) if "faiss" in state else 0
        results[name] = {
            "build_seconds": round(seconds, 2),
            "bytes_per_passage": index_bytes / len(vectors),
        }
        sys.stdout.write(f"{len(vectors)} {name}: built in {seconds:.1f} CPU s\n")
    times: dict[str, list[float]] = {name: [] for name in indexes}
    hits = dict.fromkeys(indexes, 0)
    for turn, query in enumerate([*queries[:5], *queries]):
        nearest: set[int] = set()
        for name, index in indexes.items():
            started = time.process_time()
            slots = index.search(query[None], K)[1][0].tolist()
            spent = 1000 * (time.process_time() - started)
            nearest = nearest or set(slots)
            if turn >= 5:
                times[name].append(spent)
                hits[name] += len(nearest & set(slots))
    base = statistics.median(times["flat"])
    for name, figures in results.items():
        figures["ms_median"] = statistics.median(times[name])
        figures["times_flat"] = figures["ms_median"] / base
        figures["recall_at_10"] = hits[name] / (K * len(queries))
    return results


def main() -> None:
    """Measure every size, and print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), help="default: all")
    parser.add_argument("--stores", type=Path, nargs="*", default=[], help="take their vectors too")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--changes", action="store_true", help="what changes cost in recall too")
    parser.add_argument(
        "--out", type=Path, help="write the figures as JSON; added to what is there"
    )
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    figures: dict[str, Any] = {}
    if args.out and args.out.exists():
        figures = json.loads(args.out.read_text(encoding="utf-8"))
    figures["machine"] = f"{platform.machine()}, one thread, faiss {faiss.__version__}"
    work: list[tuple[str, int]] = [("synthetic", size) for size in args.sizes]
    for kind, size in [("stores", 0)] * bool(args.stores) + work:
        if kind == "stores":
            everything = stored(args.stores)
            queries, vectors = everything[: args.queries], everything[args.queries :].copy()
        else:
            queries, vectors = synthetic(args.queries, 2), synthetic(size, 1)
        figures[f"{kind}, {len(vectors)}"] = results = measured(vectors, queries, args.kinds)
        if args.changes:
            for name, of in changed(vectors, queries, args.kinds).items():
                results[name] |= of
        for name, of in results.items():
            sys.stdout.write(
                f"{len(vectors):8} {name:8} build {of['build_seconds']:7.1f} s  "
                f"{of['ms_median']:7.2f} ms  {of['times_flat']:5.2f} x flat  "
                f"recall@10 {of['recall_at_10']:.3f}  {of['bytes_per_passage']:6.0f} bytes\n"
            )
        sys.stdout.flush()
        if args.out:
            args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
