"""Hashes of large files, kept for later processes.

What a model's folder holds is told by hashing it, which for the weights of the smallest takes a
tenth of a second and more in every process. A hash is kept in the cache folder under the file's
path, size, times and number; whoever writes to the file changes these. When the weights themselves
are loaded, they are compared with their fingerprint all the same.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from hoptrail.errors import StoreUnavailable
from hoptrail.memory.encoders.cache_file import cache_folder, write_whole

LEAST = 1 << 20
"""Bytes of a file whose hash is kept; a smaller one is hashed as quickly as looked up."""

SETTLED = 2_000_000_000
"""Nanoseconds after the last change from which on a hash is kept: the clocks of file systems are
coarse, and two changes within a tick leave the same times."""


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; of a large one that did not change, as it was kept.

    Args:
        path: A file.

    Raises:
        OSError: It cannot be read.
    """
    stat = path.stat()
    times = stat.st_mtime_ns, stat.st_ctime_ns
    identity: list[str | int] = [
        str(path.absolute()),
        stat.st_size,
        *times,
        stat.st_ino,
        stat.st_dev,
    ]
    place = None if stat.st_size < LEAST else _place(identity)
    if place is not None and (digest := _read(place, identity)):
        return digest
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if place is not None and time.time_ns() - max(times) > SETTLED:
        write_whole(place, json.dumps({"file": identity, "sha256": digest}).encode())
    return digest


def _place(identity: list[str | int]) -> Path | None:
    """Where the hash of a file is kept; None where there is no place for it."""
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    try:
        return cache_folder() / "models" / f"{name}.sha256"
    except StoreUnavailable:
        return None


def _read(place: Path, identity: list[str | int]) -> str | None:
    try:
        entry = json.loads(place.read_text(encoding="utf-8"))
        return str(entry["sha256"]) if entry["file"] == identity else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
