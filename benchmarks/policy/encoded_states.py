"""Which states are worth an encoder pass: recall, and passes, by how probable they must be.

    python benchmarks/policy/encoded_states.py --set CORPUS.jsonl QUESTIONS.jsonl [--set ...]
        [--above 0 0.05 0.1 0.2 0.3 2] [--out FILE.json]

At 0 every state that the beam enters is encoded, above 1 none. Differences in recall are those from
the first of the thresholds, with paired intervals by clusters of questions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.metrics.bootstrap import Bootstrap
from hoptrail.metrics.clusters import clusters_of
from hoptrail.metrics.ranking import recall_at
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.types import Namespace

CUTS = (2, 5, 10)


def main() -> None:
    """Walk the sets once for each threshold, and print what each costs and finds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--set", action="append", nargs=2, type=Path, required=True, metavar=("CORPUS", "QUESTIONS")
    )
    parser.add_argument("--effort", default="balanced", choices=("balanced", "thorough"))
    parser.add_argument("--above", type=float, nargs="+", default=[0, 0.05, 0.1, 0.2, 0.3, 2])
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    encoder, policy = minilm(), Policy.shipped()
    rows: list[dict[str, Any]] = []
    for corpus, questions in args.set:
        with closing(OpenCorpus(corpus, questions, encoder)) as opened:
            with_gold = [question for question in opened.questions if question.supporting_ids]
            boot = Bootstrap(clusters_of(with_gold))
            first: NDArray[np.float64] | None = None
            for threshold in args.above:
                recall, passes = walked(policy, opened, args.effort, threshold)
                first = recall if first is None else first
                rows.append(
                    {"set": corpus.parent.name, "above": threshold, "passes": round(passes, 2)}
                    | figures(recall, first, boot)
                )
                sys.stdout.write(f"{json.dumps(rows[-1])}\n")
                sys.stdout.flush()
    if args.out:
        report = {"effort": args.effort, "policy": policy.fingerprint, "rows": rows}
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def walked(
    policy: Policy, corpus: OpenCorpus, effort: str, threshold: float
) -> tuple[NDArray[np.float64], float]:
    """Recall of each question at each cut, `(n, cuts)`, and encoder passes of states a question."""
    bounds = replace(EFFORTS[effort], encode_above=threshold)
    retrievers: dict[Namespace, PolicyRetriever] = {}
    recall: list[list[float]] = []
    passes: list[int] = []
    for question in (one for one in corpus.questions if one.supporting_ids):
        if question.namespace not in retrievers:
            scope = corpus.scope_of(question)
            retrievers[question.namespace] = PolicyRetriever(
                policy, scope.view, scope.graph, corpus.store.encoder, bounds, cache=CachedEncoder
            )
        [result] = retrievers[question.namespace].retrieve([question.text], max(CUTS))
        ranked = [str(slot) for slot in result.slots]
        gold = [str(slot) for slot in corpus.gold(question)]
        recall.append([recall_at(ranked, gold, cut) for cut in CUTS])
        passes.append(result.texts_encoded - 2)  # the question's own, by both encoders
    return np.asarray(recall), float(np.mean(passes))


def figures(
    recall: NDArray[np.float64], first: NDArray[np.float64], boot: Bootstrap
) -> dict[str, Sequence[float]]:
    """By name of the measure its mean in percent, and the difference with its interval."""
    out: dict[str, Sequence[float]] = {}
    for column, cut in enumerate(CUTS):
        interval = boot.paired(100 * recall[:, column], 100 * first[:, column])
        bounds = (interval.mean, interval.low, interval.high)
        out[f"recall@{cut}"] = [
            round(value, 2) for value in (100 * float(recall[:, column].mean()), *bounds)
        ]
    return out


if __name__ == "__main__":
    main()
