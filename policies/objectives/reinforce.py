"""REINFORCE over trails: reward what was read, not how.

The return is what a `Reward` says of the set that was read, less a cost for each hop; the baseline
is the mean of the other samples of the same question (`learning.policy_gradient`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hoptrail.learning.estimators.policy_gradient import reinforce_loss
from hoptrail.policies.data.examples import Example
from hoptrail.policies.environment.reformulation import AnyReformulator
from hoptrail.policies.objectives.rewards import Reward
from hoptrail.policies.objectives.rollout import sample
from hoptrail.policies.policy import Policy
from hoptrail.values.progress import Figures


def reinforce(
    policy: Policy,
    examples: Sequence[Example],
    reformulator: AnyReformulator,
    *,
    samples: int,
    hops: int,
    hop_cost: float,
    entropy_weight: float,
    generator: torch.Generator,
    reward: Reward | None = None,
) -> tuple[Tensor, Figures]:
    """The loss of a batch of questions, and what to show of it.

    Source: Williams 1992 (REINFORCE); the leave-one-out baseline of Kool et al. 2019. See
    `hoptrail.learning.estimators.policy_gradient`.

    Args:
        policy: π.
        examples: b questions.
        reformulator: Asks the next query of each state.
        samples: Trajectories of each question, at least 2: the others' mean is the baseline of
            each.
        hops: Passages that a trajectory reads at most.
        hop_cost: What each passage read costs of the reward.
        entropy_weight: What the entropy of π counts beside the reward.
        generator: Draws the actions.
        reward: What a trail earns; see `Reward` for the default.

    Returns:
        The loss, a scalar, and the means of return, entropy and passages read.
    """
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
