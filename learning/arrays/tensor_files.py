"""Tensors out of a file as arrays, looked at before anything is made of them.

A file says its tensors' shapes in a header, and a folder's settings say the network's; nothing of
the size that these claim is allocated before both agree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from hoptrail.errors import ConfigError

Tensors = Mapping[str, NDArray[Any]]
"""By name."""

FAULTS = (
    ConfigError,
    SafetensorError,
    OSError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
)
"""What goes wrong where a file is not what it should be: a loader says it in our words."""

LARGEST = 1e6
"""Of a weight: far beyond any that training comes to."""

SCALE = "scale"
"""The buffer by which a network divides its features."""

LARGEST_JSON = 1 << 24
"""Bytes of a settings file."""


def load_tensors(file: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file, every value of them finite, and none so large that sums are not.

    Args:
        file: In the format of safetensors.

    Raises:
        One of `FAULTS`: It is damaged, or a value is not.
    """
    arrays = load_file(file)
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating):
            continue
        if name.rpartition(".")[2] == SCALE:
            sound = array > 0  # infinite where a feature never varied in training
        else:
            sound = np.isfinite(array) & (np.abs(array) <= LARGEST)
        if not sound.all():
            raise ValueError(f"the weights {name} have a value that is not finite, or above 1e6")
    return arrays


def load_about(file: Path, key: str) -> dict[str, Any]:
    """The JSON object under a key of a file's own description.

    Args:
        file: In the format of safetensors.
        key: Of its metadata.

    Raises:
        One of `FAULTS`: There is none.
    """
    with safe_open(file, framework="np") as opened:
        about = json.loads((opened.metadata() or {})[key])
    if not isinstance(about, dict):
        raise ValueError(f"what it says of itself is no JSON object but {about!r}")
    return about


def check_shapes(weights: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse weights whose names, shapes or precision are not those of a network.

    Args:
        weights: What a file holds.
        shapes: Of the network's weights, by name; all are float32.

    Raises:
        ValueError: They are another network's.
    """
    if missing := sorted(shapes.keys() ^ weights.keys()):
        raise ValueError(f"the weights {missing[0]} are missing, or nobody's")
    for name, array in weights.items():
        if array.shape != shapes[name] or array.dtype != np.float32:
            raise ValueError(
                f"the weights {name} should be {shapes[name]} of float32, got {array.shape} of "
                f"{array.dtype}"
            )


def reason(error: BaseException) -> str:
    """What went wrong, in one line.

    Args:
        error: One of `FAULTS`.
    """
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
