"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field

from hoptrail.errors import ConfigError
from hoptrail.policies.network import NetworkConfig

OBJECTIVES = ("imitation", "marginal", "reinforce")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The settings of a training run."""

    objective: str = "imitation"
    """Stages by name, with commas between: imitation, marginal, reinforce."""
    seed: int = 0
    networks: int = 3
    """How many networks π is the mean of."""
    epochs: int = 10
    """Passes over the questions in the imitation stage."""
    tuning_epochs: int = 1
    """Passes in each later stage."""
    batch: int = 16
    """Questions in a step."""
    learning_rate: float = 2e-3
    """Its peak in the imitation stage."""
    tuning_rate: float = 1e-4
    """Its peak in later stages."""
    weight_decay: float = 1e-4
    linked: float = 0.2
    """Share of the questions of an epoch whose mentions are shown as links."""
    samples: int = 4
    """Trajectories sampled for each question in REINFORCE."""
    trails: int = 6
    """Trails of the beam that enter the marginal likelihood."""
    hop_cost: float = 0.02
    """Taken off the return for each passage read."""
    entropy_weight: float = 0.01
    joint: bool = False
    """Whether to fit what effort `thorough` gives the joint fit; see `policies.joint_train`."""
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def __post_init__(self) -> None:
        unknown = [stage for stage in self.stages if stage not in OBJECTIVES]
        if unknown or not self.stages:
            raise ConfigError(
                f"unknown objective {self.objective!r}: choose from {', '.join(OBJECTIVES)}, "
                "with commas between stages"
            )
        if min(self.networks, self.epochs, self.tuning_epochs, self.batch, self.trails) < 1:
            raise ConfigError(
                "networks, epochs, tuning_epochs, batch and trails must be at least 1"
            )
        if not 0 <= self.linked <= 1:
            raise ConfigError(f"linked is a share, from 0 to 1, got {self.linked}")
        if self.samples < 2:
            raise ConfigError(f"samples must be at least 2 for a baseline, got {self.samples}")

    @property
    def stages(self) -> list[str]:
        """The stages, in order."""
        return [stage.strip() for stage in self.objective.split(",") if stage.strip()]

    def epochs_of(self, stage: str) -> int:
        """Passes over the questions in a stage."""
        return self.epochs if stage == "imitation" else self.tuning_epochs

    def rate_of(self, stage: str) -> float:
        """The peak learning rate of a stage."""
        return self.learning_rate if stage == "imitation" else self.tuning_rate
