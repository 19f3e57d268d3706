"""Indexes that are learned of a corpus's vectors, against those that look at passages alone.

    python benchmarks/search/learned_indexes.py DATA matryoshka [--sets musique ...]
        [--cloze 5000] [--out FILE]

DATA holds a folder for each set with corpus.jsonl, train.jsonl and dev.jsonl. Everything is learned
from the questions of train.jsonl and from queries that are made of passages (inverse cloze), or
from one of the two, and measured on dev.jsonl, on one thread of a CPU. A set that is for
measuring only has questions.jsonl in their place, and what is learned is learned of its passages
alone. Vectors are MiniLM's and come from the cache where they are in it. `semantic-ids` also says
what of the dev questions' evidence the shipped policy's candidates hold, and what ids add to them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hoptrail.learning.indexes.id_training import SemanticIdsConfig, learn_semantic_ids
from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.learning.indexes.matryoshka import learn_rotation, principal_rotation
from hoptrail.learning.indexes.routing import RoutingConfig, default_shards, learn_router
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.encoders.vectors import Vectors, unit
from hoptrail.memory.index.learned.rotation import Rotation
from hoptrail.memory.index.learned.router import Router, kmeans_router
from hoptrail.memory.index.learned.semantic_ids import SemanticIds
from hoptrail.metrics.bootstrap import Bootstrap, Interval, clusters_of
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.candidates import CandidatePool
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.policies.training.index_queries import ASKED, CLOZE, index_data

PARTS = ("train", "dev")
SETS = ("musique", "2wikimultihopqa", "hotpotqa")
CLOZE_QUERIES = 5000
DIMS = (16, 32, 64, 128, 384)
K = 5
DEPTHS, BEAMS = (5, 10), (16, 64)
MORE = (10, 30)
"""Candidates that another source adds to those of the policy."""
PROBES = (1, 2, 4, 8, 16)

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A set's vectors and queries."""

    folder: Path
    """Of its files."""
    passages: Vectors
    train: LabelledQueries
    dev: LabelledQueries

    def of(self, *kinds: int) -> LabelledQueries:
        """The queries of some kinds to learn from."""
        rows = np.flatnonzero(np.isin(self.train.kinds, kinds))
        gold = [self.train.gold[row] for row in rows]
        return LabelledQueries(self.train.vectors[rows], gold, self.train.kinds[rows])


def main() -> None:
    """Measure one kind of learned index on every set, and print what comes out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("kind", choices=sorted([*KINDS, "semantic-ids"]))
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--cloze", type=int, default=CLOZE_QUERIES, help="queries of passages")
    parser.add_argument("--vectors", type=Path, help="keep vectors here, or take them from here")
    parser.add_argument("--ids", type=Path, help="keep trained ids here, for document_expansion")
    parser.add_argument("--unbalanced", action="store_true", help="ids without balance as well")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results: Figures = {}
    for name in args.sets:
        corpus = opened(args.data / name, args.cloze, args.vectors)
        if args.kind == "semantic-ids":
            results[name] = semantic_ids(corpus, args.unbalanced, args.ids)
        else:
            results[name] = KINDS[args.kind](corpus)
        sys.stdout.write(f"{name}\n{json.dumps(results[name], indent=1)}\n")
        sys.stdout.flush()
    if args.out:
        args.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def opened(folder: Path, cloze: int, vectors: Path | None) -> Corpus:
    """The vectors of a set, its train and dev questions, and queries made of its passages."""
    file = vectors / f"{folder.name}.npz" if vectors else None
    if file is None or not file.is_file():
        load = partial(index_data, folder / "corpus.jsonl", seed=0, encoder=minilm())
        files = [folder / f"{part}.jsonl" for part in PARTS]
        sources, targets = files[:1], files[1:]
        if not files[0].is_file():
            sources, targets = [], [folder / "questions.jsonl"]
        train, dev = load(sources, cloze=cloze), load(targets, cloze=0)
        corpus = Corpus(folder, train.passages, train.queries, dev.queries)
        if file is not None:
            np.savez(file, **arrays_of(corpus))
        return corpus
    with np.load(file) as arrays:
        passages = arrays["passages"].astype(np.float32)
        return Corpus(folder, passages, *map(partial(labelled, arrays), PARTS))


def arrays_of(corpus: Corpus) -> dict[str, NDArray[Any]]:
    """A set's vectors in half precision and its gold, padded with -1, for a file."""
    arrays: dict[str, NDArray[Any]] = {"passages": corpus.passages.astype(np.float16)}
    for part, queries in zip(PARTS, (corpus.train, corpus.dev), strict=True):
        width = max(len(rows) for rows in queries.gold)
        gold = [[*rows, *[-1] * (width - len(rows))] for rows in queries.gold]
        arrays |= {f"{part}.vectors": queries.vectors.astype(np.float16)}
        arrays |= {f"{part}.gold": np.asarray(gold), f"{part}.kinds": queries.kinds}
    return arrays


