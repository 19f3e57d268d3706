r"""Deciding when to stop beside reading a fixed number of passages: what is read, and how long.

    python benchmarks/policy/stopping_cost.py --set CORPUS.jsonl DEV.jsonl [--set ...]
        [--effort fast]

The same policy walks twice: as it is, and with its STOP taken away and so many hops to make. The
set that is judged is what the likeliest trail had read. One question at a time; the ways take turns
on each question, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.evaluation.stopping import set_measures
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.efforts import DEFAULT, EFFORTS
from hoptrail.policies.environment.state import StateBatch
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever

BUDGETS = (1, 2, 3, 4)
"""Passages that a walk without STOP reads."""
FIRST = 5
"""Questions of each set that are walked before any time is taken."""


class GoesOn(Policy):
    """A policy that never stops while there is something to read."""

    def decide_with_spread(
        self, states: StateBatch
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Log π with STOP taken away, where that leaves anything."""
        read, stop, spread = (values.copy() for values in super().decide_with_spread(states))
        starts = states.starts.tolist()
        for i, (start, end) in enumerate(pairwise(starts)):
            total = np.logaddexp.reduce(read[start:end])
            if np.isfinite(total):
                read[start:end] -= total
                stop[i] = -np.inf
        return read, stop, spread


def main() -> None:
    """Walk all questions in every way, and print what each read and took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--set", action="append", nargs=2, type=Path, required=True, metavar=("CORPUS", "QUESTIONS")
    )
    parser.add_argument("--effort", default=DEFAULT, choices=EFFORTS)
    parser.add_argument("--policy", help="a folder; the shipped policy by default")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    policy = Policy.load(args.policy) if args.policy else Policy.shipped()
    rows_of: dict[str, list[dict[str, float]]] = {}
    for corpus, questions in args.set:
        for name, rows in walked(policy, corpus, questions, args.effort).items():
            rows_of.setdefault(name, []).extend(rows)
    means = {name: summary(rows) for name, rows in rows_of.items()}
    for name, values in means.items():
        line = "  ".join(f"{key} {value:.1f}" for key, value in values.items())
        sys.stdout.write(f"{name:14} {line}\n")
    if args.out:
        args.out.write_text(json.dumps(means, indent=2) + "\n", encoding="utf-8")


def walked(
    policy: Policy, corpus: Path, questions: Path, effort: str
) -> dict[str, list[dict[str, float]]]:
    """What each way read of every question of a set, and its milliseconds."""
    encoder = minilm()
    bounds = EFFORTS[effort]
    members = policy.first(bounds.networks).members
    goes_on = GoesOn([m for m in members if isinstance(m, PolicyNetwork)]).eval()
    ways = {"until STOP": (policy, bounds)}
    ways |= {f"exactly {k}": (goes_on, replace(bounds, max_hops=k, networks=None)) for k in BUDGETS}
    out: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    with closing(OpenCorpus(corpus, questions, encoder)) as opened:
        scope = opened.scope(())
        walkers = {
            name: PolicyRetriever(one, scope.view, scope.graph, encoder, bounded)
            for name, (one, bounded) in ways.items()
        }
        warm = opened.questions[:FIRST]
        for number, question in enumerate([*warm, *opened.questions]):
            for name, walker in walkers.items():
                start = time.perf_counter()
                [walk] = walker.retrieve([question.text], 10)
                took = 1000 * (time.perf_counter() - start)
                if number >= len(warm):
                    read = [hop.id for hop in walk.trails[0].hops]
                    measured = set_measures(read, question.supporting_ids)
                    out[name].append({**measured, "milliseconds": took})
    return out


def summary(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Means in % and of passages, and the median time."""
    averages: dict[str, Any] = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        if key == "milliseconds":
            averages[key] = statistics.median(values)
        else:
            averages[key] = statistics.fmean(values) * (1 if key == "passages" else 100)
    return averages


if __name__ == "__main__":
    main()
