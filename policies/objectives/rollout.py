"""Sampling trajectories from the policy, and the log-probability of trails under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hoptrail.policies.data.examples import Example, enter_all
from hoptrail.policies.environment.reformulation import AnyReformulator
from hoptrail.policies.environment.state import State, StateBatch, StateInput, batch_states
from hoptrail.policies.networks.policy_network import Inputs
from hoptrail.policies.policy import Policy


@dataclass(slots=True)
class Trajectory:
    """One sampled episode."""

    example: Example
    evidence: State = ()
    stopped: bool = False
    """Whether it drew STOP; otherwise the budget of hops ended it."""
    log_prob: list[Tensor] = field(default_factory=list)
    """Of each action, with its graph."""
    entropy: list[Tensor] = field(default_factory=list)
    """Of the policy in each state, with its graph."""


def sample(
    policy: Policy,
    examples: Sequence[Example],
    reformulator: AnyReformulator,
    *,
    samples: int,
    hops: int,
    generators: Sequence[torch.Generator],
) -> list[Trajectory]:
    """`samples` trajectories of each example, in the examples' order; one pass a hop for all.

    Args:
        policy: π.
        examples: Questions; their pools widen by what is read.
        reformulator: Asks the next query of each state.
        samples: Trajectories of each question.
        hops: Passages that a trajectory reads at most.
        generators: Of each example, which draws its actions whatever else is in the batch.
    """
    trajectories = [Trajectory(example) for example in examples for _ in range(samples)]
    drawing = {id(t): generators[i // samples] for i, t in enumerate(trajectories)}
    for _ in range(hops):
        walking = [t for t in trajectories if not t.stopped]
        if not walking:
            break
        enter_all([(t.example, t.evidence) for t in walking], reformulator)
        states = batch_states([t.example.state(t.evidence) for t in walking])
        log_read, log_stop = policy(Inputs.of(states))
        for i, trajectory in enumerate(walking):
            rows = log_read[states.starts[i] : states.starts[i + 1]]
            log_pi = torch.cat([rows, log_stop[i : i + 1]])
            slots = states.slots[states.starts[i] : states.starts[i + 1]]
            _act(trajectory, log_pi, slots, drawing[id(trajectory)])
    return trajectories


def _act(
    trajectory: Trajectory, log_pi: Tensor, slots: NDArray[np.int64], generator: torch.Generator
) -> None:
    """Draw an action: one of the slots, or STOP, which comes after them."""
    probability = log_pi.detach().exp()
    action = int(torch.multinomial(probability, 1, generator=generator))
    possible = torch.isfinite(log_pi)
    inside = log_pi[possible]
    trajectory.entropy.append(-(inside.exp() * inside).sum())
    trajectory.log_prob.append(log_pi[action])
    if action == len(slots):
        trajectory.stopped = True
    else:
        trajectory.evidence = (*trajectory.evidence, int(slots[action]))


def trail_log_probs(
    policy: Policy,
    trails: Sequence[tuple[Example, State]],
    *,
    stopped: Sequence[bool] | None = None,
) -> Tensor:
    """Log π(z): of reading these passages in this order and then stopping, `(z,)`.

    Every state on the way must have been entered for its example; a trail that the pool does not
    allow has -inf.

    Args:
        policy: π.
        trails: Questions, and what is read of them.
        stopped: Whether STOP follows, or the trail was ended by its bounds; it does by default.
    """
    prefixes: dict[tuple[Example, State], int] = {}
    inputs: list[StateInput] = []
    for example, trail in trails:
        for length in range(len(trail) + 1):
            key = example, trail[:length]
            if key not in prefixes:
                prefixes[key] = len(inputs)
                inputs.append(example.state(trail[:length]))
    states = batch_states(inputs)
    log_read, log_stop = policy(Inputs.of(states))
    out = []
    for z, (example, trail) in enumerate(trails):
        end = log_stop[prefixes[example, trail]]
        steps = [end if stopped is None or stopped[z] else torch.zeros_like(end)]
        for length, slot in enumerate(trail):
            steps.append(_log_of(states, log_read, prefixes[example, trail[:length]], slot))
        out.append(torch.stack(steps).sum())
    return torch.stack(out)


def _log_of(states: StateBatch, log_read: Tensor, state: int, slot: int) -> Tensor:
    start, end = states.starts[state], states.starts[state + 1]
    rows = (states.slots[start:end] == slot).nonzero()[0]
    if not len(rows):
        return log_read.new_full((), -torch.inf)
    return log_read[int(start + rows[0])]