def labelled(arrays: Mapping[str, NDArray[Any]], part: str) -> LabelledQueries:
    """The queries of a part, from a file."""
    gold = [[one for one in row if one >= 0] for row in arrays[f"{part}.gold"].tolist()]
    vectors = unit(arrays[f"{part}.vectors"].astype(np.float32))
    return LabelledQueries(vectors, gold, arrays[f"{part}.kinds"])


def recall(scores: NDArray[np.float32], queries: LabelledQueries, k: int = K) -> float:
    """The share of the supporting passages among the k with the highest scores, in percent."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    shares = [np.isin(gold, row).mean() for gold, row in zip(queries.gold, best, strict=True)]
    return round(100 * float(np.mean(shares)), 1)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its seconds of the processor."""
    began = time.process_time()
    result = call()
    return result, round(time.process_time() - began, 1)


def matryoshka(corpus: Corpus) -> Figures:
    """Recall at prefixes: as encoded, by principal components, and by learned rotations."""
    width = corpus.passages.shape[1]
    rotations: dict[str, Callable[[], Rotation]] = {
        "as encoded": lambda: Rotation(np.eye(width, dtype=np.float32)),
        "principal components": lambda: principal_rotation(corpus.passages),
        "learned from passages": lambda: learn_rotation(corpus.passages, corpus.of(CLOZE)),
        "learned from questions": lambda: learn_rotation(corpus.passages, corpus.of(ASKED)),
        "learned from both": lambda: learn_rotation(corpus.passages, corpus.train),
    }
    figures: Figures = {}
    for name, make in rotations.items():
        rotation, seconds = timed(make)
        queries, passages = (rotation.apply(each) for each in (corpus.dev.vectors, corpus.passages))
        at = {
            str(m): recall(unit(queries[:, :m]) @ unit(passages[:, :m]).T, corpus.dev) for m in DIMS
        }
        figures[name] = {"recall@5 at dimensions": at, "processor seconds": seconds}
    return figures


def routing(corpus: Corpus) -> Figures:
    """What k-means and learned routers find at equal probes, and what they scan for it."""
    shards = default_shards(len(corpus.passages))
    fixed = RoutingConfig(learn_partition=False)
    frugal = RoutingConfig(latency=1.0, locality=0.1, cache=0.5, bandwidth=0.5)
    makers: dict[str, Callable[[], Router]] = {
        "k-means": lambda: kmeans_router(corpus.passages, shards),
        "learned routes": lambda: learn_router(corpus.passages, corpus.train, fixed),
        "learned routes and shards": lambda: learn_router(corpus.passages, corpus.train),
        "the same from passages alone": lambda: learn_router(corpus.passages, corpus.of(CLOZE)),
        "with all costs": lambda: learn_router(corpus.passages, corpus.train, frugal),
    }
    if len(set(corpus.train.kinds.tolist())) < 2:  # there is one kind to learn from
        del makers["the same from passages alone"]
    cosines = corpus.dev.vectors @ corpus.passages.T
    figures: Figures = {
        "shards": shards,
        "questions": len(corpus.dev),
        "recall@5 of all": recall(cosines, corpus.dev),
    }
    for name, make in makers.items():
        router, seconds = timed(make)
        at = {str(probes): visited(router, corpus, cosines, probes) for probes in PROBES}
        figures[name] = {"at probes": at, "processor seconds": seconds}
    return figures


def visited(
    router: Router, corpus: Corpus, cosines: NDArray[np.float32], probes: int
) -> dict[str, float]:
    """What lies in the shards that dev questions visit, in percent, and what the visits cost.

    Recall@5 is of the nearest passages in them. A least-recently-used cache of a quarter of all
    bytes is simulated, the questions in their order, ten times over; the first round fills it.
    """
    shard = router.assign(corpus.passages)
    sizes = np.bincount(shard, minlength=router.shards)
    routes = router.route(corpus.dev.vectors, probes)
    inside = np.zeros((len(routes), router.shards), dtype=np.bool_)
    np.put_along_axis(inside, routes, True, axis=1)
    nearest = np.argpartition(-cosines, 10, axis=1)[:, :10]
    near = [np.isin(shard[row], route).mean() for row, route in zip(nearest, routes, strict=True)]
    gold = [
        np.isin(shard[list(rows)], route).mean()
        for rows, route in zip(corpus.dev.gold, routes, strict=True)
    ]
    misses, read = cached_visits(np.tile(routes, (10, 1)), sizes, len(routes))
    return {
        "ten nearest": round(100 * float(np.mean(near)), 1),
        "gold": round(100 * float(np.mean(gold)), 1),
        "recall@5": recall(np.where(inside[:, shard], cosines, -np.inf), corpus.dev),
        "scanned": round(100 * float(sizes[routes].sum(1).mean() / sizes.sum()), 2),
        "visits that miss": round(100 * misses, 1),
        "read": round(100 * read / sizes.sum(), 2),
    }


