"""Strings as callers give them: checked where they come in, so that any store could hold them."""

from __future__ import annotations

from collections.abc import Sequence

from hoptrail.errors import InputError
from hoptrail.types import MAX_TEXT
from hoptrail.values.numbers import shown


def check_string(value: object, what: str) -> None:
    """Refuse what is not a string with something in it that can be stored.

    Raises:
        InputError: It is something else, blank, or not valid Unicode.
    """
    if not isinstance(value, str):
        raise InputError(f"{what} must be a string, got {type(value).__name__}")
    check_length(value, what)
    if not value.strip():
        raise InputError(f"{what} must not be empty, got {shown(value)}")
    check_unicode(value, what)


def check_length(value: str, what: str) -> None:
    """Refuse a string of more than `MAX_TEXT` characters.

    Raises:
        InputError: It is that long.
    """
    if len(value) > MAX_TEXT:
        raise InputError(
            f"{what} has {len(value):,} characters, and {MAX_TEXT:,} is the most: cut it (a text "
            "in a file is cut by hoptrail add, one at hand by passages_of)"
        )


def check_unicode(value: str, what: str) -> None:
    """Refuse half a surrogate pair: no file could hold it."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{what} is not valid Unicode: {error}") from error


def check_choice(value: object, choices: Sequence[str], what: str) -> None:
    """Refuse what is not among the choices.

    Raises:
        InputError: It is not.
    """
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{what} must be one of {', '.join(choices)}, got {shown(value)}")
