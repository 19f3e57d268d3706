"""Imitation with latent order: make reading exactly the gold, in whatever order, likely.

For each question all subsets of its gold passages are states; the exact log-likelihood of reading
all that can be reached and then stopping is a forward sum over them
(`learning.set_likelihood`). It reaches only states that the policy is likely to visit, so a
listwise term is added at every state, those behind a wrong turn too: the gold passages that are
still missing should be chosen, and STOP where none is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hoptrail.learning.execution import processes
from hoptrail.learning.set_likelihood import MAX_GOLD, reachable_subset, set_log_likelihood
from hoptrail.policies.data.examples import Example, subsets_of_gold
from hoptrail.policies.environment.state import StateInput, batch_states
from hoptrail.policies.networks.policy_network import Inputs
from hoptrail.policies.policy import Policy
from hoptrail.values.progress import Figures


@dataclass(frozen=True, slots=True)
class _Lattice:
    """The states of a batch of questions: subsets of the gold, then wrong turns."""

    states: list[StateInput]
    base: list[int]
    """Where each question's subsets begin, by code."""
    size: list[int]
    """The number of gold passages of each question."""
    missing: list[list[int]]
    """For each state the gold slots not yet read."""
    owner: list[int]
    """For each state the question's place in the batch."""


@dataclass(frozen=True, slots=True)
class LabelWeights:
    """How much the gold of each of a batch of questions counts."""

    weights: Tensor
    """`(b,)`, at least 0 and not all 0: what each question's gold counts."""
    complete: Tensor
    """`(b,)` bool: whether it is all that is needed, so that STOP should follow."""


def imitation_loss(
    policy: Policy,
    examples: Sequence[Example],
    rng: np.random.Generator,
    *,
    label_weights: LabelWeights | None = None,
) -> tuple[Tensor, Figures]:
    """The loss of a batch of questions, and what to show of it; all gold counts by default.

    Args:
        policy: π.
        examples: b questions, each with its gold.
        rng: Draws the wrong turns that are looked at.
        label_weights: What each question's gold counts; all alike by default.

    Returns:
        The loss, a scalar, and its two parts with the share of the gold that is in reach. Of
        several processes each has the loss of its share of the questions, and the figures of all.
    """
    turns = [int(rng.integers(len(e.detours))) if e.detours else None for e in examples]
    questions = list(zip(examples, turns, strict=True))
    own = questions if label_weights is not None else processes.own_share(questions)
    if not own:
        processes.shares_of([0, 0, 0])
        return torch.zeros(()), _figures(0.0, 0.0, 0.0)
    own_examples = [example for example, _ in own]
    lattice = _lattice(own_examples, [turn for _, turn in own])
    states = batch_states(lattice.states)
    log_read, log_stop = policy(Inputs.of(states))
    exact, reach = _exact(own_examples, lattice, log_read, log_stop, states.starts, label_weights)
    listwise, count = _listwise(lattice, log_read, log_stop, states.starts, label_weights)
    shares = processes.shares_of([len(own), count, sum(lattice.size)])
    exact, listwise = exact * shares[0], listwise * shares[1]
    parts = float(exact.detach()), float(listwise.detach()), reach * shares[2]
    return exact + listwise, _figures(*parts)


def _figures(exact: float, listwise: float, reach: float) -> Figures:
    """What to show of a loss, of all processes together."""
    exact, listwise, reach = processes.sums_of([exact, listwise, reach])
    return {"loss": exact + listwise, "set": exact, "listwise": listwise, "gold in reach": reach}


def gold_of(example: Example) -> tuple[int, ...]:
    """The gold slots that imitation follows: those beyond the subsets' limit are left out.

    Args:
        example: A question with its pool.
    """
    return example.gold[:MAX_GOLD]


