"""Numbers as callers give them: checked in one place, and made Python's own."""

from __future__ import annotations

import math
import numbers
from decimal import Decimal
from typing import Any

from hoptrail.errors import HoptrailError, InputError

MOST = 2**31 - 1
"""Where nothing else is said: more than anything that is counted here."""


def whole(
    value: object,
    what: str,
    *,
    least: int = 0,
    most: int = MOST,
    error: type[HoptrailError] = InputError,
) -> int:
    """A whole number, whoever's: Python's or numpy's; true and false are none.

    Raises:
        InputError: It is something else, or outside of the bounds; or `error`, where that is given.
    """
    number: Any = value
    sound = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not sound or number < least:
        raise error(f"{what} must be a whole number of at least {least}, got {shown(value)}")
    if number > most:
        raise error(f"{what} must be a whole number of at most {most}, got {shown(value)}")
    return int(number)


def real(value: object, what: str) -> float:
    """A finite number, whoever's; true and false are none.

    Raises:
        InputError: It is something else, or no float can hold it.
    """
    number = finite(value)
    if number is None:
        raise InputError(f"{what} must be a finite number, got {shown(value)}")
    return number


def above_zero(value: object, what: str, *, error: type[HoptrailError] = InputError) -> float:
    """A finite number above 0.

    Raises:
        InputError: It is something else; or `error`, where that is given.
    """
    number = finite(value)
    if number is None or not number > 0:
        raise error(f"{what} must be above 0 and finite, got {shown(value)}")
    return number


def share(value: object, what: str, *, error: type[HoptrailError] = InputError) -> float:
    """A number from 0 to 1.

    Raises:
        InputError: It is something else; or `error`, where that is given.
    """
    number = finite(value)
    if number is None or not 0 <= number <= 1:
        raise error(f"{what} is a share, from 0 to 1, got {shown(value)}")
    return number


def finite(value: object) -> float | None:
    """A number as a float, or None if it is none, or none that is finite."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def shown(value: object) -> str:
    """A value as a message has it, cut to a length that fits one."""
    try:
        text = repr(value)
    except Exception:  # also whole numbers of too many digits
        text = f"a value of type {type(value).__name__} that cannot be shown"
    return text if len(text) <= 80 else f"{text[:77]}..."
