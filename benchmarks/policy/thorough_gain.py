"""What effort `thorough` adds to `balanced`: the same walks, before and after they are judged.

    python benchmarks/policy/thorough_gain.py CORPUS.jsonl QUESTIONS.jsonl [--policy DIR]
        [--out FILE]

`thorough` is the walk of `balanced` with its best candidates judged once more, so that one walk a
question gives both rankings. Intervals are 95 %, from 10,000 paired bootstrap samples of clusters
of questions that share a gold passage, seed 0.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hoptrail.memory.encoders.transformer import minilm
from hoptrail.metrics.bootstrap import Bootstrap, clusters_of
from hoptrail.metrics.ranking import recall_at
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.policies.search.beam import Episode
from hoptrail.policies.search.reranker import Reranker, RerankFit
from hoptrail.policies.search.scoring import Scores, round_score

CUTS = (2, 5, 10)


class Before:
    """A reranker that keeps the scores it was given."""

    def __init__(self, scorer: Reranker) -> None:
        self.inner, self.scores = scorer, dict[int, float]()

    def rerank(
        self, episodes: Sequence[Episode], scores: Sequence[Scores]
    ) -> list[tuple[Scores, RerankFit]]:
        """As the reranker inside does."""
        [before] = scores
        self.scores = {slot: round_score(score) for slot, score in before.items()}
        return self.inner.rerank(episodes, scores)


def main() -> None:
    """Walk every question once, and print what judging changes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--policy", type=Path, help="a policy's folder (default: the shipped one)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    encoder = minilm()
    policy = Policy.load(args.policy) if args.policy else Policy.shipped()
    corpus = OpenCorpus(args.corpus, args.questions, encoder)
    scope = corpus.scope(())
    walker = PolicyRetriever(policy, scope.view, scope.graph, encoder, EFFORTS["thorough"])
    before = walker.reranker = Before(walker.reranker)
    supported = [question for question in corpus.questions if question.supporting_ids]
    values: dict[str, list[float]] = {
        f"{e}@{k}": [] for e in ("balanced", "thorough") for k in CUTS
    }
    pairs = []
    started = time.process_time()
    for done, question in enumerate(supported, start=1):
        [walk] = walker.retrieve([question.text], 100)
        scores, key = before.scores, scope.view.content_key
        plain = sorted(scores, key=lambda slot: (-scores[slot], key(slot)))
        gold = [str(slot) for slot in corpus.gold(question)]
        for effort, slots in (("balanced", plain), ("thorough", walk.slots.tolist())):
            for k in CUTS:
                values[f"{effort}@{k}"].append(recall_at([str(s) for s in slots], gold, k))
        pairs.append(walk.pairs_scored)
        if done % 20 == 0:
            sys.stderr.write(f"{done} of {len(supported)}\n")
    bootstrap = Bootstrap(clusters_of(supported), seed=0)
    figures: dict[str, object] = {
        "questions": len(supported),
        "pairs_scored": statistics.mean(pairs),
        "cpu_seconds_a_question": (time.process_time() - started) / len(supported),
    }
    sys.stdout.write(f"{args.questions}: {len(supported)} questions\n")
    for k in CUTS:
        old, new = values[f"balanced@{k}"], values[f"thorough@{k}"]
        gain = bootstrap.paired(new, old)
        better = sum(n > o for n, o in zip(new, old, strict=True))
        worse = sum(n < o for n, o in zip(new, old, strict=True))
        figures[f"recall@{k}"] = {
            "balanced": statistics.mean(old),
            "thorough": statistics.mean(new),
            "gain": [gain.mean, gain.low, gain.high],
            "better": better,
            "worse": worse,
        }
        sys.stdout.write(
            f"recall@{k}: balanced {100 * statistics.mean(old):.1f}, thorough "
            f"{100 * statistics.mean(new):.1f}, {100 * gain.mean:+.1f} "
            f"[{100 * gain.low:.1f}, {100 * gain.high:.1f}], {better} better, {worse} worse\n"
        )
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
