r"""What answers alone are worth beside supporting passages, to a policy that is new to a corpus.

    python benchmarks/supervision/answers_alone.py CORPUS.jsonl TRAIN.jsonl --start FOLDER \
        --dev DEV.jsonl --seeds 0,1,2 --out answers_alone.json

The policy of `--start` should have seen nothing of the corpus. A fifth of the questions, in whole
clusters that share a gold passage, is left out of all training; from the others it goes on by
imitation of their supporting passages, and in ways that see only their answers. Recall on the fifth
and on the questions of `--dev`. What is in the file already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from by_seed import CUTS, Values, key, report
from stages import split

from hoptrail.formats.jsonl import question_record, read_questions, write_json, write_jsonl
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.metrics.bootstrap import Bootstrap
from hoptrail.metrics.clusters import clusters_of
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.checkpoint import Checkpoint
from hoptrail.policies.training.config import TrainConfig
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.preparation import prepare_examples
from hoptrail.policies.training.trainer import Trainer, average_weights
from hoptrail.policies.training.validation import recalls
from hoptrail.types import Question
from hoptrail.values.progress import silent

AS_IT_IS, LABELLED = "as it is", "supporting passages"
LABELLED_MEAN = "supporting passages, half"
"""The mean of the weights before and after, which comes out where evidence is inferred."""
INFERRED, LATENT = "answers, evidence inferred", "answers, marginal"
EPOCHS = 4
IMITATION = TrainConfig(epochs=EPOCHS, effort="fast")
WAYS = {
    AS_IT_IS: None,
    LABELLED: IMITATION,
    INFERRED: replace(IMITATION, infer_evidence=True),
    LATENT: TrainConfig(objective="marginal", effort="fast"),
}
"""The settings of each way; of the last, those that `hoptrail train` has for it."""


def main() -> None:
    """Measure what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("--start", type=Path, required=True, help="a policy's folder")
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--ways", default="0,1,2,3", help="by number: " + ", ".join(WAYS))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    ways = [list(WAYS)[int(number)] for number in args.ways.split(",")]
    seeds = args.seeds.split(",")
    encoder = CachedEncoder(minilm())
    learned, left_out = split(read_questions(args.train))
    tests = {"left out": left_out, "dev": read_questions(args.dev)}
    values_of: dict[str, Values] = {name: {} for name in tests}
    values_of |= json.loads(args.out.read_text()) if args.out.exists() else {}
    with closing(OpenCorpus(args.corpus, None, encoder.inner)) as opened:
        for way in ways:
            missing = [
                s for s in seeds if any(key(way, s) not in values_of[name] for name in tests)
            ]
            for name_of_run, policy in adapted(args, way, learned, missing, encoder):
                for name, questions in tests.items():
                    test = opened.with_questions(questions)
                    at = recalls(policy, test, encoder, effort="fast", cuts=CUTS)
                    values_of[name][name_of_run] = [at[cut] for cut in CUTS]
                write_json(args.out, values_of)
                sys.stderr.write(f"{name_of_run}\n")
    if LABELLED in ways:
        ways.append(LABELLED_MEAN)
    for name, questions in tests.items():
        sys.stdout.write(f"\n{name}, {len(questions)} questions\n")
        report(values_of[name], ways, seeds, questions)
        shares(values_of[name], ways, seeds, questions)


def adapted(
    args: argparse.Namespace,
    way: str,
    questions: Sequence[Question],
    seeds: Sequence[str],
    encoder: CachedEncoder,
) -> Iterator[tuple[str, Policy]]:
    """The policy of `--start`, gone on in a way with each seed, by the run's key.

    Questions are prepared, and evidence is inferred, once for all seeds: neither depends on them.
    """
    if not seeds:
        return
    start, config = Policy.load(args.start), WAYS[way]
    if config is None:
        yield from ((key(way, seed), start) for seed in seeds)
        return
    config = replace(config, networks=len(start.members), network=start.config)
    if way != LABELLED:
        questions = [replace(question, supporting_ids=()) for question in questions]
    queries = NextQueries(encoder, start.reformulator)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "questions.jsonl"
        write_jsonl(file, map(question_record, questions))
        data = TrainingData([TrainingSet(args.corpus, file)])
        with prepare_examples(data, config, queries, silent, start=start) as examples:
            for seed in seeds:
                checkpoint = Checkpoint(Path(folder) / seed, {})
                run = replace(config, seed=int(seed))
                policy = Trainer(examples, run, queries, checkpoint, start=start).train()
                yield key(way, seed), policy
                if way == LABELLED:
                    average_weights(policy, start, config.weight_average)
                    yield key(LABELLED_MEAN, seed), policy


def shares(
    values_of: Values, ways: Sequence[str], seeds: Sequence[str], test: Sequence[Question]
) -> None:
    """Print the share of the gain of supporting passages that each way with answers has."""
    bootstrap = Bootstrap(clusters_of(test))
    mean = {way: np.mean([values_of[key(way, seed)] for seed in seeds], axis=0) for way in ways}
    if not {AS_IT_IS, LABELLED} <= set(ways):
        return
    for way in ways:
        if way in (AS_IT_IS, LABELLED):
            continue
        for place, cut in enumerate(CUTS):
            before, labelled = mean[AS_IT_IS][place], mean[LABELLED][place]
            gain, most = mean[way][place] - before, labelled - before
            half = bootstrap.paired(gain, most / 2)
            gained = bootstrap.paired(mean[way][place], before)
            sys.stdout.write(
                f"{way:32} recall@{cut}: {100 * gained.mean:+.1f} [{100 * gained.low:.1f}, "
                f"{100 * gained.high:.1f}] of {100 * most.mean():+.1f}, share "
                f"{100 * gain.mean() / most.mean():.0f} %, less half of it "
                f"{100 * half.mean:+.1f} [{100 * half.low:.1f}, {100 * half.high:.1f}]\n"
            )


if __name__ == "__main__":
    main()
