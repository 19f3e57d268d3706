"""A trained policy: its networks, where it is kept, and what is known of it.

This is what training changes; what comes of it, as files and as what decides, is in
`hoptrail.policies.networks.frozen_policy`.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hoptrail.errors import ConfigError, PolicyError
from hoptrail.learning.arrays.layers import Array
from hoptrail.learning.masked import masked_logsumexp
from hoptrail.learning.weights import module_arrays
from hoptrail.outputs.hub import fetch_from_hub, push_to_hub
from hoptrail.policies.card import readme as card_text
from hoptrail.policies.environment.feature_names import FEATURES_VERSION
from hoptrail.policies.environment.state import StateBatch
from hoptrail.policies.folder import check_folder
from hoptrail.policies.networks.array_network import mean_log_pi
from hoptrail.policies.networks.feedback_ranking import FeedbackRanking
from hoptrail.policies.networks.frozen_policy import RERANK_WEIGHT as RERANK_WEIGHT
from hoptrail.policies.networks.frozen_policy import (
    SETTINGS,
    SHIPPED,
    WEIGHTS,
    FrozenPolicy,
    weights_fingerprint,
)
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import Inputs, PolicyNetwork
from hoptrail.policies.networks.relation_network import RelationScorer
from hoptrail.policies.networks.relation_scorer import FILE as RELATIONS
from hoptrail.policies.networks.score_calibration import ScoreCalibration
from hoptrail.policies.reformulation.learned import FILE as REFORMULATOR
from hoptrail.policies.reformulation.learned import LearnedReformulator

CARD = "README.md"


class Policy(nn.Module):
    """π(a | s): one or more networks whose probabilities are averaged.

    Args:
        members: The networks, all of one shape.
        card: What is known of the policy: data, objective, seed, command, figures.
        relations: What leads walks over relations, where one was trained.
        rerank_weight: What effort `thorough` gives the joint fit; see `policies.search.reranker`.
        reformulator: What asks the next query, where one was trained; a fixed rule otherwise.
        scores: What makes probabilities of a walk, where it was fitted; there are none otherwise.
        feedback_ranking: What orders the best passages anew, where it was learned from feedback.
    """

    def __init__(
        self,
        members: Sequence[PolicyNetwork],
        card: Mapping[str, Any] | None = None,
        relations: RelationScorer | None = None,
        *,
        rerank_weight: float = RERANK_WEIGHT,
        reformulator: LearnedReformulator | None = None,
        scores: ScoreCalibration | None = None,
        feedback_ranking: FeedbackRanking | None = None,
    ) -> None:
        super().__init__()
        if not members:
            raise ConfigError("a policy needs at least one network")
        self.members = nn.ModuleList(members)
        self.card: dict[str, Any] = dict(card or {})
        self.rerank_weight = rerank_weight
        self.relations = relations
        self.reformulator = reformulator
        self.scores = scores
        self.feedback_ranking = feedback_ranking

    @property
    def config(self) -> NetworkConfig:
        """The shape of the networks."""
        first = self.members[0]
        assert isinstance(first, PolicyNetwork)
        return first.config

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the features that the networks read."""
        first = self.members[0]
        assert isinstance(first, PolicyNetwork)
        return first.columns

    @property
    def size(self) -> int:
        """The number of weights of the networks."""
        return sum(p.numel() for p in self.members.parameters())

    @property
    def fingerprint(self) -> str:
        """A hash of all weights that rank: tells policies apart."""
        return weights_fingerprint(module_arrays(self), self.reformulator, self.feedback_ranking)

    def __repr__(self) -> str:
        return f"<Policy {len(self.members)} networks, {self.size:,} weights>"

    def first(self, networks: int | None) -> Policy:
        """The policy that only the first so many of its networks make; all of them for None.

        Args:
            networks: How many, at least 1; None for all.
        """
        if networks is None or networks >= len(self.members):
            return self
        members = [m for m in self.members[:networks] if isinstance(m, PolicyNetwork)]
        return Policy(
            members,
            self.card,
            self.relations,
            rerank_weight=self.rerank_weight,
            reformulator=self.reformulator,
            scores=self.scores,
            feedback_ranking=self.feedback_ranking,
        )

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Log π(read) `(n,)` and log π(STOP) `(b,)`.

        Args:
            inputs: b states with n rows in all.

        Returns:
            Log π(read) `(n,)`, -inf for evidence, and log π(STOP) `(b,)`: the probabilities of a
            state's rows and of its STOP add up to 1.
        """
        return _mean([member(inputs) for member in self.members])

    def decide(self, states: StateBatch) -> tuple[Array, Array]:
        """`forward` without gradients or dropout, on a batch of states as arrays.

        Args:
            states: b states with n rows in all.

        Returns:
            As `forward` gives it, as arrays.
        """
        read, stop, _ = self.decide_with_spread(states)
        return read, stop

    def decide_with_spread(self, states: StateBatch) -> tuple[Array, Array, Array]:
        """`decide`, and how far the networks disagree; as of `FrozenPolicy`.

        Args:
            states: b states with n rows in all.
        """
        networks = [m.arrays() for m in self.members if isinstance(m, PolicyNetwork)]
        return mean_log_pi(networks, states)

    def save(self, folder: Path | str, *, readme: str | None = None) -> None:
        """Write the policy to a folder, made where it is absent.

        Args:
            folder: Where to; files of a policy that lies there are replaced.
            readme: What to write to its README.md; none by default.

        Raises:
            PolicyError: The folder cannot be written, or holds a file that is no policy's.
        """
        folder = Path(folder)
        check_folder(folder, card=readme is not None)
        settings = {
            "format": 1,
            "features": FEATURES_VERSION,
            "networks": len(self.members),
            "network": asdict(self.config),
            "columns": list(self.columns),
            "rerank_weight": self.rerank_weight,
            "scores": self.scores.describe() if self.scores else None,
            "card": self.card,
        }
        if self.feedback_ranking is not None:
            settings["feedback_ranking"] = self.feedback_ranking.describe()
        state = self.members.state_dict(prefix="members.")
        weights = {name: tensor.contiguous() for name, tensor in state.items()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / (WEIGHTS + ".partial")
            save_file(weights, partial)
            partial.replace(folder / WEIGHTS)
            text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
            (folder / SETTINGS).write_text(text, encoding="utf-8")
            if self.relations is None:
                (folder / RELATIONS).unlink(missing_ok=True)
            else:
                self.relations.save(folder)
            if self.reformulator is None:
                (folder / REFORMULATOR).unlink(missing_ok=True)
            else:
                self.reformulator.save(folder / REFORMULATOR)
            if readme is not None:
                (folder / CARD).write_text(readme, encoding="utf-8")
        except OSError as error:
            raise PolicyError(f"the policy cannot be written to {folder}: {error}") from error

    @classmethod
    def load(cls, folder: Path | str) -> Policy:
        """The policy in a folder.

        One that was trained before a feature was added does not read it, and decides as it did.

        Args:
            folder: As `save` or `hoptrail train` wrote it.

        Raises:
            PolicyError: It is absent, damaged, or reads a feature that this version lacks.
        """
        frozen = FrozenPolicy.load(folder)
        members = [PolicyNetwork.of(member) for member in frozen.members]
        relations = frozen.relations
        return cls(
            members,
            frozen.card,
            None if relations is None else RelationScorer.of(relations),
            rerank_weight=frozen.rerank_weight,
            reformulator=frozen.reformulator,
            scores=frozen.scores,
            feedback_ranking=frozen.feedback_ranking,
        ).eval()

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        endpoint: str | None = None,
    ) -> Policy:
        """The policy in a folder, or in a repository of a hub.

        Args:
            name: A folder, or a repository like `ann/ships`.
            revision: As `hoptrail.fetch_from_hub` takes it; so are the others.
            token: For a private repository.
            endpoint: Another server than the hub.

        Raises:
            HubError: There is neither, or the hub cannot be reached.
            PolicyError: What is there is no policy, or damaged.
        """
        folder = fetch_from_hub(name, revision=revision, token=token, endpoint=endpoint)
        return cls.load(folder)

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool | None = None,
        message: str | None = None,
        token: str | None = None,
        endpoint: str | None = None,
    ) -> str:
        """Write the policy, with its card, to a repository of a hub; the commit's address.

        Args:
            name: The repository, like `ann/ships`; it is made where there is none.
            private: As `hoptrail.push_to_hub` takes it; so are the others.
            message: Of the commit.
            token: That may write there.
            endpoint: Another server than the hub.

        Raises:
            HubError: The hub cannot be reached, or refuses it.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save(folder, readme=card_text(self))
            return push_to_hub(
                folder, name, private=private, message=message, token=token, endpoint=endpoint
            )

    @classmethod
    def shipped(cls) -> Policy:
        """The policy that comes with the package."""
        return cls.load(SHIPPED)


def _mean(decisions: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The logarithm of the mean of probabilities, of reading and of STOP."""
    if len(decisions) == 1:
        return decisions[0]
    share = math.log(len(decisions))
    read = masked_logsumexp(torch.stack([f[0] for f in decisions]), dim=0) - share
    stop = masked_logsumexp(torch.stack([f[1] for f in decisions]), dim=0) - share
    # A sure thing may come out as a rounding error above 0.
    return read.clamp(max=0.0), stop.clamp(max=0.0)


AnyPolicy = Policy | FrozenPolicy
"""What can decide on a walk."""