def _lattice(examples: Sequence[Example], turns: Sequence[int | None]) -> _Lattice:
    """The states of questions, of which each has the wrong turn of a number, or none."""
    states: list[StateInput] = []
    base, size = [], []
    missing: list[list[int]] = []
    owner: list[int] = []
    for b, example in enumerate(examples):
        gold = gold_of(example)
        base.append(len(states))
        size.append(len(gold))
        for evidence in subsets_of_gold(example.gold):
            states.append(example.state(evidence))
            missing.append([slot for slot in gold if slot not in evidence])
            owner.append(b)
    for b, (example, turn) in enumerate(zip(examples, turns, strict=True)):
        if turn is not None:
            evidence = example.detours[turn]
            states.append(example.state(evidence))
            missing.append([slot for slot in gold_of(example) if slot not in evidence])
            owner.append(b)
    return _Lattice(states, base, size, missing, owner)


def _row(state: StateInput, start: int, slot: int) -> int | None:
    """The row of a slot in the batch, or None where it is not open to the state."""
    rows = np.flatnonzero(state.slots == slot)
    return int(start + rows[0]) if len(rows) else None


def _exact(
    examples: Sequence[Example],
    lattice: _Lattice,
    log_read: Tensor,
    log_stop: Tensor,
    starts: np.ndarray,
    label_weights: LabelWeights | None,
) -> tuple[Tensor, float]:
    """Mean of -log P(reads what can be reached, then stops) per passage; the share in reach."""
    most = max(lattice.size)
    rows = np.zeros((len(examples), 2**most, most), dtype=np.int64)
    available = np.zeros(rows.shape, dtype=bool)
    stops = np.zeros((len(examples), 2**most), dtype=np.int64)
    for b, example in enumerate(examples):
        for code in range(2 ** lattice.size[b]):
            at = lattice.base[b] + code
            stops[b, code] = at
            for j, slot in enumerate(gold_of(example)):
                row = None if code >> j & 1 else _row(lattice.states[at], starts[at], slot)
                if row is not None:
                    rows[b, code, j], available[b, code, j] = row, True
    open_ = torch.from_numpy(available)
    target = reachable_subset(open_)
    stopping = log_stop[torch.from_numpy(stops)]
    if label_weights is not None:
        stopping = stopping.masked_fill(~label_weights.complete[:, None], 0.0)
    likelihood = set_log_likelihood(
        log_read[torch.from_numpy(rows)],
        stopping,
        available=open_,
        target=target,
    )
    size = torch.tensor(lattice.size, dtype=likelihood.dtype)
    reached = sum(int(code).bit_count() for code in target.tolist()) / max(1, sum(lattice.size))
    weights = None if label_weights is None else label_weights.weights
    return -_mean(likelihood / size.clamp(min=1.0), weights), reached


def _listwise(
    lattice: _Lattice,
    log_read: Tensor,
    log_stop: Tensor,
    starts: np.ndarray,
    label_weights: LabelWeights | None,
) -> tuple[Tensor, int]:
    """Mean over states: any missing gold passage likely, and each of them likely; how many."""
    any_, each, owners = [], [], []
    for i, (state, missing) in enumerate(zip(lattice.states, lattice.missing, strict=True)):
        owner = lattice.owner[i]
        rows = [row for slot in missing if (row := _row(state, starts[i], slot)) is not None]
        if rows:
            chosen = log_read[rows]
            any_.append(torch.logsumexp(chosen, 0))
            each.append(chosen.mean())
            owners.append(owner)
        elif not missing and (label_weights is None or bool(label_weights.complete[owner])):
            any_.append(log_stop[i])
            each.append(log_stop[i])
            owners.append(owner)
    if not owners:
        return log_stop.sum() * 0.0, 0
    weights = None if label_weights is None else label_weights.weights[owners]
    loss = -(_mean(torch.stack(any_), weights) + _mean(torch.stack(each), weights)) / 2
    return loss, len(owners)


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of `(n,)`; with weights, none of which counts where all are 0."""
    if weights is None:
        return values.mean()
    return (weights * values).sum() / weights.sum().clamp(min=1e-9)
