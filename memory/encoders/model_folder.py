"""What the files of a sentence-transformers folder say of pooling and of length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hoptrail.errors import FormatError


def _json_of(file: Path, kind: type) -> Any:
    """What a file of a model's folder says.

    Raises:
        FormatError: It is no JSON of this kind.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, kind):
        raise FormatError(f"{file} should hold a JSON {kind.__name__}, got {found!r:.60}")
    return found


def pooling(folder: Path) -> str:
    """How token vectors become one: `mean` or `cls`."""
    modules = folder / "modules.json"
    if modules.is_file():
        for module in _json_of(modules, list):
            kind = str(module["type"] if isinstance(module, dict) else module).rsplit(".", 1)[-1]
            if kind not in ("Transformer", "Pooling", "Normalize"):
                raise FormatError(f"{modules} has a module {kind!r}, which is not supported")
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return "mean"
    settings = _json_of(file, dict)
    mode = settings.get("pooling_mode")
    if settings.get("pooling_mode_mean_tokens") or mode == "mean":
        return "mean"
    if settings.get("pooling_mode_cls_token") or mode == "cls":
        return "cls"
    raise FormatError(f"{file} asks for a pooling that is neither mean nor cls")


def max_length(folder: Path, positions: int) -> int:
    """The longest input in tokens, at most the model's number of positions."""
    file = folder / "sentence_bert_config.json"
    if file.is_file():
        found = _json_of(file, dict).get("max_seq_length")
        if isinstance(found, int):
            return min(found, positions)
    return min(256, positions)
