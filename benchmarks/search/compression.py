"""Bytes a passage against recall@5 of plain dense search, for each way to keep less.

    python benchmarks/search/compression.py DATA [--static DIR] [--sets musique ...] [--out FILE]

DATA holds a folder for each set with corpus.jsonl and dev.jsonl. "Alone" ranks by what is kept;
"then whole" takes its best 50 and ranks them by whole vectors, which then lie on disk. --static is
an encoder that `hoptrail encoder distill` wrote. Vectors come from the cache where they are in it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hoptrail.formats.jsonl import read_corpus, read_questions
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.static import StaticEncoder
from hoptrail.memory.encoders.transformer import Vectors, minilm
from hoptrail.memory.encoders.vectors import unit
from hoptrail.memory.maintenance.near_duplicates import NEAR
from hoptrail.memory.search.codecs import Codec, Half, Product, Scalar, Sign
from hoptrail.memory.search.first_stages import first_dims

SETS = ("musique", "2wikimultihopqa", "hotpotqa")
K, DEPTH = 5, 50
FITTED_TO = 5_000
"""Vectors that a product code is fitted to."""
ROUNDS = 8
PROBE = (4, 16)

Scores = NDArray[np.float32]
Gold = list[list[int]]
Row = dict[str, float]


def main() -> None:
    """Measure every way on every set, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--static", type=Path, help="a distilled encoder")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    teacher = CachedEncoder(minilm())
    static = CachedEncoder(StaticEncoder.load(args.static)) if args.static else None
    results = {name: measure(args.data / name, teacher, static) for name in args.sets}
    first = results[args.sets[0]]
    for way in first:
        cells = [results[name][way] for name in args.sets]
        line = "  ".join(f"{100 * c['alone']:5.1f} {100 * c['then whole']:5.1f}" for c in cells)
        sys.stdout.write(f"{way:28s} {cells[0]['bytes']:7.0f} B  {line}\n")
    if args.out:
        text = json.dumps({"k": K, "depth": DEPTH, "sets": results}, indent=2)
        args.out.write_text(text + "\n", encoding="utf-8")


def measure(folder: Path, teacher: CachedEncoder, static: CachedEncoder | None) -> dict[str, Row]:
    """Every way on one set."""
    passages = list(read_corpus(folder / "corpus.jsonl"))
    questions = read_questions(folder / "dev.jsonl")
    number = {passage.id: row for row, passage in enumerate(passages)}
    gold = [[number[id_] for id_ in dict.fromkeys(q.supporting_ids)] for q in questions]
    contents, texts = [p.content for p in passages], [q.text for q in questions]
    stored, queries = teacher.encode(contents), teacher.encode(texts)
    whole = queries @ stored.T
    dim = stored.shape[1]
    rows: dict[str, Row] = {}

    def add(way: str, size: float, scores: Scores, **more: float) -> None:
        rows[way] = {
            "bytes": size,
            "alone": recall(scores, gold, K),
            "then whole": recall(only_best(scores, whole), gold, K),
            **more,
        }
        sys.stderr.write(f"{folder.name} {way}: {rows[way]}\n")

    add("float32", 4 * dim, whole)
    sample = stored[np.random.default_rng(0).choice(len(stored), FITTED_TO, replace=False)]
    codecs: list[Codec] = [Half(), Scalar(8), Scalar(4), Sign()]
    codecs += [Product(parts).fit(sample) for parts in (96, 48, 24)]
    for codec in codecs:
        scores = codec.scores(queries, codec.encode(stored))
        add(codec.name, codec.width(dim), scores, off=float(np.abs(scores - whole).max()))
    for dims in (256, 128, 64):
        cut, cut_asked = first_dims(stored, dims), first_dims(queries, dims)
        add(f"prefix {dims}", 4 * dims, cut_asked @ cut.T)
    turn = np.linalg.eigh(sample.T.astype(np.float64) @ sample)[1][:, ::-1].astype(np.float32)
    for dims in (128, 64):
        cut, cut_asked = first_dims(stored @ turn, dims), first_dims(queries @ turn, dims)
        add(f"turned by PCA, prefix {dims}", 4 * dims, cut_asked @ cut.T)
        scalar = Scalar(8)
        scores = scalar.scores(cut_asked, scalar.encode(cut))
        add(f"the same in int8, {dims}", scalar.width(dims), scores)
    clusters(stored, queries, whole, add)
    pruned(stored, queries, gold, rows)
    if static is not None:
        table, table_asked = static.encode(contents), static.encode(texts)
        add(f"static {static.dim}", 4 * static.dim, table_asked @ table.T)
        for codec in (Scalar(8), Scalar(4)):
            scores = codec.scores(table_asked, codec.encode(table))
            add(f"static {static.dim}, {codec.name}", codec.width(static.dim), scores)
    return rows


def clusters(stored: Vectors, queries: Vectors, whole: Scores, add: Callable[..., None]) -> None:
    """Centroids first: passages outside of the nearest clusters are not looked at."""
    import faiss

    count = round(len(stored) ** 0.5)
    kmeans = faiss.Kmeans(
        stored.shape[1], count, niter=ROUNDS, seed=0, spherical=True, max_points_per_centroid=64
    )
    kmeans.train(stored)
    centroids = unit(kmeans.centroids.reshape(count, -1))
    of = (stored @ centroids.T).argmax(1)
    near = queries @ centroids.T
    add("centroid alone", 2, near[:, of])
    for probe in PROBE:
        bound = -np.sort(-near, axis=1)[:, probe - 1 : probe]
        inside = (near >= bound)[:, of]
        scores = np.where(inside, whole, -np.inf).astype(np.float32)
        add(f"clusters, {probe} looked into", 4 * stored.shape[1] + 2, scores, seen=inside.mean())


def pruned(stored: Vectors, queries: Vectors, gold: Gold, rows: dict[str, Row]) -> None:
    """Near-duplicates merged into the first of them, which then stands for both."""
    keeper = np.arange(len(stored))
    for start in range(0, len(stored), 1024):
        block = stored[start : start + 1024] @ stored[: start + 1024].T
        for row, other in zip(*np.nonzero(block >= NEAR), strict=True):
            if other < start + row:
                keeper[start + row] = min(keeper[start + row], keeper[other])
    left = np.flatnonzero(keeper == np.arange(len(stored)))
    place = {int(slot): row for row, slot in enumerate(left)}
    moved = [sorted({place[int(keeper[slot])] for slot in part}) for part in gold]
    value = recall(queries @ stored[left].T, moved, K)
    share = len(left) / len(stored)
    size = 4 * stored.shape[1] * share
    rows["near-duplicates merged"] = {
        "bytes": size,
        "alone": value,
        "then whole": value,
        "left": share,
    }


def only_best(scores: Scores, whole: Scores) -> Scores:
    """The whole vectors' scores of the best by other scores, and of nothing else."""
    best = np.argpartition(-scores, DEPTH, axis=1)[:, :DEPTH]
    out = np.full_like(whole, -np.inf)
    np.put_along_axis(out, best, np.take_along_axis(whole, best, axis=1), axis=1)
    return out


def recall(scores: Scores, gold: Gold, k: int) -> float:
    """Mean recall@k."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float(
        np.mean([len(set(b) & set(g)) / len(g) for b, g in zip(best.tolist(), gold, strict=True)])
    )


if __name__ == "__main__":
    main()
