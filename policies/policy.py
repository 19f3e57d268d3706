"""A trained policy: its networks, where it is kept, and what is known of it.

A policy is a folder of three files: `policy.safetensors` (the weights), `policy.json` (the shape
of the networks, the names of the features that they read, and the card as data) and `README.md`
(the card for people). It may hold several networks, trained from different seeds; π is then the
mean of theirs. Two files beside them are optional: `reformulator.safetensors` asks the next query,
`relations.safetensors` leads walks over relations.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hoptrail.errors import ConfigError, PolicyError
from hoptrail.graph.view import KINDS
from hoptrail.learning.masked import masked_logsumexp
from hoptrail.learning.single_thread import one_thread
from hoptrail.learning.weights import (
    FAULTS,
    LARGEST_JSON,
    filled,
    load_weights,
    reason,
)
from hoptrail.policies.environment.feature_names import COLUMNS, FEATURES_VERSION
from hoptrail.policies.environment.state import StateBatch, portions
from hoptrail.policies.folder import check_folder
from hoptrail.policies.networks.fast_forward import Shared, log_pi
from hoptrail.policies.networks.policy_network import Inputs, NetworkConfig, PolicyNetwork
from hoptrail.policies.networks.relation_scorer import FILE as RELATIONS
from hoptrail.policies.networks.relation_scorer import RelationScorer
from hoptrail.policies.reformulation.learned import FILE as REFORMULATOR
from hoptrail.policies.reformulation.learned import LearnedReformulator
from hoptrail.values.numbers import finite, shown, whole

WEIGHTS, SETTINGS, CARD = "policy.safetensors", "policy.json", "README.md"
SHIPPED = Path(__file__).parent / "pretrained"
"""The folder of the policy that comes with the package."""
ROWS_AT_ONCE = 1000
"""Candidates of one pass, over several states: what it works on stays in the processor's cache.
Eleven thousand at once took 0.97 ms a state, one thousand 0.53."""
MOST_WIDTH, MOST_LAYERS, MOST_NETWORKS = 4096, 64, 64
"""Of a policy that is loaded."""
RERANK_WEIGHT = 1.2
"""What a policy gives the joint fit where it says nothing else."""


class Policy(nn.Module):
    """π(a | s): one or more networks whose probabilities are averaged.

    Args:
        members: The networks, all of one shape.
        card: What is known of the policy: data, objective, seed, command, figures.
        relations: What leads walks over relations, where one was trained.
        rerank_weight: What effort `thorough` gives the joint fit; see `policies.search.reranker`.
        reformulator: What asks the next query, where one was trained; a fixed rule otherwise.
    """

    def __init__(
        self,
        members: Sequence[PolicyNetwork],
        card: Mapping[str, Any] | None = None,
        relations: RelationScorer | None = None,
        *,
        rerank_weight: float = RERANK_WEIGHT,
        reformulator: LearnedReformulator | None = None,
    ) -> None:
        super().__init__()
        if not members:
            raise ConfigError("a policy needs at least one network")
        self.members = nn.ModuleList(members)
        self.card: dict[str, Any] = dict(card or {})
        self.rerank_weight = rerank_weight
        self.relations = relations
        self.reformulator = reformulator

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
        """A hash of the weights: tells policies apart."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().contiguous().numpy().tobytes())
        if self.reformulator is not None:
            digest.update(self.reformulator.fingerprint.encode())
        return digest.hexdigest()[:16]

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

    def decide(self, states: StateBatch) -> tuple[Tensor, Tensor]:
        """`forward` without gradients or dropout, on a batch of states as arrays.

        Args:
            states: b states with n rows in all.

        Returns:
            As `forward` gives it.
        """
        members = [m for m in self.members if isinstance(m, PolicyNetwork)]
        parts = []
        with one_thread(), torch.inference_mode():
            for part in portions(states, ROWS_AT_ONCE):
                inputs = Inputs.of(part)
                shared = Shared.of(inputs, len(KINDS))
                parts.append(_mean([log_pi(member, inputs, shared) for member in members]))
        if len(parts) == 1:
            return parts[0]
        return torch.cat([read for read, _ in parts]), torch.cat([stop for _, stop in parts])

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
            "card": self.card,
        }
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
        folder = Path(folder)
        settings = _settings(folder)
        try:
            config = NetworkConfig(**settings["network"])
            whole(config.width, "width", least=1, most=MOST_WIDTH, error=ConfigError)
            whole(config.layers + 1, "layers and 1", least=1, most=MOST_LAYERS, error=ConfigError)
            count = whole(
                settings["networks"], "networks", least=1, most=MOST_NETWORKS, error=ConfigError
            )
            columns = settings["columns"]
            # One that was trained before STOP was calibrated holds no calibration.
            weights = {**_uncalibrated(count), **load_weights(folder / WEIGHTS)}
            members = filled(
                lambda: _Members(PolicyNetwork(config, columns) for _ in range(count)), weights
            ).members
            weight = _rerank_weight(settings)
            card = settings.get("card") or {}
            policy = cls(list(members), card, rerank_weight=weight)  # type: ignore[arg-type]
        except FAULTS as error:
            raise PolicyError(f"the policy in {folder} is damaged: {reason(error)}") from error
        policy.relations = RelationScorer.load(folder)
        policy.reformulator = LearnedReformulator.load(folder / REFORMULATOR)
        return policy.eval()

    @classmethod
    def shipped(cls) -> Policy:
        """The policy that comes with the package."""
        return cls.load(SHIPPED)


class _Members(nn.Module):
    """The networks alone, by the names that their weights have in the file."""

    def __init__(self, members: Iterable[PolicyNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)


def _rerank_weight(settings: Mapping[str, Any]) -> float:
    value = settings.get("rerank_weight", RERANK_WEIGHT)
    weight = finite(value)
    if weight is None:
        raise ValueError(f"rerank_weight should be a finite number, got {shown(value)}")
    return weight


def _mean(decisions: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The logarithm of the mean of probabilities, of reading and of STOP."""
    if len(decisions) == 1:
        return decisions[0]
    share = math.log(len(decisions))
    read = masked_logsumexp(torch.stack([f[0] for f in decisions]), dim=0) - share
    stop = masked_logsumexp(torch.stack([f[1] for f in decisions]), dim=0) - share
    # A sure thing may come out as a rounding error above 0.
    return read.clamp(max=0.0), stop.clamp(max=0.0)


def _uncalibrated(networks: int) -> dict[str, Tensor]:
    """The calibration of STOP that changes nothing."""
    return {
        f"members.{number}.{name}": torch.tensor(value)
        for number in range(networks)
        for name, value in (("stop_scale", 1.0), ("stop_shift", 0.0))
    }


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
