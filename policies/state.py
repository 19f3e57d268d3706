"""A state of the decision process as the policy sees it, and batches of states.

A state is (question, evidence, last passage read); its actions are the candidates that are open to
it and not yet read, and STOP. Evidence enters as a set: everything but `last` is symmetric in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.policies.cells import ALONE, BESIDE
from hoptrail.policies.features import Features
from hoptrail.policies.pool import Pool

Array = NDArray[np.float32]

MEANS = (0, 1, 7, 9)
"""Columns of BESIDE whose mean over the evidence says more than the largest."""
EVIDENCE = (
    "is evidence",
    "share of the question's idf that it covers and the evidence does not",
    "share of what the evidence leaves open that it covers",
    "best rank for a rewritten query",
    "rank for the last rewritten query",
)
OVERALL = (
    "nothing is read",
    "passages read",
    "share of the question's idf left open",
    "terms of the question",
    "passages named",
    "passages named and not read",
    "best z-score for a rewritten query",
    "candidates that the evidence mentions",
)
COLUMNS = (
    *(f"alone: {name}" for name in ALONE),
    *(f"beside the evidence, largest: {name}" for name in BESIDE),
    *(f"beside the last read: {name}" for name in BESIDE),
    *(f"beside the evidence, mean: {BESIDE[column]}" for column in MEANS),
    *(f"evidence: {name}" for name in EVIDENCE),
    *(f"overall: {name}" for name in OVERALL),
)
"""The name of each column of `StateInput.x`. A policy keeps the names of those that it reads, so
that one trained before a column was added still decides as it did."""
WIDTH = len(COLUMNS)
FEATURES_VERSION = 1
"""Changes when a column changes its meaning under the same name: a policy is bound to it."""

State = tuple[int, ...]
"""The evidence as slots, in the order read; the last is the last passage read."""


@dataclass(frozen=True, slots=True)
class StateInput:
    """One state: m candidates with f = WIDTH features, and the e edges among them."""

    x: Array
    """`(m, f)`; the last `len(OVERALL)` columns are equal in all rows."""
    slots: NDArray[np.int64]
    """`(m,)` which passage each row is."""
    evidence: NDArray[np.bool_]
    """`(m,)`."""
    edges: NDArray[np.int64]
    """`(2, e)` rows of x."""
    edge_kind: NDArray[np.int64]
    edge_weight: Array


def state_input(pool: Pool, found: Features, evidence: State) -> StateInput:
    """What the policy sees in the state with this evidence."""
    open_ = pool.member(evidence)
    index = np.flatnonzero(open_)
    rows = [found.rows[slot] for slot in evidence]
    at = [pool.position[slot] for slot in evidence]
    nothing = np.zeros((1, len(index), len(BESIDE)), dtype=np.float32)
    beside = found.beside[rows][:, index] if rows else nothing
    total = float(found.idf.sum()) + 1e-6
    covered = found.covers[at].max(0) if at else np.zeros(len(found.idf), dtype=np.float32)
    left = (1.0 - covered) * found.idf
    adds = (found.covers[index] * left).sum(1)
    is_evidence = np.isin(index, at)
    ranks = np.log1p(_ranks(beside[..., 0])) if rows else np.zeros((1, len(index)))
    largest = beside.max(0)
    overall = np.asarray(
        [
            float(not evidence),
            len(evidence) / 4,
            left.sum() / total,
            len(found.idf) / 20,
            len(pool.named) / 4,
            sum(slot not in evidence for slot in pool.named) / 4,
            largest[:, 0].max(initial=0.0),
            largest[:, 2].sum() / 10,
        ],
        dtype=np.float32,
    )
    x = np.concatenate(
        [
            found.alone[index],
            largest,
            beside[-1],
            beside.mean(0)[:, MEANS],
            np.stack(
                [is_evidence, adds / total, adds / (left.sum() + 1e-6), ranks.min(0), ranks[-1]], 1
            ),
            np.broadcast_to(overall, (len(index), len(overall))),
        ],
        axis=1,
    )
    row_of = np.full(len(open_), -1, dtype=np.int64)
    row_of[index] = np.arange(len(index))
    inside = open_[found.edges[0]] & open_[found.edges[1]]
    return StateInput(
        x=x.astype(np.float32),
        slots=np.asarray(pool.slots, dtype=np.int64)[index],
        evidence=is_evidence,
        edges=row_of[found.edges[:, inside]],
        edge_kind=found.edge_kind[inside],
        edge_weight=found.edge_weight[inside],
    )


def _ranks(scores: Array) -> NDArray[np.int64]:
    """Rank of each column within its row, 0 for the best; `(r, m)`."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(scores.shape[1])[None], axis=1)
    return ranks


@dataclass(frozen=True, slots=True)
class StateBatch(StateInput):
    """Several states as one graph of separate parts: n rows in all, b states."""

    starts: NDArray[np.int64]
    """`(b + 1,)`: the rows of state i are starts[i] to starts[i + 1]."""


def batch_states(inputs: Sequence[StateInput]) -> StateBatch:
    """The states side by side."""
    starts = np.zeros(len(inputs) + 1, dtype=np.int64)
    np.cumsum([len(state.x) for state in inputs], out=starts[1:])
    return StateBatch(
        x=np.concatenate([state.x for state in inputs]),
        slots=np.concatenate([state.slots for state in inputs]),
        evidence=np.concatenate([state.evidence for state in inputs]),
        edges=np.concatenate(
            [state.edges + start for state, start in zip(inputs, starts[:-1], strict=True)], axis=1
        ),
        edge_kind=np.concatenate([state.edge_kind for state in inputs]),
        edge_weight=np.concatenate([state.edge_weight for state in inputs]),
        starts=starts,
    )
