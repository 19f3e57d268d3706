"""The numbers behind features: of some passages alone, and of some beside some that were read.

Every cell depends on its passage, its read and the question alone, never on what else is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.policies.environment.candidates import LISTED, Pool, Read
from hoptrail.policies.environment.terms import Ids, Incidence, Known

Array = NDArray[np.float32]
Reals = NDArray[np.float64]

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


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns over the same rows."""

    def plus(self, other: Self) -> Self:
        """Its rows, and behind them those of another."""
        names = [field.name for field in fields(self)]
        return replace(self, **{n: _joined(getattr(self, n), getattr(other, n)) for n in names})


def _joined(one: Any, two: Any) -> Any:
    if isinstance(one, np.ndarray):
        return np.concatenate([one, two])
    return one.plus(two) if isinstance(one, Incidence) else [*one, *two]


@dataclass(frozen=True, slots=True)
class Candidates(Rows):
    """What is needed of n passages to see them beside those that were read."""

    slots: list[int]
    vectors: Vectors
    """`(n, d)`."""
    holds: Incidence
    """Terms."""
    titles: Incidence
    """Terms of their titles."""
    names: Incidence
    """Slots that they mention."""
    norm: Reals
    """`(n,)`: of the weighted terms."""
    title_idf: Reals
    """`(n,)`."""
    called: NDArray[np.int64]
    """`(n,)`: a number for each title, 0 for none."""

    @classmethod
    def of(
        cls, pool: Pool, slots: list[int], known: list[Known], called: dict[str, int]
    ) -> Candidates:
        """Of slots, and what is known of them; titles are numbered as they come."""
        # Squares of the idf need float64 to add up exactly; see `lexicon.IDF_STEPS`.
        idf = pool.sources.lexicon.idf()
        holds = Incidence.of([k.terms for k in known])
        titles = Incidence.of([k.title for k in known])
        weight = idf[holds.items].astype(np.float64)
        numbers = [
            called.setdefault(k.passage.title, len(called) + 1) if k.passage.title else 0
            for k in known
        ]
        return cls(
            slots=slots,
            vectors=pool.sources.view.dense.vectors(np.asarray(slots, dtype=np.int64)),
            holds=holds,
            titles=titles,
            names=Incidence.of([k.targets for k in known]),
            norm=np.sqrt(holds.sums(weight * weight)) + 1e-6,
            title_idf=titles.sums(idf[titles.items].astype(np.float64)) + 1e-6,
            called=np.asarray(numbers, dtype=np.int64),
        )


@dataclass(frozen=True, slots=True)
class Readings(Rows):
    """What is needed of r passages that were read, to see others beside them."""

    reads: list[Read]
    queries: Vectors
    """`(r, d)` as rewritten."""
    latent: Vectors
    """`(r, d)`: question + read, L2-normalised."""
    vectors: Vectors
    mean: Reals
    """`(r, 2)` over the scope, of the cosines with `queries` and `latent`."""
    spread: Reals
    terms: list[Ids]
    names: list[Ids]
    norm: Reals
    called: NDArray[np.int64]
    links: list[tuple[dict[int, float], dict[int, float]]]
    """What it links to and what links to it, each with the logarithm of the heaviest."""

    @classmethod
    def of(cls, pool: Pool, reads: list[Read], among: Candidates) -> Readings:
        """Of reads whose passages are among these candidates of the pool."""
        at = [pool.position[read.slot] for read in reads]
        queries = np.stack([read.query for read in reads])
        vectors = among.vectors[at]
        latent = pool.vector + vectors
        latent /= np.linalg.norm(latent, axis=1, keepdims=True)
        mean, spread = pool.sources.view.dense.moments(np.concatenate([queries, latent]))
        graph = pool.sources.graph
        known = pool.sources.lexicon.known([read.slot for read in reads])
        return cls(
            reads=reads,
            queries=queries,
            latent=latent,
            vectors=vectors,
            mean=mean.reshape(2, -1).T,
            spread=spread.reshape(2, -1).T + 1e-6,
            terms=[k.terms for k in known],
            names=[k.targets for k in known],
            norm=among.norm[at],
            called=among.called[at],
            links=[
                (
                    _heaviest(graph.links(read.slot, steps=False)),
                    _heaviest(graph.back_links(read.slot, steps=False)),
                )
                for read in reads
            ],
        )


