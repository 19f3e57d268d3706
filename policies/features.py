"""Scalar features of candidates: of each alone, and of each beside each passage read.

Nothing here depends on the width or the axes of the encoder's vectors, and nothing on ids or on
the order of passages, so that a trained policy survives a change of encoder and of corpus.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.view import KINDS
from hoptrail.memory.dense import DenseIndex
from hoptrail.policies.lexicon import Ids, Incidence, Known
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
MENTIONED, MENTIONS, SHARED = slice(2, 5), slice(5, 7), 13
"""Columns of BESIDE that tell of titles named in texts."""
LINKED, LINKS = 14, 15
UNVISITED = 1e-3
"""Share of the best candidate's visits below which it makes no difference."""


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
    holds = Incidence.of([k.terms for k in known])
    titles = Incidence.of([k.title for k in known])
    covers = _covers(holds, pool.terms, len(idf))
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


def as_links(found: Features) -> Features:
    """The same pool as if every mention were a link that somebody had written.

    Corpora to learn from have titles and few links, and others have links and no titles: a policy
    that saw links only where there were none would not know what to make of them.
    """
    alone, beside = found.alone.copy(), found.beside.copy()
    alone[:, [ALONE.index("mentions out"), ALONE.index("mentions in")]] = 0.0
    one = np.float32(np.log1p(1.0))  # of weight 1
    beside[..., LINKED] = np.where(beside[..., MENTIONED.start] > 0, one, beside[..., LINKED])
    beside[..., LINKS] = np.where(beside[..., MENTIONS.start] > 0, one, beside[..., LINKS])
    for columns in (MENTIONED, MENTIONS, SHARED):
        beside[..., columns] = 0.0
    kind = found.edge_kind.copy()
    for mention, link in (("mentions", "link"), ("mentioned_by", "linked_by")):
        kind[kind == KINDS.index(mention)] = KINDS.index(link)
    return replace(found, alone=alone, beside=beside, edge_kind=kind)


def _covers(holds: Incidence, asked: Ids, terms: int) -> Array:
    """Which candidate holds which of the question's terms, `(n, t)`."""
    column = np.full(terms, -1)
    column[asked] = np.arange(len(asked))
    at = column[holds.items]
    covers = np.zeros((holds.n, len(asked)), dtype=np.float32)
    covers[holds.rows[at >= 0], at[at >= 0]] = 1.0
    return covers


def _alone(pool: Pool, known: list[Known], titles: Incidence, idf: Array, covers: Array) -> Array:
    sparse, dense, cosine = pool.z_scores(pool.slots)
    hybrid = sparse + dense
    named = np.asarray([pool.named.get(slot, 0) for slot in pool.slots], dtype=np.float32)
    in_question = np.zeros(len(idf), dtype=np.float32)
    in_question[pool.terms] = 1.0
    question_idf = idf[pool.terms]
    total = float(question_idf.sum()) + 1e-6
    size = np.asarray([max(1, len(k.title)) for k in known])
    title_idf = titles.sums(idf[titles.items])
    shared_idf = titles.sums((idf * in_question)[titles.items])
    ranks = [_log_ranks(listed, pool.slots) for listed in pool.listed]
    columns = [
        sparse / 5,
        dense / 3,
        hybrid / 6,
        cosine,
        pool.sparse_scores[pool.slots] / (pool.best_sparse + 1e-6),
        *ranks,
        named,
        titles.sums(in_question[titles.items]) / size,
        shared_idf / (title_idf + 1e-6),
        shared_idf / total,
        np.log1p([k.mentions for k in known]),
        np.log1p([k.mentioned for k in known]),
        np.log1p([k.length for k in known]) - 4,
        (covers * question_idf).sum(1) / total,
        (hybrid - hybrid[pool.position[pool.listed[0][0]]]) / 6,
        np.log([pool.shares.get(slot, 0.0) + UNVISITED for slot in pool.slots]) / 4,
        _log_ranks(pool.walked, pool.slots),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _log_ranks(listed: list[int], slots: list[int]) -> Array:
    rank = {slot: i for i, slot in enumerate(listed)}
    return np.log1p([rank.get(slot, LISTED + 50) for slot in slots]).astype(np.float32)


def _beside(
    pool: Pool, known: list[Known], holds: Incidence, titles: Incidence, idf: Array
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
    out[..., 0] = cosine_z / 3
    out[..., 1] = cosine
    out[..., 9] = vectors[at] @ vectors.T
    out[..., 11] = _z(latent, vectors, dense)[1] / 3
    _shared(out, pool, known, holds, titles, idf)
    for row, read in enumerate(reads):
        title = known[at[row]].passage.title
        out[row, :, 12] = [bool(title) and k.passage.title == title for k in known]
        _mentions(out[row], pool, read)
        _links(out[row], pool, read)
    return out


def _shared(
    out: Array, pool: Pool, known: list[Known], holds: Incidence, titles: Incidence, idf: Array
) -> None:
    """What each candidate has in common with each read: terms, words of its title, mentions."""
    # Squares of the idf need float64 to add up exactly; see `lexicon.IDF_STEPS`.
    weight = idf.astype(np.float64)
    squares = weight * weight
    beyond = weight.copy()
    beyond[pool.terms] = 0.0
    norm = np.sqrt(holds.sums(squares[holds.items])) + 1e-6
    title_idf = titles.sums(weight[titles.items]) + 1e-6
    names = Incidence.of([k.targets for k in known])
    held = np.zeros(len(idf), dtype=bool)
    for row, slot in enumerate(pool.reads):
        at = pool.position[slot]
        read = known[at]
        held[:] = False
        held[read.terms] = True
        both = held[holds.items]
        out[row, :, 7] = holds.sums(squares[holds.items] * both) / (norm[at] * norm)
        out[row, :, 8] = holds.sums(beyond[holds.items] * both) / 20
        out[row, :, 10] = titles.sums(weight[titles.items] * held[titles.items]) / title_idf
        out[row, :, 13] = np.log1p(names.sums(np.isin(names.items, read.targets)))


def _z(queries: Array, vectors: Array, dense: DenseIndex) -> tuple[Array, Array]:
    """Cosines `(r, n)`, and the same in standard deviations over the scope."""
    mean, std = dense.moments(queries)
    cosine: Array = queries @ vectors.T
    return cosine, ((cosine - mean[:, None]) / (std[:, None] + 1e-6)).astype(np.float32)


def _mentions(row: Array, pool: Pool, read: Read) -> None:
    """What the titles named in the read, and those that name it, say of the candidates."""
    for mention, asked in zip(read.mentions, read.asked_there, strict=True):
        i = pool.position[mention.target]
        row[i, 2] = 1.0
        row[i, 3] = max(row[i, 3], asked)
        row[i, 4] = max(row[i, 4], 1.0 / (1.0 + mention.start / 100))
    for source in read.mentioned_by:
        at = pool.position.get(source)
        if at is not None:
            row[at, 5], row[at, 6] = 1.0, 1.0 / np.log(2.0 + len(read.mentioned_by))


def _links(row: Array, pool: Pool, read: Read) -> None:
    graph = pool.sources.graph
    for column, edges in ((14, graph.links(read.slot)), (15, graph.back_links(read.slot))):
        for other, _, weight in edges:
            at = pool.position.get(other)
            if at is not None:
                row[at, column] = max(row[at, column], np.log1p(weight))
