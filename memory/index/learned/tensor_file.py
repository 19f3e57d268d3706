"""Files of what is learned of vectors: arrays in safetensors, and what they are in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import FormatError

Arrays = Mapping[str, NDArray[Any]]


def save_arrays(path: str | Path, layout: str, arrays: Arrays, made_of: Mapping[str, Any]) -> Path:
    """Write arrays to a file; its path.

    Args:
        path: It is replaced, if it is of this layout.
        layout: What the file holds, with its version.
        arrays: By name.
        made_of: What they were learned from; JSON values.

    Raises:
        FormatError: It cannot be written, or would replace a file of another kind.
    """
    from safetensors.numpy import save_file

    where = Path(path)
    if where.exists() and layout_of(where) != layout:
        raise FormatError(f"{where} is there already and is no {layout!r}: give another file")
    metadata = {"format": layout, "made_of": json.dumps(dict(made_of))}
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, where, metadata)
    except OSError as error:
        raise FormatError(f"{where} cannot be written: {error}") from error
    return where


def load_arrays(path: str | Path, layout: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays that `save_arrays` wrote, and what they were learned from.

    Args:
        path: The file.
        layout: What it should hold.

    Raises:
        FormatError: It cannot be read, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            made_of = json.loads(metadata.get("made_of", "{}"))
    except (OSError, ValueError, SafetensorError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    if metadata.get("format") != layout:
        raise FormatError(f"{path} should be a {layout!r}, got {metadata.get('format')!r}")
    return arrays, made_of


def layout_of(path: str | Path) -> str | None:
    """What a file says that it holds; None for a file that is none of ours.

    Args:
        path: The file; it need not be there.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            layout: str | None = (file.metadata() or {}).get("format")
            return layout
    except (OSError, ValueError, SafetensorError):
        return None
