"""Scalar features of candidates: of each alone, and of each beside each passage read.

Nothing here depends on the width or the axes of the encoder's vectors, and nothing on ids or on
the order of passages, so that a trained policy survives a change of encoder and of corpus.
`hoptrail.policies.environment.feature_columns` works out the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import is_

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.view import KINDS
from hoptrail.policies.environment.candidates import Pool, Read
from hoptrail.policies.environment.feature_columns import (
    ALONE,
    BESIDE,
    Array,
    Candidates,
    Columns,
    Readings,
)

MENTIONED, MENTIONS, SHARED = slice(2, 5), slice(5, 7), 13
"""Columns of BESIDE that tell of titles named in texts."""
LINKED, LINKS = 14, 15


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


class FeatureTable:
    """The features of a pool, kept up to date while it widens.

    A number depends on its passage, its read and the question alone: what was worked out before
    stays, and only what has come to the pool since costs anything.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._begin()

    def now(self) -> Features:
        """All features of the pool as it is now."""
        pool, slots, reads = self._pool, self._slots, list(self._pool.reads.values())
        same = all(map(is_, reads, self._reads)) and len(reads) >= len(self._reads)
        if not same or pool.slots[: len(slots)] != slots:
            self._begin()  # it went back, and may have gone on another way
        self._admit(pool.slots[len(self._slots) :])
        self._read(reads[len(self._reads) :])
        return Features(
            alone=self._alone,
            beside=self._beside,
            rows={slot: row for row, slot in enumerate(pool.reads)},
            covers=self._covers,
            idf=pool.sources.lexicon.idf()[pool.terms],
            edges=np.stack([self._edges >> 20 & 0xFFFFF, self._edges & 0xFFFFF]),
            edge_kind=self._edges >> 40,
            edge_weight=self._weights,
        )

    def _begin(self) -> None:
        pool = self._pool
        self._columns, self._among = Columns(pool), pool.sources.graph.among()
        self._slots: list[int] = []
        self._reads: list[Read] = []
        self._called: dict[str, int] = {}  # titles by number
        self._candidates: Candidates | None = None
        self._readings: Readings | None = None
        self._alone = np.zeros((0, len(ALONE)), dtype=np.float32)
        self._beside = np.zeros((0, 0, len(BESIDE)), dtype=np.float32)
        self._covers = np.zeros((0, len(pool.terms)), dtype=np.float32)
        # An edge as one number, its kind before its source before its target: in this order sums
        # over them have the same bits whatever the order of slots.
        self._edges = np.zeros(0, dtype=np.int64)
        self._weights = np.zeros(0, dtype=np.float32)

    def _admit(self, slots: list[int]) -> None:
        """Take in new candidates."""
        if not slots:
            return
        known = self._pool.sources.lexicon.known(slots)
        new = Candidates.of(self._pool, slots, known, self._called)
        covered = self._columns.covered(new.holds)
        block = self._columns.beside(self._readings, new)
        self._covers = np.concatenate([self._covers, covered])
        self._alone = np.concatenate([self._alone, self._columns.alone(new, known, covered)])
        self._beside = np.concatenate([self._beside, block], axis=1)
        self._candidates = self._candidates.plus(new) if self._candidates else new
        self._slots += slots
        found = self._among.add(np.asarray(slots, dtype=np.int64))
        edges = found.kind.astype(np.int64) << 40 | found.index[0] << 20 | found.index[1]
        edges = np.concatenate([self._edges, edges])
        order = np.argsort(edges, kind="stable")
        self._edges = edges[order]
        self._weights = np.concatenate([self._weights, found.weight])[order]

    def _read(self, reads: list[Read]) -> None:
        """Take in new reads, whose passages are candidates."""
        if not reads or self._candidates is None:
            return
        new = Readings.of(self._pool, reads, self._candidates)
        block = self._columns.beside(new, self._candidates)
        self._beside = np.concatenate([self._beside, block])
        self._readings = self._readings.plus(new) if self._readings else new
        self._reads += reads


def features(pool: Pool) -> Features:
    """All features of a pool that is looked at once."""
    return FeatureTable(pool).now()


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
