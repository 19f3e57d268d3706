"""What `hoptrail recall` costs from a cold shell, imports and all: processor time, in one run.

    python benchmarks/policy/cold_start.py CORPUS.jsonl --program after=.venv/bin/hoptrail
        [--program before=../other/.venv/bin/hoptrail] [--passages 10000] [--runs 7] [--out FILE]

The first passages of a corpus are written to a store by the first program. Then the programs take
turns, one question and effort each time, so that a busy machine slows all alike; every run is a
process of its own. One run of each before that makes exports and indexes, and is not counted.
User and system time are the process's own, its threads included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

EFFORTS = ("fast", "balanced")
QUESTION = "In which town was the designer of the ship Fram born?"


def main() -> None:
    """Time all programs in turn, and print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--program", action="append", required=True, metavar="NAME=HOPTRAIL")
    parser.add_argument("--passages", type=int, default=10_000, help="(default: 10000)")
    parser.add_argument("--runs", type=int, default=7, help="of each program (default: 7)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    programs = dict(named.split("=", 1) for named in args.program)
    seconds: dict[str, dict[str, list[float]]] = {
        effort: {name: [] for name in programs} for effort in EFFORTS
    }
    clock = {effort: {name: [] for name in programs} for effort in EFFORTS}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.db"
        corpus = Path(folder) / "corpus.jsonl"
        with args.corpus.open(encoding="utf-8") as lines:
            corpus.write_text("".join(islice(lines, args.passages)), encoding="utf-8")
        processor_time([next(iter(programs.values())), "add", "--store", str(store), str(corpus)])
        for run in range(args.runs + 1):
            for effort in EFFORTS:
                for name, program in programs.items():
                    call = [program, "recall", "--store", str(store), "--effort", effort, QUESTION]
                    start = time.perf_counter()
                    spent = processor_time(call)
                    if run:
                        seconds[effort][name].append(spent)
                        clock[effort][name].append(time.perf_counter() - start)
    for effort, by_program in seconds.items():
        for name, values in by_program.items():
            sys.stdout.write(
                f"{effort:9} {name:8} {statistics.median(values):6.2f} s of the processor "
                f"({min(values):.2f} to {max(values):.2f})\n"
            )
    if args.out:
        figures = {
            "corpus": args.corpus.parent.name,
            "passages": args.passages,
            "machine": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "processor_seconds": seconds,
            "clock_seconds": clock,
        }
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def processor_time(call: list[str]) -> float:
    """User and system seconds that a program takes, its threads included.

    Args:
        call: The program with its arguments.
    """
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{call} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
