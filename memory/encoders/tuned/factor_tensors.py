"""How changes of low rank are named in a file of tensors: `a.LAYER` and `b.LAYER`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

AnyTensor = TypeVar("AnyTensor")
"""An array, or PyTorch's."""


def factor_tensors(factors: Mapping[str, tuple[AnyTensor, AnyTensor]]) -> dict[str, AnyTensor]:
    """The tensors of changes, by their names in a file.

    Args:
        factors: A `(rank, in)` and B `(out, rank)` of each changed layer, by its name.
    """
    return {
        f"{letter}.{layer}": factor
        for layer, pair in factors.items()
        for letter, factor in zip("ab", pair, strict=True)
    }


def factors_of(tensors: Mapping[str, AnyTensor]) -> dict[str, tuple[AnyTensor, AnyTensor]]:
    """The changes that a file's tensors hold, by layer; other tensors are passed over.

    Args:
        tensors: By their names in the file.

    Raises:
        KeyError: A layer has no B.
    """
    layers = [name.removeprefix("a.") for name in tensors if name.startswith("a.")]
    return {layer: (tensors[f"a.{layer}"], tensors[f"b.{layer}"]) for layer in layers}