class Columns:
    """Works out the columns for the question of a pool."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._place = np.zeros(0, dtype=np.int32)  # by term; all 0 but while it is looked at
        self._ranks = [
            {slot: i for i, slot in enumerate(ranking)} for ranking in (*pool.listed, pool.walked)
        ]

    def place(self, sought: Ids, terms: Ids) -> NDArray[np.int32]:
        """For each of some terms its place among those sought, -1 for none."""
        known = len(self.pool.sources.lexicon.idf())
        if known > len(self._place):
            self._place = np.zeros(2 * known, dtype=np.int32)
        self._place[sought] = np.arange(1, len(sought) + 1)
        found: NDArray[np.int32] = self._place[terms] - 1
        self._place[sought] = 0
        return found

    def covered(self, holds: Incidence) -> Array:
        """Which passage holds which of the question's terms, `(n, t)`."""
        terms = self.pool.terms
        return _full(holds, self.place(terms, holds.items), len(terms)).astype(np.float32)

    def alone(self, new: Candidates, known: list[Known], covered: Array) -> Array:
        """The columns of `ALONE` of some passages, `(n, a)`."""
        pool, slots, titles = self.pool, new.slots, new.titles
        idf = pool.sources.lexicon.idf()
        sparse, dense, cosine = pool.z_scores(slots)
        hybrid = sparse + dense
        ranks = [np.log1p([rank.get(slot, LISTED + 50) for slot in slots]) for rank in self._ranks]
        question_idf = idf[pool.terms]
        total = float(question_idf.sum()) + 1e-6
        asked = self.place(pool.terms, titles.items) >= 0
        shared_idf = titles.sums(idf[titles.items] * asked)
        columns = [
            sparse / 5,
            dense / 3,
            hybrid / 6,
            cosine,
            pool.sparse_scores[slots] / (pool.best_sparse + 1e-6),
            *ranks[:3],
            [pool.named.get(slot, 0) for slot in slots],
            titles.sums(asked) / [max(1, len(k.title)) for k in known],
            shared_idf / new.title_idf,
            shared_idf / total,
            np.log1p([k.mentions for k in known]),
            np.log1p([k.mentioned for k in known]),
            np.log1p([k.length for k in known]) - 4,
            (covered * question_idf).sum(1) / total,
            (hybrid - pool.best_hybrid) / 6,
            np.log([pool.shares.get(slot, 0.0) + UNVISITED for slot in slots]) / 4,
            ranks[3],
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def beside(self, reads: Readings | None, candidates: Candidates) -> Array:
        """The columns of `BESIDE` of n passages beside r that were read, `(r, n, b)`."""
        shape = (len(reads.reads) if reads else 0, len(candidates.slots), len(BESIDE))
        out = np.zeros(shape, dtype=np.float32)
        if reads is None:
            return out
        transposed = candidates.vectors.T
        for of, (asked, column) in enumerate(((reads.queries, 0), (reads.latent, 11))):
            cosine = asked @ transposed
            out[..., column] = (cosine - reads.mean[:, of, None]) / reads.spread[:, of, None] / 3
            if asked is reads.queries:
                out[..., 1] = cosine
        out[..., 9] = reads.vectors @ transposed
        self._shared(out, reads, candidates)
        out[..., 12] = (reads.called[:, None] == candidates.called) & (candidates.called > 0)
        position = {slot: i for i, slot in enumerate(candidates.slots)}
        for row, read, links in zip(out, reads.reads, reads.links, strict=True):
            _mentions(row, read, position)
            for column, linked in zip((14, 15), links, strict=True):
                for slot in linked.keys() & position.keys():
                    row[position[slot], column] = linked[slot]
        return out

    def _shared(self, out: Array, reads: Readings, candidates: Candidates) -> None:
        """What they have in common: terms, words of titles, mentions."""
        idf = self.pool.sources.lexicon.idf()
        terms, read = _union(reads.terms)
        weight = idf[terms].astype(np.float64)
        beyond = weight * (self.place(self.pool.terms, terms) < 0)
        held, titled = (
            _full(of, self.place(terms, of.items), len(terms)).T
            for of in (candidates.holds, candidates.titles)
        )
        out[..., 7] = (read * (weight * weight)) @ held / (reads.norm[:, None] * candidates.norm)
        out[..., 8] = (read * beyond) @ held / 20
        out[..., 10] = (read * weight) @ titled / candidates.title_idf
        names, read = _union(reads.names)
        if len(names):
            items = candidates.names.items
            at = np.minimum(np.searchsorted(names, items), len(names) - 1)
            named = _full(candidates.names, np.where(names[at] == items, at, -1), len(names)).T
            out[..., 13] = np.log1p(read @ named)


def _union(lists: Sequence[Ids]) -> tuple[Ids, Reals]:
    """What stands in any of r lists `(u,)`, ascending, and 1 where it stands in each, `(r, u)`."""
    held = Incidence.of(lists)
    union, at = np.unique(held.items, return_inverse=True)
    return union, _full(held, at, len(union))


def _full(held: Incidence, at: NDArray[np.integer], columns: int) -> Reals:
    """As a matrix `(n, columns)`: 1 where a passage holds what belongs at a column; -1 is none."""
    found = np.zeros((held.n, columns))
    some = at >= 0
    found[held.rows[some], at[some]] = 1.0
    return found


def _mentions(row: Array, read: Read, position: Mapping[int, int]) -> None:
    """What the titles named in the read, and those that name it, say of the candidates."""
    for mention, asked in zip(read.mentions, read.asked_there, strict=True):
        at = position.get(mention.target)
        if at is not None:
            row[at, 2] = 1.0
            row[at, 3] = max(row[at, 3], asked)
            row[at, 4] = max(row[at, 4], 1.0 / (1.0 + mention.start / 100))
    for source in read.mentioned_by & position.keys():
        at = position[source]
        row[at, 5], row[at, 6] = 1.0, 1.0 / math.log(2.0 + len(read.mentioned_by))


def _heaviest(links: Iterable[tuple[int, str, float]]) -> dict[int, float]:
    found: dict[int, float] = {}
    for slot, _, weight in links:
        found[slot] = max(found.get(slot, 0.0), math.log1p(weight))
    return found
