"""The networks of a policy, trained one after another; a checkpoint after every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from hoptrail.learning.execution.early_stopping import require_judges
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.learning.set_likelihood import MAX_GOLD
from hoptrail.metrics.clusters import held_out_items
from hoptrail.policies.data.examples import Example, Source, gold_clusters
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.environment.state import StateInput
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.objectives.rewards import Reward
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.calibration.stop import calibrate_stop, left_out
from hoptrail.policies.training.checkpoint import Checkpoint, Loaded
from hoptrail.policies.training.config import SELF_SUPERVISED, TrainConfig
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.stage_run import StageRun, seeded
from hoptrail.policies.training.supervision import belongs_to
from hoptrail.values.progress import TrainingProgress, silent

SAMPLED = 200
"""Questions whose states give the features' mean and scale."""
JUDGED = ("best_loss", "since_best")
"""What a checkpoint says of early stopping."""
UNKNOWN = 3
"""Wrong turns that are taken for that where the gold is not known."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run begins, or was left: at an epoch of a stage of a network."""

    network: int = 0
    stage: int = 0
    epoch: int = 0
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """What was being trained there, by the checkpoint's names."""
    stopping: Mapping[str, Any] = field(default_factory=dict)
    """What `EarlyStopping` said of it there."""


class Trainer:
    """Trains the networks of one policy.

    Args:
        examples: The questions; a stage takes those that hold what it learns from.
        config: The settings.
        queries: What asks in training.
        checkpoint: Where the run is saved after every epoch.
        progress: Called after every step.
        start: A trained policy to go on from; random weights by default.

    Attributes:
        networks: Those of the policy, as far as their training is over.
        calibrator: One more network, which does not learn from some of the questions: what it
            makes of these calibrates STOP of the others. None where they are too few.
        curves: For each epoch its network, stage, epoch and mean figures.
        held_out: The questions that no network learns from, by which imitation ends early.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        config: TrainConfig,
        queries: NextQueries,
        checkpoint: Checkpoint,
        progress: TrainingProgress = silent,
        *,
        start: Policy | None = None,
    ) -> None:
        self.examples, self.config, self.queries = examples, config, queries
        self.checkpoint, self.progress, self.start = checkpoint, progress, start
        self.networks: list[PolicyNetwork] = []
        self.calibrator: PolicyNetwork | None = None
        self.curves: list[dict[str, Any]] = []
        labelled = [e for e in examples if e.gold and e.source is Source.GIVEN]
        self._unseen = [e for e, out in zip(labelled, left_out(labelled), strict=True) if out]
        self.held_out: list[Example] = []
        if config.stop_after is not None:
            unseen = {id(example) for example in self._unseen}
            self.held_out = _held_out([e for e in labelled if id(e) not in unseen], config)

    def train(self, resumed: Loaded | None = None) -> Policy:
        """All networks, through all stages.

        Args:
            resumed: A checkpoint of this run to go on from.

        Returns:
            The policy, whose probabilities are the means of the networks'.

        Raises:
            PolicyError: The checkpoint is damaged, or cannot be written.
        """
        begin = self._restore(*resumed) if resumed else Position()
        for number in range(begin.network, self.config.networks):
            self.networks.append(self._train_network(number, self._examples_of(number), begin))
        if self._unseen:
            number = self.config.networks
            self.calibrator = self._train_network(number, self._without_unseen(), begin)
            self._calibrate(self.calibrator)
        return Policy(self.networks, reformulator=self.queries.shipped).eval()

    def _restore(self, place: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Position:
        """Where a checkpoint left the run; what was finished there is put back."""
        self.curves = place["curves"]
        self.networks = [self._blank() for _ in range(place["network"])]
        self.checkpoint.restore(tensors, self._finished(), None)
        at = place["network"], place["stage"], place["epoch"]
        return Position(*at, tensors, {key: place[key] for key in JUDGED if key in place})

    def _examples_of(self, number: int) -> list[Example]:
        """What a network of the policy learns from.

        The first and every other one learn from augmented questions as well, and those between
        from the questions as they were asked: the mean of both kinds keeps what either does
        better.
        """
        if number % 2 == 0:
            return list(self.examples)
        return [e for e in self.examples if e.source is not Source.AUGMENTED]

    def _without_unseen(self) -> list[Example]:
        """What the calibrator learns from: no question that it is asked, over whatever corpus."""
        unseen = {example.question for example in self._unseen}
        return [example for example in self.examples if example.question not in unseen]

    def _train_network(
        self, number: int, examples: Sequence[Example], begin: Position
    ) -> PolicyNetwork:
        """A network, trained in one stage after the other."""
        reward = Reward(self.config.reward)
        judges = {example.question for example in self.held_out}
        by_stage = {
            stage: [
                e for e in examples if belongs_to(e, stage, reward) and e.question not in judges
            ]
            for stage in self.config.stages
        }
        network = self._new(number, by_stage[self.config.stages[0]])
        fine_tuning = self.start is not None
        for index, stage in enumerate(self.config.stages):  # one may come twice
            if (number, index) < (begin.network, begin.stage):
                continue
            lessons = by_stage[stage]
            run = StageRun(
                network,
                stage,
                lessons,
                self.queries,
                self.config,
                fine_tuning=fine_tuning,
                held_out=self.held_out,
            )
            resumed = (number, index) == (begin.network, begin.stage)
            self._run(run, begin if resumed else Position(number, index))
            by_guess = stage == SELF_SUPERVISED or _some_inferred(stage, lessons)
            if by_guess and self.start is not None:
                average_weights(
                    network, self._begun(self.start, number), self.config.weight_average
                )
            if number < self.config.networks:
                self.checkpoint.keep(run.objective.modules)
        return network

    def _run(self, run: StageRun, begin: Position) -> None:
        """The epochs of a stage that are still to come."""
        number, stopping = begin.network, run.stopping
        modules = {**run.modules, **stopping.best_modules}
        if begin.tensors:
            self.checkpoint.restore(begin.tensors, modules, run.optimizer)
            if stopping.best_modules:
                stopping.resume(begin.stopping)
        for epoch in range(begin.epoch, self.config.epochs_of(run.stage)):
            if stopping.over:
                break
            label = f"{run.stage}, network {number + 1}, epoch {epoch + 1}"
            with seeded(self.config.seed, number, begin.stage, epoch) as rng:
                figures = run.epoch(epoch, rng, label, self.progress)
            place = {"network": number, "stage": run.stage, "epoch": epoch + 1}
            self.curves.append({**place, **figures, **run.judge()})
            self.checkpoint.save(
                {
                    **place,
                    "stage": begin.stage,
                    "curves": self.curves,
                    **(stopping.describe() if stopping.best_modules else {}),
                },
                {**modules, **self._finished()},
                run.optimizer,
            )
        stopping.restore_best()

    def _finished(self) -> dict[str, nn.Module]:
        """The networks whose training is over, by the checkpoint's names."""
        return {f"done{number}": network for number, network in enumerate(self.networks)}

    def _calibrate(self, calibrator: PolicyNetwork) -> None:
        """Calibrate STOP of the networks by one that did not see some of the questions."""
        for example in self._unseen:
            example.reset()
        count = len(self.networks)
        seed = int(np.random.default_rng([self.config.seed, count]).integers(2**31))
        with one_thread():
            asking = self.queries.reformulator(reencode=EFFORTS[self.config.effort].reencode)
            figures = calibrate_stop(calibrator, self._unseen, asking, seed=seed)
        for network in self.networks:
            network.calibrate(figures["scale"], figures["shift"])
        self.curves.append({"network": count, "stage": "calibration", "epoch": 1, **figures})
        self.progress("calibration", 1, 1, figures)

    def _blank(self) -> PolicyNetwork:
        if self.start is not None:
            return PolicyNetwork(self.config.network, self.start.columns)
        return PolicyNetwork(self.config.network)

    @staticmethod
    def _begun(start: Policy, number: int) -> nn.Module:
        """The trained network that one goes on from."""
        return start.members[number % len(start.members)]

    def _new(self, number: int, examples: Sequence[Example]) -> PolicyNetwork:
        """A network as it is before training; its features' mean and scale are those it keeps."""
        with seeded(self.config.seed, number):
            network = self._blank()
        if self.start is not None:
            network.load_state_dict(self._begun(self.start, number).state_dict())
            if self._unseen:  # it will be calibrated anew
                network.calibrate(1.0, 0.0)
            return network
        rng = np.random.default_rng(self.config.seed)
        drawn = rng.permutation(len(examples))[:SAMPLED]
        rows = []
        for example in (examples[i] for i in sorted(drawn)):
            example.reset()
            rows += [state.x for state in _states(example, both=self.config.mentions_as_links > 0)]
        network.standardise(torch.from_numpy(np.concatenate(rows)))
        return network


