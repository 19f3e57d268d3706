"""A soft read of k candidates against one of all passages: what is left out, and what bounds it.

    python benchmarks/differentiable/operator_bound.py CORPUS.jsonl QUESTIONS.jsonl [--out FILE]

Means over real questions, by temperature and k: the probability of what is left out, the bound on
it that the operator gives, how far the output is from that over all passages, and the cosine of the
two gradients by the query (of the output's product with the nearest passage).
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.learning.retrieval.operator import RetrievalOperator, SoftRead
from hoptrail.memory.encoders.query_side import for_questions
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.store import Store
from hoptrail.policies.data.corpora import OpenCorpus

TEMPERATURES = (0.02, 0.05, 0.1)
CANDIDATES = (10, 100, 1000)


def read_with_gradient(
    store: Store, queries: Tensor, best: Tensor, *, k: int | None, temperature: float
) -> tuple[SoftRead, Tensor]:
    """A soft read, and the gradient by the queries of its product with their nearest passages."""
    asking = queries.clone().requires_grad_()
    result = RetrievalOperator(store, k=k, temperature=temperature)(asking)
    (result.output * best).sum().backward()
    assert asking.grad is not None
    return result, asking.grad


def compare(store: Store, queries: Tensor) -> list[dict[str, Any]]:
    """The figures of every temperature and number of candidates."""
    nearest = store.view().dense.search(queries.numpy(), 1)[1][:, 0]
    best = torch.tensor(store.view().dense.vectors(nearest))
    rows = []
    for temperature in TEMPERATURES:
        exact, exact_gradient = read_with_gradient(
            store, queries, best, k=None, temperature=temperature
        )
        for k in CANDIDATES:
            read, gradient = read_with_gradient(store, queries, best, k=k, temperature=temperature)
            columns = np.searchsorted(exact.slots, read.slots)
            seen = (exact.weights[:, columns] * read.mask).sum(-1)
            error = (read.output - exact.output).norm(dim=-1)
            cosine = functional.cosine_similarity(gradient, exact_gradient, dim=-1)
            figures = {"left out": 1 - seen, "bound": read.rest, "error": error, "cosine": cosine}
            means = {name: round(value.mean().item(), 4) for name, value in figures.items()}
            rows.append({"temperature": temperature, "k": k, **means})
            sys.stdout.write(f"{json.dumps(rows[-1])}\n")
            sys.stdout.flush()
    return rows


def main() -> None:
    """Measure on a set's questions, and print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    encoder = minilm()
    with closing(OpenCorpus(args.corpus, args.questions, encoder)) as corpus, one_thread():
        texts = [question.text for question in corpus.questions]
        queries = torch.tensor(for_questions(encoder).encode(texts))
        rows = compare(corpus.store, queries)
    if args.out:
        figures = {"corpus": args.corpus.parent.name, "questions": len(texts), "rows": rows}
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
