"""Scalar features of candidates: of each alone, and of each beside each passage read.

Nothing here depends on the width or the axes of the encoder's vectors, and nothing on ids or on
the order of passages, so that a trained policy survives a change of encoder and of corpus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hoptrail.memory.dense import DenseIndex
from hoptrail.policies.lexicon import Ids, Known, incidence
from hoptrail.policies.pool import LISTED, Pool, Read

Array = NDArray[np.float32]

ALONE = (
    "sparse z-score",
    "dense z-score",
    "hybrid z-score",
    "cosine",
    "share of the best sparse score",
    "hybrid rank",
    "dense rank",
    "sparse rank",
    "words of its title that the question names",
    "share of its title's terms in the question",
    "the same by idf",
    "share of the question's idf that its title covers",
    "mentions out",
    "mentions in",
    "length",
    "share of the question's idf that it covers",
    "hybrid z-score below the best",
    "visits of a random walk from the question",
    "rank by these visits",
)
BESIDE = (
    "z-score for the rewritten query",
    "cosine with the rewritten query",
    "is mentioned by the read",
    "question terms around that mention",
    "how early it is mentioned",
    "mentions the read",
    "rarity of that",
    "weighted term cosine with the read",
    "idf of new terms shared with the read",
    "cosine with the read",
    "share of its title's idf in the read",
    "z-score for question + read",
    "same title as the read",
    "titles that both mention",
    "links from the read",
    "links to the read",
)
UNVISITED = 1e-3
"""Share of the best candidate's visits below which it makes no difference."""
WINDOW = 60
"""Characters on each side of a mention that say what it is to the passage."""


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a pool of n candidates of which r were read, for a question of t terms."""

    alone: Array
    """`(n, len(ALONE))`."""
    beside: Array
    """`(r, n, len(BESIDE))`, in the order of `rows`."""
    rows: dict[int, int]
    """Slot of a read to its row in `beside`."""
    covers: Array
    """`(n, t)`: 1 where the candidate holds the question's term."""
    idf: Array
    """`(t,)` of the question's terms."""
    edges: NDArray[np.int64]
    """`(2, e)` positions in the pool."""
    edge_kind: NDArray[np.int64]
    """`(e,)` index into `graph.view.KINDS`."""
    edge_weight: Array
    """`(e,)`."""


def features(pool: Pool) -> Features:
    """All features of the pool as it is now."""
    lexicon = pool.sources.lexicon
    known = lexicon.known(pool.slots)
    idf = lexicon.idf()
    holds = incidence([k.terms for k in known], len(idf))
    titles = incidence([k.title for k in known], len(idf))
    covers = np.asarray(holds[:, pool.terms].todense(), dtype=np.float32)
    question_idf = idf[pool.terms]
    edges = pool.sources.graph.edges(pool.slots)
    # The graph has them in the order of slots: sums over them would differ in their last bits.
    order = np.lexsort((edges.index[1], edges.index[0], edges.kind))
    return Features(
        alone=_alone(pool, known, titles, idf, covers),
        beside=_beside(pool, known, holds, titles, idf),
        rows={slot: row for row, slot in enumerate(pool.reads)},
        covers=covers,
        idf=question_idf,
        edges=edges.index[:, order].astype(np.int64),
        edge_kind=edges.kind[order].astype(np.int64),
        edge_weight=edges.weight[order].astype(np.float32),
    )


