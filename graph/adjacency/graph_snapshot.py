"""A scope's graph on disk, beside the index file: reading its tables again costs ten times as much.

It is a snapshot as those of `hoptrail.memory.index.snapshot` are, written, checked, replaced and
purged with them. It says of which slots it is, by the rowids and contents that these have: where a
view has others it is passed over, as is one of tables that were built anew since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.adjacency.adjacency import Adjacency
from hoptrail.graph.adjacency.ragged import RaggedArray
from hoptrail.graph.adjacency.title_names import TitleNames
from hoptrail.graph.adjacency.vocabulary import Vocabulary
from hoptrail.memory.index import snapshot
from hoptrail.memory.views.view_state import part, with_prefix

if TYPE_CHECKING:
    from hoptrail.memory.storage.database import Database
    from hoptrail.memory.views.view import View

FORMAT = 1
"""Of the arrays; those of another are passed over."""

LISTS = tuple(each.name for each in fields(Adjacency) if each.type == "RaggedArray")
"""Of an `Adjacency`."""


@dataclass(frozen=True, slots=True)
class GraphState:
    """One state of a scope's graph, with all that it takes to go on from it."""

    version: int
    """The store's, up to which all rows of the tables are in it."""
    epoch: int
    """Of the tables that it was read from."""
    arrays: Adjacency
    words: Vocabulary
    titles: TitleNames
    alive: NDArray[np.bool_]
    """The slots that it knows as living, `(n,)`."""


def save_graph(database: Database, view: View, state: GraphState) -> bool:
    """Write the graph of a view, if that is large enough to be worth it; whether it was done.

    Args:
        database: The store's.
        view: Has the state's slots. One of a moment that passed has no file.
        state: The graph.
    """
    if view.size < snapshot.MINIMUM or not view.scope.moment.moves:
        return False
    if database.read_only or database.busy:
        return False
    a = state.arrays
    arrays: dict[str, NDArray[Any]] = {
        "format": np.array([FORMAT, state.epoch, a.n, a.living], dtype=np.int64),
        "slots": _slots(view, a.n),
        "alive": state.alive,
    }
    for name in LISTS:
        lists: RaggedArray = getattr(a, name).compact()
        arrays |= {f"{name}.starts": lists.starts, f"{name}.values": lists.values}
    arrays |= with_prefix("words.", state.words.arrays())
    arrays |= with_prefix("titles.", state.titles.arrays())
    return snapshot.save(database, _key(view), state.version, arrays)


def load_graph(database: Database, view: View, epoch: int, newest: int) -> GraphState | None:
    """The graph of a view as it was last written; None if there is none that fits its slots.

    Args:
        database: The store's.
        view: Whose slots it must be of.
        epoch: Of the tables as they are now.
        newest: The version that the tables reflect: what is newer is of another file.
    """
    if not view.scope.moment.moves:
        return None
    saved = snapshot.load_snapshot(database, _key(view))
    if saved is None or saved[0] > newest:
        return None
    version, stored = saved
    layout, of, n, living = stored["format"].tolist()
    if layout != FORMAT or of != epoch or n > view.capacity:
        return None
    if not np.array_equal(stored["slots"], _slots(view, n)):
        return None
    alive = stored["alive"]
    if (view.alive[:n] & ~alive).any():  # a clock that was set back brought it back
        return None
    # What lies in the file is copied: who cuts that short would crash whoever reads it.
    arrays: Mapping[str, NDArray[Any]] = (
        {name: np.array(array) for name, array in stored.items()} if stored.mapped else stored
    )
    lists = {
        name: RaggedArray(
            arrays[f"{name}.starts"], arrays[f"{name}.values"], len(arrays[f"{name}.starts"]) - 1
        )
        for name in LISTS
    }
    return GraphState(
        version=version,
        epoch=epoch,
        arrays=Adjacency(n=n, living=living, **lists),
        words=Vocabulary(part(arrays, "words.")),
        titles=TitleNames(part(arrays, "titles.")),
        alive=arrays["alive"],
    )


def _key(view: View) -> str:
    return snapshot.beside(view.scope.encoded, "graph")


def _slots(view: View, n: int) -> NDArray[np.uint8]:
    """What tells the first n slots of a view from all others: which passages, of what content."""
    digest = hashlib.sha256(np.ascontiguousarray(view.rowids[:n]).data)
    digest.update(np.ascontiguousarray(view.keys[:n]).data)
    return np.frombuffer(digest.digest(), np.uint8)
