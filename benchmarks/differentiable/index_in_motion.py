"""What codes, prefixes and old vectors do to a gradient and to what a search finds.

    python benchmarks/differentiable/index_in_motion.py CORPUS.jsonl TRAIN.jsonl DEV.jsonl
        [--transformer] [--out FILE]

Vectors are MiniLM's. The gradient of the listwise loss by the train questions is compared with that
of whole vectors. Then a passage side that is quick to encode, a change of low rank of the finished
vectors, is trained while its index is encoded anew at one interval or another. `--transformer`
trains MiniLM's own passage side instead, as `hoptrail encoder tune --side passage --max-age A`
does, at a size that a core manages in minutes: some questions of each file, and what they need with
what is nearest to them, each passage cut to its first words.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.formats.jsonl import read_questions
from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.learning.indexes.moving_index import MovingIndex
from hoptrail.learning.indexes.serving_error import gradient_fidelity, serving_error
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.search.codecs import Codec, Half, Product, Scalar, Sign
from hoptrail.metrics.bootstrap import Bootstrap, clusters_of
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.query_candidates import list_columns, scope_loss
from hoptrail.policies.training.encoders.passage_encoder import (
    PassageEncoderConfig,
    train_passage_encoder,
)
from hoptrail.policies.training.index_queries import index_data

TEMPERATURE, K, PARTS = 0.05, 5, 48
STEPS, BATCH, RANK, HARD, RATE = 100, 16, 16, 2, 3e-3
AGES: tuple[tuple[int | None, bool], ...] = (
    (0, False),
    (5, False),
    (20, False),
    (20, True),
    (None, False),
)
"""Bounds of the age, and whether all is encoded in rounds."""
SAMPLE = 512
SOME, WORDS, NEAREST, LEARNING_RATE = 40, 32, 2, 5e-4
"""For a transformer: questions of a file, words of a passage, passages that are nearest to a
question, and the peak of the rate."""
TRANSFORMER_AGES = (None, 20, 5)

Figures = dict[str, Any]


def main() -> None:
    """Measure both, and print what comes out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("corpus", "train", "dev"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--transformer", action="store_true", help="train MiniLM's passage side")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures: Figures = {}
    if args.transformer:
        with TemporaryDirectory() as folder:
            small_files(args.corpus, args.train, args.dev, Path(folder))
            figures["transformer"] = transformer(Path(folder))
            sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    else:
        train, dev = (
            index_data(args.corpus, [file], cloze=0, seed=0, encoder=minilm())
            for file in (args.train, args.dev)
        )
        for measure in (codes, staleness):
            part = measure(torch.tensor(train.passages), train.queries, dev.queries)
            figures[measure.__name__] = part
            sys.stdout.write(json.dumps(part, indent=1) + "\n")
            sys.stdout.flush()
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def codes(passages: Tensor, train: LabelledQueries, dev: LabelledQueries) -> Figures:
    """Gradient and recall of each kind of code and of each prefix, beside whole vectors."""
    vectors, width = passages.numpy(), passages.shape[1]
    codecs: list[Codec] = [Half(), Scalar(8), Scalar(4), Sign()]
    codecs.append(Product(PARTS).fit(vectors[::4]))
    served: dict[str, Tensor] = {
        codec.name: torch.from_numpy(codec.decode(codec.encode(vectors), width)) for codec in codecs
    }
    for dims in (256, 128, 64):
        served[f"prefix {dims}"] = functional.normalize(
            passages * (torch.arange(width) < dims), dim=1
        )
    queries, positives = torch.tensor(train.vectors), right(train, len(passages))
    figures: Figures = {"whole": {"recall@5": recall(passages, dev)}}
    for name, other in served.items():
        fidelity = gradient_fidelity(queries, passages, other, positives, temperature=TEMPERATURE)
        bound = serving_error(float((passages - other).norm(dim=1).max()), TEMPERATURE)
        figures[name] = {
            "cosine": round(fidelity.cosine, 4),
            "norm": round(fidelity.norm, 3),
            "worst": round(fidelity.worst, 2),
            "bound": round(bound.gradient, 2),
            "score": round(float((queries @ (passages - other).T).abs().max()), 4),
            "bound of the score": round(bound.score, 4),
            "recall@5": recall(other, dev),
        }
    return figures


def staleness(passages: Tensor, train: LabelledQueries, dev: LabelledQueries) -> Figures:
    """How stale an index is at each bound of its age, and what its encoder finds."""
    figures: Figures = {"untrained": {"recall@5": recall(passages, dev)}}
    for max_age, rounds in AGES:
        name = f"{'never' if max_age is None else max_age}{' in rounds' if rounds else ''}"
        run = trained(passages, train, dev, max_age, rounds)
        figures[name] = {key: round(value, 4) for key, value in run.items()}
    return figures


def trained(
    passages: Tensor,
    train: LabelledQueries,
    dev: LabelledQueries,
    max_age: int | None,
    rounds: bool,
) -> dict[str, float]:
    """Train a change of the passages' vectors with an index that moves; what became of both."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    width = passages.shape[1]
    down = nn.Parameter(torch.randn(RANK, width, generator=generator) / width**0.5)
    up = nn.Parameter(torch.zeros(width, RANK))

    def encode(rows: Any) -> Tensor:
        vectors = passages[torch.as_tensor(rows)]
        return functional.normalize(vectors + (vectors @ down.T) @ up.T, dim=1)

    index = MovingIndex(passages, encode, max_age=max_age, rounds=rounds)
    optimizer = torch.optim.AdamW([down, up], RATE)
    queries, positives = torch.tensor(train.vectors), right(train, len(passages))
    looks = []
    for step in range(STEPS):
        drawn = torch.tensor(rng.integers(len(queries), size=BATCH))
        served, batch_queries, gold = index.served(), queries[drawn], positives[drawn]
        columns, mask = list_columns(
            batch_queries @ served.T, gold, torch.ones_like(gold), served, "mined", 0.9, HARD
        )
        if step % 10 == 9:  # as a question looks at it, at whatever age it has
            sample = rng.permutation(len(passages))[:SAMPLE]
            looks.append(index.staleness(batch_queries, sample))
        fresh = encode(columns)
        logits = batch_queries @ served.index_copy(0, columns, fresh).T / TEMPERATURE
        optimizer.zero_grad()
        scope_loss("likelihood", logits, gold, mask).backward()  # type: ignore[no-untyped-call]
        index.write(columns.numpy(), fresh)
        optimizer.step()
        index.advance()
    with torch.no_grad():
        now = encode(np.arange(len(passages)))
    return {
        "encoded a step": index.encoded / STEPS,
        "oldest": max(look.oldest for look in looks),
        "cosine": float(np.mean([look.cosine for look in looks])),
        "score error": max(look.score_error for look in looks),
        "changed": float(np.mean([look.changed for look in looks])),
        "recall@5 as served": recall(index.served(), dev),
        "recall@5 encoded anew": recall(now, dev),
    }


def small_files(corpus: Path, train: Path, dev: Path, folder: Path) -> None:
    """Some questions of each file, and what they need and what is nearest, cut short."""
    rng = np.random.default_rng(0)
    ids: set[str] = set()
    with closing(OpenCorpus(corpus, None, minilm())) as opened:
        for file, name in ((train, "train"), (dev, "dev")):
            lines = file.read_text(encoding="utf-8").splitlines()
            part = [lines[i] for i in sorted(rng.permutation(len(lines))[:SOME].tolist())]
            (folder / f"{name}.jsonl").write_text("\n".join(part) + "\n", encoding="utf-8")
            for question in read_questions(folder / f"{name}.jsonl"):
                view = opened.scope(question.namespace).view
                near = view.dense.search(minilm().encode([question.text]), NEAREST)[1][0]
                ids |= {*question.supporting_ids, *(one.id for one in view.passages(near))}
    passages = map(json.loads, corpus.read_text(encoding="utf-8").splitlines())
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as short:
        for passage in passages:
            if passage["id"] in ids:
                passage["text"] = " ".join(passage["text"].split()[:WORDS])
                short.write(json.dumps(passage) + "\n")


def transformer(folder: Path) -> Figures:
    """How stale the index of a transformer's passage side gets, and what the encoder then finds."""
    figures: Figures = {}
    encoder = minilm()
    with closing(OpenCorpus(folder / "corpus.jsonl", folder / "train.jsonl", encoder)) as corpus:
        view = corpus.scope(()).view
        slots = np.flatnonzero(view.alive)
        contents = [passage.content for passage in view.passages(slots)]
        before = torch.tensor(view.dense.vectors(slots))
        dev = index_data(
            folder / "corpus.jsonl", [folder / "dev.jsonl"], cloze=0, seed=0, encoder=encoder
        ).queries
        clusters = clusters_of(read_questions(folder / "dev.jsonl"))
        figures["passages"], figures["questions of each"] = len(contents), SOME
        figures["before"] = {"recall@5": recall(before, dev)}
        for max_age in TRANSFORMER_AGES:
            config = PassageEncoderConfig(
                epochs=4, batch=4, hard=1, learning_rate=LEARNING_RATE, max_age=max_age
            )
            began = time.process_time()
            tuned = train_passage_encoder([corpus], encoder, config)
            seconds = time.process_time() - began
            index, now = tuned.made_of["index"], torch.tensor(tuned.encode(contents))
            gain = Bootstrap(clusters).paired(recalls(now, dev), recalls(before, dev))
            figures["never" if max_age is None else str(max_age)] = {
                "steps": index["steps"],
                "encoded a step": round(index["encoded"] / index["steps"], 1),
                "staleness": index["staleness"],
                "recall@5 encoded anew": recall(now, dev),
                "difference": [round(each, 1) for each in (gain.mean, gain.low, gain.high)],
                "mean cosine with before": round(float((now * before).sum(1).mean()), 4),
                "processor seconds": round(seconds, 1),
            }
            sys.stdout.write(json.dumps(figures, indent=1) + "\n")
            sys.stdout.flush()
    return figures


def right(queries: LabelledQueries, count: int) -> Tensor:
    """Which passages each query asks for, bool `(n, count)`."""
    positives = torch.zeros(len(queries), count, dtype=torch.bool)
    for row, gold in enumerate(queries.gold):
        positives[row, list(gold)] = True
    return positives


def recall(passages: Tensor, queries: LabelledQueries) -> float:
    """The mean of `recalls`."""
    return round(float(recalls(passages, queries).mean()), 1)


def recalls(passages: Tensor, queries: LabelledQueries) -> NDArray[np.float64]:
    """The share of each query's supporting passages among the nearest five, in percent."""
    nearest = (torch.tensor(queries.vectors) @ passages.T).topk(K).indices.numpy()
    shares = [
        np.isin(list(gold), best).mean() for gold, best in zip(queries.gold, nearest, strict=True)
    ]
    return 100 * np.asarray(shares)


if __name__ == "__main__":
    main()
