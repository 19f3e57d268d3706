"""Weights between files and PyTorch's modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hoptrail.learning.arrays.tensor_files import Tensors, check_shapes, load_tensors

M = TypeVar("M", bound=nn.Module)


def load_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, as `learning.arrays.tensor_files.load_tensors` lets them through.

    Args:
        file: In the format of safetensors.

    Raises:
        One of `FAULTS`: It is damaged, or a value is not finite.
    """
    return {name: torch.from_numpy(array) for name, array in load_tensors(file).items()}


def filled(make: Callable[[], M], weights: Tensors) -> M:
    """A module that holds these weights, made once their names and shapes are known to be its own.

    Args:
        make: Makes the module, of whatever values.
        weights: What a file holds.

    Raises:
        One of `FAULTS`: They are another module's.
    """
    with torch.device("meta"):  # shapes without memory
        shapes = {name: tuple(tensor.shape) for name, tensor in make().state_dict().items()}
    check_shapes(weights, shapes)
    module = make()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return module


def module_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """A module's weights and buffers as arrays, by name; they share its memory on a CPU.

    Args:
        module: Any.
    """
    return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
