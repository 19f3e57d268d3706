"""What was learned of a model's folder when it was loaded, kept for later processes.

To load a model takes seconds, most of them imports, and a recall needs of it only what names it and
what cuts texts into tokens: questions go through its export (`onnx_encoder`). A record lies in the
cache folder under a hash of the folder's files and of the libraries that read them.

To hash the weights of the smallest model takes a tenth of a second, so that hashes of large files
are kept too, under the file's path, size, times and number, of which a write changes some. When the
weights themselves are loaded, they are compared with their fingerprint all the same.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hoptrail.errors import StoreUnavailable
from hoptrail.memory.encoders.cache_file import cache_folder, write_whole
from hoptrail.values.libraries import library_version

FORMAT = 1
"""Of the records."""

SUFFIXES = (".json", ".txt", ".model", ".safetensors", ".bin")
"""Of the files that a model is made of."""

LEAST_HASHED = 1 << 20
"""Bytes of a file whose hash is kept; a smaller one is hashed as quickly as looked up."""

SETTLED = 2_000_000_000
"""Nanoseconds after the last change from which on a hash is kept: the clocks of file systems are
coarse, and two changes within a tick leave the same times."""


@dataclass(frozen=True)
class ModelRecord:
    """A transformer encoder but for its weights."""

    fingerprint: str
    dim: int
    tokenizer: str
    """As the library `tokenizers` writes it in JSON."""
    pooling: str
    max_length: int
    config: str
    """The network's, in JSON."""


def read_record(folder: Path) -> ModelRecord | None:
    """The record of a folder; None where there is none.

    Args:
        folder: Of a model; all that it is made of is read.
    """
    try:
        record = ModelRecord(**json.loads(_file(folder).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, StoreUnavailable):
        return None
    texts = (record.fingerprint, record.tokenizer, record.pooling, record.config)
    numbers = (record.dim, record.max_length)
    sound = all(isinstance(text, str) for text in texts)
    return record if sound and all(isinstance(number, int) for number in numbers) else None


def write_record(folder: Path, record: ModelRecord) -> None:
    """Keep the record of a folder, if that can be done.

    Args:
        folder: Of the model.
        record: What was learned of it.
    """
    with suppress(StoreUnavailable, OSError):
        write_whole(_file(folder), json.dumps(asdict(record)).encode())


def _file(folder: Path) -> Path:
    """Where a folder's record lies."""
    versions = [library_version(name) for name in ("transformers", "tokenizers")]
    digest = hashlib.sha256(f"{FORMAT} {versions}".encode())
    for path in sorted([*folder.glob("*"), *folder.glob("*/config.json")]):
        if path.suffix in SUFFIXES and path.is_file():
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name} {file_sha256(path)}\n".encode())
    return cache_folder() / "models" / f"{digest.hexdigest()[:16]}.json"


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
    place = None if stat.st_size < LEAST_HASHED else _place(identity)
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
