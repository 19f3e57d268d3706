"""What it costs the graph to take in one passage, beside making its lists anew, and to be walked.

    python benchmarks/store/store_graph.py [--sizes 20000,100000] [--out FILE]

The tables are made up by seed: each passage has a name of its own, names four others and holds
eight entities drawn by Zipf's law. Times are medians of the thread's own processor time, which
other programs on the machine hardly move.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hoptrail.graph.adjacency.adjacency import Adjacency, Ranks, Tables, make_adjacency
from hoptrail.graph.adjacency.induced import MAX_DF
from hoptrail.graph.adjacency.ragged import none, records
from hoptrail.graph.adjacency.updates import updated
from hoptrail.graph.ranking.local_push import LocalPush
from hoptrail.graph.ranking.pagerank import DAMPING, ITERATIONS, TOLERANCE

SPOKEN, ENTITIES = 4, 8
ADDED = 50


def main() -> None:
    """Time a graph of each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", default="20000,100000")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    sizes_done = []
    for size in args.sizes.split(","):
        sizes_done.append(one_size(int(size)))
        sys.stdout.write(json.dumps(sizes_done[-1]) + "\n")
        sys.stdout.flush()
    figures = {"sizes": sizes_done, "machine": f"{platform.machine()}, numpy {np.__version__}"}
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def one_size(n: int) -> dict[str, Any]:
    """Make a graph, add to it, and walk it."""
    rng = np.random.default_rng(0)
    content = rng.integers(0, 1 << 62, n + ADDED)
    ranks = Ranks(lambda slots: np.argsort(content[slots], kind="stable"))
    tables = passages(np.arange(n), n, rng)
    entities = 2 * n
    a, lists_ms = timed(lambda: make_adjacency(tables, (n + ADDED, n, entities), n, ranks))
    walk, first = timed(lambda: LocalPush(a, MAX_DF))
    adding, walking = [], []
    for slot in range(n, n + ADDED):
        new = passages(np.array([slot]), n, rng)
        sizes = (n + ADDED, n, entities)
        after, ms = timed(_update(a, new, slot, sizes, ranks))
        adding.append(ms)
        next_walk, ms = timed(_walk(after, walk))
        walking.append(ms)
        a, walk = after, next_walk
    return {
        "passages": n,
        "ms_lists_anew": lists_ms,
        "ms_walk_anew": first,
        "ms_lists_one_passage": statistics.median(adding),
        "ms_walk_after_one_passage": statistics.median(walking),
        "ms_visits": visits(walk, n, rng, TOLERANCE, 25),
        "ms_visits_of_all": visits(walk, n, rng, 0.0, 3),
    }


def visits(
    walk: LocalPush, n: int, rng: np.random.Generator, tolerance: float, times: int
) -> float:
    """What a walk from a hundred hits takes, which fit less and less, as those of a question do."""
    weights = np.exp(-np.arange(100) / 10)
    durations = []
    for _ in range(times):
        seeds = dict(zip(rng.choice(n, 100, replace=False).tolist(), weights.tolist(), strict=True))
        walked = partial(walk.visits, seeds, damping=DAMPING, iterations=ITERATIONS)
        durations.append(timed(partial(walked, tolerance=tolerance))[1])
    return statistics.median(durations)


def passages(slots: np.ndarray, n: int, rng: np.random.Generator) -> Tables:
    """The tables of some passages among n names and 2 n entities."""
    k = len(slots)
    start = np.tile(np.arange(SPOKEN) * 20, k)
    entity = (rng.zipf(1.3, ENTITIES * k) % (2 * n)).astype(np.int64)
    pairs = np.unique(np.repeat(slots, ENTITIES).astype(np.int64) << 32 | entity)
    return Tables(
        titles=records(slots, slots % n, np.zeros(k, dtype=np.int64)),
        surface_mentions=records(
            np.repeat(slots, SPOKEN), start, start + 9, rng.integers(0, n, SPOKEN * k)
        ),
        entities=records(pairs >> 32, pairs & 0xFFFFFFFF),
        links=none(4),
    )


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What comes of it, and the milliseconds."""
    began = time.thread_time()
    result = work()
    return result, 1000 * (time.thread_time() - began)


def _update(
    a: Adjacency, new: Tables, slot: int, sizes: tuple[int, int, int], ranks: Ranks
) -> Callable[[], Adjacency]:
    return lambda: updated(a, new, np.array([slot]), sizes, slot + 1, ranks)


def _walk(a: Adjacency, before: LocalPush) -> Callable[[], LocalPush]:
    return lambda: LocalPush(a, MAX_DF, before)


if __name__ == "__main__":
    main()
