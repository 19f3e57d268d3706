"""Places that arguments name: a path, and where a memory lies, which may be on a server."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import typer

from hoptrail.values.server_urls import names_server, without_passwords


@dataclass(frozen=True, slots=True, repr=False)
class StoreLocation:
    """The file of a memory, or the URL of a server that holds one.

    As text it is what messages and commands show: a URL without its password.
    """

    place: Path | str
    """As `Memory` takes it: a path for a file, a string for a URL."""

    def __str__(self) -> str:
        return without_passwords(str(self.place))

    def __repr__(self) -> str:
        return f"<StoreLocation {self}>"

    @property
    def is_server(self) -> bool:
        """Whether it is a server's, which many share."""
        return isinstance(self.place, str)

    @property
    def files(self) -> list[Path]:
        """The files that no result may take the place of."""
        return [self.place] if isinstance(self.place, Path) else []

    def exists(self) -> bool:
        """Whether there is a file, or the server has the tables of a store.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        if isinstance(self.place, Path):
            return self.place.exists()
        from hoptrail.memory.storage.postgres.server import has_store

        return has_store(self.place)


def path_argument(text: str) -> Path:
    """The path that an argument spells, once it is known that the system could have such a one."""
    if names_server(text):
        raise typer.BadParameter(
            f"takes a file, and this is the URL of a server: {without_passwords(text)} "
            "(--store takes one, and `hoptrail store export` writes what it holds to a file)"
        )
    try:
        os.lstat(text or "\0")
    except ValueError as error:  # a null character, or half a surrogate pair
        what = "must not be empty" if not text else f"cannot be {text!r}"
        raise typer.BadParameter(f"a path {what}") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise typer.BadParameter(f"too long for a path: {text[:100]!r}…") from error
    return Path(text)


def store_argument(text: str) -> StoreLocation:
    """Where the memory lies that an argument spells: the path of a file, or a server's URL."""
    return StoreLocation(text if names_server(text) else path_argument(text))
