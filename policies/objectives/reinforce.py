"""REINFORCE over trails: reward what was read, not how.

The return is what a `Reward` says of the set that was read, less a cost for each hop; the baseline
is the mean of the other samples of the same question (`learning.policy_gradient`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hoptrail.learning.estimators.policy_gradient import reinforce_loss
from hoptrail.learning.execution import processes
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
        generator: Decides the actions, those of each question by themselves.
        reward: What a trail earns; see `Reward` for the default.

    Returns:
        The loss, a scalar, and the means of return, entropy and passages read. Of several
        processes each has the loss of its share of the questions, and the figures of all.
    """
    reward = reward or Reward()
    seeds = torch.randint(2**62, (len(examples),), generator=generator).tolist()
    own = processes.own_share(list(zip(examples, seeds, strict=True)))
    (share,) = processes.shares_of([len(own)])
    if not own:
        return torch.zeros(()), _figures(0.0, 0.0, 0.0)
    trajectories = sample(
        policy,
        [example for example, _ in own],
        reformulator,
        samples=samples,
        hops=hops,
        generators=[torch.Generator().manual_seed(seed) for _, seed in own],
    )
    shape = len(own), samples
    log_probs = torch.stack([torch.stack(t.log_prob).sum() for t in trajectories]).view(shape)
    entropies = torch.stack([torch.stack(t.entropy).sum() for t in trajectories]).view(shape)
    earned = [reward.of(t.example, t.evidence) - hop_cost * len(t.evidence) for t in trajectories]
    returns = torch.tensor(earned).view(shape)
    loss = reinforce_loss(log_probs, returns, entropies=entropies, entropy_weight=entropy_weight)
    read = sum(len(t.evidence) for t in trajectories) / len(trajectories)
    means = float(returns.mean()), float(entropies.detach().mean()), read
    return loss * share, _figures(*(share * mean for mean in means))


def _figures(earned: float, entropy: float, read: float) -> Figures:
    """What to show of a batch, of all processes together."""
    earned, entropy, read = processes.sums_of([earned, entropy, read])
    return {"return": earned, "entropy": entropy, "passages read": read}
