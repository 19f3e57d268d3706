"""How much of the gold the candidate pool holds, hop by hop: it caps whatever the policy finds.

    python benchmarks/policy/pool_coverage.py CORPUS.jsonl QUESTIONS.jsonl [--effort fast]
        [--out FILE]

Hop 0 is what the question alone brings; each further hop adds what the passages read by the beam
lead to. A question that has stopped keeps the pool that it had.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from hoptrail.memory.encoders.transformer import Encoder, minilm
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.candidates import CandidatePool
from hoptrail.policies.environment.efforts import EFFORTS, Effort
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.types import Namespace


def main() -> None:
    """Walk every question with no hop, one, two and so on, and look at the pools."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--effort", choices=EFFORTS, default="fast")
    parser.add_argument("--policy", type=Path, help="a folder (default: the shipped policy)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    policy = Policy.load(args.policy) if args.policy else Policy.shipped()
    encoder = minilm()
    corpus = OpenCorpus(args.corpus, args.questions, encoder)
    sys.stdout.write("hops  candidates  gold in the pool  all gold in the pool\n")
    rows = []
    for hops in range(EFFORTS[args.effort].max_hops + 1):
        row = coverage(corpus, encoder, policy, replace(EFFORTS[args.effort], max_hops=hops))
        sys.stdout.write(
            f"{hops:4}  {row['candidates']:10.1f}  {100 * row['gold']:15.1f}%  "
            f"{100 * row['all_gold']:19.1f}%\n"
        )
        rows.append({"hops": hops, **row})
    if args.out:
        figures = {
            "corpus": args.corpus.parent.name,
            "questions": len(corpus.questions),
            "effort": args.effort,
            "coverage": rows,
        }
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def coverage(
    corpus: OpenCorpus, encoder: Encoder, policy: Policy, effort: Effort
) -> dict[str, float]:
    """The mean size of a pool, the share of the gold in it, and how often all of it is there."""
    walkers: dict[Namespace, PolicyRetriever] = {}
    sizes, shares = [], []
    for question in corpus.questions:
        if question.namespace not in walkers:
            scope = corpus.scope(question.namespace)
            walkers[question.namespace] = PolicyRetriever(
                policy, scope.view, scope.graph, encoder, effort
            )
        walker = walkers[question.namespace]
        vectors = walker.encoder.encode([question.text])
        [first] = walker.reformulator.first([question.text], vectors)
        pool = CandidatePool(question.text, vectors[0], walker.scope, first=first)
        walker.search.run([pool])
        gold = corpus.gold(question)
        sizes.append(len(pool.slots))
        shares.append(len(set(gold) & set(pool.slots)) / len(gold))
    return {
        "candidates": fmean(sizes),
        "gold": fmean(shares),
        "all_gold": fmean(float(share == 1.0) for share in shares),
    }


if __name__ == "__main__":
    main()
