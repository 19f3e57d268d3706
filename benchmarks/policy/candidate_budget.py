"""Whether how many candidates come from where should be learned: what each constant is worth.

    python benchmarks/policy/candidate_budget.py --set CORPUS.jsonl QUESTIONS.jsonl [--set ...]
        [--count 150] [--outcomes FOLDER] [--out FILE]

Each constant of `hoptrail.policies.environment.candidates`, and each bound of an effort, is halved
and doubled by itself, and all sources together: the gold in the pool, recall@5, candidates,
passages read, and milliseconds of the processor a question, in batches. Then what a choice of the
variant for each question would gain: that of an oracle, which knows the outcomes, that of the best
single variant, and that of models which see the features of the first state. Whatever is chosen by
a fit is chosen on four fifths of the questions, in whole clusters that share a gold passage, for
the last. Questions are drawn by whole clusters. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.metrics.bootstrap import Bootstrap
from hoptrail.metrics.clusters import clusters_of
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment import candidates
from hoptrail.policies.environment.candidates import CandidatePool
from hoptrail.policies.environment.efforts import EFFORTS, Effort
from hoptrail.policies.environment.feature_names import CandidateFeature
from hoptrail.policies.environment.features import FeatureTable
from hoptrail.policies.environment.state import batch_states, state_input
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.types import Question

SOURCES = {
    "hybrid hits": "HYBRID_HITS",
    "dense hits": "DENSE_HITS",
    "sparse hits": "SPARSE_HITS",
    "random walk": "PAGERANK_CANDIDATES",
    "hits of next queries": "READ_HITS",
    "shared entities": "ENTITY_HITS",
    "largest hub": "HUB",
}
BOUNDS = {
    "beam width": "beam_width",
    "hops": "max_hops",
    "passages read": "max_reads",
}
FACTORS = (0.5, 2.0)
AS_IT_IS = "as it is"
DEPTH = 400
"""Ranks that are looked at for the pool; no pool is that large."""
BATCH = 25
"""Questions of one call; the variants take turns on each batch."""
PRICES = (0.0, 0.02, 0.1)
"""Recall that a pool as large as today's mean is worth."""
FOLDS = 5
MEASURES = ("pool", "recall@5", "candidates", "read", "ms")

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Variant:
    """Constants and an effort to walk with."""

    constants: Mapping[str, int]
    effort: Effort


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of n questions with each of v variants, and what was known of them before."""

    values: Values
    """`(n, v, len(MEASURES))`."""
    features: Values
    """`(n, f)` of the first state."""
    clusters: NDArray[np.int64]
    """`(n,)`."""

    def of(self, measure: str) -> Values:
        """One measure, `(n, v)`."""
        return self.values[..., MEASURES.index(measure)]


def main() -> None:
    """Measure every set, then what choosing would gain over all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--set", dest="sets", action="append", nargs=2, type=Path, required=True, metavar="FILE"
    )
    parser.add_argument("--count", type=int, default=150, help="questions of each set, at most")
    parser.add_argument("--effort", choices=EFFORTS, default="fast")
    parser.add_argument("--policy", type=Path, help="a folder (default: the shipped policy)")
    parser.add_argument("--outcomes", type=Path, help="keep outcomes here, or take them from here")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    policy = Policy.load(args.policy) if args.policy else Policy.shipped()
    variants = all_variants(EFFORTS[args.effort])
    figures: dict[str, Any] = {"effort": args.effort, "sets": {}}
    parts = []
    for corpus, questions in args.sets:
        make = partial(outcomes, corpus, questions, policy, variants, args.count)
        part = outcomes_of(args.outcomes, f"{corpus.parent.name}-{questions.stem}", make)
        parts.append(part)
        name = f"{corpus.parent.name}/{questions.name}"
        figures["sets"][name] = {"questions": len(part.values), "variants": means(part, variants)}
        report(name, figures["sets"][name]["variants"])
        figures["choosing"] = choosing(joined(parts), list(variants))
        if args.out:
            args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(figures["choosing"], indent=1) + "\n")


def outcomes_of(folder: Path | None, name: str, make: Callable[[], Outcomes]) -> Outcomes:
    """The outcomes of a set: from a folder, or made now and kept there."""
    file = folder / f"{name}.npz" if folder else None
    if file is not None and file.is_file():
        with np.load(file) as arrays:
            return Outcomes(**arrays)
    part = make()
    if file is not None:
        np.savez(file, **{field.name: getattr(part, field.name) for field in fields(part)})
    return part


