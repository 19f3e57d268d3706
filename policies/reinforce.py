"""REINFORCE over trails: reward what was read, not how.

The return is what a `Reward` says of the set that was read, less a cost for each hop; the baseline
is the mean of the other samples of the same question (`learning.estimators`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hoptrail.learning.estimators import reinforce_loss
from hoptrail.policies.examples import Example
from hoptrail.policies.policy import Policy
from hoptrail.policies.reformulate import Reformulator
from hoptrail.policies.rewards import Reward
from hoptrail.policies.rollout import sample

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
    reward: Reward | None = None,
) -> tuple[Tensor, Figures]:
    """The loss of a batch of questions, and what to show of it."""
    reward = reward or Reward()
    trajectories = sample(
        policy, examples, reformulator, samples=samples, hops=hops, generator=generator
    )
    shape = len(examples), samples
    log_probs = torch.stack([torch.stack(t.log_prob).sum() for t in trajectories]).view(shape)
    entropies = torch.stack([torch.stack(t.entropy).sum() for t in trajectories]).view(shape)
    earned = [reward.of(t.example, t.evidence) - hop_cost * len(t.evidence) for t in trajectories]
    returns = torch.tensor(earned).view(shape)
    loss = reinforce_loss(log_probs, returns, entropies=entropies, entropy_weight=entropy_weight)
    read = sum(len(t.evidence) for t in trajectories) / len(trajectories)
    return loss, {
        "return": float(returns.mean()),
        "entropy": float(entropies.detach().mean()),
        "passages read": read,
    }
