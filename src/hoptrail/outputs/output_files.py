"""Where a file may be written: never over a memory, whole or not at all, for its readers only.

What is written stands in a scratch file beside its place until it is whole. Its writer holds a
lock on it, which the system lets go when the writer ends, however it ends: a scratch file without
one is what somebody who was killed has left behind, and is removed by whoever writes there next.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hoptrail.errors import FormatError

if sys.platform != "win32":
    import fcntl

SQLITE = b"SQLite format 3\0"
"""How every database begins, a memory and a vector cache among them."""

BESIDE = ("-wal", "-shm", "-journal", ".index")
"""What is called by a memory's name with one of these behind it belongs to the memory."""

PREFIX, SUFFIX = ".hoptrail-", ".part"
"""Between them a scratch file's name has letters drawn at random."""

CHECKS = "hoptrail-check-"
"""Begins the name of a folder for a check, in the system's folder for temporary files."""

ABANDONED_SECONDS = 3600.0
"""Where a system has no locks, a scratch file of this age has no writer any more."""


def output_path(path: str | Path) -> Path:
    """The place where a file is to be written, every link on the way followed.

    Raises:
        FormatError: A memory is there, or what belongs to one; or it is no place for a file.
    """
    file = Path(path)
    try:
        target = file.resolve()
        there = target.exists()
        usual = not there or target.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a null character
        raise FormatError(f"{str(file)!r} is no path for a file: {error}") from error
    if target.is_dir():
        raise FormatError(f"{file} cannot be written: it is a folder")
    if not target.parent.is_dir():
        raise FormatError(f"{file} cannot be written: there is no folder {target.parent}")
    if not usual:
        raise FormatError(f"{file} cannot be written: it is no regular file")
    if owner := memory_of(target):
        raise FormatError(
            f"{file} cannot be written: it belongs to the database {owner}; choose another name"
        )
    return target


def checked_folder(path: str | Path) -> Path:
    """A folder where files are to be written, not necessarily there yet.

    Raises:
        FormatError: It belongs to a memory, or is a file.
    """
    folder = Path(path)
    try:
        target = folder.resolve()
        usual = not target.exists() or target.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise FormatError(f"{str(folder)!r} is no path for a folder: {error}") from error
    if owner := memory_of(target):
        raise FormatError(
            f"{folder} cannot be written: it belongs to the database {owner}; choose another name"
        )
    if not usual:
        raise FormatError(f"{folder} cannot be written: it is no folder")
    return target


def memory_of(target: Path) -> Path | None:
    """The database that a resolved path is, or belongs to; None if it is nobody's."""
    for place in (target, *target.parents):
        if is_database(place):
            return place
        for suffix in BESIDE:
            name = place.name.removesuffix(suffix)
            if name not in ("", place.name) and is_database(place.with_name(name)):
                return place.with_name(name)
    return None


def is_database(path: Path) -> bool:
    """Whether a file is an SQLite database."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError:
        return False


def mode_like(path: Path) -> int:
    """The permissions of a file that is to be read by nobody who may not read this one."""
    return stat.S_IMODE(path.stat().st_mode) & 0o666


@contextmanager
def scratch(target: Path, like: Path | None = None) -> Iterator[Path]:
    """An empty file beside a place, to be moved there once it is whole; gone afterwards.

    Args:
        target: The place. What killed writers have left in its folder is removed.
        like: A file that says who may read it; else whoever the system lets by default.

    Raises:
        OSError: It cannot be made.
    """
    folder = target.parent
    sweep(folder)
    part = folder / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
    number = _create(part, like)
    try:
        _lock(number)
        yield part
    finally:
        os.close(number)
        for leftover in _all_of(part):
            leftover.unlink(missing_ok=True)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of one's own for a check; what killed checks have left is removed."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=CHECKS) as name:
        number = os.open(name, os.O_RDONLY) if sys.platform != "win32" else None
        try:
            if number is not None:
                _lock(number)
            yield Path(name)
        finally:
            if number is not None:
                os.close(number)


def sweep(folder: Path) -> int:
    """Remove what killed writers and checks have left in a folder; how many there were."""
    removed = 0
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            with suppress(OSError):
                if _ours(entry) and _abandoned(Path(entry.path)):
                    removed += 1
                    _remove(Path(entry.path))
    return removed


def private_folder(folder: Path, like: Path) -> None:
    """Make a folder that only those may enter who may read a file; one that is there, likewise.

    Raises:
        OSError: It cannot be made.
    """
    mode = mode_like(like)
    passable = mode | (mode & 0o444) >> 2 | 0o700
    folder.mkdir(mode=passable, exist_ok=True)
    now = stat.S_IMODE(folder.stat().st_mode)
    if now & ~passable:
        with suppress(OSError):  # another's
            folder.chmod(now & passable)
    with suppress(OSError):
        _same_group(folder, like)


def _create(part: Path, like: Path | None) -> int:
    """Make a file with its permissions from the beginning; its open number."""
    mode = 0o666 if like is None else mode_like(like) | 0o600
    number = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    if like is not None:
        with suppress(OSError):
            _same_group(part, like)
    return number


def _same_group(path: Path, like: Path) -> None:
    """Give a file or folder the other's group, or let its group do nothing with it."""
    if sys.platform == "win32" or path.stat().st_gid == like.stat().st_gid:
        return
    try:
        os.chown(path, -1, like.stat().st_gid)
    except OSError:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o070)


def _lock(number: int) -> None:
    if sys.platform != "win32":
        with suppress(OSError):  # a file system without locks: the sweep goes by age
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _ours(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is what `scratch` or `scratch_folder` makes, by this user."""
    name = entry.name
    about = entry.stat(follow_symlinks=False)
    if hasattr(os, "geteuid") and about.st_uid != os.geteuid():
        return False
    if stat.S_ISDIR(about.st_mode):
        return name.startswith(CHECKS)
    base = name
    for suffix in BESIDE[:3]:
        base = base.removesuffix(suffix)
    drawn = base.removeprefix(PREFIX).removesuffix(SUFFIX)
    return (
        stat.S_ISREG(about.st_mode)
        and base == f"{PREFIX}{drawn}{SUFFIX}"
        and len(drawn) == 16
        and set(drawn) <= set("0123456789abcdef")
    )


def _abandoned(path: Path) -> bool:
    """Whether nobody writes to a scratch file or checks in a folder any more."""
    for suffix in BESIDE[:3]:  # those of a database go with it
        if path.name.endswith(suffix):
            path = path.with_name(path.name.removesuffix(suffix))
    try:
        age = time.time() - path.stat().st_mtime
        if sys.platform == "win32":
            return age > ABANDONED_SECONDS
        number = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return age > ABANDONED_SECONDS
    finally:
        os.close(number)
    filled = any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0
    return filled or age > 1.0  # else it may be between made and locked


def _all_of(part: Path) -> list[Path]:
    return [part, *(part.with_name(part.name + suffix) for suffix in BESIDE[:3])]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
