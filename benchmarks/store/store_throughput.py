"""What writing costs beside the encoding alone, with all that is derived from a passage.

    python benchmarks/store/store_throughput.py [--passages 300] [--single 20] [--out FILE]

Batches of the same texts take turns: encoded alone, and added to a store whose indexes and graph
then know them. Every time is given by the clock and as processor time of the process. A single
passage is added, durably, and found by the next search; the encoder is in that.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from store_texts import Texts, WordVectors

from hoptrail.graph.graph import Graph
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.store import Store
from hoptrail.types import Passage

BATCH = 50


def main() -> None:
    """Time both, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=300)
    parser.add_argument("--single", type=int, default=20, help="passages added one at a time")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    encoder = minilm()
    passages = list(Texts(1).passages(args.passages, titled=True))
    encoder.encode([p.content for p in passages[:8]])
    alone, whole, singles = [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder) / "memory.db", encoder=encoder) as store,
    ):
        graph = Graph(store)
        graph.view(store.view())
        for start in range(0, len(passages), BATCH):
            part = passages[start : start + BATCH]
            began = _now()
            encoder.encode([p.content for p in part])
            alone.append(_since(began))
            began = _now()
            store.add(part)
            graph.view(store.view())
            whole.append(_since(began))
        for passage in Texts(2).passages(args.single, first=10**6, titled=True):
            began = _now()
            store.add([passage])
            graph.view(store.view())
            singles.append(_since(began))
            assert store.search(passage.text, 1, mode="sparse")[0].passage.id == passage.id
    derived = single_add(20_000, args.single)
    figures = {
        "passages": args.passages,
        "share_of_encoding_alone": {
            kind: sum(t[kind] for t in alone) / sum(t[kind] for t in whole) for kind in alone[0]
        },
        "passages_a_second_by_cpu": args.passages / sum(t["cpu"] for t in whole),
        "single_add_ms": _medians(singles),
        "single_add_to_20000_without_encoding_ms": _medians(derived),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}",
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def single_add(before: int, count: int) -> list[dict[str, float]]:
    """Add passages one at a time to a store that holds many, with vectors that cost nothing."""
    times = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder) / "memory.db", encoder=WordVectors()) as store,
    ):
        store.add(list(Texts(3).passages(before, titled=True)))
        graph = Graph(store)
        graph.view(store.view())
        for passage in Texts(4).passages(count, first=10**7, titled=True):
            began = _now()
            store.add([Passage(passage.id, passage.text, passage.title)])
            graph.view(store.view())
            times.append(_since(began))
    return times


def _medians(times: list[dict[str, float]]) -> dict[str, float]:
    return {kind: 1000 * statistics.median(t[kind] for t in times) for kind in times[0]}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> dict[str, float]:
    clock, cpu = _now()
    return {"clock": clock - began[0], "cpu": cpu - began[1]}


if __name__ == "__main__":
    main()
