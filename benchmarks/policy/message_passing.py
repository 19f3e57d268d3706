"""What message passing over edges is worth to a trained policy: the same walks without any edge.

    python benchmarks/policy/message_passing.py --set CORPUS.jsonl QUESTIONS.jsonl
        [--set CORPUS QUESTIONS ...] [--every N] [--policy DIR] [--out FILE]

Every state keeps its candidates and their features; only the edges among them are left out of what
the networks see. Effort `balanced`. Intervals are 95 %, from 10,000 paired bootstrap samples of
clusters of questions that share a gold passage, seed 0.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from hoptrail.learning.arrays.layers import Array
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.metrics.bootstrap import Bootstrap, clusters_of
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.state import StateBatch
from hoptrail.policies.networks.frozen_policy import FrozenPolicy
from hoptrail.policies.training.validation import recalls

CUTS = (5, 10)


class WithoutEdges(FrozenPolicy):
    """A policy whose networks are shown candidates without the edges among them."""

    def first(self, networks: int | None) -> FrozenPolicy:
        """As `FrozenPolicy.first`, without edges too.

        Args:
            networks: How many; None for all.
        """
        return without_edges(super().first(networks))

    def decide(self, states: StateBatch) -> tuple[Array, Array]:
        """As `FrozenPolicy.decide`.

        Args:
            states: b states.
        """
        none = np.zeros(0, dtype=np.int64)
        return super().decide(
            replace(
                states,
                edges=np.zeros((2, 0), dtype=np.int64),
                edge_kind=none,
                edge_weight=np.zeros(0, dtype=states.edge_weight.dtype),
            )
        )


def without_edges(policy: FrozenPolicy) -> FrozenPolicy:
    """The same policy, blind to edges.

    Args:
        policy: Whose networks it shares.
    """
    if isinstance(policy, WithoutEdges):
        return policy
    return WithoutEdges(
        policy.members,
        policy.card,
        policy.relations,
        rerank_weight=policy.rerank_weight,
        reformulator=policy.reformulator,
    )


def main() -> None:
    """Walk every question with and without edges, and print what they are worth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--set", nargs=2, type=Path, action="append", required=True, dest="sets")
    parser.add_argument("--every", type=int, default=1, help="every so many questions of a set")
    parser.add_argument("--policy", type=Path, help="a policy's folder (default: the shipped one)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    policy = FrozenPolicy.load(args.policy) if args.policy else FrozenPolicy.shipped()
    figures = []
    with closing(CachedEncoder(minilm())) as encoder:
        for corpus_file, questions_file in args.sets:
            with closing(OpenCorpus(corpus_file, questions_file, encoder)) as corpus:
                supported = [question for question in corpus.questions if question.supporting_ids]
                chosen = corpus.with_questions(supported[:: args.every])
                seen = recalls(policy, chosen, encoder, cuts=CUTS)
                blind = recalls(without_edges(policy), chosen, encoder, cuts=CUTS)
            bootstrap = Bootstrap(clusters_of(chosen.questions), seed=0)
            of_set: dict[str, object] = {
                "questions_file": f"{questions_file.parent.name}/{questions_file.name}",
                "questions": len(chosen.questions),
            }
            for cut in CUTS:
                gain = bootstrap.paired(seen[cut], blind[cut])
                of_set[f"recall@{cut}"] = {
                    "with edges": statistics.mean(seen[cut]),
                    "without": statistics.mean(blind[cut]),
                    "gain": [gain.mean, gain.low, gain.high],
                }
                sys.stdout.write(
                    f"{of_set['questions_file']}, recall@{cut} of {len(chosen.questions)}: "
                    f"{100 * statistics.mean(seen[cut]):.1f} with edges, "
                    f"{100 * statistics.mean(blind[cut]):.1f} without, {100 * gain.mean:+.1f} "
                    f"[{100 * gain.low:.1f}, {100 * gain.high:.1f}]\n"
                )
            figures.append(of_set)
    if args.out:
        text = json.dumps({"policy": policy.fingerprint, "sets": figures}, indent=2)
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
