r"""What questions made from passages add to labels from other corpora, over several seeds.

    python benchmarks/supervision/pretraining.py --set A/corpus.jsonl A/train.jsonl \
        --set B/corpus.jsonl B/train.jsonl --test C/corpus.jsonl C/questions.jsonl \
        --seeds 0,1,2 --out pretraining.json

One network learns from the labels of the sets: from random weights; after questions that were made
from the sets' own passages; after questions made from the passages that it will be tested on, which
is transductive; and such questions after the labels, as `hoptrail train --self-supervised` has it.
Recall of the test questions, none of which has taught anything, at effort `fast`. What is in the
file already is not measured again.
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

from by_seed import CUTS, Values, key, report

from hoptrail.formats.jsonl import write_json
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.config import TrainConfig
from hoptrail.policies.training.run import train
from hoptrail.policies.training.validation import recalls

LABELS = "labels"
APART = "made apart, then labels"
OWN = "made of its own, then labels"
AFTER = "labels, then made of its own"
WAYS = (LABELS, APART, OWN, AFTER)


def main() -> None:
    """Measure what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--set", dest="sets", action="append", nargs=2, type=Path, required=True)
    parser.add_argument("--test", nargs=2, type=Path, required=True)
    parser.add_argument("--made", type=int, default=600, help="questions to make (default: 600)")
    parser.add_argument("--epochs", type=int, default=6, help="over the labels (default: 6)")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    values_of: Values = json.loads(args.out.read_text()) if args.out.exists() else {}
    encoder = CachedEncoder(minilm())
    sets = [TrainingSet(corpus, questions) for corpus, questions in args.sets]
    config = TrainConfig(networks=1, epochs=args.epochs, effort="fast")
    with closing(OpenCorpus(args.test[0], args.test[1], encoder.inner)) as test:
        for seed in map(int, args.seeds.split(",")):
            missing = [way for way in WAYS if key(way, seed) not in values_of]
            for way, policy in policies(
                missing, sets, args.test[0], args.made, replace(config, seed=seed), encoder
            ):
                at = recalls(policy, test, encoder, effort="fast", cuts=CUTS)
                values_of[key(way, seed)] = [at[cut] for cut in CUTS]
                write_json(args.out, values_of)
                sys.stderr.write(f"{key(way, seed)}\n")
        report(values_of, WAYS, args.seeds.split(","), test.questions)


def policies(
    ways: Sequence[str],
    sets: Sequence[TrainingSet],
    own: Path,
    self_supervised: int,
    config: TrainConfig,
    encoder: CachedEncoder,
) -> Iterator[tuple[str, Policy]]:
    """A policy trained in each way."""
    before = replace(config, self_supervised=self_supervised)
    apart = [one.corpus for one in sets]
    if LABELS in ways or AFTER in ways:
        start = trained(sets, config, encoder)
    for way in ways:
        if way == LABELS:
            yield way, start
        elif way == AFTER:
            alone = replace(before, objective="")
            yield way, trained((), alone, encoder, unlabelled=[own], start=start)
        else:
            corpora = apart if way == APART else [own]
            yield way, trained(sets, before, encoder, unlabelled=corpora)


def trained(
    sets: Sequence[TrainingSet],
    config: TrainConfig,
    encoder: CachedEncoder,
    *,
    unlabelled: Sequence[Path] = (),
    start: Policy | None = None,
) -> Policy:
    """As `hoptrail train` does it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "policy"
        data = TrainingData(sets, unlabelled=unlabelled)
        train(data, out, config, encoder=encoder, start=start)
        return Policy.load(out)


if __name__ == "__main__":
    main()
