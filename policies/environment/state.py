"""A state of the decision process as the policy sees it, and batches of states.

A state is (question, evidence, last passage read); its actions are the candidates that are open to
it and not yet read, and STOP. Evidence enters as a set: everything but `last` is symmetric in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hoptrail.policies.environment.candidates import Pool
from hoptrail.policies.environment.feature_columns import ALONE, BESIDE
from hoptrail.policies.environment.features import Features

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
_GROUPS = np.cumsum([len(ALONE), len(BESIDE), len(BESIDE), len(MEANS), len(EVIDENCE)])
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
    """What the policy sees in the state with this evidence.

    Args:
        pool: The question's candidates.
        found: The pool's features as it is now.
        evidence: Slots of what was read, in order; each must have been read in this pool.

    Returns:
        m rows: the candidates that the question or this evidence brought, evidence among them.
    """
    open_ = pool.member(evidence)
    index = np.flatnonzero(open_)
    at = [pool.position[slot] for slot in evidence]
    total = float(found.idf.sum()) + 1e-6
    covered = found.covers[at].max(0) if at else np.zeros(len(found.idf), dtype=np.float32)
    left = (1.0 - covered) * found.idf
    unsaid = float(left.sum())
    adds = (found.covers[index] * left).sum(1)
    is_evidence = np.zeros(len(open_), dtype=bool)
    is_evidence[at] = True
    is_evidence = is_evidence[index]
    x = np.empty((len(index), WIDTH), dtype=np.float32)
    alone, largest, last, means, about, overall = np.split(x, _GROUPS, axis=1)
    alone[:] = found.alone[index]
    if at:
        rows = np.asarray([found.rows[slot] for slot in evidence], dtype=np.int64)
        beside = found.beside[np.ix_(rows, index)]
        largest[:], last[:] = beside.max(0), beside[-1]
        means[:] = beside[..., MEANS].mean(0)
        ranks = np.log1p(_ranks(beside[..., 0]))
        about[:, 3], about[:, 4] = ranks.min(0), ranks[-1]
    else:
        largest[:] = last[:] = means[:] = about[:, 3:] = 0.0
    about[:, 0], about[:, 1], about[:, 2] = is_evidence, adds / total, adds / (unsaid + 1e-6)
    overall[:] = [
        float(not evidence),
        len(evidence) / 4,
        unsaid / total,
        len(found.idf) / 20,
        len(pool.named) / 4,
        sum(slot not in evidence for slot in pool.named) / 4,
        largest[:, 0].max(initial=0.0),
        largest[:, 2].sum() / 10,
    ]
    row_of = np.cumsum(open_) - 1
    inside = np.flatnonzero(open_[found.edges[0]] & open_[found.edges[1]])
    return StateInput(
        x=x,
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
    ranks[np.arange(len(scores))[:, None], order] = np.arange(scores.shape[1])
    return ranks


@dataclass(frozen=True, slots=True)
class StateBatch(StateInput):
    """Several states as one graph of separate parts: n rows in all, b states."""

    starts: NDArray[np.int64]
    """`(b + 1,)`: the rows of state i are starts[i] to starts[i + 1]."""


def batch_states(inputs: Sequence[StateInput]) -> StateBatch:
    """The states side by side.

    Args:
        inputs: At least one state.
    """
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


def portions(states: StateBatch, rows: int) -> list[StateBatch]:
    """The batch in parts of at most so many rows, or of one state with more; in their order.

    Args:
        states: The batch.
        rows: Rows of a part at most.
    """
    starts = states.starts
    cuts = [0]
    for state in range(1, len(starts) - 1):
        if starts[state + 1] - starts[cuts[-1]] > rows:
            cuts.append(state)
    if len(cuts) == 1:
        return [states]
    cuts.append(len(starts) - 1)
    owner = np.searchsorted(starts, states.edges[0], side="right") - 1
    edges = np.searchsorted(owner, cuts).tolist()  # they lie by state
    parts = []
    for i, (first, last) in enumerate(pairwise(cuts)):
        at, of = slice(starts[first], starts[last]), slice(edges[i], edges[i + 1])
        parts.append(
            StateBatch(
                states.x[at],
                states.slots[at],
                states.evidence[at],
                states.edges[:, of] - starts[first],
                states.edge_kind[of],
                states.edge_weight[of],
                starts[first : last + 1] - starts[first],
            )
        )
    return parts
