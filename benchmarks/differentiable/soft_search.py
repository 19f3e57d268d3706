"""Soft probing of lists against exact search: its error, its gradient, and centroids that learn.

    python benchmarks/differentiable/soft_search.py CORPUS.jsonl TRAIN.jsonl DEV.jsonl [--out FILE]

Vectors of real passages and questions. Of each number of probes: what share of exact search's
probability is missed, how far the two distributions are apart, the recall of hard probing among
exact search's ten best, and the cosine of the gradient by the query, each with k-means' centroids
and with centroids fitted to the train questions.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hoptrail.formats.jsonl import read_questions
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.learning.retrieval.soft_lists import SoftLists, probe_error, soft_probe_log_probs
from hoptrail.memory.encoders.query_side import for_questions
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.policies.data.corpora import OpenCorpus

TEMPERATURE, LIST_TEMPERATURE = 0.05, 0.02
PROBES = (1, 2, 4, 8, 16)
EPOCHS, BATCH, RATE = 6, 64, 3e-4


def gradient_cosine(lists: SoftLists, queries: Tensor, vectors: Tensor) -> float:
    """The mean cosine of the gradient by the query, of the read's cosine with its best passage.

    Args:
        lists: The partition that approximates.
        queries: `(b, d)`.
        vectors: `(n, d)`.
    """
    best = vectors[(queries @ vectors.T).argmax(-1)]
    gradients = []
    for soft in (False, True):
        asking = queries.clone().requires_grad_()
        logits = asking @ vectors.T / TEMPERATURE
        if soft:
            logits = soft_probe_log_probs(logits, lists(asking, vectors).clamp_min(1e-9))
        read = torch.softmax(logits, dim=-1) @ vectors
        (read * best).sum().backward()
        gradients.append(asking.grad)
    exact, approximate = gradients
    assert exact is not None
    assert approximate is not None
    return float(functional.cosine_similarity(exact, approximate, dim=-1).mean())


def fit(lists: SoftLists, queries: Tensor, vectors: Tensor) -> None:
    """Move the centroids to where the questions lose least.

    Args:
        lists: The partition, changed in place.
        queries: `(b, d)`, to be learned from.
        vectors: `(n, d)`.
    """
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(lists.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(queries), generator=generator).split(BATCH):
            logits = queries[rows] @ vectors.T / TEMPERATURE
            loss = lists.missed_loss(queries[rows], vectors, logits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main() -> None:
    """Measure both centroids with every number of probes, and print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    encoder = minilm()
    view = OpenCorpus(args.corpus, args.dev, encoder).scope(()).view
    vectors = torch.tensor(view.dense.vectors(np.flatnonzero(view.alive)))
    asking = for_questions(encoder)
    train, dev = (
        torch.tensor(asking.encode([question.text for question in read_questions(file)]))
        for file in (args.train, args.dev)
    )
    count = round(len(vectors) ** 0.5)
    logits = dev @ vectors.T / TEMPERATURE
    rows: list[dict[str, Any]] = []
    sys.stdout.write("probes centroids  missed variation recall@10 looked-at gradient cosine\n")
    with one_thread():
        for probes in PROBES:
            lists = SoftLists(vectors, count, probes, temperature=LIST_TEMPERATURE)
            for name in ("k-means", "fitted"):
                if name == "fitted":
                    fit(lists, train, vectors)
                error = probe_error(lists, dev, vectors, logits)
                cosine = gradient_cosine(lists, dev, vectors)
                rows.append(
                    {"probes": probes, "centroids": name, **asdict(error), "gradient": cosine}
                )
                sys.stdout.write(
                    f"{probes:6} {name:9} {error.missed:7.3f} {error.variation:9.3f} "
                    f"{error.recall:9.1%} {error.looked_at:9.1%} {cosine:8.3f}\n"
                )
                sys.stdout.flush()
    if args.out:
        figures = {"corpus": args.corpus.parent.name, "lists": count, "rows": rows}
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
