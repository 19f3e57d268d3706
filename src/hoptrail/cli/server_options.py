"""The options of the commands that listen: where, for whom, and how often."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from hoptrail.cli.opening import new_memory, open_memory
from hoptrail.cli.options import option, path_option, whole_argument

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory
    from hoptrail.cli.locations import StoreLocation
    from hoptrail.integrations.web.tokens import Access

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


def tokens_of(file: Path | None) -> dict[str, Access] | None:
    """The tokens that `--tokens` names; None where callers need none.

    Args:
        file: As `hoptrail.integrations.web.tokens` describes it.
    """
    if file is None:
        return None
    from hoptrail.integrations.web.tokens import read_tokens

    return read_tokens(file)


def served_memory(
    store: StoreLocation,
    *,
    read_only: bool,
    encoder: str | None,
    policy: Path | None,
    reader: Path | None,
) -> AbstractContextManager[Memory]:
    """The memory that a server gives others: made where there is none, unless nothing is written.

    Args:
        store: The file, or the server.
        read_only: Whether callers may only read.
        encoder: As `--encoder` names it.
        policy: A policy's folder.
        reader: A reader's folder, or "shipped"; None for none that callers are offered to ask.
    """
    if read_only:
        return open_memory(store, read_only=True, encoder=encoder, policy=policy, reader=reader)
    return new_memory(store, encoder=encoder, policy=policy, reader=reader)
