"""The settings of a training run, and how it is carried out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hoptrail.errors import ConfigError
from hoptrail.policies.environment.efforts import DEFAULT, effort
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.objectives.rewards import Reward, RewardFunction
from hoptrail.values.numbers import MOST, above_zero, share, whole
from hoptrail.values.progress import TrainingProgress, silent

OBJECTIVES = ("imitation", "marginal", "reinforce")
SELF_SUPERVISED = "self-supervised"
"""The stage before the objectives, on questions made from the passages themselves."""
FINE_TUNE_LR_FACTOR = 1 / 3
"""What the rate of imitation is multiplied by in a policy that is trained already."""
LARGEST_SEED = 2**63 - 1
LEAST_COUNT = {
    **dict.fromkeys(("seed", "self_supervised", "tuning_questions"), 0),
    **dict.fromkeys(("networks", "epochs", "self_supervised_epochs", "tuning_epochs"), 1),
    **dict.fromkeys(("batch", "trails"), 1),
    "samples": 2,  # of one alone no other is the baseline
}
"""The settings that are whole numbers, and the least that each may be."""


def check_early_stopping(stop_after: int | None, held_out: float) -> None:
    """Refuse settings by which no training could end early.

    Args:
        stop_after: Passes without a better loss, or None.
        held_out: The share of the questions that is held out.

    Raises:
        ConfigError: One is out of range.
    """
    if stop_after is not None:
        whole(stop_after, "stop_after", least=1, error=ConfigError)
    if not 0 < held_out < 1:
        raise ConfigError(f"held_out must be above 0 and below 1, got {held_out}")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The settings of a training run."""

    objective: str = "imitation"
    """Stages by name, with commas between: imitation, marginal, reinforce. Empty for none besides
    self-supervision."""
    self_supervised: int = 0
    """How many questions to make from the passages, to learn from before any objective."""
    seed: int = 0
    networks: int = 3
    """How many networks π is the mean of."""
    epochs: int = 10
    """Passes over the questions in the imitation stage."""
    self_supervised_epochs: int = 6
    """Passes over the questions that were made."""
    tuning_epochs: int = 1
    """Passes in each later stage."""
    tuning_questions: int = 0
    """Questions of such a pass, drawn anew for each; 0 for all."""
    batch: int = 16
    """Questions in a step."""
    learning_rate: float = 2e-3
    """Its peak in imitation, of questions that were made too; in a policy that is trained
    already, a third of it."""
    tuning_rate: float = 1e-4
    """Its peak in later stages."""
    weight_decay: float = 1e-4
    weight_average: float = 0.5
    """How much a policy that is trained already keeps of its weights when it learns from questions
    that were made, or from evidence that was inferred: what it ends with is the mean of before and
    after, this much of it before
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv:2109.01903)."""
    mentions_as_links: float = 0.2
    """Share of the questions of an epoch whose mentions are shown as links."""
    augmentation_share: float = 0.0
    """Questions of `policies.data.augmentation` over untitled passages, as a share of those that
    people asked; there are fewer of the inverse cloze task. The first network and every other one
    learn from them."""
    infer_evidence: bool = False
    """Whether questions with answers alone get supporting passages, which the policy that training
    goes on from infers from the answers; see `hoptrail.policies.objectives.inferred_evidence`."""
    samples: int = 8
    """Trajectories sampled for each question in REINFORCE."""
    trails: int = 6
    """Trails of the beam that enter the marginal likelihood."""
    hop_cost: float = 0.02
    """Taken off the return for each passage read."""
    entropy_weight: float = 0.01
    reward: str | RewardFunction | None = None
    """Of REINFORCE; see `hoptrail.policies.objectives.rewards.Reward`."""
    stop_after: int | None = None
    """Passes of imitation without a better loss on questions held out after which it ends, with the
    weights of the best of them; None makes them all, and holds no question out."""
    held_out: float = 0.12
    """The share of the questions that is then held out, at most, by whole clusters of those that
    share a passage."""
    joint: bool = False
    """Whether to fit what effort `thorough` gives the joint fit; see
    `hoptrail.policies.training.rerank_weight`."""
    effort: str = DEFAULT
    """As in a recall: whether queries that are rewritten in training are encoded."""
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def __post_init__(self) -> None:
        unknown = [stage for stage in self.objectives if stage not in OBJECTIVES]
        effort(self.effort)
        Reward(self.reward)
        if unknown or not self.stages:
            raise ConfigError(
                f"unknown objective {self.objective!r}: choose from {', '.join(OBJECTIVES)}, "
                "with commas between stages"
            )
        for name, least in LEAST_COUNT.items():
            most = LARGEST_SEED if name == "seed" else MOST
            number = whole(getattr(self, name), name, least=least, most=most, error=ConfigError)
            object.__setattr__(self, name, number)  # Python's own, as the card needs it
        check_early_stopping(self.stop_after, self.held_out)
        if self.stop_after is not None and "imitation" not in self.stages:
            raise ConfigError(
                f"stop_after is {self.stop_after}, and is for imitation, which is not among the "
                f"objectives {self.objective!r}"
            )
        for name in ("learning_rate", "tuning_rate"):
            above_zero(getattr(self, name), name, error=ConfigError)
        for name in ("mentions_as_links", "weight_average", "augmentation_share"):
            share(getattr(self, name), name, error=ConfigError)

    @property
    def objectives(self) -> list[str]:
        """The stages that learn from what people brought, in order."""
        return [stage.strip() for stage in self.objective.split(",") if stage.strip()]

    @property
    def stages(self) -> list[str]:
        """The stages, in order."""
        return ([SELF_SUPERVISED] if self.self_supervised else []) + self.objectives

    def epochs_of(self, stage: str) -> int:
        """Passes over the questions in a stage.

        Args:
            stage: One of `stages`.
        """
        if stage == SELF_SUPERVISED:
            return self.self_supervised_epochs
        return self.epochs if stage == "imitation" else self.tuning_epochs

    def rate_of(self, stage: str, *, fine_tuning: bool = False) -> float:
        """The peak learning rate of a stage; lower for imitation where weights are trained.

        Args:
            stage: One of `stages`.
            fine_tuning: Whether training goes on from a trained policy.
        """
        if stage in ("imitation", SELF_SUPERVISED):
            return self.learning_rate * (FINE_TUNE_LR_FACTOR if fine_tuning else 1.0)
        return self.tuning_rate

    def describe(self) -> dict[str, Any]:
        """The settings as JSON has them; the reward, which may be a function, by its name."""
        settings = asdict(replace(self, reward=None))
        reward = Reward(self.reward).name if "reinforce" in self.stages else None
        del settings["reward"]
        return {"config": settings, "reward": reward}


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a training run is carried out; nothing of it changes what comes out."""

    resume: bool = False
    """Take up the run whose checkpoint lies in the policy's folder."""
    progress: TrainingProgress = silent
    """Called after every step, and while data is prepared."""
    command: str = ""
    """How the run was called, for the card."""