def _alone(pool: Pool, known: list[Known], titles: csr_matrix, idf: Array, covers: Array) -> Array:
    sparse, dense, cosine = pool.z_scores(pool.slots)
    hybrid = sparse + dense
    named = np.asarray([pool.named.get(slot, 0) for slot in pool.slots], dtype=np.float32)
    in_question = np.zeros(len(idf), dtype=np.float32)
    in_question[pool.terms] = 1.0
    question_idf = idf[pool.terms]
    total = float(question_idf.sum()) + 1e-6
    size = np.maximum(np.asarray(titles.sum(1)).ravel(), 1.0)
    title_idf = titles @ idf
    shared_idf = titles @ (idf * in_question)
    ranks = [_log_ranks(listed, pool.slots) for listed in pool.listed]
    columns = [
        sparse / 5,
        dense / 3,
        hybrid / 6,
        cosine,
        pool.sparse_scores[pool.slots] / (pool.best_sparse + 1e-6),
        *ranks,
        named,
        (titles @ in_question) / size,
        shared_idf / (title_idf + 1e-6),
        shared_idf / total,
        np.log1p([k.mentions for k in known]),
        np.log1p([k.mentioned for k in known]),
        np.log1p([k.length for k in known]) - 4,
        (covers @ question_idf) / total,
        (hybrid - hybrid[pool.position[pool.listed[0][0]]]) / 6,
        np.log([pool.shares.get(slot, 0.0) + UNVISITED for slot in pool.slots]) / 4,
        _log_ranks(pool.walked, pool.slots),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _log_ranks(listed: list[int], slots: list[int]) -> Array:
    rank = {slot: i for i, slot in enumerate(listed)}
    return np.log1p([rank.get(slot, LISTED + 50) for slot in slots]).astype(np.float32)


def _beside(
    pool: Pool, known: list[Known], holds: csr_matrix, titles: csr_matrix, idf: Array
) -> Array:
    n, reads = len(pool.slots), list(pool.reads.values())
    out = np.zeros((len(reads), n, len(BESIDE)), dtype=np.float32)
    if not reads:
        return out
    dense = pool.sources.view.dense
    at = [pool.position[read.slot] for read in reads]
    vectors = dense.vectors(np.asarray(pool.slots))
    queries = np.stack([read.query for read in reads])
    latent = pool.vector + vectors[at]
    latent /= np.linalg.norm(latent, axis=1, keepdims=True)
    cosine, cosine_z = _z(queries, vectors, dense)
    outside = np.ones(len(idf), dtype=np.float32)
    outside[pool.terms] = 0.0
    # Squares of the idf need float64 to add up exactly; see `lexicon.IDF_STEPS`.
    weighted = holds.multiply(idf[None]).tocsr().astype(np.float64)
    norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel()) + 1e-6
    of_reads = holds[at]
    overlap = np.asarray((weighted[at] @ weighted.T).todense())
    new = np.asarray((of_reads.multiply((idf * outside)[None]) @ holds.T).todense())
    title_in = np.asarray((of_reads @ titles.multiply(idf[None]).T).todense())
    title_idf = titles @ idf + 1e-6
    names = incidence([k.targets for k in known], pool.sources.view.capacity)
    out[..., 0] = cosine_z / 3
    out[..., 1] = cosine
    out[..., 7] = overlap / (norm[at][:, None] * norm[None])
    out[..., 8] = new / 20
    out[..., 9] = vectors[at] @ vectors.T
    out[..., 10] = title_in / title_idf
    out[..., 11] = _z(latent, vectors, dense)[1] / 3
    out[..., 13] = np.log1p(np.asarray((names[at] @ names.T).todense()))
    for row, read in enumerate(reads):
        title = known[at[row]].passage.title
        out[row, :, 12] = [bool(title) and k.passage.title == title for k in known]
        _mentions(out[row], pool, read, known[at[row]])
        _links(out[row], pool, read)
    return out


def _z(queries: Array, vectors: Array, dense: DenseIndex) -> tuple[Array, Array]:
    """Cosines `(r, n)`, and the same in standard deviations over the scope."""
    mean, std = dense.moments(queries)
    cosine: Array = queries @ vectors.T
    return cosine, ((cosine - mean[:, None]) / (std[:, None] + 1e-6)).astype(np.float32)


def _mentions(row: Array, pool: Pool, read: Read, known: Known) -> None:
    """What the titles named in the read, and those that name it, say of the candidates."""
    graph, lexicon = pool.sources.graph, pool.sources.lexicon
    idf = lexicon.idf()
    total = float(idf[pool.terms].sum()) + 1e-6
    asked = set(pool.terms.tolist())
    around: dict[tuple[int, int], float] = {}
    for mention in read.mentions:
        i = pool.position.get(mention.target)
        if i is None:
            continue
        span = mention.start, mention.end
        if span not in around:
            window = known.passage.text[max(0, span[0] - WINDOW) : span[1] + WINDOW]
            near: Ids = lexicon.ids(window)
            around[span] = float(sum(idf[t] for t in near.tolist() if t in asked)) / total
        row[i, 2] = 1.0
        row[i, 3] = max(row[i, 3], around[span])
        row[i, 4] = max(row[i, 4], 1.0 / (1.0 + mention.start / 100))
    sources = {m.source for m in graph.in_mentions(read.slot)}
    for source in sources:
        i = pool.position.get(source)
        if i is not None:
            row[i, 5], row[i, 6] = 1.0, 1.0 / np.log(2.0 + len(sources))


def _links(row: Array, pool: Pool, read: Read) -> None:
    graph = pool.sources.graph
    for column, edges in ((14, graph.links(read.slot)), (15, graph.back_links(read.slot))):
        for other, _, weight in edges:
            at = pool.position.get(other)
            if at is not None:
                row[at, column] = max(row[at, column], np.log1p(weight))
