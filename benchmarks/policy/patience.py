r"""Reading at a price: recall against passages read, beside fixed budgets and thresholds.

    python benchmarks/policy/patience.py --set CORPUS.jsonl QUESTIONS.jsonl [--set ...]
        [--policy DIR] [--questions 90] [--out FILE.json]

At each patience the policy reads some number of passages on average. Every other way is brought to
the same number by mixing the two of its settings that lie around it, question by question, so that
what differs is the recall; its interval is bootstrapped by clusters of questions. The other ways:
the same number for every question; the longest likely trail until π(STOP) reaches a threshold; the
ranking until the probability that the walk has stopped reaches one; and until the probability of
the next passage, or its share of all probabilities, falls below one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import minilm
from hoptrail.metrics.bootstrap import Bootstrap
from hoptrail.metrics.clusters import clusters_of
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.efforts import DEFAULT, EFFORTS
from hoptrail.policies.networks.score_calibration import ScoreCalibration, WalkFeatures
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.types import Namespace, Question, Trail

Reals = NDArray[np.float64]
Curve = list[tuple[Reals, Reals]]
"""Of each setting of a way to stop: passages read and recall, `(n,)` each."""

PATIENCES = (2, 5, 10, 20, 50, 100)
DEPTH = 50
"""Passages of a ranking."""
THRESHOLDS = 100
"""Tried of each way that has one, at even shares of the values that occur."""


@dataclass(frozen=True, slots=True)
class RankedWalk:
    """A question, and what its walk ranked and read."""

    question: Question
    ids: tuple[str, ...]
    features: WalkFeatures
    trails: tuple[Trail, ...]


def main() -> None:
    """Walk the sets, and print each patience beside the other ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--set", action="append", nargs=2, type=Path, required=True, metavar=("CORPUS", "QUESTIONS")
    )
    parser.add_argument("--policy", help="a folder; the shipped policy by default")
    parser.add_argument("--questions", type=int, default=90, help="of each set, drawn with seed 0")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    policy = Policy.load(args.policy) if args.policy else Policy.shipped()
    assert policy.scores is not None
    figures = {}
    for corpus, questions in args.set:
        walks = walked(policy, corpus, questions, args.questions)
        name = f"{questions.parent.name}/{questions.name}"
        figures[name] = judged(walks, policy.scores)
        for line in table(name, figures[name]):
            sys.stdout.write(line + "\n")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def walked(policy: Policy, corpus: Path, questions: Path, count: int) -> list[RankedWalk]:
    """The walks over some questions of a set, without those of fewer than two passages."""
    encoder = minilm()
    walks: list[RankedWalk] = []
    with closing(OpenCorpus(corpus, questions, encoder)) as opened:
        some = [question for question in opened.questions if question.supporting_ids]
        order = np.random.default_rng(0).permutation(len(some))[:count]
        retrievers: dict[Namespace, PolicyRetriever] = {}
        for question in (some[i] for i in order.tolist()):
            scope = opened.scope_of(question)
            if question.namespace not in retrievers:
                retrievers[question.namespace] = PolicyRetriever(
                    policy, scope.view, scope.graph, encoder, EFFORTS[DEFAULT]
                )
            [result] = retrievers[question.namespace].retrieve([question.text], DEPTH)
            if result.features is not None and len(result.slots) > 1:
                ids = tuple(one.id for one in scope.view.passages(result.slots.tolist()))
                walks.append(RankedWalk(question, ids, result.features, result.trails))
    return walks


def judged(walks: Sequence[RankedWalk], scores: ScoreCalibration) -> dict[str, Any]:
    """Each patience: passages read, recall, and how far that lies above each other way there."""
    assert scores.stopping is not None
    boot = Bootstrap(clusters_of([walk.question for walk in walks]))
    probabilities = [scores.probabilities(walk.features) for walk in walks]
    recalls = recall_curves(walks)
    prices = [
        scores.stopping.prices(stated, scores.completeness(walk.features, stated))
        for walk, stated in zip(walks, probabilities, strict=True)
    ]
    ways: dict[str, Curve] = {
        "fixed": fixed(walks, recalls),
        "trail": along_trails(walks),
        "stopped": thresholds(
            recalls,
            [-walk.features.prefixes["log probability of having stopped"][:-1] for walk in walks],
        ),
        "probability": thresholds(recalls, [stated[1:] for stated in probabilities]),
        "share": thresholds(recalls, [stated[1:] / stated.sum() for stated in probabilities]),
    }
    figures: dict[str, Any] = {"questions": len(walks), "patience": {}}
    for patience in PATIENCES:
        lengths = np.asarray([float((one * patience >= 1).sum()) for one in prices])
        recall = recall_at(recalls, lengths)
        row: dict[str, Any] = {"passages": lengths.mean(), "recall": recall.mean()}
        for name, curve in ways.items():
            against = mixed(curve, float(lengths.mean()))
            if against is not None:
                gain = boot.paired(recall, against)
                row[name] = [gain.mean, gain.low, gain.high]
        figures["patience"][patience] = row
    return figures


