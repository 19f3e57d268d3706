"""Which version of a library is installed."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import distribution


@cache
def library_version(name: str) -> str:
    """The version of an installed library, looked up once.

    Only that line of its metadata is read: to parse a long description takes ten times as long.

    Args:
        name: As it is installed by.

    Raises:
        PackageNotFoundError: It is not installed.
    """
    installed = distribution(name)
    line = re.search(
        r"^Version:[ ]*(\S+)[ ]*$", installed.read_text("METADATA") or "", re.MULTILINE
    )
    return line[1] if line else installed.version
