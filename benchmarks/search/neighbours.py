r"""Hybrid search that hears what stands beside a passage, as the policy does in a sequence.

    python benchmarks/search/neighbours.py CORPUS.jsonl QUESTIONS.jsonl --sequence session

To the standard scores by words and by meaning, added up, of each passage a share of those of the
passages before and after it is added. Recall@10 of all questions and of each kind, by the share.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from hoptrail.formats.jsonl import read_questions
from hoptrail.graph.graph import Graph
from hoptrail.graph.ranking.sequence import NEIGHBOUR_WEIGHT
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.search.hybrid_search import standard
from hoptrail.policies.data.corpora import open_corpus

SHARES = (0.0, 0.1, 0.2, 0.3, 0.5)
CUT = 10


def main() -> None:
    """Rank every question by each share, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--sequence", required=True, metavar="FIELD")
    args = parser.parse_args()
    encoder = minilm()
    questions = read_questions(args.questions)
    shares = []
    with open_corpus(args.corpus, encoder, sequence=args.sequence) as store:
        graph = Graph(store)
        scopes = {q.namespace: store.view(q.namespace) for q in questions}
        steps = {namespace: graph.view(view).sequence() for namespace, view in scopes.items()}
        for question in questions:
            view = scopes[question.namespace]
            vector = encoder.encode([question.text])
            mean, spread = view.dense.moments(vector)
            alive = np.flatnonzero(view.alive)
            fits = np.zeros(view.capacity)
            fits[alive] = standard(
                view.sparse.scores(question.text)[alive], *view.sparse.moments(question.text)
            ) + standard(view.dense.scores_of(vector, alive)[0], float(mean[0]), float(spread[0]))
            around = (steps[question.namespace].smooth_scores(fits) - fits) / NEIGHBOUR_WEIGHT
            gold = {view.slot_of(id, question.namespace) for id in question.supporting_ids}
            ranked = ((fits + share * around)[alive] for share in SHARES)
            best = (set(alive[view.order(np.round(s, 5), alive)[:CUT]].tolist()) for s in ranked)
            shares.append([len(gold & ten) / len(gold) for ten in best])
    recall = 100 * np.asarray(shares)
    kinds = np.asarray([question.kind or "" for question in questions])
    sys.stdout.write(f"{'share':24}" + "".join(f"{share:7}" for share in SHARES) + "\n")
    for name in ["", *sorted({*kinds} - {""})]:
        chosen = recall[kinds == name] if name else recall
        row = "".join(f"{value:7.1f}" for value in chosen.mean(0))
        sys.stdout.write(f"{name or 'all':18} {len(chosen):4} {row}\n")


if __name__ == "__main__":
    main()
