"""Searching a store through a file of what was learned of its vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hoptrail.errors import FormatError
from hoptrail.memory.index.learned import rotation, router, semantic_ids
from hoptrail.memory.index.learned.rotation import Rotation
from hoptrail.memory.index.learned.router import Router
from hoptrail.memory.index.learned.semantic_ids import SemanticIds
from hoptrail.memory.index.learned.tensor_file import layout_of
from hoptrail.memory.search.first_stages import Full, Prefix
from hoptrail.memory.search.generated_ids import GeneratedIds
from hoptrail.memory.search.pipeline import Pipeline

PREFIX = 64
"""Dimensions that are compared first, where nothing is said."""
KEPT = 20
"""Candidates of a learned first stage, for each passage that is wanted."""

LearnedIndex = Rotation | Router | SemanticIds

_LAYOUTS: dict[str, Callable[[str | Path], LearnedIndex]] = {
    rotation.FORMAT: Rotation.load,
    router.FORMAT: Router.load,
    semantic_ids.FORMAT: SemanticIds.load,
}


def load_learned_index(path: str | Path) -> LearnedIndex:
    """What `hoptrail index` wrote to a file.

    Args:
        path: The file.

    Raises:
        FormatError: It holds none.
    """
    layout = layout_of(path)
    if layout not in _LAYOUTS:
        raise FormatError(
            f"{path} is no learned index ({' or '.join(_LAYOUTS)}), it says {layout!r}: "
            "hoptrail index writes one"
        )
    return _LAYOUTS[layout](path)


def learned_pipeline(index: LearnedIndex, k: int, *, dims: int = PREFIX) -> Pipeline:
    """Dense search whose candidates a learned index finds.

    A router is the index of a store (`Store(path, index=router)`), whose own search it serves.

    Args:
        index: As `load_learned_index` gives it.
        k: Passages that are wanted.
        dims: Of a rotation: how many dimensions are compared first.
    """
    if isinstance(index, Router):
        return Pipeline([Full(keep=k)])
    if isinstance(index, SemanticIds):
        return Pipeline([GeneratedIds(index, keep=k)])
    return Pipeline([Prefix(dims, keep=KEPT * k, rotation=index), Full(keep=k)])
