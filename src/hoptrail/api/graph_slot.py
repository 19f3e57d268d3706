"""The graph of a memory, opened when it is first needed."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from hoptrail.errors import StoreUnavailable
from hoptrail.memory import forks

if TYPE_CHECKING:
    from hoptrail.graph.graph import Graph
    from hoptrail.memory.store import Store


class GraphSlot:
    """The graph over a store's passages; its tables are made at once, it is opened late.

    Args:
        store: The memory's.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._graph: Graph | None = None
        self._lock = threading.Lock()
        forks.register(self)
        self._make_tables()

    def _forked(self, *, whole: bool) -> None:
        """Be a forked child's, where it is refused; see `hoptrail.memory.forks`."""
        self._lock = threading.Lock()

    def get(self) -> Graph:
        """Open the graph where that is still to be done.

        Returns:
            The graph, the same for every thread.

        Raises:
            SchemaMismatch: Its rows were written by a newer version, or the store is read-only and
                has none yet.
        """
        graph = self._graph
        if graph is None:
            from hoptrail.graph.graph import Graph

            opened = Graph(self._store)  # which may wait for another writer: without the lock
            with self._lock:
                graph = self._graph = self._graph or opened
        return graph

    def close(self) -> None:
        """Forget the graph; the store is closed by whoever opened it."""
        with self._lock:
            self._graph = None

    def _make_tables(self) -> None:
        """Have the file ready for a graph, so that no first recall has to wait for a writer."""
        from hoptrail.graph.extraction import schema

        if self._store.database.derives:
            with suppress(StoreUnavailable):  # the first recall will do it
                self._store.migrate(schema.OWNER, schema.MIGRATIONS, wait=False)
