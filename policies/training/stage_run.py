"""One network in one stage of training: epochs of batches, and a step for each batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from hoptrail.learning.execution import processes
from hoptrail.learning.execution.early_stopping import EarlyStopping, at_rest
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.policies.data.examples import Example
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.config import SELF_SUPERVISED, TrainConfig
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.stages import make_objective
from hoptrail.values.progress import TrainingProgress

WARM_UP = 0.15
"""Share of a stage's steps in which the learning rate rises."""


class StageRun:
    """A network, an objective, and the optimiser that moves the one by the other.

    Args:
        network: What is trained.
        stage: One of `TrainConfig.stages`.
        examples: What it learns from.
        queries: What asks in training.
        config: The settings.
        fine_tuning: Whether the network was trained before this run.
        held_out: What each pass of imitation is judged on.

    Attributes:
        objective: What is minimised.
        modules: All that is trained, by name: `network`, and what the objective trains beside it.
        optimizer: Of their weights.
        stopping: The best weights by what is held out, where anything is.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        stage: str,
        examples: Sequence[Example],
        queries: NextQueries,
        config: TrainConfig,
        *,
        fine_tuning: bool = False,
        held_out: Sequence[Example] = (),
    ) -> None:
        self.stage, self.examples, self.config = stage, examples, config
        self.objective = make_objective(stage, Policy([network]), queries, config)
        self.modules: Mapping[str, nn.Module] = {"network": network, **self.objective.modules}
        self._held_out = held_out if stage == "imitation" else ()
        stop_after = config.stop_after if self._held_out else None
        self.stopping = EarlyStopping(self.modules, stop_after)
        self._weights = [p for module in self.modules.values() for p in module.parameters()]
        self._rate = config.rate_of(stage, fine_tuning=fine_tuning)
        self.optimizer = torch.optim.AdamW(
            self._weights, self._rate, weight_decay=config.weight_decay
        )

    def epoch(
        self, epoch: int, rng: np.random.Generator, label: str, progress: TrainingProgress
    ) -> dict[str, float]:
        """One pass over the examples.

        Args:
            epoch: Its number, from 0.
            rng: Of all that is drawn in it.
            label: What progress calls it.
            progress: Called after every step, with the mean figures so far.

        Returns:
            The mean of the objective's figures over the batches.
        """
        processes.draw_apart()
        batches = self._batches(rng)
        steps, epochs = len(batches), self.config.epochs_of(self.stage)
        schedule = Schedule(self.optimizer, self._rate, epoch * steps, epochs * steps)
        for module in self.modules.values():
            # Later stages compare probabilities of whole trails: dropout would blur them.
            module.train(self.stage in ("imitation", SELF_SUPERVISED))
        values: dict[str, list[float]] = {}
        for number, batch in enumerate(batches, start=1):
            schedule.step()
            with one_thread():
                figures = self._step(batch, rng)
            for name, value in figures.items():
                values.setdefault(name, []).append(value)
            means = {name: float(np.mean(of_name)) for name, of_name in values.items()}
            progress(label, number, steps, means)
        return {name: round(float(np.mean(of_name)), 5) for name, of_name in values.items()}

    def judge(self) -> dict[str, float]:
        """Compare the weights with the best so far, by what is held out; the figure of it, if any.

        Of several processes all come to the same figure, and so to the same end.
        """
        if not self._held_out:
            return {}
        size, total = self.config.batch, 0.0
        rng = np.random.default_rng(self.config.seed)  # the same wrong turns after every pass
        with at_rest(self.modules.values()), one_thread():
            for start in range(0, len(self._held_out), size):
                batch = self._held_out[start : start + size]
                for example in batch:
                    example.reset()
                if (outcome := self.objective.loss(batch, rng)) is not None:
                    total += outcome[1]["loss"] * len(batch)
        loss = total / len(self._held_out)
        self.stopping.judge(loss)
        return {"held_out_loss": round(loss, 5)}

    def _batches(self, rng: np.random.Generator) -> list[list[Example]]:
        """The examples in a drawn order; of a share of them the mentions are shown as links."""
        views = []
        for example in self.examples:
            example.reset()
            as_links = rng.random() < self.config.mentions_as_links
            views.append(example.with_mentions_as_links() if as_links else example)
        order, size = rng.permutation(len(views)), self.config.batch
        if self.stage in ("marginal", "reinforce") and self.config.tuning_questions:
            order = order[: self.config.tuning_questions]
        starts = range(0, len(order), size)
        return [[views[i] for i in order[start : start + size]] for start in starts]

    def _step(self, batch: Sequence[Example], rng: np.random.Generator) -> dict[str, float]:
        """Learn from a batch; its figures, none where there was nothing to learn."""
        outcome = self.objective.loss(batch, rng)
        if outcome is None:
            return {}
        loss, figures = outcome
        self.optimizer.zero_grad()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        processes.add_gradients(self._weights)
        nn.utils.clip_grad_norm_(self._weights, 1.0)
        self.optimizer.step()
        return figures


class Schedule:
    """A learning rate that rises to its peak and falls to nothing, both by half a cosine.

    Args:
        optimizer: Whose rate it sets.
        peak: The highest rate.
        done: Steps that were taken before.
        total: Steps in all.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, peak: float, done: int, total: int
    ) -> None:
        self.optimizer, self.peak, self.done, self.total = optimizer, peak, done, total

    def step(self) -> None:
        """Set the rate of the next step."""
        share = peak_share(self.done / max(1, self.total))
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * share
        self.done += 1


def peak_share(done: float) -> float:
    """The share of its peak that a learning rate has; it rises and falls by half a cosine each.

    Args:
        done: The share of all steps that were taken before.
    """
    if done < WARM_UP:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * done / WARM_UP)) / 2
    return (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


@contextmanager
def seeded(*numbers: int) -> Iterator[np.random.Generator]:
    """A generator drawn from the numbers; torch's own (dropout, initial weights) follows it.

    Args:
        numbers: What the run, and the part of it at hand, are known by; at least 0.
    """
    rng = np.random.default_rng(numbers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        yield rng
