r"""What questions made from passages are worth before a few labelled ones.

    python benchmarks/supervision/few_labels.py CORPUS.jsonl TRAIN.jsonl DEV.jsonl --labels 100 \
        --seeds 0,1,2 \
        --start cross=FOLDER --start own=FOLDER --out few_labels.json

Trains one network on the same random labelled questions from random weights and from each policy
that is given, for every seed, and measures recall@5 on dev at effort `fast`. What is in the file
already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from hoptrail.formats.jsonl import question_record, read_questions, write_json, write_jsonl
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.metrics.bootstrap import Bootstrap, clusters_of
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.config import TrainConfig
from hoptrail.policies.training.run import train
from hoptrail.policies.training.validation import recalls

RANDOM = "random weights"


def main() -> None:
    """Measure what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--start", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    starts = {RANDOM: "", **dict(start.split("=", 1) for start in args.start)}
    recalls_of = json.loads(args.out.read_text()) if args.out.exists() else {}
    encoder = CachedEncoder(minilm())
    with closing(OpenCorpus(args.corpus, args.dev, encoder.inner)) as dev:
        for seed in map(int, args.seeds.split(",")):
            for name, folder in starts.items():
                key = f"{name}, {args.labels} labels, seed {seed}"
                if key not in recalls_of:
                    start = Policy.load(folder) if folder else None
                    policy = trained(args, seed, start, encoder)
                    recalls_of[key] = recalls(policy, dev, encoder, effort="fast", cuts=(5,))[5]
                    write_json(args.out, recalls_of)
        report(recalls_of, starts, args, dev)


def trained(
    args: argparse.Namespace, seed: int, start: Policy | None, encoder: CachedEncoder
) -> Policy:
    """One network from random labelled questions, drawn by the seed."""
    questions = sorted(read_questions(args.train), key=lambda question: question.text)
    drawn = np.random.default_rng(seed).permutation(len(questions))[: args.labels]
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "few.jsonl"
        write_jsonl(few, (question_record(questions[i]) for i in drawn))
        config = TrainConfig(networks=1, seed=seed)
        out = Path(folder) / "policy"
        data = TrainingData([TrainingSet(args.corpus, few)])
        train(data, out, config, encoder=encoder, start=start)
        return Policy.load(out)


def report(
    recalls_of: dict[str, list[float]],
    starts: dict[str, str],
    args: argparse.Namespace,
    dev: OpenCorpus,
) -> None:
    """The mean over seeds of each start, and its gain over random weights."""
    bootstrap = Bootstrap(clusters_of(dev.questions))
    mean = {
        name: np.mean(
            [
                recalls_of[f"{name}, {args.labels} labels, seed {seed}"]
                for seed in args.seeds.split(",")
            ],
            axis=0,
        )
        for name in starts
    }
    for name, values in mean.items():
        gain = bootstrap.paired(values, mean[RANDOM])
        sys.stdout.write(
            f"{name:20} recall@5 {100 * values.mean():5.1f}   gain {100 * gain.mean:+5.1f} "
            f"[{100 * gain.low:.1f}, {100 * gain.high:.1f}]\n"
        )


if __name__ == "__main__":
    main()
