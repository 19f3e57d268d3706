"""Flags and functions as callers give them: checked where they come in, never taken for true."""

from __future__ import annotations

from hoptrail.errors import InputError
from hoptrail.values.numbers import shown


def flag(value: object, what: str) -> bool:
    """True or false, Python's or numpy's; "no", 1 and arrays are none.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, bool):
        return value
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"):
        return bool(value)
    raise InputError(f"{what} must be True or False, got {shown(value)}")


def check_function(value: object, what: str) -> None:
    """Refuse what cannot be called; None is no function, and fine.

    Raises:
        InputError: It cannot.
    """
    if value is not None and not callable(value):
        raise InputError(f"{what} must be a function or None, got {shown(value)}")
