"""What `encoder tune` is worth to one hop, by kind: before and after, in and out of domain.

    python benchmarks/search/rankers.py DATA KIND --models DIR [--out FILE]

DATA holds a folder for each set with corpus.jsonl, train.jsonl and dev.jsonl. KIND is query,
cross-encoder, late-interaction or sparse. A model learns from some of MuSiQue's train questions,
and searches for some dev questions of MuSiQue and of 2WikiMultiHopQA, which it has seen nothing of.
Questions are drawn by the seed. A cross-encoder and late interaction order the best --depth of
hybrid search. A sparse encoder has to read every passage, so that it is measured on a part of each
corpus: what the dev questions need, and others drawn by the seed. The model lies in DIR, and a
training that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hoptrail.formats.jsonl import read_questions, sha256_of
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import TransformerEncoder, minilm
from hoptrail.memory.encoders.tuned.query_tuned import QueryTunedEncoder
from hoptrail.memory.encoders.tuned.token_tuned import TokenTunedEncoder
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.late_interaction import MaxSim
from hoptrail.memory.search.learned_sparse.sparse_encoder import SparseEncoder
from hoptrail.memory.search.learned_sparse.stage import LearnedSparse
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.search.rerankers.cross_encoder import CrossEncoder
from hoptrail.memory.store import Store
from hoptrail.metrics.bootstrap import Bootstrap
from hoptrail.policies.data.corpora import open_corpus
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.training.encoders.cross_encoder_training import tune_cross_encoder
from hoptrail.policies.training.encoders.list_training import ListTrainingConfig
from hoptrail.policies.training.encoders.query_encoder import (
    QueryEncoderConfig,
    tune_query_encoder,
)
from hoptrail.policies.training.encoders.sparse_encoder_training import (
    SparseEncoderConfig,
    tune_sparse_encoder,
)
from hoptrail.policies.training.encoders.token_vectors import (
    TokenVectorsConfig,
    tune_token_vectors,
)

LEARNED, SETS = "musique", ("musique", "2wikimultihopqa")
KINDS = ("query", "cross-encoder", "late-interaction", "sparse")
DEPTHS = (5, 10)

Shares = dict[int, list[float]]


def main() -> None:
    """Train one kind, measure it on both sets, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--models", type=Path, required=True, help="where the model lies")
    parser.add_argument("--train", type=int, default=300, help="questions to learn from")
    parser.add_argument("--dev", type=int, default=80, help="questions of a set to measure on")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--depth", type=int, default=20, help="of what is ordered anew")
    parser.add_argument("--window", type=int, default=128, help="tokens of a text, in training")
    parser.add_argument("--passages", type=int, default=1000, help="of a corpus, for sparse")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.models / args.kind
    with tempfile.TemporaryDirectory() as spare:
        part = TrainingSet(
            args.data / LEARNED / "corpus.jsonl",
            drawn(args.data / LEARNED / "train.jsonl", args.train, args.seed, Path(spare)),
        )
        began = time.process_time()
        train(args.kind, part, folder, args)
        result: dict[str, Any] = {
            "settings": {name: str(value) for name, value in vars(args).items() if name != "out"},
            "sha256": hashes(args.data),
            "training_seconds_of_the_processor": round(time.process_time() - began),
            "sets": {},
        }
        for name in SETS:
            questions = drawn(args.data / name / "dev.jsonl", args.dev, args.seed, Path(spare))
            corpus = args.data / name / "corpus.jsonl"
            if args.kind == "sparse":
                corpus = part_of(corpus, questions, args.passages, args.seed)
            rows = dict(measured(args.kind, corpus, questions, folder, args.depth))
            result["sets"][name] = table(name, rows)
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def drawn(file: Path, count: int, seed: int, folder: Path) -> Path:
    """A file of some lines of another, in its order."""
    lines = file.read_text(encoding="utf-8").splitlines()
    order = np.random.default_rng(seed).permutation(len(lines))[:count]
    part = folder / f"{file.parent.name}-{file.name}"
    part.write_text("".join(lines[i] + "\n" for i in sorted(order)), encoding="utf-8")
    return part


def part_of(corpus: Path, questions: Path, count: int, seed: int) -> Path:
    """A file of the passages that questions need, and of others, beside the questions."""
    gold = {name for one in read_questions(questions) for name in one.supporting_ids}
    lines = corpus.read_text(encoding="utf-8").splitlines()
    needed = {i for i, line in enumerate(lines) if json.loads(line)["id"] in gold}
    others = [i for i in np.random.default_rng(seed).permutation(len(lines)) if i not in needed]
    rows = sorted([*needed, *others[: max(0, count - len(needed))]])
    part = questions.parent / f"{corpus.parent.name}-part.jsonl"
    part.write_text("".join(lines[i] + "\n" for i in rows), encoding="utf-8")
    return part


