"""The objectives of training behind one face: a loss for a batch of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hoptrail.errors import ConfigError
from hoptrail.learning.reader.span_reader import SpanReader
from hoptrail.memory.encoders.transformer import Encoder, TransformerEncoder
from hoptrail.memory.encoders.wrapped import uncached
from hoptrail.policies.data.examples import Example, Source
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.environment.reformulation import AnyReformulator
from hoptrail.policies.objectives.imitation import LabelWeights, imitation_loss
from hoptrail.policies.objectives.marginal import TrailReader, marginal
from hoptrail.policies.objectives.reinforce import reinforce
from hoptrail.policies.objectives.rewards import Reward
from hoptrail.policies.policy import Policy
from hoptrail.policies.search.beam import BeamSearch
from hoptrail.policies.training.config import OBJECTIVES, SELF_SUPERVISED, TrainConfig
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.values.progress import Figures


class Objective(Protocol):
    """What a stage of training minimises."""

    modules: Mapping[str, nn.Module]
    """What is trained beside the policy, by name."""

    def loss(
        self, examples: Sequence[Example], rng: np.random.Generator
    ) -> tuple[Tensor, Figures] | None:
        """The loss of a batch and what to show of it; None where it has nothing to learn.

        Args:
            examples: A batch of questions.
            rng: Of everything that is drawn.
        """


def make_objective(
    name: str, policy: Policy, queries: NextQueries, config: TrainConfig
) -> Objective:
    """The objective of that name for a policy.

    Args:
        name: One of `OBJECTIVES`, or the stage of made questions.
        policy: What is trained.
        queries: What asks, and the encoder of token vectors in the marginal objective.
        config: The settings, with the reward of reinforce.

    Raises:
        ConfigError: There is none, or the encoder cannot serve it.
    """
    reformulator = queries.reformulator(reencode=EFFORTS[config.effort].reencode)
    if name in ("imitation", SELF_SUPERVISED):
        return _Imitation(policy)
    if name == "reinforce":
        return _Reinforce(policy, reformulator, config)
    if name == "marginal":
        return _Marginal(policy, reformulator, queries.encoder, config)
    raise ConfigError(f"unknown objective {name!r}: choose from {', '.join(OBJECTIVES)}")


def require_tokens(encoder: Encoder) -> TransformerEncoder:
    """The encoder that gives token vectors, which the marginal objective reads.

    Args:
        encoder: Any; a cache before it is looked through.

    Raises:
        ConfigError: This one does not.
    """
    inner = uncached(encoder)
    if not isinstance(inner, TransformerEncoder):
        raise ConfigError(
            "the marginal objective reads token vectors: it needs a TransformerEncoder, "
            f"got {type(inner).__name__}"
        )
    return inner


class _Imitation:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.modules: Mapping[str, nn.Module] = {}

    def loss(
        self, examples: Sequence[Example], rng: np.random.Generator
    ) -> tuple[Tensor, Figures] | None:
        return imitation_loss(self.policy, examples, rng, label_weights=_label_weights(examples))


def _label_weights(examples: Sequence[Example]) -> LabelWeights | None:
    """What the gold of questions counts where some of it was inferred; else all alike.

    It counts as much as it is probable, and need not be all that is needed: the policy that it was
    inferred by may stop too early on a corpus that is new to it.
    """
    inferred = [example.source is Source.INFERRED for example in examples]
    if not any(inferred):
        return None
    weights = torch.tensor([example.confidence for example in examples])
    return LabelWeights(weights, ~torch.tensor(inferred))


class _Reinforce:
    def __init__(self, policy: Policy, reformulator: AnyReformulator, config: TrainConfig) -> None:
        self.policy, self.reformulator, self.config = policy, reformulator, config
        self.reward = Reward(config.reward)
        self.modules: Mapping[str, nn.Module] = {}

    def loss(
        self, examples: Sequence[Example], rng: np.random.Generator
    ) -> tuple[Tensor, Figures] | None:
        return reinforce(
            self.policy,
            examples,
            self.reformulator,
            samples=self.config.samples,
            hops=EFFORTS[self.config.effort].max_hops,
            hop_cost=self.config.hop_cost,
            entropy_weight=self.config.entropy_weight,
            generator=torch.Generator().manual_seed(int(rng.integers(2**62))),
            reward=self.reward,
        )


class _Marginal:
    def __init__(
        self, policy: Policy, reformulator: AnyReformulator, encoder: Encoder, config: TrainConfig
    ) -> None:
        inner = require_tokens(encoder)
        reader = SpanReader(inner.dim, generator=torch.Generator().manual_seed(config.seed))
        self.policy, self.trails = policy, config.trails
        self.reader = TrailReader(inner, reader)
        self.search = BeamSearch(policy, reformulator, EFFORTS[config.effort])
        self.modules: Mapping[str, nn.Module] = {"reader": reader}

    def loss(
        self, examples: Sequence[Example], rng: np.random.Generator
    ) -> tuple[Tensor, Figures] | None:
        return marginal(self.policy, self.reader, self.search, examples, trails=self.trails)
