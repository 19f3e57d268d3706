"""What `hoptrail recall` costs from a cold shell, imports and all: processor time, in one run.

    head -10000 DATA/hotpotqa/corpus.jsonl | hoptrail add --store ten.db -
    python benchmarks/policy/cold_start.py ten.db --program after=.venv/bin/hoptrail
        [--program before=../other/.venv/bin/hoptrail] [--effort fast] [--runs 7] [--out FILE]

Each program asks a copy of the store of its own, with what it keeps beside it. They take turns, so
that a busy machine slows all alike, and every run is a process of its own. The first run of each
makes exports and indexes, and compiles modules as an installation does, and is not counted. User
and system time are the process's own, its threads included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

QUESTION = "In which town was the designer of the ship Fram born?"


def main() -> None:
    """Time all programs in turn, and print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("store", type=Path)
    parser.add_argument("--program", action="append", required=True, metavar="NAME=HOPTRAIL")
    parser.add_argument("--effort", default="fast", help="(default: fast)")
    parser.add_argument("--runs", type=int, default=7, help="of each program (default: 7)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    programs = dict(named.split("=", 1) for named in args.program)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    with TemporaryDirectory() as folder:
        stores = {name: shutil.copy(args.store, Path(folder) / f"{name}.db") for name in programs}
        for run in range(args.runs + 1):
            for name, program in programs.items():
                call = [program, "recall", "--store", str(stores[name]), "--effort", args.effort]
                spent = processor_time([*call, QUESTION])
                if run:
                    seconds[name].append(round(spent, 3))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        sys.stdout.write(
            f"{args.effort:9} {name:8} {medians[name]:6.2f} s of the processor "
            f"({min(values):.2f} to {max(values):.2f})\n"
        )
    if args.out:
        figures = {
            "effort": args.effort,
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "load": [round(load, 1) for load in os.getloadavg()],
            "median_processor_seconds": medians,
            "processor_seconds": seconds,
        }
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def processor_time(call: list[str]) -> float:
    """User and system seconds that a program takes, its threads included.

    Args:
        call: The program with its arguments.
    """
    # Modules are compiled once and kept, as they are where the program is installed.
    settings = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=settings
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{call} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
