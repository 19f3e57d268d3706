"""What counting recalls and remembering queries cost and spare, beside going without, in one run.

    python benchmarks/store/keeping_cost.py [--passages 10000] [--queries 1500] [--out FILE]

Passages are made of drawn words and encoded by a hash, so that what is measured is the store and
not an encoder; only the cache of queries is measured with MiniLM, on searches drawn from a few by
Zipf's law. What is compared takes turns on each query, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hoptrail.memory.encoders.query_cache import QUERIES_KEPT
from hoptrail.memory.encoders.transformer import Encoder, minilm
from hoptrail.memory.storage import schema
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

Times = dict[str, list[float]]


def main() -> None:
    """Time everything, print it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    words = [f"w{n}" for n in range(5000)]
    passages = [Passage(f"p{n}", " ".join(draw.choices(words, k=60))) for n in range(args.passages)]
    queries = [" ".join(draw.choices(words, k=6)) for _ in range(args.queries)]
    with TemporaryDirectory() as folder:
        adding = added(Path(folder), passages)
        counting = counted(Path(folder) / "with.db", queries)
        remembering, rate = remembered(Path(folder) / "minilm.db", passages[:500], queries, draw)
    figures = {
        "passages": args.passages,
        "queries": args.queries,
        "seed": args.seed,
        "add": summary(adding, "without statistics"),
        "search": summary(counting, "without statistics"),
        "search, MiniLM, Zipf": {**summary(remembering, "without cache"), "hit_rate": rate},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def added(folder: Path, passages: Sequence[Passage]) -> Times:
    """Seconds to add all passages at once, with the triggers that count and without."""
    times: Times = {"without statistics": [], "with statistics": []}
    lists = schema.LISTS
    for round_ in range(5):
        for name in times:
            schema.LISTS = lists if name == "with statistics" else lists[:1]
            path = folder / (f"{round_}-{name}.db" if round_ else f"{name.split()[0]}.db")
            with Store(path, encoder=HashEncoder()) as store:
                store.view()
                times[name].append(timed(lambda store=store: store.add(passages)))  # type: ignore[misc]
    schema.LISTS = lists
    return times


def counted(path: Path, queries: Sequence[str]) -> Times:
    """Seconds a search, on a store that counts and on one that does not, of the same file."""
    with (
        Store(path, encoder=HashEncoder(), track_usage=False) as silent,
        Store(path, encoder=HashEncoder()) as counting,
    ):
        return in_turn({"without statistics": silent, "with statistics": counting}, queries)


def remembered(
    path: Path, passages: Sequence[Passage], queries: Sequence[str], draw: random.Random
) -> tuple[Times, float]:
    """Seconds a search of queries that come again, with a cache and without; and its hit rate."""
    encoder: Encoder = minilm()
    different = queries[:200]
    weights = [1 / rank for rank in range(1, len(different) + 1)]
    stream = draw.choices(different, weights, k=min(600, len(queries)))
    with (
        Store(path, encoder=encoder) as bare,
        Store(path, encoder=encoder, queries_kept=QUERIES_KEPT) as cached,
    ):
        bare.add(passages)
        times = in_turn({"without cache": bare, "with cache": cached}, stream)
        return times, cached.cache_info().queries.rate


def in_turn(stores: dict[str, Store], queries: Sequence[str]) -> Times:
    """Seconds of each query on each store; who is first changes with every query."""
    times: Times = {name: [] for name in stores}
    for store in stores.values():
        store.view()
    for number, query in enumerate(queries):
        order = list(stores.items())
        for name, store in order if number % 2 else reversed(order):
            times[name].append(timed(lambda store=store, query=query: store.search(query, 10)))  # type: ignore[misc]
    return times


def timed(work: Callable[[], object]) -> float:
    """Seconds that something took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def summary(times: Times, base: str) -> dict[str, object]:
    """Mean, median and 99th percentile in milliseconds, and the ratios to the baseline's."""
    figures: dict[str, object] = {}
    for name, values in times.items():
        p99 = statistics.quantiles(values, n=100)[98] if len(values) >= 100 else max(values)
        figures[name] = {
            "mean_ms": 1000 * statistics.mean(values),
            "median_ms": 1000 * statistics.median(values),
            "p99_ms": 1000 * p99,
            "mean_ratio": statistics.mean(values) / statistics.mean(times[base]),
            "median_ratio": statistics.median(values) / statistics.median(times[base]),
        }
    return figures


if __name__ == "__main__":
    main()
