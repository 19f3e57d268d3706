"""Scalar features of candidates: of each alone, and of each beside each passage read.

Nothing here depends on the width or the axes of the encoder's vectors, and nothing on ids or on
the order of passages, so that a trained policy survives a change of encoder and of corpus.
`feature_names` beside this file lists them all, and says what to do to add one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import is_

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.view import KINDS
from hoptrail.policies.environment.candidate_features import (
    CandidateInputs,
    QuestionContext,
    candidate_features,
)
from hoptrail.policies.environment.candidates import CandidatePool, Read
from hoptrail.policies.environment.feature_inputs import CandidateRows, ReadPassages
from hoptrail.policies.environment.feature_names import Array, CandidateFeature, PairFeature
from hoptrail.policies.environment.pair_features import PairInputs, pair_features

NAMED_IN_TEXTS = (
    PairFeature.IS_MENTIONED,
    PairFeature.QUESTION_IDF_NEAR_MENTION,
    PairFeature.MENTION_EARLINESS,
    PairFeature.MENTIONS_READ,
    PairFeature.MENTIONS_READ_RARITY,
    PairFeature.SHARED_MENTIONS,
)
"""What titles named in texts say of a candidate."""


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a pool of n candidates of which r were read, for a question of t terms."""

    alone: Array
    """`(n, len(CandidateFeature))`."""
    beside: Array
    """`(r, n, len(PairFeature))`, in the order of `rows`."""
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

    def __init__(self, pool: CandidatePool) -> None:
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
            idf=pool.scope.lexicon.idf()[pool.terms],
            edges=np.stack([self._edges >> 20 & 0xFFFFF, self._edges & 0xFFFFF]),
            edge_kind=self._edges >> 40,
            edge_weight=self._weights,
        )

    def _begin(self) -> None:
        pool = self._pool
        self._question, self._among = QuestionContext(pool), pool.scope.graph.among()
        self._slots: list[int] = []
        self._reads: list[Read] = []
        self._title_numbers: dict[str, int] = {}
        self._candidates: CandidateRows | None = None
        self._read_passages: ReadPassages | None = None
        self._alone = np.zeros((0, len(CandidateFeature)), dtype=np.float32)
        self._beside = np.zeros((0, 0, len(PairFeature)), dtype=np.float32)
        self._covers = np.zeros((0, len(pool.terms)), dtype=np.float32)
        # An edge as one number, its kind before its source before its target: in this order sums
        # over them have the same bits whatever the order of slots.
        self._edges = np.zeros(0, dtype=np.int64)
        self._weights = np.zeros(0, dtype=np.float32)

    def _admit(self, slots: list[int]) -> None:
        """Take in new candidates."""
        if not slots:
            return
        passages = self._pool.scope.lexicon.passage_terms(slots)
        new = CandidateRows.of(self._pool, slots, passages, self._title_numbers)
        covered = self._question.covered(new.holds)
        inputs = CandidateInputs(self._question, new, passages, covered)
        block = np.zeros((0, len(slots), len(PairFeature)), dtype=np.float32)
        if self._read_passages:
            block = pair_features(PairInputs(self._question, self._read_passages, new))
        self._covers = np.concatenate([self._covers, covered])
        self._alone = np.concatenate([self._alone, candidate_features(inputs)])
        self._beside = np.concatenate([self._beside, block], axis=1)
        self._candidates = self._candidates.plus(new) if self._candidates else new
        self._slots += slots
        added = self._among.add(np.asarray(slots, dtype=np.int64))
        edges = added.kind.astype(np.int64) << 40 | added.index[0] << 20 | added.index[1]
        edges = np.concatenate([self._edges, edges])
        order = np.argsort(edges, kind="stable")
        self._edges = edges[order]
        self._weights = np.concatenate([self._weights, added.weight])[order]

    def _read(self, reads: list[Read]) -> None:
        """Take in new reads, whose passages are candidates."""
        if not reads or self._candidates is None:
            return
        new = ReadPassages.of(self._pool, reads, self._candidates)
        block = pair_features(PairInputs(self._question, new, self._candidates))
        self._beside = np.concatenate([self._beside, block])
        self._read_passages = self._read_passages.plus(new) if self._read_passages else new
        self._reads += reads


def features(pool: CandidatePool) -> Features:
    """All features of a pool that is looked at once; `FeatureTable` keeps them up to date.

    Args:
        pool: The candidates of a question, and what was read for it.
    """
    return FeatureTable(pool).now()


def as_links(table: Features) -> Features:
    """The same pool as if every mention were a link that somebody had written.

    Corpora to learn from have titles and few links, and others have links and no titles: a policy
    that saw links only where there were none would not know what to make of them.

    Args:
        table: The features of a pool.
    """
    alone, beside = table.alone.copy(), table.beside.copy()
    alone[:, [CandidateFeature.MENTIONS_OUT, CandidateFeature.MENTIONS_IN]] = 0.0
    weight_one = np.float32(np.log1p(1.0))
    for mention, link in (
        (PairFeature.IS_MENTIONED, PairFeature.LINKS_FROM_READ),
        (PairFeature.MENTIONS_READ, PairFeature.LINKS_TO_READ),
    ):
        beside[..., link] = np.where(beside[..., mention] > 0, weight_one, beside[..., link])
    beside[..., NAMED_IN_TEXTS] = 0.0
    kind = table.edge_kind.copy()
    for mention_kind, link_kind in (("mentions", "link"), ("mentioned_by", "linked_by")):
        kind[kind == KINDS.index(mention_kind)] = KINDS.index(link_kind)
    return replace(table, alone=alone, beside=beside, edge_kind=kind)
