"""Peers and hoptrail on the same passages, with the same encoder, in one run.

    python -m benchmarks.peers DATA [--sets musique 2wikimultihopqa hotpotqa locomo beam]
        [--peers NAME …] [--questions N] [--out benchmarks/results/peers.json]
    python -m benchmarks.peers --kills [--out …]

DATA holds a folder for each set with corpus.jsonl and its questions. Peers come from
benchmarks/peers/requirements.txt, best in an environment of their own; one that is not installed is
said and skipped. What ran is written into --out beside what is there, so that a comparison may be
made in parts (--peers, --sets): raw vectors take turns with the peers of every part.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")

from benchmarks.peers import hoptrail_rows  # noqa: E402
from benchmarks.peers.comparison import (  # noqa: E402
    add_intervals,
    compare,
    encoding_rate,
    load_set,
    machine,
)
from benchmarks.peers.kills import survive_kills  # noqa: E402
from benchmarks.peers.peer import SharedEncoder  # noqa: E402
from benchmarks.peers.registry import PEERS, missing, versions  # noqa: E402
from benchmarks.peers.tables import print_tables  # noqa: E402
from hoptrail.memory.encoders.transformer import minilm  # noqa: E402

SETS: dict[str, tuple[str, str | None]] = {
    "musique": ("dev.jsonl", None),
    "2wikimultihopqa": ("dev.jsonl", None),
    "hotpotqa": ("dev.jsonl", None),
    "locomo": ("questions.jsonl", "session"),
    "beam": ("questions.jsonl", "session"),
}
"""The questions of each set, and the field by which its lines follow each other."""


def main() -> None:
    """Compare on each set, write what came out, and print it as tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    names = [*(peer.name for peer in PEERS), *hoptrail_rows.ROWS]
    parser.add_argument("--peers", nargs="+", choices=names, help="beside raw vectors")
    parser.add_argument("--questions", type=int, help="of each set, drawn by seed 0; all else")
    parser.add_argument("--kills", action="store_true", help="kill writers, in place of sets")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    if args.data is None and not args.kills:
        parser.error("name the folder of the sets, or --kills")
    report: dict[str, Any] = {}
    if args.out and args.out.exists():
        report = json.loads(args.out.read_text(encoding="utf-8"))
    absent = {peer.name: missing(peer) for peer in PEERS if missing(peer)}
    for peer_name, packages in absent.items():
        say(f"{peer_name} is skipped: {', '.join(packages)} is not installed")
    peers = [peer for peer in PEERS if peer.name not in absent]
    own: list[str] = list(hoptrail_rows.ROWS)
    if args.peers:
        peers = [peer for peer in peers if peer.name in args.peers or peer is PEERS[0]]
        own = [row for row in own if row in args.peers]
    report["peers"] = {
        **report.get("peers", {}),
        **{peer.name: {"settings": peer.settings, "packages": versions(peer)} for peer in peers},
        **{row: {"settings": text} for row, text in hoptrail_rows.SETTINGS.items()},
    }
    if args.kills:
        report["kills"] = {**survive_kills(say), "machine": machine()}
        keep(report, args.out)
    else:
        encoder = SharedEncoder(minilm())
        for set_name in args.sets:
            test_set = load_set(args.data, set_name, *SETS[set_name], count=args.questions)
            part = compare(test_set, peers, encoder, own=own, tell=say)
            part |= {"skipped": absent, "encoding": encoding_rate(test_set, encoder)}
            part["runs"] = [{"rows": list(part["rows"]), **machine()}]
            before = report.setdefault("sets", {}).get(set_name)
            report["sets"][set_name] = merged(before, part)
            rows = report["sets"][set_name]["rows"]
            report["sets"][set_name]["clusters"] = add_intervals(rows, test_set.questions)
            keep(report, args.out)
    print_tables(report)


def merged(before: dict[str, Any] | None, part: dict[str, Any]) -> dict[str, Any]:
    """A set's figures with those of rows that other runs measured.

    Rows that both have are the later run's, except for raw vectors, which run in each and stay the
    first's; what a row's times are multiples of are those of its own run.
    """
    if before is None:
        return part
    rows = {**before["rows"], **part["rows"], **{PEERS[0].name: before["rows"][PEERS[0].name]}}
    return {**part, "rows": rows, "runs": before["runs"] + part["runs"]}


def keep(report: dict[str, Any], out: Path | None) -> None:
    """Write the figures, if there is a place for them."""
    if out:
        out.write_text(json.dumps(report) + "\n", encoding="utf-8")


def say(line: str) -> None:
    """A line for whoever waits."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
