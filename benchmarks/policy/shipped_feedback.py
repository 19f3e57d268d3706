"""What feedback on the shipped policy teaches it, on a corpus that it does not know.

    python -m benchmarks.policy.shipped_feedback STORE DATA/locomo/questions.jsonl [--out FILE]
    python -m benchmarks.policy.shipped_feedback STORE TRAIN.jsonl --unseen DEV.jsonl

The shipped policy answers a stream of questions about an indexed memory by recalls that explore,
and a simulated agent clicks on what is needed among the ten passages that come back; one click in
ten is wrong. The policy then learns a ranking from the first N of these by default settings, and is
measured on questions that share no passage with the stream. What the gate says of all of it is said
beside. Questions are asked and judged through the doors that a user has, in a copy of the store; a
question is walked once for all rankings, which order the same first passages.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.policy.feedback_simulation import SHOWN, figures, judge

from hoptrail.api.memory import Memory
from hoptrail.errors import InputError
from hoptrail.evaluation.gate import judge_in_turn
from hoptrail.formats.jsonl import read_questions
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.feedback import Feedback, FeedbackLog
from hoptrail.memory.store import Store
from hoptrail.metrics.bootstrap import Bootstrap, clusters_of
from hoptrail.metrics.ranking import recall_at
from hoptrail.policies.feedback.dataset import prepare_feedback
from hoptrail.policies.feedback.learned_ranking import (
    RANKED,
    RankedRecall,
    RankingConfig,
    learn_ranking,
    rank_again,
)
from hoptrail.policies.feedback.off_policy import TuneConfig, tune
from hoptrail.policies.feedback.store_walkers import StoreWalkers
from hoptrail.policies.networks.feedback_ranking import DEPTH, FeedbackRanking
from hoptrail.policies.policy import Policy
from hoptrail.types import Question

CUTS = (5, 10)
UNSEEN = 150
Described = tuple[list[str], dict[str, np.ndarray]]
STREAM = 400


def main() -> None:
    """Run every seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("store", type=Path, help="a memory of the corpus, indexed by MiniLM")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--unseen", type=Path, help="measure on these, not on a part of QUESTIONS")
    parser.add_argument("--held-back", type=int, default=UNSEEN, help="that part (default: 150)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--counts", type=int, nargs="*", default=[100, 200], metavar="N")
    parser.add_argument("--noise", type=float, default=0.1, help="wrong clicks (default: 0.1)")
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--tune-networks", action="store_true", help="and what tuning these does")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    runs = []
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder, one_thread():
            runs.append(Simulation(args, seed, Path(folder)))
            runs[-1].run()
    pooled = over_seeds(runs)
    report = {
        "questions": f"{args.questions.parent.name}/{args.questions.name}",
        "unseen": args.unseen.name if args.unseen else args.held_back,
        "noise": args.noise,
        "effort": args.effort,
        "seeds": args.seeds,
        "config": asdict(RankingConfig()),
        "over seeds": pooled,
        "runs": [run.notes for run in runs],
    }
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for row in pooled:
        sys.stdout.write(f"{row['arm']:24} @{row['cut']:<3} {_line(row)}\n")


def over_seeds(runs: Sequence[Simulation]) -> list[dict[str, Any]]:
    """The arms of all seeds together, questions that share a passage in one cluster."""
    bootstrap = Bootstrap(clusters_of([question for run in runs for question in run.unseen]))
    before = np.concatenate([run.found["before"] for run in runs])
    return [
        {"arm": arm, "cut": cut, **figures(bootstrap, values[:, i], before[:, i], "recall")}
        for arm in runs[0].found
        for values in [np.concatenate([run.found[arm] for run in runs])]
        for i, cut in enumerate(CUTS)
    ]


