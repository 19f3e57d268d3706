"""The training loop: networks, stages, epochs, steps; checkpoints after every epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from hoptrail.learning.single_thread import one_thread
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.policies.data.examples import Example
from hoptrail.policies.environment.state import StateInput
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.objectives.rewards import Reward
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.calibration import calibrate_stop, left_out
from hoptrail.policies.training.checkpoint import Checkpoint, Loaded
from hoptrail.policies.training.config import SELF_SUPERVISED, TrainConfig
from hoptrail.policies.training.stages import Objective, make_objective
from hoptrail.policies.training.supervision import teaches

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with stage, done, total and the latest figures."""

WARM_UP = 0.15
"""Share of a stage's steps in which the learning rate rises."""
SAMPLED = 200
"""Questions whose states give the features' mean and scale."""
UNKNOWN = 3
"""Hits that are read for that where the gold is not known."""


def silent(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """Progress that nobody watches."""


class Trainer:
    """Trains the networks of one policy.

    Args:
        examples: The questions; a stage takes those that hold what it learns from.
        config: The settings.
        encoder: For what is read in training.
        checkpoint: Where the run is kept.
        tell: Told after every step.
        made: The questions of the self-supervised stage.
        start: A trained policy to go on from; random weights by default.
        reward: Of the stage that learns from rewards.

    Attributes:
        curves: For each epoch its network, stage, epoch and mean figures.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        config: TrainConfig,
        encoder: Encoder,
        checkpoint: Checkpoint,
        tell: Progress = silent,
        *,
        made: Sequence[Example] = (),
        start: Policy | None = None,
        reward: Reward | None = None,
    ) -> None:
        self.config, self.encoder = config, encoder
        self.checkpoint, self.tell = checkpoint, tell
        self.start, self.reward = start, reward or Reward()
        self.curves: list[dict[str, Any]] = []
        self._examples = {
            stage: list(made)
            if stage == SELF_SUPERVISED
            else [e for e in examples if _takes(e, stage, self.reward)]
            for stage in config.stages
        }
        known = [example for example in examples if example.gold and example.asked is None]
        held = left_out(known) if known else np.zeros(0, dtype=bool)
        # What the network that calibrates leaves out, with what was made of it.
        self._held = [example for example, out in zip(known, held, strict=True) if out]
        asked = {example.question for example in self._held}
        self._unseen = {id(e) for e in examples if (e.asked or e.question) in asked}
        self._varied = {id(e) for e in examples if e.asked is not None}
        self._hidden: set[int] = set()  # ids of what the network at hand leaves out

    def train(self, resumed: Loaded | None = None) -> Policy:
        """All networks, through all stages; from where a loaded checkpoint left off."""
        config = self.config
        place, tensors = resumed if resumed else (None, {})
        start = (0, 0, 0)
        if place:
            start = (place["network"], place["stage"], place["epoch"])
            self.curves = place["curves"]
        done = [self._blank() for _ in range(start[0])]
        self.checkpoint.restore(tensors, {f"done{i}": n for i, n in enumerate(done)}, None)
        # One more, to calibrate by: it alone does not learn from what is left out.
        for number in range(start[0], config.networks + bool(self._held)):
            judge = number == config.networks
            self._hidden = self._hidden_from(number, judge)
            network = self._new(number)
            for index, stage in enumerate(config.stages):
                if (number, index) < start[:2]:
                    continue
                here = bool(place) and (number, index) == start[:2]
                self._stage(
                    network,
                    done,
                    (number, index, stage),
                    tensors if here else None,
                    start[2] if here else 0,
                )
            if judge:
                self._calibrate(network, done)
            else:
                done.append(network)
        return Policy(done).eval()

    def _stage(
        self,
        network: PolicyNetwork,
        done: Sequence[PolicyNetwork],
        where: tuple[int, int, str],
        tensors: Mapping[str, torch.Tensor] | None,
        first_epoch: int,
    ) -> None:
        number, index, stage = where
        config = self.config
        objective = make_objective(stage, Policy([network]), self.encoder, config, self.reward)
        epochs = config.epochs_of(stage)
        steps = math.ceil(len(self._learning(stage)) / config.batch)
        modules = {"network": network, **objective.modules}
        weights = [p for module in modules.values() for p in module.parameters()]
        rate = config.rate_of(stage, trained=self.start is not None)
        optimizer = torch.optim.AdamW(weights, rate, weight_decay=config.weight_decay)
        finished = {f"done{i}": n for i, n in enumerate(done)}
        if tensors is not None:
            self.checkpoint.restore(tensors, modules, optimizer)
        for epoch in range(first_epoch, epochs):
            with seeded(config.seed, number, index, epoch) as rng:
                schedule = Schedule(optimizer, rate, epoch * steps, epochs * steps)
                figures = self._epoch(objective, modules, optimizer, schedule, rng, where, epoch)
            self.curves.append({"network": number, "stage": stage, "epoch": epoch + 1, **figures})
            place = {"network": number, "stage": index, "epoch": epoch + 1, "curves": self.curves}
            self.checkpoint.save(place, {**modules, **finished}, optimizer)
        if stage == SELF_SUPERVISED and self.start is not None:
            _mix(network, self._begun(self.start, number), config.kept)
        if number < config.networks:
            self.checkpoint.keep(objective.modules)

    def _calibrate(self, judged: PolicyNetwork, networks: Sequence[PolicyNetwork]) -> None:
        """Calibrate STOP of the networks by one that did not see some of the questions."""
        for example in self._held:
            example.renew()
            example.linked = False
        seed = int(np.random.default_rng([self.config.seed, len(networks)]).integers(2**31))
        with one_thread():
            figures = calibrate_stop(judged, self._held, self.encoder, seed=seed)
        for network in networks:
            network.calibrate(figures["scale"], figures["shift"])
        self.curves.append(
            {"network": len(networks), "stage": "calibration", "epoch": 1, **figures}
        )
        self.tell("calibration", 1, 1, figures)

    def _epoch(
        self,
        objective: Objective,
        modules: Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        rng: np.random.Generator,
        where: tuple[int, int, str],
        epoch: int,
    ) -> dict[str, float]:
        """One pass over the questions; the mean of the figures."""
        number, _, stage = where
        examples = self._learning(stage)
        for example in examples:
            example.renew()
            example.linked = bool(rng.random() < self.config.linked)
        for module in modules.values():
            # Later stages compare probabilities of whole trails: dropout would blur them.
            module.train(stage in ("imitation", SELF_SUPERVISED))
        weights = [p for module in modules.values() for p in module.parameters()]
        order = rng.permutation(len(examples))
        batches = [
            [examples[i] for i in order[start : start + self.config.batch]]
            for start in range(0, len(order), self.config.batch)
        ]
        seen: dict[str, list[float]] = {}
        label = f"{stage}, network {number + 1}, epoch {epoch + 1}"
        for step, batch in enumerate(batches, start=1):
            schedule.step()
            with one_thread():
                figures = _step(objective, batch, rng, optimizer, weights)
            for name, value in figures.items():
                seen.setdefault(name, []).append(value)
            self.tell(label, step, len(batches), {n: float(np.mean(v)) for n, v in seen.items()})
        return {name: round(float(np.mean(values)), 5) for name, values in seen.items()}

    def _hidden_from(self, number: int, judge: bool) -> set[int]:
        """Ids of what a network does not learn from.

        The first and every other one learn from what varies the questions as well, and those
        between from the questions as they were asked: the mean of both kinds keeps what either
        does better.
        """
        if judge:
            return self._unseen
        return self._varied if number % 2 else set()

    def _learning(self, stage: str) -> list[Example]:
        """What a stage learns from, but for what the network at hand leaves out."""
        return [example for example in self._examples[stage] if id(example) not in self._hidden]

    def _blank(self) -> PolicyNetwork:
        if self.start is not None:
            return PolicyNetwork(self.config.network, self.start.columns)
        return PolicyNetwork(self.config.network)

    @staticmethod
    def _begun(start: Policy, number: int) -> nn.Module:
        """The trained network that one goes on from."""
        return start.members[number % len(start.members)]

    def _new(self, number: int) -> PolicyNetwork:
        """A network as it is before training; its features' mean and scale are those it keeps."""
        with seeded(self.config.seed, number):
            network = self._blank()
        if self.start is not None:
            network.load_state_dict(self._begun(self.start, number).state_dict())
            if self._held:  # it will be calibrated anew
                network.calibrate(1.0, 0.0)
            return network
        examples = self._learning(self.config.stages[0])
        rng = np.random.default_rng(self.config.seed)
        chosen = rng.permutation(len(examples))[:SAMPLED]
        rows = []
        for example in (examples[i] for i in sorted(chosen)):
            example.renew()
            rows += [state.x for state in _shown(example, both=self.config.linked > 0)]
        network.standardise(torch.from_numpy(np.concatenate(rows)))
        return network


def _takes(example: Example, stage: str, reward: Reward) -> bool:
    """Whether a stage learns from an example: what varies a question teaches what is evidence."""
    if example.asked is not None and stage != "imitation":
        return False
    return teaches(example.question, stage, reward)


def _shown(example: Example, *, both: bool) -> Iterator[StateInput]:
    """States with no, some and all gold read, as they are and with mentions as links.

    Where the gold is not known, the first hits are read.
    """
    evidence = example.gold or tuple(example.pool.reads)[:UNKNOWN]
    for linked in (False, True) if both else (False,):
        example.linked = linked
        for size in range(len(evidence) + 1):
            yield example.state(evidence[:size])
    example.linked = False


@torch.no_grad()
def _mix(network: nn.Module, before: nn.Module, share: float) -> None:
    """The mean of a network's weights and those of one before, `share` of it from before."""
    for now, then in zip(network.parameters(), before.parameters(), strict=True):
        now.lerp_(then, share)


def _step(
    objective: Objective,
    batch: Sequence[Example],
    rng: np.random.Generator,
    optimizer: torch.optim.Optimizer,
    weights: Sequence[nn.Parameter],
) -> dict[str, float]:
    """Learn from a batch; its figures, none where there was nothing to learn."""
    found = objective.loss(batch, rng)
    if found is None:
        return {}
    loss, figures = found
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    return figures


class Schedule:
    """A learning rate that rises to its peak and falls to nothing, both by half a cosine."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, peak: float, done: int, total: int
    ) -> None:
        self.optimizer, self.peak, self.done, self.total = optimizer, peak, done, total

    def step(self) -> None:
        """Set the rate of the next step."""
        at = self.done / max(1, self.total)
        if at < WARM_UP:
            share = 0.04 + 0.96 * (1 - math.cos(math.pi * at / WARM_UP)) / 2
        else:
            share = (1 + math.cos(math.pi * (at - WARM_UP) / (1 - WARM_UP))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * share
        self.done += 1


@contextmanager
def seeded(*numbers: int) -> Iterator[np.random.Generator]:
    """A generator drawn from the numbers; torch's own (dropout, initial weights) follows it."""
    rng = np.random.default_rng(numbers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        yield rng
