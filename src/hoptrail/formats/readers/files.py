"""Files as readers take them: whole, and no larger than is safe to take whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hoptrail.errors import FormatError
from hoptrail.formats.text_files import readable
from hoptrail.types import MAX_TEXT

MAX_BYTES = 256 * MAX_TEXT
"""Bytes of a file that is not read line by line, at most."""


def read_bytes(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        FormatError: It cannot be read, or is too large.
    """
    try:
        with readable(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_BYTES:
        raise FormatError(f"{path} has more than {MAX_BYTES:,} bytes, the most that is read of it")
    return raw


def read_json(path: Path) -> Any:
    """The JSON value that a file holds.

    Raises:
        FormatError: It holds none, or cannot be read.
    """
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is no JSON: {error}") from error
