"""What features are computed from: candidates and passages read as rows, and terms looked up.

Every row depends on its passage and the question alone, never on what else is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.policies.environment.candidates import CandidatePool, Read
from hoptrail.policies.environment.terms import Ids, Incidence, Lexicon, PassageTerms

Reals = NDArray[np.float64]

EPSILON = 1e-6
"""Added to what is divided by, which may be 0."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns over the same rows."""

    def plus(self, other: Self) -> Self:
        """Its rows, and behind them those of another.

        Args:
            other: Rows of the same question.
        """
        names = [field.name for field in fields(self)]
        return replace(self, **{n: _joined(getattr(self, n), getattr(other, n)) for n in names})


def _joined(one: Any, two: Any) -> Any:
    if isinstance(one, np.ndarray):
        return np.concatenate([one, two])
    return one.plus(two) if isinstance(one, Incidence) else [*one, *two]


@dataclass(frozen=True, slots=True)
class CandidateRows(Rows):
    """What is needed of n candidates to see them beside those that were read."""

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
    title_number: NDArray[np.int64]
    """`(n,)`: a number for each title, 0 for none."""

    @classmethod
    def of(
        cls,
        pool: CandidatePool,
        slots: list[int],
        passages: Sequence[PassageTerms],
        title_numbers: dict[str, int],
    ) -> CandidateRows:
        """The rows of some candidates.

        Args:
            pool: The question's.
            slots: n of them.
            passages: What the lexicon knows of them, in the same order.
            title_numbers: By title; titles are numbered here as they come.
        """
        # Squares of the idf need float64 to add up exactly; see `terms.IDF_STEPS`.
        idf = pool.scope.lexicon.idf()
        holds = Incidence.of([passage.terms for passage in passages])
        titles = Incidence.of([passage.title for passage in passages])
        weight = idf[holds.items].astype(np.float64)
        numbers = [
            title_numbers.setdefault(title, len(title_numbers) + 1) if title else 0
            for title in (passage.passage.title for passage in passages)
        ]
        return cls(
            slots=slots,
            vectors=pool.scope.view.dense.vectors(np.asarray(slots, dtype=np.int64)),
            holds=holds,
            titles=titles,
            names=Incidence.of([passage.targets for passage in passages]),
            norm=np.sqrt(holds.sums(weight * weight)) + EPSILON,
            title_idf=titles.sums(idf[titles.items].astype(np.float64)) + EPSILON,
            title_number=np.asarray(numbers, dtype=np.int64),
        )


@dataclass(frozen=True, slots=True)
class ReadPassages(Rows):
    """What is needed of r passages that were read, to see others beside them."""

    reads: list[Read]
    queries: Vectors
    """`(r, d)`: the query that each alone leads to."""
    latent: Vectors
    """`(r, d)`: question + read, L2-normalised."""
    vectors: Vectors
    """`(r, d)`."""
    query_moments: Reals
    """`(r, 2)`: mean and deviation over the scope of the cosines with `queries`."""
    latent_moments: Reals
    """`(r, 2)`: the same with `latent`."""
    terms: list[Ids]
    names: list[Ids]
    norm: Reals
    """`(r,)`: of the weighted terms."""
    title_number: NDArray[np.int64]
    """`(r,)`."""
    links_out: list[dict[int, float]]
    """By slot that a read links to, the logarithm of the heaviest link."""
    links_in: list[dict[int, float]]
    """By slot that links to a read, the same."""

    @classmethod
    def of(cls, pool: CandidatePool, reads: list[Read], candidates: CandidateRows) -> ReadPassages:
        """The rows of some reads.

        Args:
            pool: The question's.
            reads: r of them.
            candidates: Rows of all candidates of the pool, in its order.
        """
        at = [pool.position[read.slot] for read in reads]
        queries = np.stack([read.query for read in reads])
        vectors = candidates.vectors[at]
        latent = pool.vector + vectors
        latent /= np.linalg.norm(latent, axis=1, keepdims=True)
        mean, spread = pool.scope.view.dense.moments(np.concatenate([queries, latent]))
        moments = np.stack([mean, spread + EPSILON], axis=1)
        graph = pool.scope.graph
        passages = pool.scope.lexicon.passage_terms([read.slot for read in reads])
        return cls(
            reads=reads,
            queries=queries,
            latent=latent,
            vectors=vectors,
            query_moments=moments[: len(reads)],
            latent_moments=moments[len(reads) :],
            terms=[passage.terms for passage in passages],
            names=[passage.targets for passage in passages],
            norm=candidates.norm[at],
            title_number=candidates.title_number[at],
            links_out=[_heaviest(graph.links(read.slot, steps=False)) for read in reads],
            links_in=[_heaviest(graph.back_links(read.slot, steps=False)) for read in reads],
        )


def _heaviest(links: Iterable[tuple[int, str, float]]) -> dict[int, float]:
    """By the other end, the logarithm of the heaviest link."""
    heaviest: dict[int, float] = {}
    for slot, _, weight in links:
        heaviest[slot] = max(heaviest.get(slot, 0.0), math.log1p(weight))
    return heaviest


class TermLookup:
    """Finds terms among a few others, by an array over all terms of the lexicon.

    Args:
        lexicon: Numbers the terms.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._place = np.zeros(0, dtype=np.int32)  # by term; all 0 but while it is looked at

    def places(self, sought: Ids, terms: Ids) -> NDArray[np.int32]:
        """For each of some terms its place among those sought, -1 for none.

        Args:
            sought: `(s,)` different terms.
            terms: `(m,)`.

        Returns:
            `(m,)`.
        """
        size = len(self._lexicon.idf())
        if size > len(self._place):
            self._place = np.zeros(2 * size, dtype=np.int32)
        self._place[sought] = np.arange(1, len(sought) + 1)
        places: NDArray[np.int32] = self._place[terms] - 1
        self._place[sought] = 0
        return places


def union_of(lists: Sequence[Ids]) -> tuple[Ids, Reals]:
    """The union of r lists `(u,)`, ascending, and 1 where each holds an item, `(r, u)`.

    Args:
        lists: Terms by number, or slots; each once a list.
    """
    pairs = Incidence.of(lists)
    union, columns = np.unique(pairs.items, return_inverse=True)
    return union, indicators(pairs, columns, len(union))


def indicators(pairs: Incidence, columns: NDArray[np.integer], width: int) -> Reals:
    """An incidence as a matrix of 0 and 1, `(n, width)`.

    Args:
        pairs: Which of n passages hold which items, as m pairs.
        columns: `(m,)` the column of each pair; -1 for one that has none.
        width: How many columns.
    """
    matrix = np.zeros((pairs.n, width))
    inside = columns >= 0
    matrix[pairs.rows[inside], columns[inside]] = 1.0
    return matrix
