"""How much the recalls of an agent return: settings of the application, and of a program's call."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from hoptrail.api.hit_selection import HitSelection, Until
from hoptrail.errors import InputError


@dataclass(frozen=True, slots=True)
class RecallBounds:
    """How much a recall returns beside `k`; each as `Memory.recall` takes it.

    Raises:
        InputError: One is not what it should be, or two of them contradict each other.
    """

    until: Until | None = None
    """"complete" for as many passages as are needed."""
    tokens: int | None = None
    """As many as have no more tokens together, as the memory's encoder counts them."""
    min_score: float | None = None
    """Only those that are needed with at least this probability."""
    patience: float | None = None
    """Only those worth reading to whom finding everything is worth reading so many passages."""

    def __post_init__(self) -> None:
        HitSelection.parse(None, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `Memory.recall`."""
        return asdict(self)

    def or_of_call(self, call: Any) -> Self:
        """These, but for what a call names; of the two that say when to stop it names one.

        Args:
            call: The arguments of an operation, which may have the same names.

        Raises:
            InputError: What it names contradicts itself.
        """
        options = self.options
        own = {name: getattr(call, name, None) for name in options}
        if own["until"] is not None or own["patience"] is not None:
            options |= {"until": None, "patience": None}
        options |= {name: value for name, value in own.items() if value is not None}
        return type(self)(**options)


NO_BOUNDS = RecallBounds()
"""As many passages come back as are asked for."""


def checked_bounds(bounds: object) -> RecallBounds:
    """What an application gives as bounds, if it is that.

    Args:
        bounds: As it was given.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(bounds, RecallBounds):
        raise InputError(f"bounds must be RecallBounds, got {type(bounds).__name__}")
    return bounds
