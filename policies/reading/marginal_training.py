"""Training a reader on a policy's own trails, and the policy with it, by the marginal likelihood.

    loss = -mean over questions of  log sum_z p(y | z, q) π(z | q)
           + none weight     · -mean log p(no answer | z, q)    over trails that do not say it
           + evidence weight · the cross-entropy of what is evidence

The trails z are those that the policy walks and, where the gold is known, the one to it. Where it
is not, the evidence is latent: answers alone say which trails were right. What a reader meets in
use is neither the evidence alone nor what dense search puts beside it, but what the policy read;
and a policy that learns too reads what the reader can answer from. A trail that does not say the
answer gives it no probability, so that it takes no part in the sum; that the reader goes on saying
so is what the second part is for.

Source: the likelihood as in `hoptrail.learning.marginal`; that of an answer normalised over a trail
as in `hoptrail.learning.answering.answer_network`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.answering.answer_network import (
    NO_ANSWER,
    answer_log_probs,
    count_marks,
    evidence_loss,
)
from hoptrail.learning.answering.extractive_reader import ExtractiveReader
from hoptrail.learning.execution import processes
from hoptrail.learning.marginal import marginal_likelihood
from hoptrail.learning.masked import masked_logsumexp
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.policies.environment.efforts import DEFAULT, effort
from hoptrail.policies.objectives.rollout import trail_log_probs
from hoptrail.policies.policy import Policy
from hoptrail.policies.reading.policy_trails import (
    WalkedQuestion,
)
from hoptrail.policies.reading.reader_trainer import (
    settings_of_changes,
)
from hoptrail.policies.reading.trail_sampling import TrainingTrail, trail_of
from hoptrail.policies.reading.trainable_reader import TrainableReader
from hoptrail.policies.training.checkpoint import Checkpoint, Loaded
from hoptrail.policies.training.stage_run import peak_share, seeded
from hoptrail.values.numbers import above_zero, share, whole
from hoptrail.values.progress import Figures, TrainingProgress

ROUND = 100
"""Steps between two checkpoints."""
PADDED = 8
"""Trails that go through the network together, those of about one length: a question's differ, and
padding costs what tokens do."""
SORTED = 16
"""Batches whose questions are sorted by length together."""


FIGURES = ("loss", "log likelihood", "prior mass covered", "answerable")
"""What is shown of a step."""


@dataclass(frozen=True, slots=True)
class MarginalConfig:
    """How a reader is trained on a policy's trails."""

    epochs: int = 1
    """Passes over the questions."""
    questions: int = 0
    """Of a pass, drawn anew for each; 0 for all."""
    trails: int = 4
    """Of the policy's beam, at most; the one to the gold comes beside them."""
    batch: int = 4
    """Questions in a step."""
    learning_rate: float = 1e-4
    """The reader's, its peak."""
    policy_rate: float = 1e-4
    """The policy's, its peak, where it learns."""
    weight_decay: float = 1e-2
    """The reader's."""
    evidence_weight: float = 0.3
    """What it weighs to know the evidence, beside the answer."""
    none_weight: float = 0.2
    """What it weighs to say of trails without the answer that there is none."""
    window: int = 512
    """Tokens of a window."""
    effort: str = DEFAULT
    """The bounds of the policy's walks."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "trails", "batch"):
            whole(getattr(self, name), name, least=1, error=ConfigError)
        for name in ("questions", "seed"):
            whole(getattr(self, name), name, least=0, error=ConfigError)
        for name in ("learning_rate", "policy_rate"):
            above_zero(getattr(self, name), name, error=ConfigError)
        for name in ("weight_decay", "evidence_weight", "none_weight"):
            share(getattr(self, name), name, error=ConfigError)
        effort(self.effort)


@dataclass(frozen=True, slots=True)
class _LossParts:
    """Means over some questions, and over how many things each; those of no question."""

    log_likelihood: Tensor = field(default_factory=partial(torch.zeros, ()))
    """Of the answers, over `possible` questions, with gradients."""
    none: Tensor = field(default_factory=partial(torch.zeros, ()))
    """Log p(no answer | z, q), over `silent` trails, with gradients."""
    evidence: Tensor = field(default_factory=partial(torch.zeros, ()))
    """The cross-entropy, over `marks` passages of trails, with gradients."""
    covered: float = 0.0
    """The prior mass of the trails, over all questions."""
    possible: int = 0
    """Questions whose answer a trail can give."""
    silent: int = 0
    """Trails that do not say the answer."""
    marks: int = 0
    """Passages of which it is learned whether they are evidence."""


class MarginalTraining:
    """A reader, and perhaps a policy, in training.

    Args:
        walked: Questions with trails.
        encoder: Whose transformer the reader changes.
        config: The settings.
        start: The reader to go on from.
        policy: A copy of it learns; None for one that stays.

    Attributes:
        network: The reader as it learns.
        policy: The copy; None for one that stays.
        curve: For each round its mean figures.

    Raises:
        InputError: There is nothing to learn from.
    """

    def __init__(
        self,
        walked: Sequence[WalkedQuestion],
        encoder: TransformerEncoder,
        config: MarginalConfig,
        start: ExtractiveReader,
        policy: Policy | None,
    ) -> None:
        self.curve: list[dict[str, float]] = []
        self.policy = None if policy is None else copy.deepcopy(policy).eval()
        self._config = config
        self._questions = [one for one in walked if one.trails]
        if not any(says_answer(trail) for one in self._questions for trail in _to_read(one)):
            raise InputError(
                "there is nothing to learn from: no trail says the answer of its question"
            )
        self.network = TrainableReader(
            encoder, **settings_of_changes(start), window=config.window, seed=config.seed
        )
        self.network.begin_from(start)
        self._modules: dict[str, nn.Module] = dict(self.network.modules)
        self._weights = [self.network.weights]
        groups: list[dict[str, Any]] = [
            {
                "params": [weight for weight in self.network.weights if weight.requires_grad],
                "peak": config.learning_rate,
                "weight_decay": config.weight_decay,
            }
        ]
        if self.policy is not None:
            self._modules["policy"] = self.policy.members
            self._weights.append(list(self.policy.members.parameters()))
            groups.append(
                {"params": self._weights[1], "peak": config.policy_rate, "weight_decay": 0.0}
            )
        self._optimizer = torch.optim.AdamW(groups, config.learning_rate)

    def go(
        self, checkpoint: Checkpoint, resumed: Loaded | None, progress: TrainingProgress
    ) -> None:
        """Train, from where a checkpoint left it.

        Args:
            checkpoint: Written after each round.
            resumed: What it held; None to begin.
            progress: Told of every step.
        """
        rounds = at = 0
        if resumed is not None:
            place, tensors = resumed
            checkpoint.restore(tensors, self._modules, self._optimizer)
            rounds, self.curve = place["rounds"], place["curve"]
        for epoch in range(self._config.epochs):
            with seeded(self._config.seed, epoch) as rng:
                batches = self._batches(rng)
            for first in range(0, len(batches), ROUND):
                at += 1
                if at <= rounds:
                    continue
                # What is dropped out depends on the round alone, so that a run can be taken up.
                with seeded(self._config.seed, epoch, first):
                    processes.draw_apart()
                    figures = self._round(batches, epoch, first, progress)
                self.curve.append({"round": at, **figures})
                checkpoint.save({"rounds": at, "curve": self.curve}, self._modules, self._optimizer)

    def _batches(self, rng: np.random.Generator) -> list[list[WalkedQuestion]]:
        """The questions of a pass in batches, those of about one length together, in any order."""
        order = rng.permutation(len(self._questions))
        if self._config.questions:
            order = order[: self._config.questions]
        size = self._config.batch
        batches: list[list[WalkedQuestion]] = []
        for start in range(0, len(order), SORTED * size):
            part = [self._questions[i] for i in order[start : start + SORTED * size]]
            part.sort(key=lambda one: sum(map(_length, _to_read(one))))
            batches += [part[i : i + size] for i in range(0, len(part), size)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _round(
        self,
        batches: Sequence[Sequence[WalkedQuestion]],
        epoch: int,
        first: int,
        progress: TrainingProgress,
    ) -> Figures:
        """The mean figures of a round's steps."""
        values: dict[str, list[float]] = {}
        for number, batch in enumerate(batches[first : first + ROUND], start=first):
            done = epoch + number / len(batches)
            for group in self._optimizer.param_groups:
                group["lr"] = group["peak"] * peak_share(done / self._config.epochs)
            loss, figures = self.loss(batch)
            self._optimizer.zero_grad()
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            for weights in self._weights:
                processes.add_gradients(weights)
                nn.utils.clip_grad_norm_(weights, 1.0)
            self._optimizer.step()
            for name, value in figures.items():
                values.setdefault(name, []).append(value)
            means = {name: float(np.mean(of_name)) for name, of_name in values.items()}
            progress(f"marginal, epoch {epoch + 1}", number + 1, len(batches), means)
        return {name: round(value, 5) for name, value in means.items()}

    def loss(self, batch: Sequence[WalkedQuestion]) -> tuple[Tensor, Figures]:
        """The loss of some questions, with gradients, and what to show of it.

        Of several processes each has the loss of its share of the questions, and the figures of
        all.

        Args:
            batch: Questions, each with a trail.
        """
        own = processes.own_share(batch)
        parts = self._parts(own) if own else _LossParts()
        counts = (len(own), parts.possible, parts.silent, parts.marks)
        questions, possible, silent, marks = processes.shares_of(counts)
        log_likelihood = parts.log_likelihood * possible
        loss = self._config.evidence_weight * marks * parts.evidence - log_likelihood
        loss = loss - self._config.none_weight * silent * parts.none
        sums = processes.sums_of(
            [
                float(loss.detach()),
                float(log_likelihood.detach()),
                parts.covered * questions,
                parts.possible / max(1, len(own)) * questions,
            ]
        )
        figures = dict(zip(FIGURES, sums, strict=True))
        if not figures["answerable"]:
            del figures["log likelihood"]
        return loss, figures

    def _parts(self, batch: Sequence[WalkedQuestion]) -> _LossParts:
        """The means that the loss of questions is put together from."""
        trails = [trail for one in batch for trail in _to_read(one)]
        log_probs, evidence, marks = self._read(trails)
        says = torch.tensor([says_answer(trail) for trail in trails])
        mask = _mask([len(one.trails) for one in batch])
        places = mask.nonzero(as_tuple=True)
        empty = torch.zeros(mask.shape)
        summed = marginal_likelihood(
            empty.index_put(places, self._log_prior(batch)),
            empty.index_put(places, log_probs.masked_fill(~says, -math.inf)),
            mask=mask,
        )
        return _LossParts(
            log_likelihood=_mean(summed.log_likelihood[summed.possible]),
            none=_mean(log_probs[~says]),
            evidence=evidence,
            covered=float(summed.covered.mean()),
            possible=int(summed.possible.sum()),
            silent=int((~says).sum()),
            marks=marks,
        )

    def _read(self, trails: Sequence[TrainingTrail]) -> tuple[Tensor, Tensor, int]:
        """Log p(what is right | z, q), `(z,)`; the mean loss of evidence, and over how many."""
        order = sorted(range(len(trails)), key=lambda i: _length(trails[i]))
        log_probs: list[Tensor] = []
        total, marks = torch.zeros(()), 0
        for start in range(0, len(order), PADDED):
            part = [trails[i] for i in order[start : start + PADDED]]
            scores, windows = self.network.score(part)
            targets = [trail.target for trail in part]
            log_probs.append(answer_log_probs(scores, windows, targets).cpu())
            about_evidence = evidence_loss(scores, windows, targets)
            if about_evidence is not None:
                count = count_marks(windows, targets)
                total, marks = total + count * about_evidence.cpu(), marks + count
        return torch.cat(log_probs)[torch.tensor(order).argsort()], total / max(1, marks), marks

    def _log_prior(self, batch: Sequence[WalkedQuestion]) -> Tensor:
        """Log π(z | q) of all trails, `(z,)`; with gradients where the policy learns."""
        trails = [(one, trail) for one in batch for trail in one.trails]
        if self.policy is None:
            return torch.tensor([trail.log_prob for _, trail in trails])
        ways = [
            (one.example, order)
            for one, trail in trails
            for order in trail.orders
            if one.example is not None  # which it is not, where the policy learns
        ]
        log_probs = trail_log_probs(self.policy, ways)
        mask = _mask([len(trail.orders) for _, trail in trails])
        table = torch.zeros(mask.shape).index_put(mask.nonzero(as_tuple=True), log_probs)
        return masked_logsumexp(table, mask)


def _to_read(one: WalkedQuestion) -> list[TrainingTrail]:
    """A question's trails as the reader takes them."""
    return [trail_of(one.corpus, one.question, trail.places) for trail in one.trails]


def says_answer(trail: TrainingTrail) -> bool:
    """Whether a trail gives its question's answer, rather than to say that there is none.

    Args:
        trail: With what is right of it.
    """
    return trail.target.classes != (NO_ANSWER,)


def _length(trail: TrainingTrail) -> int:
    return sum(len(passage.ids) for passage in trail.passages)


def _mean(values: Tensor) -> Tensor:
    """The mean of `(n,)`; 0 of nothing."""
    return values.mean() if len(values) else values.new_zeros(())


def _mask(counts: Sequence[int]) -> Tensor:
    """Which columns of a row have an entry, bool `(len(counts), max(counts))`."""
    return torch.arange(max(counts)) < torch.tensor(counts)[:, None]
