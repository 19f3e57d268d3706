"""The options of the commands that listen: where, for whom, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from hoptrail.cli.options import option, path_option, whole_argument

HostOption = Annotated[
    str, option("--host", metavar="ADDRESS", help="where it listens (default: 127.0.0.1)")
]
TokensOption = Annotated[
    Path | None,
    path_option(
        "--tokens",
        metavar="FILE",
        help="bearer tokens as JSON, each with its namespace; needed where others than this "
        "machine reach it",
    ),
]
AllowHostOption = Annotated[
    list[str] | None,
    option(
        "--allow-host",
        metavar="NAME",
        help="a name that others reach it by; may be given more than once",
    ),
]
RateOption = Annotated[
    int,
    option(
        "--calls-per-minute",
        parser=whole_argument,
        metavar="N",
        help="requests that each caller may send (default: 600)",
    ),
]


def port_option(default: int) -> Any:
    """The option of a port.

    Args:
        default: Its value where none is given.
    """
    meaning = f"0 for any that is free (default: {default})"
    return option("--port", parser=whole_argument, metavar="N", help=meaning)
