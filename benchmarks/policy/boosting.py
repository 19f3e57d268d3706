"""Gradient boosting over the policy's own features, without the graph network: a baseline of it.

    python benchmarks/policy/boosting.py --set CORPUS.jsonl TRAIN.jsonl [--set ...] \
        --dev CORPUS.jsonl DEV.jsonl [--dev ...] [--out FILE]

The walk is the policy's: the same pools, states, features, beam and ranking. Only what scores a
candidate differs: scikit-learn's histogram gradient boosting on the rows of the states that
imitation learns from (a candidate is right if it is gold and not yet read, STOP if nothing is
missing), no message passing, no network. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.examples import Example, prepare, subsets_of_gold
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.environment.feature_names import StateFeature
from hoptrail.policies.environment.state import State, StateBatch
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.objectives.imitation import gold_of
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.validation import means, recalls

Rows = NDArray[np.float32]


class Boosted(Policy):
    """π(a | s) as a softmax over the log-odds that boosting gives to the candidates and STOP."""

    def __init__(self, reads: Any, stops: Any) -> None:
        super().__init__([PolicyNetwork(NetworkConfig(width=1, layers=0))])
        self.reads, self.stops = reads, stops

    def decide_with_spread(self, states: StateBatch) -> tuple[Rows, Rows, Rows]:
        """Log π(read) `(n,)`, log π(STOP) `(b,)`, and no disagreement of networks, `(n,)`."""
        read = self.reads.decision_function(states.x)
        read[states.evidence] = -np.inf
        firsts = states.starts[:-1]
        stop = self.stops.decision_function(states.x[firsts][:, -len(StateFeature) :])
        for i, (start, end) in enumerate(zip(firsts, states.starts[1:], strict=True)):
            total = np.logaddexp.reduce([*read[start:end], stop[i]])
            read[start:end] -= total
            stop[i] -= total
        read = read.astype(np.float32)
        return read, stop.astype(np.float32), np.zeros_like(read)


def main() -> None:
    """Fit on the training sets, walk the others, print recall."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    pair: dict[str, Any] = {"action": "append", "nargs": 2, "type": Path, "required": True}
    parser.add_argument("--set", dest="sets", **pair)
    parser.add_argument("--dev", **pair)
    parser.add_argument("--effort", choices=EFFORTS, default="fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    encoder = CachedEncoder(minilm())
    policy = fitted(args.sets, encoder, args.effort, args.seed)
    figures = {}
    for corpus, questions in args.dev:
        name = f"{corpus.parent.name}/{questions.name}"
        with closing(OpenCorpus(corpus, questions, encoder.inner)) as opened:
            at = recalls(policy, opened, encoder.inner, effort=args.effort, cuts=(2, 5, 10))
            figures[name] = means(at)
        line = ", ".join(f"{k} {100 * v:.1f}" for k, v in figures[name].items())
        sys.stdout.write(f"{name}: {line}\n")
    if args.out:
        results = {"effort": args.effort, "seed": args.seed, "recall": figures}
        args.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def fitted(
    sets: Sequence[tuple[Path, Path]], encoder: CachedEncoder, effort: str, seed: int
) -> Boosted:
    """Boosting on the states of all questions of the sets, asked as at that effort."""
    read_x, read_y, stop_x, stop_y = [], [], [], []
    rng = np.random.default_rng(seed)
    with ExitStack() as opened:
        corpora = [OpenCorpus(corpus, questions, encoder.inner) for corpus, questions in sets]
        for one in corpora:
            opened.callback(one.close)
        queries = NextQueries(encoder)  # the fixed rule
        reformulator = queries.reformulator(reencode=EFFORTS[effort].reencode)
        for example in prepare(corpora, encoder, reformulator):
            for evidence, missing in _states(example, rng):
                state = example.state(evidence)
                open_ = ~state.evidence
                read_x.append(state.x[open_])
                read_y.append(np.isin(state.slots[open_], missing))
                stop_x.append(state.x[:1, -len(StateFeature) :])
                stop_y.append([not missing])
    return Boosted(_boosting(read_x, read_y, seed), _boosting(stop_x, stop_y, seed))


def _states(example: Example, rng: np.random.Generator) -> Iterator[tuple[State, list[int]]]:
    """All subsets of the gold, and one state behind a wrong turn, each with what is missing."""
    gold = gold_of(example)
    reached = subsets_of_gold(gold)
    if example.detours:
        reached.append(example.detours[int(rng.integers(len(example.detours)))])
    for evidence in reached:
        yield evidence, [slot for slot in gold if slot not in evidence]


def _boosting(x: Sequence[Rows], y: Sequence[Any], seed: int) -> Any:
    model = HistGradientBoostingClassifier(
        max_iter=300, learning_rate=0.08, l2_regularization=1.0, random_state=seed
    )
    return model.fit(np.concatenate(x), np.concatenate(y))


if __name__ == "__main__":
    main()