def cached_visits(
    routes: NDArray[np.int64], sizes: NDArray[np.int64], warm: int
) -> tuple[float, float]:
    """The share of visits that miss a cache of a quarter of all, and passages read a query."""
    cache: dict[int, None] = {}
    space, misses, read = sizes.sum() / 4, 0, 0
    for number, route in enumerate(routes.tolist()):
        for shard in route:
            missed = shard not in cache
            cache.pop(shard, None)
            cache[shard] = None
            while sum(sizes[one] for one in cache) > space and len(cache) > 1:
                cache.pop(next(iter(cache)))
            if number >= warm:
                misses += missed
                read += int(sizes[shard]) * missed
    visits = (len(routes) - warm) * routes.shape[1]
    return misses / visits, read / (len(routes) - warm)


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """What finds passages for the dev questions beside their vectors, over a corpus's rows."""

    sparse: NDArray[np.float32]
    """BM25's scores, `(questions, passages)`."""
    pools: dict[str, NDArray[np.bool_]]
    """The candidates of the shipped policy, by when."""
    bootstrap: Bootstrap
    """Over the questions."""


def searched(folder: Path) -> Searched:
    """BM25's scores of a set's dev questions, and what the shipped policy may read for them."""
    effort = EFFORTS["fast"]
    with closing(OpenCorpus(folder / "corpus.jsonl", folder / "dev.jsonl", minilm())) as corpus:
        scope = corpus.scope(())
        slots = np.flatnonzero(scope.view.alive)
        walker = PolicyRetriever(Policy.shipped(), scope.view, scope.graph, minilm(), effort)
        sparse, begun, walked = [], [], []
        for question in corpus.questions:
            sparse.append(scope.view.sparse.scores(question.text)[slots])
            vectors = walker.encoder.encode([question.text])
            [asked_first] = walker.reformulator.first([question.text], vectors)
            pool = CandidatePool(question.text, vectors[0], walker.scope, first=asked_first)
            begun.append(np.isin(slots, pool.slots))
            walker.search.run([pool])
            walked.append(np.isin(slots, pool.slots))
        pools = {"of the question": np.stack(begun), "of the walk": np.stack(walked)}
        return Searched(np.stack(sparse), pools, Bootstrap(clusters_of(corpus.questions)))


def semantic_ids(corpus: Corpus, unbalanced: bool, kept_in: Path | None) -> Figures:
    """Generated ids against dense, sparse and hybrid search: alone, and as a source beside them."""
    dense = corpus.dev.vectors @ corpus.passages.T
    other = searched(corpus.folder)
    single = {"dense": dense, "sparse": other.sparse, "hybrid": hybrid(dense, other.sparse)}
    figures: Figures = {"questions": len(corpus.dev)}
    for name, scores in single.items():
        figures[name] = {f"recall@{k}": recall(scores, corpus.dev, k) for k in DEPTHS}
    configs = {"ids": SemanticIdsConfig(), "ids, decoder untrained": None}
    if unbalanced:
        configs["ids that are not balanced"] = SemanticIdsConfig(balanced=False)
    for name, config in configs.items():
        index, seconds = timed(partial(ids_of, corpus, config))
        leaves = index.leaves(index.ids(corpus.passages))
        sizes = np.bincount(leaves)
        figures[name] = {
            "processor seconds": seconds,
            "passages of an id": round(len(leaves) / int((sizes > 0).sum()), 2),
            "largest": int(sizes.max()),
        }
        for beam in BEAMS:
            ranked = ranked_by_ids(index, leaves, corpus, beam)
            figures[name][f"beam {beam}"] = generated(ranked, corpus, dense)
        if name == "ids":
            if kept_in:
                index.save(kept_in / f"{corpus.folder.name}.safetensors")
            sources = {"ids": ranked, "dense": dense, "sparse": other.sparse}
            figures["candidates of the policy"] = added(other, sources, corpus.dev)
    return figures


