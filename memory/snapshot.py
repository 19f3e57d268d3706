"""A view on disk: what it would cost to build again, kept beside the store and never trusted.

A snapshot is one file of plain arrays in the folder `<store>.index`, which are used where they lie.
The store's own file says which one is a scope's, its digest and the version it stands for; whatever
does not match is named in a warning and the view is built from the store instead. Files are never
written over: a new one comes by rename under a new name, and the old one goes once the store names
the new; who has it open keeps it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hoptrail.errors import StoreError, StoreUnavailable
from hoptrail.memory import mapped
from hoptrail.memory.database import Database
from hoptrail.memory.mapped import Arrays

logger = logging.getLogger(__name__)

FORMAT = 4
"""Of the arrays and of how text becomes terms. It ends a file's name; others are passed over."""

MINIMUM = 1000
"""Passages that must be new before a snapshot is written: fewer are built in an instant."""

ABANDONED_SECONDS = 3600.0
"""A half-written file of this age has no writer any more."""


def folder_of(database: Database) -> Path:
    """Where a store's snapshots lie."""
    return database.path.with_name(database.path.name + ".index")


def save(database: Database, scope: str, version: int, arrays: Arrays) -> bool:
    """Write a scope's snapshot; False, with a warning, if that could not be done.

    Args:
        database: The store's.
        scope: The namespace, as stored.
        version: What the arrays stand for.
        arrays: The view's state.
    """
    folder = folder_of(database)
    name = f"{hashlib.sha256(scope.encode()).hexdigest()[:16]}-{version}-{secrets.token_hex(4)}"
    part, whole = folder / f"{name}.part", folder / f"{name}.v{FORMAT}"
    try:
        folder.mkdir(exist_ok=True)
        with part.open("w+b") as file:
            digest = mapped.write(file, arrays)
        with database.writing() as connection:
            old = connection.execute(
                "SELECT file, version FROM snapshots WHERE namespace = ?", (scope,)
            ).fetchone()
            if old and _usable(old[0]) and old[1] > version and (folder / old[0]).is_file():
                part.unlink()  # another process was faster
                return True
            os.replace(part, whole)
            connection.execute(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)",
                (scope, whole.name, digest, version),
            )
        if old:
            with suppress(OSError):  # where a file that is open cannot be removed
                (folder / Path(old[0]).name).unlink(missing_ok=True)
        _sweep(folder)
        return True
    except (OSError, StoreError) as error:
        logger.warning("no snapshot of the indexes could be written to %s: %s", folder, error)
        with suppress(OSError):
            part.unlink(missing_ok=True)
        return False


def load(database: Database, scope: str) -> tuple[int, dict[str, NDArray[Any]]] | None:
    """A scope's snapshot, as its version and arrays; None if there is none to be trusted."""
    named = _named(database, scope)
    while named is not None and _usable(named[0]):
        name, digest, version = named
        file = folder_of(database) / name
        try:
            arrays = mapped.read(file, digest)
        except (OSError, ValueError) as error:
            again = _named(database, scope)
            if again != named:  # another process has just replaced it
                named = again
                continue
            logger.warning(
                "the index snapshot %s cannot be used (%s): it is rebuilt from the store",
                file,
                error,
            )
            _drop(database, name)
            return None
        return version, arrays
    return None


def problems(database: Database) -> list[str]:
    """What is wrong with the files that the store names."""
    with database.reading() as connection:
        rows = connection.execute("SELECT file, sha256 FROM snapshots ORDER BY file").fetchall()
    found = []
    for name, digest in rows:
        file = folder_of(database) / Path(name).name
        try:
            if _usable(name):
                mapped.check(file, digest)
        except (OSError, ValueError) as error:
            found.append(f"the index file {file} cannot be used: {error}")
    return found


def drop_all(database: Database) -> int:
    """Remove every snapshot, also those that nobody names; how many files that was.

    Raises:
        StoreUnavailable: One cannot be removed.
    """
    with database.writing() as connection:
        connection.execute("DELETE FROM snapshots")
    folder = folder_of(database)
    files = [file for pattern in ("*.part", "*.v*") for file in folder.glob(pattern)]
    try:
        for file in files:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the index files in {folder} must go: {error}") from error
    return len(files)


def _named(database: Database, scope: str) -> tuple[str, str, int] | None:
    with database.reading() as connection:
        row = connection.execute(
            "SELECT file, sha256, version FROM snapshots WHERE namespace = ?", (scope,)
        ).fetchone()
    # The name only: whatever a damaged store says, no file outside the folder is touched.
    return (Path(row[0]).name, str(row[1]), int(row[2])) if row else None


def _usable(name: str) -> bool:
    return name.endswith(f".v{FORMAT}")


def _drop(database: Database, name: str) -> None:
    """Forget a snapshot that cannot be used, so that the next one takes its place."""
    if database.read_only or database.busy:
        return
    try:
        with database.writing() as connection:
            connection.execute("DELETE FROM snapshots WHERE file = ?", (name,))
        (folder_of(database) / name).unlink(missing_ok=True)
    except (OSError, StoreError) as error:
        logger.warning("the index snapshot %s could not be removed: %s", name, error)


def _sweep(folder: Path) -> None:
    """Remove what writers that were killed have left behind."""
    for part in folder.glob("*.part"):
        if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
            part.unlink(missing_ok=True)
