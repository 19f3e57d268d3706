"""The shape of a policy network, and which features it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError
from hoptrail.policies.environment.feature_names import COLUMNS, StateFeature

_SHARED = frozenset(COLUMNS[-len(StateFeature) :])
"""Names of the columns that are equal in all rows of a state."""

NEVER = -1e30
"""The log-odds of what cannot be."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The shape of a policy network."""

    width: int = 64
    """Channels of a candidate."""
    layers: int = 2
    """Rounds of message passing."""
    dropout: float = 0.1
    """Share of hidden units dropped in training."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.layers < 0 or not 0 <= self.dropout < 1:
            raise ConfigError(
                "a network needs width >= 1, layers >= 0 and dropout in [0, 1), got "
                f"{self.width}, {self.layers}, {self.dropout}"
            )


def column_places(columns: Sequence[str]) -> NDArray[np.int64]:
    """Where the columns of these names stand in `StateInput.x`, `(f,)`.

    Args:
        columns: Of candidates, then those of the whole state.

    Raises:
        ConfigError: There is no column of a name, or none of a group, or the order is another.
    """
    place = {name: i for i, name in enumerate(COLUMNS)}
    unknown = [name for name in columns if name not in place]
    if unknown:
        raise ConfigError(f"there is no feature {unknown[0]!r}")
    shared = [name in _SHARED for name in columns]
    if set(shared) != {False, True} or shared != sorted(shared):
        raise ConfigError("a network reads features of candidates, then some of the whole state")
    return np.asarray([place[name] for name in columns], dtype=np.int64)


def shared_columns(columns: Sequence[str]) -> int:
    """How many columns are equal in all rows of a state: the last ones.

    Args:
        columns: As `column_places` takes them.
    """
    return sum(name in _SHARED for name in columns)
