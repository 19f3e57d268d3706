"""What asks the next queries in a run: for each question a reformulator that has not seen it."""

from __future__ import annotations

from dataclasses import dataclass

from hoptrail.errors import ConfigError
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.policies.environment.reformulation import (
    AnyReformulator,
    CrossFittedReformulator,
    Reformulator,
)
from hoptrail.policies.reformulation.cross_fit import CrossFit
from hoptrail.policies.reformulation.learned import LearnedReformulator


@dataclass(frozen=True)
class NextQueries:
    """The encoder of a run, and what was learned of asking by it.

    With neither of the two, queries follow the fixed rule.
    """

    encoder: Encoder
    """The memory's; one that caches makes the next run quick."""
    learned: LearnedReformulator | None = None
    """That of a policy to go on from, which has seen none of the questions."""
    cross_fit: CrossFit | None = None
    """Those that were trained on the questions of the run."""

    @property
    def shipped(self) -> LearnedReformulator | None:
        """The reformulator of the policy that comes out."""
        return self.learned if self.cross_fit is None else self.cross_fit.whole

    def check(self) -> None:
        """Refuse reformulators that were trained beside another encoder.

        That of a policy to go on from is passed over there instead, as in a recall.

        Raises:
            ConfigError: They were.
        """
        if self.cross_fit is not None and not self.cross_fit.whole.suits(self.encoder):
            raise ConfigError(
                f"the reformulators are of the encoder {self.cross_fit.whole.base}, "
                f"got {self.encoder.fingerprint}"
            )

    def fingerprint(self) -> dict[str, str]:
        """What tells a run by its reformulators from others; empty where there are none."""
        if self.cross_fit is not None:
            return {"reformulator": self.cross_fit.fingerprint()}
        return {} if self.learned is None else {"reformulator": self.learned.fingerprint}

    def reformulator(self, *, reencode: bool) -> AnyReformulator:
        """What asks, in training.

        Args:
            reencode: Whether it encodes a state's text; otherwise queries move as vectors.
        """
        if self.cross_fit is None:
            return self._by(self.learned, reencode)
        return CrossFittedReformulator(
            whole=self._by(self.cross_fit.whole, reencode),
            parts=[self._by(part, reencode) for part in self.cross_fit.parts],
            part_of=self.cross_fit.part,
        )

    def _by(self, learned: LearnedReformulator | None, reencode: bool) -> Reformulator:
        cache = CachedEncoder if learned is not None else None  # `encoder` has its own
        return Reformulator(self.encoder, reencode=reencode, learned=learned, cache=cache)
