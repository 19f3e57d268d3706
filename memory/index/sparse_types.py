"""Which sparse index a store's views have: our own, or ours with tantivy before it."""

from __future__ import annotations

from threading import RLock
from typing import Literal, cast, get_args

from hoptrail.errors import ConfigError
from hoptrail.memory.analysis.analyzer import ENGLISH
from hoptrail.memory.index.bm25 import SparseIndex
from hoptrail.memory.index.slots import SlotTable

SparseName = Literal["auto", "own", "tantivy"]
"""`auto` is `own` whatever the size: docs/laboratory.md has the figures."""


def checked_sparse_name(name: str) -> SparseName:
    """The name, if it is one.

    Args:
        name: As a caller gave it.

    Raises:
        ConfigError: It is none.
        MissingExtra: It needs an extra that is not installed.
    """
    if not isinstance(name, str) or name not in get_args(SparseName):
        raise ConfigError(f"sparse must be one of {', '.join(get_args(SparseName))}, got {name!r}")
    if name == "tantivy":
        from hoptrail.memory.index.tantivy_bm25 import tantivy_module

        tantivy_module()
    return cast(SparseName, name)


def sparse_index(
    name: SparseName, table: SlotTable, lock: RLock, language: str = ENGLISH
) -> SparseIndex:
    """An empty index of this kind over a view's slots, of words in a language.

    Args:
        name: The kind.
        table: The view's slots.
        lock: The view's.
        language: Whose stemmer words go through.
    """
    if name == "tantivy":
        from hoptrail.memory.index.tantivy_bm25 import TantivyIndex

        return TantivyIndex(table, lock, language)
    return SparseIndex(table, lock, language)
