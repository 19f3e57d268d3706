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
import sys
from contextlib import suppress
from pathlib import Path

from hoptrail.errors import StoreError, StoreUnavailable
from hoptrail.memory.index import mapped_arrays
from hoptrail.memory.index.mapped_arrays import Arrays
from hoptrail.memory.storage.database import Database
from hoptrail.outputs import output_files

logger = logging.getLogger(__name__)

FORMAT = 7
"""Of the arrays and of how text becomes terms. It ends a file's name; others are passed over."""

MINIMUM = 1000
"""Passages that must be new before a snapshot is written: fewer are built in an instant."""


def folder_of(database: Database) -> Path:
    """Where a store's snapshots lie: one place, by whatever link the store was opened.

    Args:
        database: The store's.
    """
    file = database.path.resolve()
    return file.with_name(file.name + ".index")


def beside(scope: str, what: str) -> str:
    """What another snapshot of a scope, beside that of its view, goes by in place of the scope.

    Args:
        scope: The namespace, as stored: it ends with a separator, so that this is none.
        what: What it is of.
    """
    return scope + what


def save(database: Database, scope: str, version: int, arrays: Arrays) -> bool:
    """Write a scope's snapshot; False, with a warning, if that could not be done.

    Args:
        database: The store's.
        scope: The namespace, as stored, or what `beside` gave.
        version: What the arrays stand for.
        arrays: The view's state, or what else is derived.
    """
    folder = folder_of(database)
    name = f"{_prefix(scope, version)}{secrets.token_hex(4)}.v{FORMAT}"
    try:
        output_files.private_folder(folder, database.path)
        with output_files.scratch(folder / name, database.path) as part:
            with part.open("r+b") as file:
                digest = mapped_arrays.write(file, arrays)
            _settle(part)
            with database.writing(wait=False, derived=True) as connection:
                old = connection.execute(
                    "SELECT file, version FROM snapshots WHERE namespace = ?", (scope,)
                ).fetchone()
                if old and _usable(old[0]) and old[1] > version and (folder / old[0]).is_file():
                    return True  # another process was faster
                os.replace(part, folder / name)
                connection.execute(
                    "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)",
                    (scope, name, digest, version),
                )
        if old:
            with suppress(OSError):  # where a file that is open cannot be removed
                (folder / Path(old[0]).name).unlink(missing_ok=True)
        return True
    except (OSError, StoreError) as error:
        logger.warning("no snapshot of the indexes could be written to %s: %s", folder, error)
        return False


def load_snapshot(database: Database, scope: str) -> tuple[int, mapped_arrays.Mapped] | None:
    """A scope's snapshot, as its version and arrays; None if there is none to be trusted.

    Args:
        database: The store's.
        scope: A namespace, as stored, or what `beside` gave.
    """
    named = _named(database, scope)
    while named is not None and _usable(named[0]):
        name, digest, version = named
        file = folder_of(database) / name
        try:
            if not name.startswith(_prefix(scope, version)):
                raise ValueError("the store names another version or scope than its name does")
            arrays = mapped_arrays.read_arrays(file, digest)
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


def _settle(file: Path) -> None:
    """Have nobody write to a whole file: one that is cut short crashes whoever has it mapped."""
    if sys.platform != "win32":  # which would not let it be removed either
        with suppress(OSError):
            file.chmod(file.stat().st_mode & 0o444)


def snapshot_problems(database: Database) -> list[str]:
    """What is wrong with the files that the store names.

    Args:
        database: The store's.
    """
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT namespace, file, sha256, version FROM snapshots ORDER BY file"
        ).fetchall()
    sentences = []
    for scope, *columns, version in rows:
        name, digest = map(str, columns)
        if not name.startswith(_prefix(scope, version)):
            sentences.append(f"the row of the index file {name} is not as it was written")
            continue
        file = folder_of(database) / Path(name).name
        try:
            if _usable(name):
                mapped_arrays.check_arrays(file, digest)
        except (OSError, ValueError) as error:
            sentences.append(f"the index file {file} cannot be used: {error}")
    return sentences


def drop_all(database: Database) -> int:
    """Remove every snapshot, also those that nobody names; how many files that was.

    Those too that lie beside a name which the store's file no longer has.

    Args:
        database: The store's.

    Raises:
        StoreUnavailable: One cannot be removed.
    """
    with database.writing(derived=True) as connection:
        named = {Path(row[0]).name for row in connection.execute("SELECT file FROM snapshots")}
        connection.execute("DELETE FROM snapshots")
    folder = folder_of(database)
    files = [file for pattern in ("*.part", "*.v*") for file in folder.glob(pattern)]
    for other in folder.parent.glob("*.index"):
        if other != folder and not other.with_suffix("").exists():
            files += [file for file in other.glob("*.v*") if file.name in named]
    output_files.sweep(folder)
    try:
        for file in files:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the index files in {folder} must go: {error}") from error
    return len(files)


def _prefix(scope: str, version: int) -> str:
    """How the name of a scope's file of a version begins."""
    return f"{hashlib.sha256(scope.encode()).hexdigest()[:16]}-{version}-"


def _named(database: Database, scope: str) -> tuple[str, str, int] | None:
    """File, digest and version of a scope's snapshot; None if there is none, or none to be read."""
    try:
        with database.reading() as connection:
            row = connection.execute(
                "SELECT file, sha256, version FROM snapshots WHERE namespace = ?", (scope,)
            ).fetchone()
        # The name only: whatever a damaged store says, no file outside the folder is touched.
        return (Path(str(row[0])).name, str(row[1]), int(row[2])) if row else None
    except (StoreUnavailable, ValueError) as error:  # all that it could tell is derived
        logger.warning("what %s says of its snapshots cannot be read: %s", database.path, error)
        return None


def _usable(name: str) -> bool:
    return name.endswith(f".v{FORMAT}")


def _drop(database: Database, name: str) -> None:
    """Forget a snapshot that cannot be used, so that the next one takes its place."""
    if not database.derives or database.busy:
        return
    try:
        with database.writing(wait=False, derived=True) as connection:
            connection.execute("DELETE FROM snapshots WHERE file = ?", (name,))
        (folder_of(database) / name).unlink(missing_ok=True)
    except (OSError, StoreError) as error:
        logger.warning("the index snapshot %s could not be removed: %s", name, error)
