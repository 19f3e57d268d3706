"""Weights out of a file, looked at before anything is made of them.

A file says its tensors' shapes in a header, and a folder's settings say the network's; nothing of
the size that these claim is allocated before both agree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from hoptrail.errors import ConfigError

M = TypeVar("M", bound=nn.Module)

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


def load_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, every value of them finite, and none so large that sums are not.

    Args:
        file: In the format of safetensors.

    Raises:
        One of `FAULTS`: It is damaged, or a value is not.
    """
    tensors = load_file(file)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        if name.rpartition(".")[2] == SCALE:
            sound = tensor > 0  # infinite where a feature never varied in training
        else:
            sound = tensor.isfinite() & (tensor.abs() <= LARGEST)
        if not bool(sound.all()):
            raise ValueError(f"the weights {name} have a value that is not finite, or above 1e6")
    return tensors


def load_about(file: Path, key: str) -> dict[str, Any]:
    """The JSON object under a key of a file's own description.

    Args:
        file: In the format of safetensors.
        key: Of its metadata.

    Raises:
        One of `FAULTS`: There is none.
    """
    with safe_open(file, framework="pt") as opened:
        about = json.loads((opened.metadata() or {})[key])
    if not isinstance(about, dict):
        raise ValueError(f"what it says of itself is no JSON object but {about!r}")
    return about


def filled(make: Callable[[], M], weights: Mapping[str, Tensor]) -> M:
    """A module that holds these weights, made once their names and shapes are known to be its own.

    Args:
        make: Makes the module, of whatever values.
        weights: What a file holds.

    Raises:
        One of `FAULTS`: They are another module's.
    """
    with torch.device("meta"):  # shapes without memory
        shapes = {name: tensor for name, tensor in make().state_dict().items()}
    if missing := sorted(shapes.keys() ^ weights.keys()):
        raise ValueError(f"the weights {missing[0]} are missing, or nobody's")
    for name, tensor in weights.items():
        want = shapes[name]
        if tensor.shape != want.shape or tensor.dtype != want.dtype:
            raise ValueError(
                f"the weights {name} should be {tuple(want.shape)} of {want.dtype}, got "
                f"{tuple(tensor.shape)} of {tensor.dtype}"
            )
    module = make()
    module.load_state_dict(dict(weights))
    return module


def reason(error: BaseException) -> str:
    """What went wrong, in one line.

    Args:
        error: One of `FAULTS`.
    """
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
