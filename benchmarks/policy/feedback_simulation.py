"""What feedback teaches: R@5 on unseen questions against the number of noisy feedbacks.

    python benchmarks/policy/feedback_simulation.py DATA/musique [--dev] [--out FILE] [--plot FILE]

A weak policy, trained on a few questions, answers a stream of other ones, and a simulated agent
judges the ten passages that come back, one by one (clicks), and the recall as a whole: 0 or 1, and
wrong in 10 of 100 cases. The weak policy then learns from the first N feedbacks and is measured on
questions that share no supporting passage with any of those. All of it goes through the doors that
a user has: `Memory.recall`, `Recall.feedback`, the store, `tune`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hoptrail.api.memory import Memory
from hoptrail.formats.jsonl import read_questions
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.feedback import Feedback, FeedbackLog
from hoptrail.memory.maintenance.checks import backup
from hoptrail.memory.store import Store
from hoptrail.metrics.bootstrap import Bootstrap, clusters_of
from hoptrail.policies.data.corpora import OpenCorpus, open_corpus
from hoptrail.policies.data.examples import prepare
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.feedback.dataset import prepare_feedback
from hoptrail.policies.feedback.off_policy import TuneConfig, tune
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.checkpoint import Checkpoint
from hoptrail.policies.training.config import TrainConfig
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.trainer import Trainer
from hoptrail.policies.training.validation import recalls
from hoptrail.types import Question, Recall

EFFORT = "fast"
SHOWN = 10
COUNTS = (100, 200, 400)
STREAM, UNSEEN = 400, 150
WEAK = TrainConfig(networks=1, epochs=6, network=NetworkConfig(width=32, layers=1))
WEAK_QUESTIONS = 100


def main() -> None:
    """Run every seed and arm, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "data", type=Path, help="a folder with corpus.jsonl, train.jsonl, dev.jsonl"
    )
    parser.add_argument("--dev", action="store_true", help="measure on dev, not on a part of train")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--folder", type=Path, help="keep the weak policies and what was said here")
    parser.add_argument("--noise", type=float, default=0.1, help="wrong rewards (default: 0.1)")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate (1e-3)")
    parser.add_argument("--arms", nargs="+", default=["deterministic", "explore"])
    parser.add_argument("--kinds", nargs="+", default=["clicks", "whole"])
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--plot", type=Path, help="draw them")
    parser.add_argument(
        "--no-labels", action="store_true", help="learn from what explored by its trails alone"
    )
    args = parser.parse_args()
    config = TuneConfig(learning_rate=args.rate)
    rows: list[dict[str, Any]] = []
    runs: list[Simulation] = []
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder, one_thread():
            place = (args.folder or Path(folder)) / str(seed)
            place.mkdir(parents=True, exist_ok=True)
            runs.append(Simulation(args, replace(config, seed=seed), place))
            rows += runs[-1].run()
    pooled = over_seeds(runs)
    report = {
        "data": args.data.name,
        "measured on": "dev" if args.dev else "unseen train questions",
        "noise": args.noise,
        "labels": not args.no_labels,
        "effort": EFFORT,
        "tune": {k: getattr(config, k) for k in ("epochs", "batch", "learning_rate", "clip")},
        "weak": {"questions": WEAK_QUESTIONS, "epochs": WEAK.epochs, "width": 32, "layers": 1},
        "rows": rows,
        "over seeds": pooled,
    }
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        draw(rows, args.plot)
    for one in pooled:
        seeds = [r for r in rows if (r["arm"], r["feedbacks"]) == (one["arm"], one["feedbacks"])]
        values = " ".join(f"{row['recall@5']:5.1f}" for row in seeds)
        sys.stdout.write(
            f"{one['arm']:24} {one['feedbacks']:4} {one['recall@5']:5.1f} "
            f"{one['gain']:+.1f} [{one['low']:.1f}, {one['high']:.1f}]   by seed {values}\n"
        )


def over_seeds(runs: Sequence[Simulation]) -> list[dict[str, Any]]:
    """The arms of all seeds together, questions that share a passage in one cluster."""
    bootstrap = Bootstrap(clusters_of([question for run in runs for question in run.unseen]))
    before = np.concatenate([run.before for run in runs])
    return [
        {"arm": arm, "feedbacks": count, **figures(bootstrap, values, before)}
        for arm, count in runs[0].found
        for values in [np.concatenate([run.found[arm, count] for run in runs])]
    ]


def figures(
    bootstrap: Bootstrap, values: np.ndarray, before: np.ndarray, name: str = "recall@5"
) -> dict[str, float]:
    """Recall in %, by this name, and the gain over what it was before, with its interval."""
    interval = bootstrap.paired(100 * values, 100 * before)
    return {
        name: round(100 * float(values.mean()), 2),
        "gain": round(interval.mean, 2),
        "low": round(interval.low, 2),
        "high": round(interval.high, 2),
    }


