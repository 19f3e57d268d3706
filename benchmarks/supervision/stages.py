r"""What each stage of training and each kind of supervision is worth, over several seeds.

    python benchmarks/supervision/stages.py CORPUS.jsonl TRAIN.jsonl --seeds 0,1,2 --out stages.json

A fifth of the questions, in whole clusters that share a gold passage, is left out of all training.
For each seed one network learns by imitation from the others, then goes on with each later stage;
others learn from answers alone and from rewards alone, from random weights. Recall on the fifth at
effort `fast`. What is in the file already is not measured again.
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

from hoptrail.formats.jsonl import question_record, read_questions, write_json, write_jsonl
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.metrics.clusters import clusters_of
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.config import TrainConfig
from hoptrail.policies.training.run import train
from hoptrail.policies.training.validation import recalls
from hoptrail.types import Question

FOLDS = 5
"""One part of so many is left out."""
IMITATION = "imitation"
EPOCHS = 8
LATER = ("marginal", "reinforce", "marginal,reinforce")
"""What goes on from imitation, at the settings that `hoptrail train` has for it."""
LONGER = TrainConfig(tuning_epochs=4, tuning_rate=1e-3)
ALONE = {
    "answers alone": replace(LONGER, objective="marginal", trails=4),
    "rewards alone": replace(LONGER, objective="reinforce", samples=8),
}
"""What learns from random weights, and so for longer and at a higher rate."""


def main() -> None:
    """Measure what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--stages-only", action="store_true", help="leave out what learns from random weights"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    values_of: Values = json.loads(args.out.read_text()) if args.out.exists() else {}
    names = [IMITATION, *after(), *(() if args.stages_only else ALONE)]
    encoder = CachedEncoder(minilm())
    learned, left_out = split(read_questions(args.train))
    with closing(OpenCorpus(args.corpus, args.train, encoder.inner)) as opened:
        test = opened.with_questions(left_out)
        for seed in map(int, args.seeds.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                run = Run(args.corpus, learned, seed, encoder, Path(folder))
                missing = [name for name in names if key(name, seed) not in values_of]
                for name, policy in run.policies(missing):
                    at = recalls(policy, test, encoder, effort="fast", cuts=CUTS)
                    values_of[key(name, seed)] = [at[cut] for cut in CUTS]
                    write_json(args.out, values_of)
                    sys.stderr.write(f"{key(name, seed)}\n")
    report(values_of, names, args.seeds.split(","), left_out)


def split(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Questions to learn from, and those left out, with no gold passage in common."""
    clusters = clusters_of(questions)
    fold = np.random.default_rng(0).integers(FOLDS, size=int(clusters.max()) + 1)[clusters]
    learned = [question for question, place in zip(questions, fold, strict=True) if place]
    return learned, [question for question, place in zip(questions, fold, strict=True) if not place]


class Run:
    """The trainings of one seed."""

    def __init__(
        self,
        corpus: Path,
        questions: Sequence[Question],
        seed: int,
        encoder: CachedEncoder,
        folder: Path,
    ) -> None:
        self.corpus, self.seed, self.encoder, self.folder = corpus, seed, encoder, folder
        self.labelled, self.unlabelled = folder / "labelled.jsonl", folder / "unlabelled.jsonl"
        write_jsonl(self.labelled, map(question_record, questions))
        plain = (replace(question, supporting_ids=()) for question in questions)
        write_jsonl(self.unlabelled, map(question_record, plain))

    def policies(self, names: Sequence[str]) -> Iterator[tuple[str, Policy]]:
        """The policies of these names."""
        start = None
        if {IMITATION, *after()} & set(names):
            config = TrainConfig(networks=1, epochs=EPOCHS, seed=self.seed, effort="fast")
            start = self._trained(config, self.labelled)
        for name in names:
            if name == IMITATION and start is not None:
                yield name, start
            elif name in ALONE:
                config = replace(ALONE[name], networks=1, seed=self.seed, effort="fast")
                yield name, self._trained(config, self.unlabelled, reward="answer")
            else:
                config = TrainConfig(objective=after()[name], networks=1, seed=self.seed)
                yield name, self._trained(replace(config, effort="fast"), self.labelled, start)

    def _trained(
        self,
        config: TrainConfig,
        questions: Path,
        start: Policy | None = None,
        reward: str | None = None,
    ) -> Policy:
        out = self.folder / "policy"
        data = TrainingData([TrainingSet(self.corpus, questions)])
        config = replace(config, reward=reward)
        train(data, out, config, encoder=self.encoder, start=start)
        return Policy.load(out)


def after() -> dict[str, str]:
    """Names of the policies that go on from imitation, and the stages that they add."""
    return {f"{IMITATION},{stages}": stages for stages in LATER}


if __name__ == "__main__":
    main()
