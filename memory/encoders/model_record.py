"""What was learned of a model's folder when it was loaded, kept for later processes.

To load a model takes seconds, most of them imports, and a recall needs of it only what names it and
what cuts texts into tokens: questions go through its export (`onnx_encoder`). A record lies in the
cache folder under a hash of the folder's files and of the libraries that read them.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from hoptrail.errors import StoreUnavailable
from hoptrail.memory.encoders.cache_file import cache_folder, write_whole
from hoptrail.memory.encoders.file_digests import file_sha256

FORMAT = 1
"""Of the records."""

SUFFIXES = (".json", ".txt", ".model", ".safetensors", ".bin")
"""Of the files that a model is made of."""


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
    versions = [version(name) for name in ("transformers", "tokenizers")]
    digest = hashlib.sha256(f"{FORMAT} {versions}".encode())
    for path in sorted([*folder.glob("*"), *folder.glob("*/config.json")]):
        if path.suffix in SUFFIXES and path.is_file():
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name} {file_sha256(path)}\n".encode())
    return cache_folder() / "models" / f"{digest.hexdigest()[:16]}.json"
