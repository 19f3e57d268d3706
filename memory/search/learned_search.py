"""Searching a store through what was learned: of its vectors, or of how its hits are ordered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hoptrail.errors import FormatError
from hoptrail.memory.encoders.tuned.token_tuned import CARD, TokenTunedEncoder
from hoptrail.memory.index.learned import rotation, router, semantic_ids
from hoptrail.memory.index.learned.rotation import Rotation
from hoptrail.memory.index.learned.router import Router
from hoptrail.memory.index.learned.semantic_ids import SemanticIds
from hoptrail.memory.index.learned.tensor_file import layout_of
from hoptrail.memory.search.first_stages import Full, Prefix, Search
from hoptrail.memory.search.generated_ids import GeneratedIds
from hoptrail.memory.search.late_interaction import MaxSim
from hoptrail.memory.search.learned_sparse.sparse_encoder import SparseEncoder
from hoptrail.memory.search.learned_sparse.stage import LearnedSparse, SparseMode
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.search.rerankers.cross_encoder import CrossEncoder

PREFIX = 64
"""Dimensions that are compared first, where nothing is said."""
KEPT = 20
"""Candidates of a learned first stage, for each passage that is wanted."""

RERANKED = 50
"""Candidates that a reranker orders anew, where nothing is said."""

LearnedIndex = Rotation | Router | SemanticIds | SparseEncoder

_LAYOUTS: dict[str, Callable[[str | Path], LearnedIndex]] = {
    rotation.FORMAT: Rotation.load,
    router.FORMAT: Router.load,
    semantic_ids.FORMAT: SemanticIds.load,
}


def load_learned_index(path: str | Path) -> LearnedIndex:
    """What `hoptrail index` wrote to a file, or `hoptrail encoder tune --kind sparse` to a folder.

    Args:
        path: The file or the folder.

    Raises:
        FormatError: It holds none.
        MissingExtra: A sparse encoder is of MiniLM, which is not installed.
    """
    if Path(path).is_dir():
        return SparseEncoder.load(path)
    layout = layout_of(path)
    if layout not in _LAYOUTS:
        raise FormatError(
            f"{path} is no learned index ({' or '.join(_LAYOUTS)}), it says {layout!r}: "
            "hoptrail index writes one"
        )
    return _LAYOUTS[layout](path)


def learned_pipeline(
    index: LearnedIndex, k: int, *, dims: int = PREFIX, mode: SparseMode = "hybrid"
) -> Pipeline:
    """Dense search whose candidates a learned index finds, or search by learned weights of terms.

    A router is the index of a store (`Store(path, index=router)`), whose own search it serves.

    Args:
        index: As `load_learned_index` gives it.
        k: Passages that are wanted.
        dims: Of a rotation: how many dimensions are compared first.
        mode: Of a sparse encoder: by its terms alone, or together with the cosine.
    """
    if isinstance(index, SparseEncoder):
        return Pipeline([LearnedSparse(index, keep=k, mode=mode)])
    if isinstance(index, Router):
        return Pipeline([Full(keep=k)])
    if isinstance(index, SemanticIds):
        return Pipeline([GeneratedIds(index, keep=k)])
    return Pipeline([Prefix(dims, keep=KEPT * k, rotation=index), Full(keep=k)])


def reranked(
    folder: str | Path,
    k: int,
    *,
    mode: str = "hybrid",
    depth: int = RERANKED,
    first: Pipeline | None = None,
) -> Pipeline:
    """A search whose best passages a model orders anew.

    Args:
        folder: Of a cross-encoder, or of vectors of tokens that were trained.
        k: Passages that are wanted.
        mode: What the search before it goes by.
        depth: How many of its best are ordered anew, at least 1.
        first: What finds them, if not the store's own search by the mode.

    Raises:
        FormatError: The folder holds no such model.
        ConfigError: It gives more than two numbers for a pair, or the depth is below 1.
    """
    stages = first.stages if first else (Search(mode, keep=depth),)
    if (Path(folder) / CARD).is_file():
        return Pipeline([*stages, MaxSim(TokenTunedEncoder.load(folder), keep=k)])
    return Pipeline([*stages, CrossEncoder(folder, keep=k)])
