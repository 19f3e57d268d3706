"""A view's state as arrays by name, each index's with a prefix; and when a view must be renewed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from hoptrail.errors import EncoderMismatch


class Spent(EncoderMismatch):
    """A view cannot go on, and `renewed` can: whoever lets a change of encoder pass, lets this."""


def with_prefix(prefix: str, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """A state under names that begin with a prefix.

    Args:
        prefix: Put before each name.
        state: Arrays by name.
    """
    return {f"{prefix}{key}": value for key, value in state.items()}


def part(state: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """What stands in a state under names that begin with a prefix, without it.

    Args:
        state: Arrays by name.
        prefix: What the names begin with.
    """
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