def all_variants(effort: Effort) -> dict[str, Variant]:
    """What is compared, by name: today's constants first."""
    today: dict[str, int] = {name: getattr(candidates, name) for name in SOURCES.values()}
    variants = {AS_IT_IS: Variant(today, effort)}
    for factor in FACTORS:
        changed = {name: max(1, round(value * factor)) for name, value in today.items()}
        for source, name in SOURCES.items():
            variants[f"{source} x {factor:g}"] = Variant(today | {name: changed[name]}, effort)
        variants[f"all sources x {factor:g}"] = Variant(changed, effort)
        for bound, name in BOUNDS.items():
            value = max(1, round(getattr(effort, name) * factor))
            variants[f"{bound} x {factor:g}"] = Variant(today, replace(effort, **{name: value}))
    return variants


def outcomes(
    file: Path, questions: Path, policy: Policy, variants: Mapping[str, Variant], count: int
) -> Outcomes:
    """Walk a sample of a set's questions with every variant."""
    with closing(OpenCorpus(file, questions, minilm())) as corpus:
        rows = sample(corpus.questions, count)
        chosen = [corpus.questions[row] for row in rows]
        with closing(CachedEncoder(corpus.store.encoder)) as encoder:
            scope = corpus.scope(())
            walkers = {
                name: PolicyRetriever(policy, scope.view, scope.graph, encoder, variant.effort)
                for name, variant in variants.items()
            }
            blocks, features = [], []
            for start in range(0, len(chosen), BATCH):
                batch = chosen[start : start + BATCH]
                features += first_states(walkers[AS_IT_IS], batch)  # encodes them, too
                blocks.append(walked(corpus, walkers, variants, batch))
                sys.stderr.write(f"{file.parent.name}: {start + len(batch)} of {len(chosen)}\n")
    return Outcomes(np.concatenate(blocks), np.stack(features), clusters_of(corpus.questions)[rows])


def sample(questions: Sequence[Question], count: int) -> list[int]:
    """Rows of whole clusters, drawn until there are so many."""
    clusters = clusters_of(questions)
    rows: list[int] = []
    for cluster in np.random.default_rng(0).permutation(clusters.max() + 1):
        if len(rows) >= count:
            break
        rows += np.flatnonzero(clusters == cluster).tolist()
    return sorted(rows)


def walked(
    corpus: OpenCorpus,
    walkers: Mapping[str, PolicyRetriever],
    variants: Mapping[str, Variant],
    batch: Sequence[Question],
) -> Values:
    """The measures of a batch with every variant, `(n, v, len(MEASURES))`."""
    values = np.zeros((len(batch), len(variants), len(MEASURES)))
    gold = [set(corpus.gold(question)) for question in batch]
    texts = [question.text for question in batch]
    for column, (name, variant) in enumerate(variants.items()):
        with patch.multiple(candidates, **variant.constants):
            began = time.process_time()
            results = walkers[name].retrieve(texts, DEPTH)
            spent = 1000 * (time.process_time() - began) / len(batch)
        for row, (result, needed) in enumerate(zip(results, gold, strict=True)):
            pool = set(result.slots[result.scores > -1.0].tolist())
            first = set(result.slots[:5].tolist())
            values[row, column] = (
                len(needed & pool) / len(needed),
                len(needed & first) / len(needed),
                result.candidates,
                len(result.read),
                spent,
            )
    return values


def first_states(walker: PolicyRetriever, batch: Sequence[Question]) -> list[Values]:
    """What is known of each question before anything is read, `(f,)`.

    The largest, mean and spread of each feature of the candidates, the features of the state,
    how far the rankings agree, and what the policy makes of it.
    """
    texts = [question.text for question in batch]
    vectors = walker.encoder.encode(texts)
    firsts = walker.reformulator.first(texts, vectors)
    rows = []
    for text, vector, first in zip(texts, vectors, firsts, strict=True):
        pool = CandidatePool(text, vector, walker.scope, first=first)
        state = state_input(pool, FeatureTable(pool).now(), ())
        read, stop = walker.search.policy.decide(batch_states([state]))
        likely = np.exp(read.astype(np.float64))
        alone = state.x[:, : len(CandidateFeature)].astype(np.float64)
        about = state.x[0, len(CandidateFeature) :].astype(np.float64)
        hybrid, dense, sparse = (set(ranking[:10]) for ranking in pool.rankings)
        walk = set(pool.pagerank_ranking[:10])
        agreement = [len(dense & sparse), len(hybrid & dense), len(hybrid & sparse)]
        surely = [likely.max(), -(likely * np.log(likely + 1e-12)).sum(), float(np.exp(stop[0]))]
        counts = np.asarray([len(walk & hybrid), len(state.x), *agreement, *surely])
        rows.append(np.concatenate([alone.max(0), alone.mean(0), alone.std(0), about, counts]))
    return rows


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """The questions of all sets; their clusters stay apart."""
    clusters, first = [], 0
    for part in parts:
        _, numbers = np.unique(part.clusters, return_inverse=True)
        clusters.append(numbers + first)
        first += int(numbers.max()) + 1
    return Outcomes(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.features for part in parts]),
        np.concatenate(clusters),
    )


