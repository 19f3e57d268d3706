"""Calibrating STOP: π(STOP | s) as the probability that all evidence is in s.

A policy comes to know its training questions by heart, and is surer on them than on others. One
more network is therefore trained, which leaves out a tenth of the questions and walks them in the
end; with l the log-odds of STOP that it states there, a and b are fitted by logistic regression,

    P(complete | s) = σ(a l + b)        (Platt 1999; Guo et al. 2017, arXiv:1706.04599, section 4)

and become part of the policy's networks, which learned from all questions. (Networks that each
left out a tenth of their own lost two points of recall on MuSiQue.) Only STOP against going on
changes: what is read next, once it goes on, keeps its shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from hoptrail.policies.data.examples import Example, gold_clusters
from hoptrail.policies.environment.reformulation import AnyReformulator
from hoptrail.policies.environment.state import State, batch_states
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.objectives.rollout import Trajectory, sample
from hoptrail.policies.policy import Policy

TENTHS = 10
LEAST_LEFT_OUT = 30
"""Questions below which a tenth says too little: nothing is left out, and STOP stays as it is."""
WALKS = 3
"""Walks over each question that was left out, drawn from the policy."""
HOPS = 4
"""Passages that such a walk may read."""
PRIOR = 1.0
"""Pull of (a, b) towards (1, 0): the precision of a Gaussian around it."""

Floats = NDArray[np.float64]


def left_out(examples: Sequence[Example]) -> NDArray[np.bool_]:
    """Which questions to calibrate on, `(n,)`: about a tenth, none where that is too few.

    Questions that share a gold passage stay together.

    Args:
        examples: n questions with their gold.
    """
    clusters = gold_clusters(examples)
    sizes = np.bincount(clusters)
    part_of = np.zeros(len(sizes), dtype=np.int64)
    filled = np.zeros(TENTHS, dtype=np.int64)
    for cluster in np.argsort(-sizes, kind="stable"):  # the largest first, where there is most room
        part_of[cluster] = filled.argmin()
        filled[filled.argmin()] += sizes[cluster]
    chosen: NDArray[np.bool_] = part_of[clusters] == filled.argmin()
    return chosen if chosen.sum() >= LEAST_LEFT_OUT else np.zeros(len(examples), dtype=bool)


def calibrate_stop(
    network: PolicyNetwork,
    examples: Sequence[Example],
    reformulator: AnyReformulator,
    *,
    seed: int,
) -> dict[str, float]:
    """The calibration of a trained network on questions that it was not trained on, with figures.

    Args:
        network: The network.
        examples: The questions left out.
        reformulator: Asks on the walks.
        seed: Of the walks.
    """
    policy = Policy([network]).eval()
    generator = torch.Generator().manual_seed(seed)
    odds: list[Floats] = []
    complete: list[NDArray[np.bool_]] = []
    with torch.no_grad():
        trajectories = sample(
            policy,
            examples,
            reformulator,
            samples=WALKS,
            hops=HOPS,
            generators=[generator] * len(examples),
        )
    for example, evidences in _states_by_example(trajectories):
        states = batch_states([example.state(evidence) for evidence in evidences])
        log_stop = policy.decide(states)[1].astype(np.float64)
        odds.append(log_stop - np.log(-np.expm1(np.minimum(log_stop, -1e-12))))
        complete.append(np.asarray([set(example.gold) <= set(e) for e in evidences]))
    for example in examples:
        example.reset()
    stated, true = np.concatenate(odds), np.concatenate(complete).astype(np.float64)
    scale, shift = fit_platt(stated, true)
    return {
        "decisions": float(len(stated)),
        "scale": scale,
        "shift": shift,
        "log loss before": log_loss(stated, true),
        "log loss": log_loss(scale * stated + shift, true),
    }


def fit_platt(odds: Floats, true: Floats) -> tuple[float, float]:
    """The a and b that make σ(a · odds + b) likeliest to bring what is true.

    Source: Platt 1999.

    Args:
        odds: `(n,)`, the log-odds that were stated.
        true: `(n,)`, 1 where it came true, else 0.

    Returns:
        a and b.
    """

    def loss(parameters: Floats) -> tuple[float, Floats]:
        stated = parameters[0] * odds + parameters[1]
        wrong = 1 / (1 + np.exp(-stated)) - true
        away = parameters - np.asarray([1.0, 0.0])
        value = len(odds) * log_loss(stated, true) + PRIOR * float(away @ away) / 2
        return value, np.asarray([wrong @ odds, wrong.sum()]) + PRIOR * away

    # Turned around or made a step, it would be no calibration: a stays between a tenth and ten.
    best = minimize(
        loss, np.asarray([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.1, 10), (None, None)]
    )
    return float(best.x[0]), float(best.x[1])


def log_loss(odds: Floats, true: Floats) -> float:
    """The mean of -log P(what came true).

    Args:
        odds: `(n,)`.
        true: `(n,)`, 1 where it came true, else 0.
    """
    return float(np.mean(np.logaddexp(0, odds) - true * odds))


def _states_by_example(trajectories: Sequence[Trajectory]) -> Iterator[tuple[Example, list[State]]]:
    """Each question with the states in which its walks decided, as often as they did."""
    states: dict[Example, list[State]] = {}
    for trajectory in trajectories:
        steps = len(trajectory.evidence) + trajectory.stopped
        states.setdefault(trajectory.example, []).extend(
            trajectory.evidence[:length] for length in range(steps)
        )
    yield from states.items()