class Simulation:
    """One seed: who asks what, and which clicks are wrong."""

    def __init__(self, args: argparse.Namespace, seed: int, folder: Path) -> None:
        self.args, self.seed, self.folder = args, seed, folder
        questions = [
            question for question in read_questions(args.questions) if question.supporting_ids
        ]
        self.stream, self.unseen = split(questions, 0 if args.unseen else args.held_back, seed)
        if args.unseen:
            self.unseen = read_questions(args.unseen)
        shutil.copy(args.store, folder / "store.db")
        self.encoder = CachedEncoder(minilm())
        self.store = Store(folder / "store.db", encoder=self.encoder)
        self.policy = Policy.shipped()
        self.bootstrap = Bootstrap(clusters_of(self.unseen))
        self.found: dict[str, np.ndarray] = {}
        self.notes: dict[str, Any] = {"seed": seed}

    def run(self) -> None:
        """All arms of the seed."""
        unseen = self.described(self.policy)
        self.measure("before", unseen)
        entries = self.collected()
        ranked = rank_again(StoreWalkers(self.store, self.encoder, self.policy), entries)
        counts = [count for count in self.args.counts if count < len(entries)]
        for count in [*counts, len(entries)]:
            learned = learn_ranking(self.policy, ranked[:count]).feedback_ranking
            assert learned is not None
            name = f"ranking, {count if count < len(entries) else 'all'}"
            self.measure(name, unseen, learned)
            self.notes[name] = learned.describe()
        self.notes["gate"] = self.gate(ranked)
        sys.stderr.write(f"{self.notes['gate']}\n")
        if self.args.tune_networks:
            ready = prepare_feedback(
                self.store, entries, self.encoder, learned=self.policy.reformulator
            )
            tuned, _ = tune(self.policy, ready, TuneConfig(seed=self.seed))
            self.measure("networks tuned, all", self.described(tuned))

    def gate(self, ranked: Sequence[RankedRecall]) -> dict[str, Any]:
        """What the gate says of an update from all of it."""
        try:
            verdict = judge_in_turn(ranked, RankingConfig())
        except InputError as error:
            return {"refused": str(error)}
        return {"accepted": verdict.accepted, "verdict": str(verdict)}

    def described(self, policy: Policy) -> list[Described]:
        """The ids of each unseen question's ranking, and the features that it can be ordered by."""
        walkers, out = StoreWalkers(self.store, self.encoder, policy), []
        for question in self.unseen:
            walker = walkers.of(question.namespace, self.args.effort)
            described = walker.describe_ranking(question.text, RANKED)
            assert described is not None
            passages = walker.scope.view.passages(described[0].tolist())
            out.append(([passage.id for passage in passages], described[1]))
        return out

    def measure(
        self, arm: str, unseen: Sequence[Described], ranking: FeedbackRanking | None = None
    ) -> None:
        """Recall at each cut of each unseen question, `(n, cuts)`."""
        rows = []
        for question, (ids, columns) in zip(self.unseen, unseen, strict=True):
            first = {name: values[:DEPTH] for name, values in columns.items()}
            places = range(DEPTH) if ranking is None else ranking.order(first)
            best = [ids[place] for place in places if place < len(ids)]
            rows.append([recall_at(best, question.supporting_ids, cut) for cut in CUTS])
        self.found[arm] = values = np.asarray(rows)
        for i, cut in enumerate(CUTS):
            row = figures(self.bootstrap, values[:, i], self.found["before"][:, i], "recall")
            sys.stderr.write(
                f"{time.strftime('%H:%M:%S')} seed {self.seed} {arm} @{cut} {_line(row)}\n"
            )

    def collected(self) -> list[Feedback]:
        """What the agent said of the policy's recalls of the stream, from the store: its clicks."""
        memory, rng = Memory(self.store, policy=self.policy), random.Random(self.seed)
        for number, question in enumerate(self.stream):
            recall = memory.recall(
                question.text,
                SHOWN,
                effort=self.args.effort,
                explore=1000 * self.seed + number,
                namespace=question.namespace,
            )
            judge(recall, question, rng, self.args.noise)
        return [replace(entry, reward=None) for entry in FeedbackLog(self.store).entries()]


def split(
    questions: Sequence[Question], held_back: int, seed: int
) -> tuple[list[Question], list[Question]]:
    """Questions to ask, `STREAM` at most, and so many to measure on; no passage in both."""
    clusters: dict[int, list[Question]] = {}
    for question, cluster in zip(questions, clusters_of(questions), strict=True):
        clusters.setdefault(int(cluster), []).append(question)
    order = list(clusters.values())
    random.Random(seed).shuffle(order)
    unseen: list[Question] = []
    while len(unseen) < held_back:
        unseen += order.pop()
    stream = [question for cluster in order for question in cluster]
    random.Random(seed).shuffle(stream)
    return stream[:STREAM], unseen


def _line(row: dict[str, Any]) -> str:
    return f"{row['recall']:5.1f} {row['gain']:+.1f} [{row['low']:.1f}, {row['high']:.1f}]"


if __name__ == "__main__":
    main()