def ids_of(corpus: Corpus, config: SemanticIdsConfig | None) -> SemanticIds:
    """Learned ids; without settings those of one step, whose decoder has only its centres."""
    config = config or SemanticIdsConfig(steps=1, learning_rate=1e-9)
    return learn_semantic_ids(corpus.passages, corpus.train, config)


def ranked_by_ids(
    index: SemanticIds, leaves: NDArray[np.int64], corpus: Corpus, beam: int
) -> NDArray[np.float32]:
    """The ranking layer's scores of what is proposed for each dev question, -inf for the rest."""
    ranked = np.full((len(corpus.dev), len(leaves)), -np.inf, dtype=np.float32)
    for row, query in enumerate(corpus.dev.vectors):
        proposed, log_probs = index.propose(query, leaves, beam)
        by_leaf = dict(zip(proposed.tolist(), log_probs.tolist(), strict=True))
        inside = np.flatnonzero(np.isin(leaves, proposed))
        likelihoods = np.asarray([by_leaf[leaf] for leaf in leaves[inside].tolist()])
        ranked[row, inside] = index.scores(
            query, corpus.passages[inside], likelihoods.astype(np.float32)
        )
    return ranked


def generated(
    ranked: NDArray[np.float32], corpus: Corpus, dense: NDArray[np.float32]
) -> dict[str, float]:
    """What the proposed ids hold, how they rank, and what they add to dense search."""
    pool = np.isfinite(ranked)
    count = round(float(pool.sum(1).mean()))
    nearest = first(dense, 25)
    return {
        "candidates": count,
        "gold among them": kept(pool, corpus.dev),
        "gold in as many of dense search": recall(dense, corpus.dev, count),
        **{f"recall@{k}, ranking layer": recall(ranked, corpus.dev, k) for k in DEPTHS},
        "recall@5, cosine": recall(np.where(pool, dense, -np.inf), corpus.dev),
        "gold in 25 of dense search": recall(dense, corpus.dev, 25),
        "gold in these and 10 more by ids": kept(
            nearest | first(np.where(nearest, -np.inf, ranked), 10), corpus.dev
        ),
        "gold in 35 of dense search": recall(dense, corpus.dev, 35),
    }


def added(
    other: Searched, sources: Mapping[str, NDArray[np.float32]], queries: LabelledQueries
) -> Figures:
    """What of the evidence the policy's candidates hold, and what the next of a source add to it.

    Of a source the best come in that are no candidates yet; differences with their intervals.
    """
    figures: Figures = {}
    for when, pool in other.pools.items():
        before = shares_in(pool, queries)
        figures[when] = {"candidates": round(float(pool.sum(1).mean()), 1)}
        figures[when]["gold"] = round(100 * float(before.mean()), 1)
        for name, scores in sources.items():
            for count in MORE:
                more = pool | first(np.where(pool, -np.inf, scores), count)
                gain = other.bootstrap.paired(100 * shares_in(more, queries), 100 * before)
                figures[when][f"{count} more of {name}"] = rounded(gain)
    return figures


def rounded(gain: Interval) -> list[float]:
    """A mean and the bounds of its interval, to a decimal."""
    return [round(each, 1) for each in (gain.mean, gain.low, gain.high)]


def hybrid(dense: NDArray[np.float32], sparse: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of both scores `(questions, passages)` in standard deviations over the passages."""
    scores = [
        (one - one.mean(1, keepdims=True)) / one.std(1, keepdims=True) for one in (dense, sparse)
    ]
    return np.sum(scores, axis=0)


def first(scores: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """Which passages are among the best of each query; none that scores -inf."""
    mask = np.zeros(scores.shape, dtype=np.bool_)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    np.put_along_axis(mask, best, True, axis=1)
    return mask & np.isfinite(scores)


def shares_in(pool: NDArray[np.bool_], queries: LabelledQueries) -> NDArray[np.float64]:
    """The share of each query's supporting passages that are in its pool."""
    return np.asarray(
        [row[list(gold)].mean() for row, gold in zip(pool, queries.gold, strict=True)]
    )


def kept(pool: NDArray[np.bool_], queries: LabelledQueries) -> float:
    """The share of the supporting passages that are in the pools, in percent."""
    return round(100 * float(shares_in(pool, queries).mean()), 1)


KINDS: dict[str, Callable[[Corpus], Figures]] = {
    "matryoshka": matryoshka,
    "routing": routing,
}

if __name__ == "__main__":
    main()
