"""A memory for agents, linked as a graph, and a small learned policy that walks it.

Every name here is looked up when it is first used, so that `import hoptrail` costs next to
nothing: torch and the rest come in with the first thing that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hoptrail.api.async_memory import AsyncMemory
    from hoptrail.api.memory import Memory
    from hoptrail.errors import (
        ConfigError,
        DuplicateId,
        EncoderMismatch,
        EncoderMissing,
        FormatError,
        HoptrailError,
        InputError,
        MissingExtra,
        PolicyError,
        SchemaMismatch,
        StoreError,
        StoreUnavailable,
        UnknownId,
    )
    from hoptrail.types import (
        Cost,
        Hit,
        Hop,
        Link,
        Namespace,
        Passage,
        Question,
        Recall,
        Trail,
    )

    __version__: str

_HOME = {
    "hoptrail.api.async_memory": "AsyncMemory",
    "hoptrail.errors": (
        "ConfigError DuplicateId EncoderMismatch EncoderMissing FormatError HoptrailError "
        "InputError MissingExtra PolicyError SchemaMismatch StoreError StoreUnavailable UnknownId"
    ),
    "hoptrail.api.memory": "Memory",
    "hoptrail.types": "Cost Hit Hop Link Namespace Passage Question Recall Trail",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [
    "AsyncMemory",
    "ConfigError",
    "Cost",
    "DuplicateId",
    "EncoderMismatch",
    "EncoderMissing",
    "FormatError",
    "Hit",
    "Hop",
    "HoptrailError",
    "InputError",
    "Link",
    "Memory",
    "MissingExtra",
    "Namespace",
    "Passage",
    "PolicyError",
    "Question",
    "Recall",
    "SchemaMismatch",
    "StoreError",
    "StoreUnavailable",
    "Trail",
    "UnknownId",
    "__version__",
]


def __getattr__(name: str) -> object:
    """The public name, from the module where it lives (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("hoptrail")
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module 'hoptrail' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names beside what is already loaded."""
    return sorted({*globals(), *__all__})
