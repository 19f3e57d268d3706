"""The knowledge graph of a store: its derived rows, and views of it for queries."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from hoptrail.errors import InputError, StoreUnavailable
from hoptrail.graph import build, schema
from hoptrail.graph.view import GraphView
from hoptrail.memory import meta
from hoptrail.types import Namespace

if TYPE_CHECKING:
    from hoptrail.memory.store import Store
    from hoptrail.memory.view import View

VIEWS_KEPT = 32
"""Scopes whose arrays stay in memory; the one not asked for longest goes first."""


class Graph:
    """Who mentions whom, and which names they share: made from the store's passages, no LLM needed.

    Its rows lie in the store's file and are brought up to date by `sync`, which `view` calls. On a
    read-only store it shows what the last sync wrote.

    Args:
        store: The passages.

    Raises:
        SchemaMismatch: The rows were written by a newer version, or the store is read-only and has
            none yet.
    """

    def __init__(self, store: Store) -> None:
        store.migrate(schema.OWNER, schema.MIGRATIONS)
        self.store = store
        self._views: OrderedDict[Namespace, GraphView] = OrderedDict()  # with _views_lock held
        self._views_lock = Lock()

    def __repr__(self) -> str:
        behind = self.store.version - self.version
        state = f"{behind} versions behind" if behind else "up to date"
        return f"<Graph of {self.store.path}: version {self.version}, {state}>"

    @property
    def version(self) -> int:
        """The store's version that the rows reflect."""
        with self.store.reading() as connection:
            row = connection.execute("SELECT version FROM graph_state").fetchone()
        return int(row[0])

    def sync(self) -> bool:
        """Catch up with what was written, deleted or expired; whether there was anything."""
        if not self.store.read_only:
            with suppress(StoreUnavailable):  # another is writing: the next sync will do it
                self.store.sweep(wait=False)
        with self.store.reading() as connection:
            row = connection.execute("SELECT version FROM graph_state").fetchone()
            if int(row[0]) == meta.version(connection) or self.store.read_only:
                return False
        done = False
        while not done:
            with self.store.transaction() as connection:
                done = build.catch_up(connection, meta.version(connection))
        return True

    def rebuild(self) -> None:
        """Drop every row and build them anew; `sync` comes to the same."""
        with self.store.transaction() as connection:
            for table in ("graph_passages", "graph_lost", "graph_names"):
                connection.execute(f"DELETE FROM {table}")
            connection.execute("UPDATE graph_state SET version = 0, epoch = random()")
        self.sync()
        with self._views_lock:
            self._views.clear()

    def view(self, view: View) -> GraphView:
        """The graph over a memory view's slots, both caught up with the last commit.

        Args:
            view: A view of the same store, as `store.view(namespace)` gives.

        Raises:
            InputError: It is no view: a namespace or an id was given.
        """
        if isinstance(view, tuple | str):
            raise InputError(f"expected a view of the store, as store.view() gives, got {view!r}")
        with self._views_lock:
            found = self._views.get(view.scope)
            if found is not None and found.view is not view:
                found = None
        if found is None:
            found = GraphView(self, view)
        else:
            found.refresh()
        with self._views_lock:
            self._views[view.scope] = found
            self._views.move_to_end(view.scope)
            while len(self._views) > VIEWS_KEPT:
                self._views.popitem(last=False)
        return found
