"""A state of the decision process as the policy sees it, and batches of states.

A state is (question, evidence); its actions are the candidates that are open to it and not yet
read, and STOP. Evidence is a set: whatever the order of reading, the state is the same, to the last
bit, so that sums over orders may go over sets (`learning.set_likelihood`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hoptrail.policies.environment.candidates import CandidatePool
from hoptrail.policies.environment.feature_names import (
    AVERAGED,
    WIDTH,
    Array,
    CandidateFeature,
    EvidenceFeature,
    PairFeature,
)
from hoptrail.policies.environment.features import Features
from hoptrail.policies.environment.state_features import (
    StateContext,
    evidence_features,
    state_features,
)

_GROUPS = np.cumsum([len(CandidateFeature), len(PairFeature), len(AVERAGED), len(EvidenceFeature)])
"""Where the groups of `feature_names.COLUMNS` end, but for the last."""

State = tuple[int, ...]
"""The evidence as slots, in the order read, which makes no difference to the policy."""


@dataclass(frozen=True, slots=True)
class StateInput:
    """One state: m candidates with f = WIDTH features, and the e edges among them."""

    x: Array
    """`(m, f)`; the last `len(StateFeature)` columns are equal in all rows."""
    slots: NDArray[np.int64]
    """`(m,)` which passage each row is."""
    evidence: NDArray[np.bool_]
    """`(m,)`."""
    edges: NDArray[np.int64]
    """`(2, e)` rows of x."""
    edge_kind: NDArray[np.int64]
    edge_weight: Array


def state_input(pool: CandidatePool, table: Features, evidence: State) -> StateInput:
    """What the policy sees in the state with this evidence.

    Args:
        pool: The question's candidates.
        table: The pool's features as it is now.
        evidence: Slots of what was read, in any order; a state that was entered in this pool.

    Returns:
        m rows: the candidates that the question or this evidence brought, evidence among them.
    """
    is_open = pool.action_mask(evidence)
    index = np.flatnonzero(is_open)
    positions = [pool.position[slot] for slot in evidence]
    is_evidence = np.zeros(len(is_open), dtype=bool)
    is_evidence[positions] = True
    rows = np.asarray(sorted(table.rows[slot] for slot in evidence), dtype=np.int64)
    pairs = table.beside[np.ix_(rows, index)]
    x = np.empty((len(index), WIDTH), dtype=np.float32)
    alone, largest, means, about, overall = np.split(x, _GROUPS, axis=1)
    alone[:] = table.alone[index]
    if evidence:
        largest[:] = pairs.max(0)
        means[:] = pairs[..., AVERAGED].mean(0)
    else:
        largest[:] = means[:] = 0.0
    slots = np.asarray(pool.slots, dtype=np.int64)[index]
    query = pool.query(evidence)
    context = StateContext(
        query=query,
        query_cosines=pool.scope.view.dense.cosines(query.vector, slots),
        evidence=evidence,
        named=frozenset(pool.named),
        idf=table.idf,
        covered_by_evidence=table.covers[positions].max(0, initial=0.0),
        covered=table.covers[index],
        is_evidence=is_evidence[index],
        pairs=pairs,
        largest=largest,
    )
    about[:], overall[:] = evidence_features(context), state_features(context)
    row_of = np.cumsum(is_open) - 1
    inside = np.flatnonzero(is_open[table.edges[0]] & is_open[table.edges[1]])
    return StateInput(
        x=x,
        slots=slots,
        evidence=context.is_evidence,
        edges=row_of[table.edges[:, inside]],
        edge_kind=table.edge_kind[inside],
        edge_weight=table.edge_weight[inside],
    )


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
