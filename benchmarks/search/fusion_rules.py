"""Recall@5 of the ways to fuse meaning and words, on dev, with weights fitted on train.

    python benchmarks/search/fusion_rules.py DATA [--sets musique 2wikimultihopqa hotpotqa]
        [--out FILE]

DATA holds a folder for each set with corpus.jsonl, train.jsonl and dev.jsonl. One rule is fitted on
the train questions of all sets together; "train, folds" is recall on train with weights fitted on
the other four of five folds, which share no gold passage. All rules see the same pools.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hoptrail.formats.jsonl import read_questions
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.search.fit_fusion import FusionExample, fit_per_query, fit_weighted, judge
from hoptrail.memory.search.fusion import (
    Fusion,
    LinearFusion,
    MinRank,
    QueryAdaptiveFusion,
    ReciprocalRank,
)
from hoptrail.metrics.bootstrap import clusters_of
from hoptrail.policies.data.corpora import open_corpus
from hoptrail.types import Question

SETS = ("musique", "2wikimultihopqa", "hotpotqa")
FOLDS = 5
K = 5

Asked = tuple[Question, FusionExample | None]
FIXED: dict[str, Fusion] = {
    "words alone": LinearFusion(0.0, 1.0),
    "meaning alone": LinearFusion(1.0, 0.0),
    "sum of z-scores": LinearFusion(),
    "reciprocal rank": ReciprocalRank(),
    "min-rank": MinRank(),
}
FITTED: dict[str, Callable[[Sequence[FusionExample | None]], Fusion]] = {
    "weighted, fitted": fit_weighted,
    "per query, fitted": fit_per_query,
}


def main() -> None:
    """Gather every question's evidence once, and rank it by every rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    encoder = minilm()
    cached = CachedEncoder(encoder)  # what is measured is recall: questions are encoded once
    train: dict[str, list[Asked]] = {}
    dev: dict[str, list[Asked]] = {}
    for name in args.sets:
        with open_corpus(args.data / name / "corpus.jsonl", encoder) as store:
            for split, into in (("train", train), ("dev", dev)):
                questions = read_questions(args.data / name / f"{split}.jsonl")
                judged = judge(store, questions, encoder=cached)
                into[name] = list(zip(questions, judged, strict=True))
        sys.stderr.write(f"gathered {name}\n")
    everything = [judged for part in train.values() for _, judged in part]
    rules = {**FIXED, **{name: fit(everything) for name, fit in FITTED.items()}}
    table = {
        "dev": {rule: {name: recall(dev[name], rules[rule]) for name in dev} for rule in rules},
        "train, folds": {rule: in_folds(train, rule) for rule in rules},
    }
    alphas = {
        name: [float(np.mean(a)), float(np.min(a)), float(np.max(a))]
        for name, part in dev.items()
        for a in [[rules["per query, fitted"].alpha(j.inputs) for _, j in part if j]]  # type: ignore[attr-defined]
    }
    for split, rows in table.items():
        sys.stdout.write(f"recall@{K}, {split}\n")
        for rule, figures in rows.items():
            line = "  ".join(f"{name} {100 * value:.1f}" for name, value in figures.items())
            sys.stdout.write(f"  {rule:20s} {line}\n")
    weighted, per_query = rules["weighted, fitted"], rules["per query, fitted"]
    assert isinstance(weighted, LinearFusion)
    assert isinstance(per_query, QueryAdaptiveFusion)
    sys.stdout.write(
        f"weighted: alpha {weighted.alpha:.3f}; per query (mean, least, most): {alphas}\n"
    )
    if args.out:
        result = {
            "recall": table,
            "alpha": weighted.alpha,
            "alpha per query": alphas,
            "weights per query": per_query.weights,
            "questions": {name: [len(train[name]), len(dev[name])] for name in dev},
        }
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def recall(part: Sequence[Asked], rule: Fusion) -> float:
    """Mean recall@5 of a rule."""
    values = []
    for question, judged in part:
        hits = 0
        if judged is not None:
            scores = np.asarray(rule.fuse(judged.inputs)).round(6)
            hits = int(judged.gold[np.argsort(-scores, kind="stable")[:K]].sum())
        values.append(hits / len(set(question.supporting_ids)))
    return float(np.mean(values))


def in_folds(train: dict[str, list[Asked]], rule: str) -> dict[str, float]:
    """Recall on train; what is fitted is fitted on the other folds, of all sets together."""
    if rule in FIXED:
        return {name: recall(part, FIXED[rule]) for name, part in train.items()}
    folds = {name: clusters_of([q for q, _ in part]) % FOLDS for name, part in train.items()}
    recalls: dict[str, list[tuple[float, int]]] = {name: [] for name in train}
    for fold in range(FOLDS):
        others = [
            judged
            for name, part in train.items()
            for (_, judged), own in zip(part, folds[name], strict=True)
            if own != fold
        ]
        fitted = FITTED[rule](others)
        for name, part in train.items():
            mine = [one for one, own in zip(part, folds[name], strict=True) if own == fold]
            recalls[name].append((recall(mine, fitted), len(mine)))
    return {
        name: sum(value * count for value, count in values) / sum(count for _, count in values)
        for name, values in recalls.items()
    }


if __name__ == "__main__":
    main()
