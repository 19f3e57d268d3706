"""Bytes a passage against recall@5 of late interaction, for each way to keep token vectors.

    python benchmarks/search/late_interaction.py DATA [--questions 60] [--tokens DIR] [--out FILE]

DATA holds a folder for each set with corpus.jsonl and dev.jsonl. The pipeline is
`[Search(keep=20), MaxSim(keep=5)]`: the hybrid search's best 20 of each dev question, ranked anew
by MiniLM's token vectors. Only passages of these pools get any. They are made once, in half
precision, and lie in --tokens, so that a run that was stopped goes on from there. Shares of time
are the pipeline's own with 8-bit codes, question by question: the question's tokens are encoded,
those of the passages lie in their cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.formats.jsonl import read_questions
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_cache import QueryCache
from hoptrail.memory.encoders.transformer import Vectors, minilm
from hoptrail.memory.search.codecs import Codec, Half, Product, Scalar, Sign
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.late_interaction import MaxSim, TokenCache, TokenEncoder
from hoptrail.memory.search.pipeline import Pipeline, PipelineResult
from hoptrail.memory.store import Store
from hoptrail.policies.data.corpora import open_corpus
from hoptrail.types import Question

SETS = ("musique", "2wikimultihopqa", "hotpotqa")
POOL, K = 20, 5
FITTED_TO = 20_000
"""Token vectors that a product code is fitted to."""


class Kept:
    """Token vectors of an encoder, each text's made once.

    Args:
        encoder: Makes them.
        folder: Where they lie, in half precision.
    """

    def __init__(self, encoder: TokenEncoder, folder: Path) -> None:
        self._encoder = encoder
        self._cache = TokenCache(encoder, Half(), folder / "made")
        self.fingerprint, self.dim = encoder.fingerprint, encoder.dim
        self.anew: set[str] = set()
        """Texts that are encoded each time."""

    def encode_tokens(
        self, texts: Sequence[str]
    ) -> list[tuple[Vectors, NDArray[np.int64], Vectors]]:
        """Normalised token vectors; MaxSim needs neither spans nor the texts' own vectors."""
        if self.anew.issuperset(texts):
            return self._encoder.encode_tokens(texts)
        none = np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.float32)
        return [(tokens, *none) for tokens in self._cache.get(texts)]


def main() -> None:
    """Measure every codec on every set, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--questions", type=int, help="the first of each set (default: all)")
    parser.add_argument("--tokens", type=Path, help="where token vectors stay")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    sets = {}
    with tempfile.TemporaryDirectory() as spare:
        encoder = Kept(minilm(), args.tokens or Path(spare))
        for name in args.sets:
            folder = args.data / name
            with open_corpus(folder / "corpus.jsonl", encoder=CachedEncoder(minilm())) as store:
                questions = read_questions(folder / "dev.jsonl")[: args.questions]
                store.queries = QueryCache(len(questions))
                with store.recorder.paused():
                    sets[name] = measure(store, questions, encoder, Path(spare) / name)
            for way, row in sets[name].items():
                sys.stdout.write(f"{name:16} {way:12} {json.dumps(row)}\n")
            sys.stdout.flush()
    if args.out:
        text = json.dumps({"k": K, "pool": POOL, "sets": sets}, indent=2)
        args.out.write_text(text + "\n", encoding="utf-8")


def measure(
    store: Store, questions: list[Question], encoder: Kept, folder: Path
) -> dict[str, dict[str, Any]]:
    """Every codec on one set."""
    pool = Pipeline([Search(keep=POOL)])
    first = [pool.search(store, question.text, POOL) for question in questions]
    rows: dict[str, dict[str, Any]] = {
        "hybrid": {"recall": recall(first, questions, K)},
        f"hybrid @{POOL}": {"recall": recall(first, questions, POOL)},
    }
    contents = list(dict.fromkeys(hit.passage.content for one in first for hit in one.hits))
    tokens = [vectors for vectors, _, _ in encoder.encode_tokens(contents)]
    sample = np.concatenate(tokens)
    chosen = np.random.default_rng(0).choice(len(sample), FITTED_TO, replace=False)
    codecs: list[Codec] = [Half(), Scalar(8), Scalar(4), Sign()]
    codecs += [Product(parts).fit(sample[chosen]) for parts in (96, 48, 24)]
    per_passage = len(sample) / len(tokens)
    for codec in codecs:
        timed = isinstance(codec, Scalar) and codec.bits == 8
        encoder.anew = {question.text for question in questions} if timed else set()
        stage = MaxSim(encoder, keep=K, codec=codec, folder=folder)
        stage.tokens.get(contents)
        pipeline = Pipeline([Search(keep=POOL), stage])
        results = [pipeline.search(store, question.text, K) for question in questions]
        rows[codec.name] = {
            "recall": recall(results, questions, K),
            "bytes_per_token": codec.width(encoder.dim),
            "bytes_per_passage": codec.width(encoder.dim) * per_passage,
            "passages": len(tokens),
        }
        if timed:
            for i, cost in enumerate(results[0].stages):
                rows[codec.name][cost.name] = {
                    "share": statistics.median(one.stages[i].share for one in results),
                    "ms": statistics.median(one.stages[i].milliseconds for one in results),
                }
        stage.tokens.close()
    return rows


def recall(results: list[PipelineResult], questions: list[Question], k: int) -> float:
    """Mean recall@k."""
    parts = []
    for one, question in zip(results, questions, strict=True):
        gold = set(question.supporting_ids)
        parts.append(len(gold & {hit.passage.id for hit in one.hits[:k]}) / len(gold))
    return float(np.mean(parts))


if __name__ == "__main__":
    main()
