"""REINFORCE over trails: reward what was read, not how.

The return is F1-shaped, of the set that was read against the gold, less a cost for each hop;
the baseline is the mean of the other samples of the same question (`learning.estimators`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hoptrail.learning.estimators import evidence_reward, reinforce_loss
from hoptrail.policies.examples import Example
from hoptrail.policies.policy import Policy
from hoptrail.policies.reformulate import Reformulator
from hoptrail.policies.rollout import Trajectory, sample

Figures = dict[str, float]


def reinforce(
    policy: Policy,
    examples: Sequence[Example],
    reformulator: Reformulator,
    *,
    samples: int,
    hops: int,
    hop_cost: float,
    entropy_weight: float,
    generator: torch.Generator,
) -> tuple[Tensor, Figures]:
    """The loss of a batch of questions, and what to show of it."""
    trajectories = sample(
        policy, examples, reformulator, samples=samples, hops=hops, generator=generator
    )
    shape = len(examples), samples
    log_probs = torch.stack([torch.stack(t.log_prob).sum() for t in trajectories]).view(shape)
    entropies = torch.stack([torch.stack(t.entropy).sum() for t in trajectories]).view(shape)
    returns = torch.stack([_return(t, hop_cost) for t in trajectories]).view(shape)
    loss = reinforce_loss(log_probs, returns, entropies=entropies, entropy_weight=entropy_weight)
    read = sum(len(t.evidence) for t in trajectories) / len(trajectories)
    return loss, {
        "return": float(returns.mean()),
        "entropy": float(entropies.detach().mean()),
        "passages read": read,
    }


def _return(trajectory: Trajectory, hop_cost: float) -> Tensor:
    gold = set(trajectory.example.gold)
    universe = sorted(gold | set(trajectory.evidence))
    read = torch.tensor([[slot in trajectory.evidence for slot in universe]])
    wanted = torch.tensor([[slot in gold for slot in universe]])
    hops = torch.tensor([len(trajectory.evidence)])
    return evidence_reward(read, wanted, hops, cost=hop_cost)[0]