def recall_curves(walks: Sequence[RankedWalk]) -> Reals:
    """Of the evidence among the first passage, the first two and so on, `(n, DEPTH)`."""
    curves = np.zeros((len(walks), DEPTH))
    for row, walk in zip(curves, walks, strict=True):
        gold = set(walk.question.supporting_ids)
        hits = [id_ in gold for id_ in walk.ids[:DEPTH]]
        row[: len(hits)] = np.cumsum(hits) / len(gold)
        row[len(hits) :] = row[len(hits) - 1]
    return curves


def recall_at(recalls: Reals, lengths: Reals) -> Reals:
    """Of each ranking, read so far: `(n,)`."""
    return recalls[np.arange(len(lengths)), lengths.astype(int) - 1]


def fixed(walks: Sequence[RankedWalk], recalls: Reals) -> Curve:
    """The same number for every question."""
    sizes = np.asarray([float(len(walk.ids)) for walk in walks])
    lengths = [np.minimum(sizes, k) for k in range(1, DEPTH + 1)]
    return [(one, recall_at(recalls, one)) for one in lengths]


def thresholds(recalls: Reals, values: Sequence[Reals]) -> Curve:
    """Reading on while a value of the next passage is above a threshold."""
    never_rising = [np.minimum.accumulate(one) for one in values]
    # Most values lie deep in the rankings: half of the thresholds are of the first ten.
    first = np.concatenate([one[:10] for one in values])
    parts = np.linspace(0, 1, THRESHOLDS)
    cuts = np.append(np.quantile(first, parts), np.quantile(np.concatenate(values), parts))
    lengths = [
        np.asarray([1.0 + (one > cut).sum() for one in never_rising]) for cut in [*cuts, -np.inf]
    ]
    return [(one, recall_at(recalls, one)) for one in lengths]


def along_trails(walks: Sequence[RankedWalk]) -> Curve:
    """Reading along the longest trail, the likeliest of them, until π(STOP) is high enough."""
    longest = [max(w.trails, key=lambda t: (len(t.hops), t.probability)) for w in walks]
    stops = [[*(h.stop_probability for h in t.hops[1:]), t.stop_probability] for t in longest]
    cuts = np.quantile(np.concatenate(stops), np.linspace(0, 1, THRESHOLDS))
    curve: Curve = []
    for cut in [*cuts, np.inf]:
        ends = [
            next((n for n, stop in enumerate(one, 1) if stop >= cut), len(one)) for one in stops
        ]
        shares = [
            len({h.id for h in trail.hops[:end]} & set(walk.question.supporting_ids))
            / len(set(walk.question.supporting_ids))
            for walk, trail, end in zip(walks, longest, ends, strict=True)
        ]
        curve.append((np.asarray(ends, dtype=np.float64), np.asarray(shares)))
    return curve


def mixed(curve: Curve, passages: float) -> Reals | None:
    """The recall of a way that reads so many on average, `(n,)`; None where it cannot."""
    ordered = sorted(curve, key=lambda one: (one[0].mean(), one[1].mean()))
    means = np.asarray([lengths.mean() for lengths, _ in ordered])
    if not means[0] <= passages <= means[-1] + 1e-9:
        return None
    after = min(int(np.searchsorted(means, passages)), len(means) - 1)
    before = max(after - 1, 0)
    width = means[after] - means[before]
    part = (passages - means[before]) / width if width > 0 else 1.0
    return (1 - part) * ordered[before][1] + part * ordered[after][1]


def table(name: str, figures: dict[str, Any]) -> list[str]:
    """The figures as text, recall and differences in points."""
    lines = [f"{name}, {figures['questions']} questions"]
    for patience, row in figures["patience"].items():
        gains = "  ".join(f"{k} {gain_text(v)}" for k, v in row.items() if isinstance(v, list))
        lines.append(
            f"  patience {patience:3}: {row['passages']:5.2f} passages, "
            f"recall {100 * row['recall']:5.1f}; above {gains}"
        )
    return lines


def gain_text(gain: Sequence[float]) -> str:
    """A difference and its interval, in points."""
    mean, low, high = (100 * value for value in gain)
    return f"{mean:+.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
