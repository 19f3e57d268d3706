"""What codes, prefixes and old vectors do to a gradient and to what a search finds.

    python benchmarks/differentiable/index_in_motion.py CORPUS.jsonl TRAIN.jsonl DEV.jsonl

Vectors are MiniLM's. The gradient of the listwise loss by the train questions is compared with that
of whole vectors. Then a passage side that is quick to encode, a change of low rank of the finished
vectors, is trained while its index is encoded anew at one interval or another.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.learning.indexes.moving_index import MovingIndex
from hoptrail.learning.indexes.serving_error import gradient_fidelity, serving_error
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.search.codecs import Codec, Half, Product, Scalar, Sign
from hoptrail.policies.data.query_candidates import list_columns, scope_loss
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

Figures = dict[str, Any]


def main() -> None:
    """Measure both, and print what comes out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("corpus", "train", "dev"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, dev = (
        index_data(args.corpus, [file], cloze=0, seed=0, encoder=minilm())
        for file in (args.train, args.dev)
    )
    figures: Figures = {}
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


def right(queries: LabelledQueries, count: int) -> Tensor:
    """Which passages each query asks for, bool `(n, count)`."""
    positives = torch.zeros(len(queries), count, dtype=torch.bool)
    for row, gold in enumerate(queries.gold):
        positives[row, list(gold)] = True
    return positives


def recall(passages: Tensor, queries: LabelledQueries) -> float:
    """The share of the supporting passages among the nearest five, in percent."""
    nearest = (torch.tensor(queries.vectors) @ passages.T).topk(K).indices.numpy()
    shares = [
        np.isin(list(gold), best).mean() for gold, best in zip(queries.gold, nearest, strict=True)
    ]
    return round(100 * float(np.mean(shares)), 1)


if __name__ == "__main__":
    main()
