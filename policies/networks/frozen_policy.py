"""A trained policy that decides and learns nothing: what answers a recall, without PyTorch.

A policy is a folder of three files: `policy.safetensors` (the weights), `policy.json` (the shape
of the networks, the names of the features that they read, what calibrates their scores, the ranking
that was learned from feedback if one was, and the card as data) and `README.md` (the card for
people). It may hold several networks, trained from different seeds; π is then the mean of theirs.
Two files beside them are optional: `reformulator.safetensors` asks the next query,
`relations.safetensors` leads walks over relations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hoptrail.errors import ConfigError, PolicyError
from hoptrail.learning.arrays.layers import Array
from hoptrail.learning.arrays.tensor_files import (
    FAULTS,
    LARGEST_JSON,
    Tensors,
    load_tensors,
    reason,
)
from hoptrail.policies.environment.feature_names import COLUMNS, FEATURES_VERSION
from hoptrail.policies.environment.state import StateBatch
from hoptrail.policies.networks.array_network import ArrayNetwork, mean_log_pi
from hoptrail.policies.networks.feedback_ranking import FeedbackRanking
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.relation_scorer import ArrayRelationScorer
from hoptrail.policies.networks.score_calibration import ScoreCalibration
from hoptrail.policies.reformulation.learned import FILE as REFORMULATOR
from hoptrail.policies.reformulation.learned import LearnedReformulator
from hoptrail.values.numbers import finite, shown, whole

WEIGHTS, SETTINGS = "policy.safetensors", "policy.json"
SHIPPED = Path(__file__).parents[1] / "pretrained"
"""The folder of the policy that comes with the package."""
MOST_WIDTH, MOST_LAYERS, MOST_NETWORKS = 4096, 64, 64
"""Of a policy that is loaded."""
RERANK_WEIGHT = 1.2
"""What a policy gives the joint fit where it says nothing else."""


class FrozenPolicy:
    """π(a | s) of trained networks as arrays; `Policy` is what training changes.

    Args:
        members: The networks, all of one shape, at least one; their probabilities are averaged.
        card: What is known of the policy: data, objective, seed, command, figures.
        relations: What leads walks over relations, where one was trained.
        rerank_weight: What effort `thorough` gives the joint fit; see `policies.search.reranker`.
        reformulator: What asks the next query, where one was trained; a fixed rule otherwise.
        scores: What makes probabilities of a walk, where it was fitted; there are none otherwise.
        feedback_ranking: What orders the best passages anew, where it was learned from feedback.
    """

    def __init__(
        self,
        members: Sequence[ArrayNetwork],
        card: Mapping[str, Any] | None = None,
        relations: ArrayRelationScorer | None = None,
        *,
        rerank_weight: float = RERANK_WEIGHT,
        reformulator: LearnedReformulator | None = None,
        scores: ScoreCalibration | None = None,
        feedback_ranking: FeedbackRanking | None = None,
    ) -> None:
        self.members = tuple(members)
        self.card: dict[str, Any] = dict(card or {})
        self.relations = relations
        self.rerank_weight = rerank_weight
        self.reformulator = reformulator
        self.scores = scores
        self.feedback_ranking = feedback_ranking

    def __repr__(self) -> str:
        return f"<FrozenPolicy {len(self.members)} networks, {self.size:,} weights>"

    @property
    def size(self) -> int:
        """The number of weights of the networks."""
        return sum(member.size for member in self.members)

    @property
    def fingerprint(self) -> str:
        """A hash of all weights that rank: tells policies apart."""
        weights = {
            f"members.{number}.{name}": array
            for number, member in enumerate(self.members)
            for name, array in member.weights.items()
        }
        if self.relations is not None:
            named = self.relations.weights.items()
            weights |= {f"relations.{name}": array for name, array in named}
        return weights_fingerprint(weights, self.reformulator, self.feedback_ranking)

    def first(self, networks: int | None) -> FrozenPolicy:
        """The policy that only the first so many of its networks make; all of them for None.

        Args:
            networks: How many, at least 1; None for all.
        """
        if networks is None or networks >= len(self.members):
            return self
        return FrozenPolicy(
            self.members[:networks],
            self.card,
            self.relations,
            rerank_weight=self.rerank_weight,
            reformulator=self.reformulator,
            scores=self.scores,
            feedback_ranking=self.feedback_ranking,
        )

    def decide(self, states: StateBatch) -> tuple[Array, Array]:
        """Log π(read) `(n,)` and log π(STOP) `(b,)`.

        Args:
            states: b states with n rows in all.

        Returns:
            Log π(read) `(n,)`, -inf for evidence, and log π(STOP) `(b,)`: the probabilities of a
            state's rows and of its STOP add up to 1.
        """
        read, stop, _ = self.decide_with_spread(states)
        return read, stop

    def decide_with_spread(self, states: StateBatch) -> tuple[Array, Array, Array]:
        """`decide`, and how far the networks disagree.

        Args:
            states: b states with n rows in all.

        Returns:
            What `decide` gives, and the standard deviation of the networks' π(read), `(n,)`: 0 of
            a policy of one network.
        """
        return mean_log_pi(self.members, states)

    @classmethod
    def load(cls, folder: Path | str) -> FrozenPolicy:
        """The policy in a folder.

        One that was trained before a feature was added does not read it, and decides as it did.

        Args:
            folder: As `Policy.save` or `hoptrail train` wrote it.

        Raises:
            PolicyError: It is absent, damaged, or reads a feature that this version lacks.
        """
        folder = Path(folder)
        settings = _settings(folder)
        try:
            config = NetworkConfig(**settings["network"])
            whole(config.width, "width", least=1, most=MOST_WIDTH, error=ConfigError)
            whole(config.layers + 1, "layers and 1", least=1, most=MOST_LAYERS, error=ConfigError)
            count = whole(
                settings["networks"], "networks", least=1, most=MOST_NETWORKS, error=ConfigError
            )
            weights = _by_network(load_tensors(folder / WEIGHTS), count)
            members = [ArrayNetwork(config, settings["columns"], each) for each in weights]
            rerank_weight = _rerank_weight(settings)
            calibration = settings.get("scores")
            scores = None if calibration is None else ScoreCalibration.parse(calibration)
            ranking = settings.get("feedback_ranking")
            feedback_ranking = None if ranking is None else FeedbackRanking.parse(ranking)
            card = settings.get("card") or {}
        except FAULTS as error:
            raise PolicyError(f"the policy in {folder} is damaged: {reason(error)}") from error
        return cls(
            members,
            card,
            ArrayRelationScorer.load(folder),
            rerank_weight=rerank_weight,
            reformulator=LearnedReformulator.load(folder / REFORMULATOR),
            scores=scores,
            feedback_ranking=feedback_ranking,
        )

    @classmethod
    def shipped(cls) -> FrozenPolicy:
        """The policy that comes with the package."""
        return cls.load(SHIPPED)


def weights_fingerprint(
    weights: Tensors,
    reformulator: LearnedReformulator | None,
    feedback_ranking: FeedbackRanking | None,
) -> str:
    """A hash of a policy's weights.

    Args:
        weights: Of all its networks, by name.
        reformulator: Where it has one.
        feedback_ranking: Where it has one.
    """
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    if reformulator is not None:
        digest.update(reformulator.fingerprint.encode())
    if feedback_ranking is not None:
        digest.update(feedback_ranking.fingerprint.encode())
    return digest.hexdigest()[:16]


def _by_network(weights: Tensors, count: int) -> list[Tensors]:
    """The weights of each network, under the names that it has for them."""
    # One that was trained before STOP was calibrated holds no calibration: it changes nothing.
    before = {"stop_scale": np.float32(1.0), "stop_shift": np.float32(0.0)}
    each: list[dict[str, Any]] = [
        {name: np.asarray(value) for name, value in before.items()} for _ in range(count)
    ]
    for name, array in weights.items():
        members, number, rest = name.split(".", 2)
        if members != "members" or not number.isdecimal() or int(number) >= count:
            raise ValueError(f"the weights {name} are missing, or nobody's")
        each[int(number)][rest] = array
    return list(each)


def _rerank_weight(settings: Mapping[str, Any]) -> float:
    value = settings.get("rerank_weight", RERANK_WEIGHT)
    weight = finite(value)
    if weight is None:
        raise ValueError(f"rerank_weight should be a finite number, got {shown(value)}")
    return weight


def _settings(folder: Path) -> dict[str, Any]:
    """The settings file, checked as far as it decides whether the weights can be used."""
    file = folder / SETTINGS
    try:
        size = file.stat().st_size
        if size > LARGEST_JSON:
            raise PolicyError(f"{file} is no settings of a policy: it has {size:,} bytes")
        settings = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(f"there is no policy in {folder}: {file.name} cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{file} is not JSON: {error}") from error
    if not isinstance(settings, dict) or settings.get("format") != 1:
        raise PolicyError(f"{file} does not describe a policy of format 1")
    if settings.get("features") != FEATURES_VERSION:
        raise PolicyError(
            f"the policy in {folder} was trained on features of version "
            f"{settings.get('features')}, this hoptrail has version {FEATURES_VERSION}: "
            "train it again with  hoptrail train"
        )
    # Written before columns had names, it reads those that there are.
    columns = settings.setdefault("columns", list(COLUMNS))
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise PolicyError(f"{file} does not name its columns in a list")
    if not isinstance(settings.get("card") or {}, dict):
        raise PolicyError(f"the policy in {folder} is damaged: its card is no JSON object")
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise PolicyError(
            f"the policy in {folder} reads a feature that this hoptrail does not have, "
            f"{unknown[0]!r}: train it again with  hoptrail train"
        )
    return settings