def means(part: Outcomes, variants: Mapping[str, Variant]) -> dict[str, dict[str, Any]]:
    """Every variant's means, and recall@5 beside that of today's constants with its interval."""
    _, clusters = np.unique(part.clusters, return_inverse=True)
    bootstrap = Bootstrap(clusters)
    recall = part.of("recall@5")
    table = {}
    for column, name in enumerate(variants):
        mean = dict(zip(MEASURES, part.values[:, column].mean(0).round(4).tolist(), strict=True))
        gain = bootstrap.interval(recall[:, column] - recall[:, 0])
        interval = [round(x, 4) for x in (gain.mean, gain.low, gain.high)]
        table[name] = {**mean, "recall@5 beside": interval}
    return table


def choosing(all_sets: Outcomes, names: Sequence[str]) -> list[dict[str, Any]]:
    """What each way to choose a variant for each question finds, and how large its pools are."""
    recall, pools = all_sets.of("recall@5"), all_sets.of("candidates")
    rows = np.arange(len(recall))
    bootstrap = Bootstrap(all_sets.clusters)
    table = []
    for price in PRICES:
        worth = recall - price * pools / pools[:, 0].mean()
        choices = {
            AS_IT_IS: np.zeros(len(rows), dtype=np.int64),
            "best single variant": best_single(worth, all_sets.clusters),
            **{
                name: best_predicted(model, worth, all_sets)
                for name, model in (("ridge", ridge()), ("random forest", forest()))
            },
            "oracle": (worth - 1e-6 * pools).argmax(1),
        }
        for name, choice in choices.items():
            gain = bootstrap.interval(worth[rows, choice] - worth[:, 0])
            common = np.bincount(choice, minlength=len(names))
            table.append(
                {
                    "price": price,
                    "chosen by": name,
                    "recall@5": round(float(recall[rows, choice].mean()), 4),
                    "candidates": round(float(pools[rows, choice].mean()), 1),
                    "worth beside": [round(x, 4) for x in (gain.mean, gain.low, gain.high)],
                    "most often": names[int(common.argmax())],
                }
            )
    return table


def best_single(worth: Values, clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """The variant that is worth most on the other folds, for each question."""
    choice = np.zeros(len(worth), dtype=np.int64)
    for fit, test in GroupKFold(FOLDS).split(worth, groups=clusters):
        choice[test] = worth[fit].mean(0).argmax()
    return choice


def best_predicted(model: Any, worth: Values, outcomes: Outcomes) -> NDArray[np.int64]:
    """The variant of which a model of the other folds expects most, for each question.

    It learns what each variant is worth beside today's constants.
    """
    choice = np.zeros(len(worth), dtype=np.int64)
    beside = worth - worth[:, :1]
    for fit, test in GroupKFold(FOLDS).split(worth, groups=outcomes.clusters):
        model.fit(outcomes.features[fit], beside[fit])
        choice[test] = model.predict(outcomes.features[test]).argmax(1)
    return choice


def ridge() -> Any:
    """A linear model whose penalty is fitted too."""
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(1, 5, 9)))


def forest() -> Any:
    """A small forest of regression trees."""
    return RandomForestRegressor(100, min_samples_leaf=10, max_features=0.3, random_state=0)


def report(name: str, table: Mapping[str, Mapping[str, Any]]) -> None:
    """A set's table."""
    sys.stdout.write(f"{name}\n{'':26}" + "".join(f"{one:>11}" for one in MEASURES) + "\n")
    for variant, row in table.items():
        cells = "".join(f"{row[one]:11.3f}" for one in MEASURES)
        gain, low, high = (100 * x for x in row["recall@5 beside"])
        sys.stdout.write(f"{variant:26}{cells}  {gain:+.1f} [{low:.1f}, {high:.1f}]\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