def _held_out(examples: Sequence[Example], config: TrainConfig) -> list[Example]:
    """Questions to judge passes by: whole clusters of those that share a passage.

    Raises:
        ConfigError: There are too few.
    """
    mask = held_out_items(gold_clusters(examples), config.held_out, config.seed)
    require_judges(int(mask.sum()), config.stop_after)
    return [example for example, out in zip(examples, mask, strict=True) if out]


def _states(example: Example, *, both: bool) -> Iterator[StateInput]:
    """States with no, some and all gold read, as they are and with mentions as links.

    Where the gold is not known, wrong turns are taken.
    """
    gold = example.gold[:MAX_GOLD]
    states = [gold[:size] for size in range(len(gold) + 1)]
    states += () if gold else example.detours[:UNKNOWN]
    for view in (example, example.with_mentions_as_links()) if both else (example,):
        yield from (view.state(state) for state in states)


def _some_inferred(stage: str, lessons: Sequence[Example]) -> bool:
    """Whether imitation followed evidence that was inferred."""
    return stage == "imitation" and any(e.source is Source.INFERRED for e in lessons)


@torch.no_grad()
def average_weights(network: nn.Module, before: nn.Module, share: float) -> None:
    """Have a network's weights be the mean of them and of those before (Wortsman et al. 2022).

    Args:
        network: Whose weights change.
        before: Another with the same layers.
        share: What of the mean is from before, in [0, 1].
    """
    for now, then in zip(network.parameters(), before.parameters(), strict=True):
        now.lerp_(then, share)
