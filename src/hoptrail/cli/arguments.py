"""The values that options take, checked as they are read: a wrong one is a wrong command line."""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from hoptrail.errors import InputError
from hoptrail.outputs.printable import namespace_of
from hoptrail.types import Namespace


def object_of(text: str) -> dict[str, Any]:
    """The JSON object that an argument spells."""
    shown = f"{text[:100]}…" if len(text) > 100 else text
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not valid JSON ({error}): {shown!r}") from error
    except RecursionError as error:
        raise argparse.ArgumentTypeError(f"nested too deep to be a filter: {shown!r}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {shown!r}")
    return found


def path_argument(text: str) -> Path:
    """The path that an argument spells, once it is known that the system could have such a one."""
    try:
        os.lstat(text or "\0")
    except ValueError as error:  # a null character, or half a surrogate pair
        what = "must not be empty" if not text else f"cannot be {text!r}"
        raise argparse.ArgumentTypeError(f"a path {what}") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise argparse.ArgumentTypeError(f"too long for a path: {text[:100]!r}…") from error
    return Path(text)


def number_argument(text: str) -> float:
    """The finite number that an argument spells."""
    try:
        number = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number, got {text[:100]!r}") from error
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")
    return number


def whole_argument(text: str) -> int:
    """The whole number that an argument spells."""
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text[:100]!r}") from error


def seed_argument(text: str) -> int:
    """The seed that an argument spells."""
    seed = whole_argument(text)
    if not 0 <= seed < 2**63:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0, got {text!r}")
    return seed


def namespace_argument(text: str) -> Namespace:
    """The namespace that an argument spells."""
    try:
        return namespace_of(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