class Simulation:
    """One seed: who is weak, who asks what, and which rewards are wrong."""

    def __init__(self, args: argparse.Namespace, config: TuneConfig, folder: Path) -> None:
        self.args, self.config, self.folder = args, config, folder
        self.seed = config.seed
        self.corpus = args.data / "corpus.jsonl"
        self.encoder = CachedEncoder(minilm())
        train = read_questions(args.data / "train.jsonl")
        weak, self.stream, unseen = split(train, self.seed)
        self.unseen = read_questions(args.data / "dev.jsonl") if args.dev else unseen[:UNSEEN]
        self.path = folder / "store.db"
        if not self.path.exists():
            with open_corpus(self.corpus, self.encoder.inner) as memory_store:
                backup(memory_store, self.path)
        self.bootstrap = Bootstrap(clusters_of(self.unseen))
        self.opened = OpenCorpus(self.corpus, None, self.encoder.inner)
        self.weak = self.trained(weak)
        self.store = Store(self.path, encoder=self.encoder)
        self.found: dict[tuple[str, int], np.ndarray] = {}

    def run(self) -> list[dict[str, Any]]:
        """The rows of all arms."""
        self.before = self.measured(self.weak)
        rows = [self.row("weak", 0, self.before)]
        for name in self.args.arms:
            entries = self.collected(explore=name == "explore")
            for kind in self.args.kinds:
                chosen_entries = [_only(entry, kind) for entry in entries]
                judged = prepare_feedback(
                    self.store, chosen_entries, self.encoder, learned=self.weak.reformulator
                )
                if self.args.no_labels and name == "explore":
                    judged = [replace(one, weight=0.0) for one in judged]
                for count in COUNTS:
                    policy, _ = tune(self.weak, judged[:count], self.config)
                    rows.append(self.row(f"{name}, {kind}", count, self.measured(policy)))
        return rows

    def row(self, arm: str, count: int, values: np.ndarray) -> dict[str, Any]:
        """What came of it, against the weak policy on the same questions."""
        self.found[arm, count] = values
        identity = {"seed": self.seed, "arm": arm, "feedbacks": count}
        row = identity | figures(self.bootstrap, values, self.before)
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {row}\n")
        return row

    def trained(self, questions: Sequence[Question]) -> Policy:
        """The weak policy."""
        if (self.folder / "weak").exists():
            return Policy.load(self.folder / "weak")
        config = replace(WEAK, seed=self.seed)
        queries = NextQueries(self.encoder)
        reformulator = queries.reformulator(reencode=EFFORTS[EFFORT].reencode)
        opened = self.opened.with_questions(questions)
        examples = prepare([opened], self.encoder, reformulator)
        policy = Trainer(examples, config, queries, Checkpoint(self.folder / "p", {})).train()
        policy.save(self.folder / "weak")
        return policy

    def measured(self, policy: Policy) -> np.ndarray:
        """R@5 of each unseen question, `(n,)`."""
        unseen_corpus = self.opened.with_questions(self.unseen)
        return np.asarray(recalls(policy, unseen_corpus, self.encoder, effort=EFFORT, cuts=(5,))[5])

    def collected(self, *, explore: bool) -> list[Feedback]:
        """What the agent said of the weak policy's recalls of the stream, from the store."""
        log = FeedbackLog(self.store)
        entries = [f for f in log.entries() if (f.recall.explore is not None) == explore]
        if len(entries) < len(self.stream):
            memory = Memory(self.store, policy=self.weak)
            rng = random.Random(self.seed)
            for number, question in enumerate(self.stream):
                seed = 1000 * self.seed + number if explore else None
                recall = memory.recall(question.text, SHOWN, effort=EFFORT, explore=seed)
                judge(recall, question, rng, self.args.noise)
            entries = [f for f in log.entries() if (f.recall.explore is not None) == explore]
        return entries


def judge(recall: Recall, question: Question, rng: random.Random, noise: float) -> None:
    """Click on what is needed, and say whether all of it was there; both wrong now and then."""

    def noisy(truth: bool) -> float:
        return float(truth != (rng.random() < noise))

    needed = set(question.supporting_ids)
    for passage in recall.passages:
        recall.feedback(noisy(passage.id in needed), passages=[passage])
    recall.feedback(noisy(needed <= {passage.id for passage in recall.passages}))


def split(
    questions: Sequence[Question], seed: int
) -> tuple[list[Question], list[Question], list[Question]]:
    """Questions to train the weak policy, to ask, and to measure on; no passage in two parts."""
    clusters: dict[int, list[Question]] = {}
    for question, cluster in zip(questions, clusters_of(questions), strict=True):
        clusters.setdefault(int(cluster), []).append(question)
    order = list(clusters.values())
    random.Random(seed).shuffle(order)
    parts: tuple[list[Question], ...] = ([], [], [])
    sizes = (WEAK_QUESTIONS, STREAM, len(questions))
    place = 0
    for cluster in order:
        while len(parts[place]) >= sizes[place]:
            place += 1
        parts[place].extend(cluster)
    for part in parts:
        random.Random(seed).shuffle(part)
    return parts[0], parts[1][:STREAM], parts[2]


def _only(feedback: Feedback, kind: str) -> Feedback:
    if kind == "clicks":
        return replace(feedback, reward=None)
    return replace(feedback, passages={})


def draw(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """R@5 over the number of feedbacks, the mean over seeds with the spread."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    start = [row["recall@5"] for row in rows if row["arm"] == "weak"]
    for arm in dict.fromkeys(row["arm"] for row in rows if row["arm"] != "weak"):
        counts = sorted({row["feedbacks"] for row in rows if row["arm"] == arm})
        values = [start] + [
            [r["recall@5"] for r in rows if (r["arm"], r["feedbacks"]) == (arm, n)] for n in counts
        ]
        mean = [float(np.mean(v)) for v in values]
        axes.plot([0, *counts], mean, marker="o", label=arm)
        axes.fill_between(
            [0, *counts], [min(v) for v in values], [max(v) for v in values], alpha=0.12
        )
    axes.set_xlabel("feedbacks")
    axes.set_ylabel("recall@5 on unseen questions, %")
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
