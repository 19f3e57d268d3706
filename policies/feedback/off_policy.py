"""Learning from use: a policy goes on learning from the feedback on its recalls.

    all recalls             imitation of what was useful, weighted by its reward
    recalls that explored   and the expected reward of a trail, by importance weights
                            min(pi(trail) / q(trail), clip), q being its inclusion probability
                            (that of being drawn first, where one trail answers for the recall)

Feedback on a deterministic recall is biased to what that policy shows: it can say that something
shown was useful, not that something else would have been more so. What a recall drew at random says
more, at more variance (`learning.stochastic_beam`): alone, a few hundred of these made a weak
policy worse at a learning rate at which labels help (docs/laboratory.md): hence both.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.estimators.stochastic_beam import importance_weights, sampled_policy_loss
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.policies.feedback.dataset import JudgedRecall
from hoptrail.policies.objectives.imitation import LabelWeights, imitation_loss
from hoptrail.policies.objectives.rollout import trail_log_probs
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.config import LARGEST_SEED
from hoptrail.policies.training.stage_run import Schedule, seeded
from hoptrail.values.numbers import MOST, above_zero, whole
from hoptrail.values.progress import TrainingProgress, silent


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """The settings of learning from feedback."""

    seed: int = 0
    epochs: int = 4
    """Passes over the feedback."""
    batch: int = 16
    """Recalls in a step."""
    learning_rate: float = 3e-4
    """Its peak; a policy that has seen little can take more."""
    weight_decay: float = 1e-4
    clip: float = 2.0
    """The largest importance weight."""

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("epochs", 1), ("batch", 1)):
            most = LARGEST_SEED if name == "seed" else MOST
            number = whole(getattr(self, name), name, least=least, most=most, error=ConfigError)
            object.__setattr__(self, name, number)  # Python's own, as the card needs it
        for name in ("learning_rate", "clip"):
            above_zero(getattr(self, name), name, error=ConfigError)


def tune(
    policy: Policy,
    judged: Sequence[JudgedRecall],
    config: TuneConfig | None = None,
    *,
    progress: TrainingProgress | None = None,
) -> tuple[Policy, list[dict[str, Any]]]:
    """A copy of the policy that has learned from feedback, and its curves.

    Args:
        policy: Where it starts; it stays as it is.
        judged: The feedback; what teaches nothing is passed over.
        config: The settings.
        progress: Told of every step; see `hoptrail.values.progress`.

    Raises:
        InputError: None of it teaches anything.
    """
    config, tell = config or TuneConfig(), progress or silent
    lessons = [one for one in judged if has_signal(one)]
    if not lessons:
        raise InputError(
            "there is nothing to learn from: no feedback says that a passage was useful, and none "
            "is on a recall that explored"
        )
    tuned = copy.deepcopy(policy)
    weights = list(tuned.parameters())
    optimizer = torch.optim.AdamW(weights, config.learning_rate, weight_decay=config.weight_decay)
    steps = math.ceil(len(lessons) / config.batch)
    schedule = Schedule(optimizer, config.learning_rate, 0, steps * config.epochs)
    curves: list[dict[str, Any]] = []
    # Without dropout: the probabilities of whole trails are compared with logged ones.
    tuned.eval()
    for epoch in range(config.epochs):
        seen: dict[str, list[float]] = {}
        with seeded(config.seed, epoch) as rng, one_thread():
            order = rng.permutation(len(lessons))
            for step in range(steps):
                rows = order[step * config.batch : (step + 1) * config.batch]
                schedule.step()
                loss, figures = _loss(tuned, [lessons[i] for i in rows], rng, config)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                for name, value in figures.items():
                    seen.setdefault(name, []).append(value)
                latest = {name: float(np.mean(values)) for name, values in seen.items()}
                tell(f"learn from feedback, epoch {epoch + 1}", step + 1, steps, latest)
        means = {name: round(float(np.mean(values)), 5) for name, values in seen.items()}
        curves.append({"network": 0, "stage": "feedback", "epoch": epoch + 1, **means})
    return tuned, curves


def has_signal(judged: JudgedRecall) -> bool:
    """Whether anything can be learned from it.

    Args:
        judged: Feedback on one recall.
    """
    return judged.weight > 0 or any(trail.reward for trail in judged.drawn)


def _loss(
    policy: Policy, batch: Sequence[JudgedRecall], rng: np.random.Generator, config: TuneConfig
) -> tuple[Tensor, dict[str, float]]:
    """The mean over the batch of what each recall teaches."""
    drawn = [one for one in batch if one.drawn]
    labelled = [one for one in batch if one.weight > 0]
    parts, figures = [], {}
    if labelled:
        label_weights = LabelWeights(
            weights=torch.tensor([one.weight for one in labelled]),
            complete=torch.tensor([one.complete for one in labelled]),
        )
        loss, _ = imitation_loss(
            policy, [one.example for one in labelled], rng, label_weights=label_weights
        )
        parts.append(loss * (len(labelled) / len(batch)))
        figures["labels"] = float(loss.detach())
    if drawn:
        loss, weight = _explored_loss(policy, drawn, config.clip)
        parts.append(loss * (len(drawn) / len(batch)))
        figures |= {"explored": float(loss.detach()), "importance": weight}
    return torch.stack(parts).sum(), figures


def _explored_loss(
    policy: Policy, batch: Sequence[JudgedRecall], clip: float
) -> tuple[Tensor, float]:
    """The mean loss of recalls that explored, and their mean importance weight."""
    flat = [(one.example, trail.slots) for one in batch for trail in one.drawn]
    stopped = [trail.stopped for one in batch for trail in one.drawn]
    log_probs = trail_log_probs(policy, flat, stopped=stopped)
    mask = torch.zeros(len(batch), max(len(one.drawn) for one in batch), dtype=torch.bool)
    for row, one in enumerate(batch):
        mask[row, : len(one.drawn)] = True
    places = mask.nonzero(as_tuple=True)

    def padded(values: Tensor) -> Tensor:
        return torch.zeros(mask.shape).index_put(places, values)

    log_p = padded(log_probs)
    log_q = padded(torch.tensor([trail.log_q for one in batch for trail in one.drawn]))
    rewards = padded(torch.tensor([trail.reward for one in batch for trail in one.drawn]))
    alone = torch.tensor([one.alone for one in batch])
    kinds: list[tuple[Tensor, Literal["none", "sample"]]] = [(alone, "none"), (~alone, "sample")]
    losses = [
        sampled_policy_loss(
            log_p[rows],
            log_q[rows],
            rewards[rows],
            mask=mask[rows],
            clip=clip,
            baseline=baseline,
            reduction="sum",
        )
        for rows, baseline in kinds
    ]
    weight = importance_weights(log_p[mask], log_q[mask], clip=clip).mean()
    return torch.stack(losses).sum() / len(batch), float(weight)
