"""What a recall costs, beside one encoder pass and a dense search, in one run.

    python benchmarks/policy/recall_latency.py CORPUS.jsonl QUESTIONS.jsonl [--count 60]
        [--out FILE]

One question at a time, the model loaded, every figure the median over the same questions, by the
clock and of the processor; what is compared takes turns on each question, so that a busy machine
slows all of it alike. Then each
effort by itself, one question after another, as a program asks that always recalls in the same way:
its data stays in the processor's caches. Then several questions at a time (`recall_many`): how many
a second, by the clock and of one processor.
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
from typing import Any

import torch

from hoptrail.api.memory import Memory
from hoptrail.formats.jsonl import read_questions
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.policies.data.corpora import open_corpus
from hoptrail.policies.environment.efforts import EFFORTS

BATCHES = (1, 8, 64)
"""Questions that are asked together."""


def main() -> None:
    """Time everything on the same questions, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--count", type=int, default=60, help="questions (default: 60)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    encoder = minilm()
    questions = [q.text for q in read_questions(args.questions)][: args.count]
    # Its store remembers no query, so that each run of a question encodes it.
    with Memory(open_corpus(args.corpus, encoder)) as memory:
        assert not memory.store.cache_info().queries.room
        work: dict[str, Callable[[str], object]] = {
            "encode": lambda text: encoder.encode([text]),
            "dense search": lambda text: memory.search(text, k=10, mode="dense"),
            **{
                f"recall, {name}": lambda text, name=name: memory.recall(text, k=10, effort=name)
                for name in EFFORTS
            },
        }
        times: dict[str, list[float]] = {name: [] for name in work}
        processor_times: dict[str, list[float]] = {name: [] for name in work}
        for warm, text in enumerate([*questions[:5], *questions]):
            for name, run in work.items():
                start, processor_start = time.perf_counter(), time.process_time()
                run(text)
                if warm >= 5:
                    times[name].append(1000 * (time.perf_counter() - start))
                    processor_times[name].append(1000 * (time.process_time() - processor_start))
        passages = memory.count()
        in_a_row = {name: after_another(memory, questions, name) for name in EFFORTS}
        batched = throughput(memory, questions)
    medians = {name: statistics.median(values) for name, values in times.items()}
    processor = {name: statistics.median(values) for name, values in processor_times.items()}
    base, processor_base = medians["dense search"], processor["dense search"]
    sys.stdout.write(f"{len(questions)} questions, {passages} passages\n")
    for name, value in medians.items():
        sys.stdout.write(
            f"{name:18} {value:7.1f} ms  {value / base:5.2f} x a dense search, processor: "
            f"{processor[name]:7.1f} ms  {processor[name] / processor_base:5.2f} x\n"
        )
    for name, value in in_a_row.items():
        sys.stdout.write(f"recall, {name:10} {value:7.1f} ms  one question after another\n")
    for row in batched:
        sys.stdout.write(
            f"recall, {row['effort']:9} {row['batch']:3} at a time: {row['a_second']:6.1f} "
            f"questions a second, {row['cpu_ms']:.1f} ms of a processor each\n"
        )
    if args.out:
        figures = {
            "corpus": args.corpus.parent.name,
            "passages": passages,
            "questions": len(questions),
            "ms_median": medians,
            "times_dense_search": {name: value / base for name, value in medians.items()},
            "cpu_ms_median": processor,
            "ms_median_in_a_row": in_a_row,
            "batched": batched,
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, "
            f"torch {torch.__version__}",
        }
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def after_another(memory: Memory, questions: list[str], effort: str) -> float:
    """The median milliseconds of recalls of one effort with nothing in between."""
    times = []
    for text in [*questions[:5], *questions]:
        start = time.perf_counter()
        memory.recall(text, k=10, effort=effort)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[5:])


def throughput(memory: Memory, questions: list[str]) -> list[dict[str, Any]]:
    """Questions a second for each effort and size of a batch, these taking turns."""
    spent: dict[tuple[str, int], list[tuple[float, float]]] = {}
    largest = questions[: max(BATCHES) * max(1, len(questions) // max(BATCHES))]
    for effort in ("fast", "balanced"):
        for start in range(0, len(largest), max(BATCHES)):
            block = largest[start : start + max(BATCHES)]
            for size in BATCHES:
                clock, processor = time.perf_counter(), time.process_time()
                for first in range(0, len(block), size):
                    memory.recall_many(block[first : first + size], k=10, effort=effort)
                times = time.perf_counter() - clock, time.process_time() - processor
                spent.setdefault((effort, size), []).append(times)
    return [
        {
            "effort": effort,
            "batch": size,
            "a_second": len(largest) / sum(clock for clock, _ in times),
            "cpu_ms": 1000 * sum(processor for _, processor in times) / len(largest),
        }
        for (effort, size), times in spent.items()
    ]


if __name__ == "__main__":
    main()