def hashes(data: Path) -> dict[str, str]:
    """The SHA-256 of every file that was read."""
    files = [f"{LEARNED}/train.jsonl"]
    files += [f"{name}/{file}.jsonl" for name in SETS for file in ("corpus", "dev")]
    return {file: sha256_of(data / file) for file in files}


def train(kind: str, part: TrainingSet, folder: Path, args: argparse.Namespace) -> None:
    """Train a kind of model, where its folder is not there whole yet."""
    if any(folder.glob("*.json")):
        return
    data, encoder = TrainingData(train=[part]), minilm()
    both = {"epochs": args.epochs, "seed": args.seed}
    lists = {**both, "depth": args.depth, "window": args.window}
    if kind == "query":
        tune_query_encoder(
            data, folder, QueryEncoderConfig(**both), encoder=encoder, progress=say_step
        )
    elif kind == "cross-encoder":
        tune_cross_encoder(
            data,
            folder,
            ListTrainingConfig(**lists),
            encoder=encoder,
            resume=True,
            progress=say_step,
        )
    elif kind == "late-interaction":
        tune_token_vectors(
            data,
            folder,
            TokenVectorsConfig(**lists),
            encoder=encoder,
            resume=True,
            progress=say_step,
        )
    else:
        tune_sparse_encoder(
            data,
            folder,
            SparseEncoderConfig(**lists),
            encoder=encoder,
            resume=True,
            progress=say_step,
        )


def say_step(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
    """Print how far a training is, now and then."""
    if done % 10 == 0 or done == total:
        sys.stdout.write(f"{stage} {done}/{total} {figures.get('loss', 0):.3f}\n")
        sys.stdout.flush()


def measured(
    kind: str, corpus: Path, questions: Path, folder: Path, depth: int
) -> Iterator[tuple[str, Shares]]:
    """The ways to search of a kind, each with its shares; the first is compared with."""
    base = minilm()
    keep = max(DEPTHS)
    for name, stages, encoder in ways(kind, folder, depth, keep, base):
        with open_corpus(corpus, encoder=CachedEncoder(encoder)) as store:
            yield name, shares(store, questions, Pipeline(stages))


def ways(
    kind: str, folder: Path, depth: int, keep: int, base: TransformerEncoder
) -> Iterator[tuple[str, list[Any], Any]]:
    """The name, the stages and the encoder of each way to search."""
    yield "hybrid", [Search(keep=keep)], base
    if kind == "query":
        tuned = QueryTunedEncoder.load(folder)
        yield "hybrid, tuned queries", [Search(keep=keep)], tuned
        yield "dense", [Search("dense", keep=keep)], base
        yield "dense, tuned queries", [Search("dense", keep=keep)], tuned
    elif kind == "cross-encoder":
        yield f"hybrid @{depth}", [Search(keep=depth)], base
        yield "cross-encoder", [Search(keep=depth), CrossEncoder(folder, keep=keep)], base
    elif kind == "late-interaction":
        for name, encoder in (("untrained", base), ("trained", TokenTunedEncoder.load(folder))):
            yield (
                f"late interaction, {name}",
                [Search(keep=depth), MaxSim(encoder, keep=keep)],
                base,
            )
    else:
        weights = SparseEncoder.load(folder)
        yield "bm25", [Search("sparse", keep=keep)], base
        yield "learned weights", [LearnedSparse(weights, keep=keep)], base
        yield "learned weights, hybrid", [LearnedSparse(weights, keep=keep, mode="hybrid")], base


def shares(store: Store, questions: Path, pipeline: Pipeline) -> Shares:
    """What a pipeline finds for each question."""
    recalls: Shares = {k: [] for k in DEPTHS}
    for question in read_questions(questions):
        gold = set(question.supporting_ids)
        hits = pipeline.search(store, question.text, max(DEPTHS)).hits
        ids = [hit.passage.id for hit in hits]
        for k in DEPTHS:
            recalls[k].append(len(gold.intersection(ids[:k])) / len(gold))
    return recalls


def table(name: str, rows: dict[str, Shares]) -> dict[str, Any]:
    """Print and return the means, and their differences to hybrid search with 95 % intervals."""
    first = next(iter(rows.values()))
    bootstrap = Bootstrap(np.arange(len(first[DEPTHS[0]])))
    result = {}
    for way, row in rows.items():
        figures: dict[str, Any] = {
            f"recall@{k}": round(100 * float(np.mean(row[k])), 1) for k in DEPTHS
        }
        for k in DEPTHS:
            change = bootstrap.paired(row[k], first[k])
            figures[f"difference@{k}"] = [
                round(100 * value, 1) for value in (change.mean, change.low, change.high)
            ]
        result[way] = figures
        sys.stdout.write(f"{name:16} {way:28} {json.dumps(figures)}\n")
    sys.stdout.flush()
    return result


if __name__ == "__main__":
    main()
