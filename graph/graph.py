"""The knowledge graph of a store: its derived rows, and views of it for queries."""

from __future__ import annotations

import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext, suppress
from threading import Lock, RLock, get_ident
from typing import TYPE_CHECKING, TypeVar

from hoptrail.errors import InputError, StoreUnavailable
from hoptrail.graph.extraction import schema, sync
from hoptrail.graph.view import GraphView
from hoptrail.memory.maintenance import soundness
from hoptrail.memory.storage import schema as memory_schema
from hoptrail.memory.storage import store_info
from hoptrail.memory.storage.namespaces import Scope

if TYPE_CHECKING:
    from hoptrail.memory.store import Store
    from hoptrail.memory.views.view import View

T = TypeVar("T")

logger = logging.getLogger(__name__)

VIEWS_KEPT = 32
"""Scopes whose arrays stay in memory; the one not asked for longest goes first."""

MOMENT = 0.2
"""Seconds that a recall waits for another thread's write, to catch up the rows by itself."""


class Graph:
    """Who mentions whom, and which names they share: made from the store's passages, no LLM needed.

    Its rows lie in the store's file and are brought up to date by `sync`, which `view` calls. On a
    read-only file it shows what the last sync wrote.

    Args:
        store: The passages.

    Raises:
        SchemaMismatch: The rows were written by a newer version, or the store is read-only and has
            none yet.
    """

    def __init__(self, store: Store) -> None:
        try:
            store.migrate(schema.OWNER, schema.MIGRATIONS, wait=False)
        except StoreUnavailable:  # without tables there is no graph: another writer is waited for
            store.migrate(schema.OWNER, schema.MIGRATIONS)
        self.store = store
        self.mends = True
        """Whether rows that are damaged are built anew; those that look for damage do not."""
        self._views: OrderedDict[Scope, GraphView] = OrderedDict()  # with _views_lock held
        self._views_lock = Lock()
        self._syncing = RLock()  # held while rows are caught up; taken before the writer's

    def __repr__(self) -> str:
        behind = self.store.version - self.version
        state = f"{behind} versions behind" if behind else "up to date"
        return f"<Graph of {self.store.name}: version {self.version}, {state}>"

    @property
    def version(self) -> int:
        """The store's version that the rows reflect."""
        with self.store.reading() as connection:
            return schema.reflected_version(connection)

    def sync(self, *, wait: bool = True) -> bool:
        """Catch up with what was written, deleted or expired; whether there was anything.

        Rows that are damaged are dropped and built anew, with a warning.

        Args:
            wait: For other writers; else leave it for later if there is one.
        """
        return self._mended(lambda: self._sync(wait=wait))

    def _sync(self, *, wait: bool = True) -> bool:
        if not self.store.read_only:
            with suppress(StoreUnavailable):  # another is writing: the next sync will do it
                self.store.sweep(wait=False)
        with self.store.reading() as connection:
            if (
                schema.reflected_version(connection) == store_info.newest_version(connection)
                or not self.store.database.derives
            ):
                return False
        # Two who need it do it once; but nobody waits for that in a transaction of its own.
        busy = self.store.database.busy is not None
        with nullcontext() if busy else self._syncing:
            return self._catch_up(wait)

    def _catch_up(self, wait: bool) -> bool:
        done = False
        while not done:
            try:
                with self.store.transaction(wait=wait or MOMENT, derived=True) as connection:
                    done = sync.catch_up(connection, store_info.newest_version(connection))
            except StoreUnavailable:
                if wait:
                    raise
                return False
        return True

    def rebuild(self) -> None:
        """Drop every row and build them anew; `sync` comes to the same."""
        self.reset()
        self._sync()
        with self._views_lock:
            self._views.clear()

    def view(self, view: View) -> GraphView:
        """The graph over a memory view's slots, both caught up with the last commit.

        Of a view that is pinned, as it is: what others have of the graph stays as it is too. Rows
        that cannot be caught up now, because another is writing, are those of before.

        Args:
            view: A view of the same store, as `store.view(namespace)` gives.

        Raises:
            InputError: It is no view: a namespace or an id was given.
        """
        if isinstance(view, tuple | str):
            raise InputError(f"expected a view of the store, as store.view() gives, got {view!r}")
        return self._mended(lambda: self._view(view))

    def reset(self) -> None:
        """Drop the tables, whatever their state, and make them anew, with nothing in them."""
        with self.store.reading() as connection:  # what finds damage can write no more in SQLite
            whole = soundness.has_sound_structure(connection, schema.PREFIX)
        with self.store.transaction(derived=True) as connection:
            memory_schema.forget_owner(connection, schema.OWNER, schema.PREFIX, readable=whole)
        self.store.migrate(schema.OWNER, schema.MIGRATIONS)

    def _mended(self, work: Callable[[], T]) -> T:
        """Do some work; where damaged rows are in its way, once more without them.

        Raises:
            StoreUnavailable: It is something else, or the store is read-only.
        """
        try:
            return work()
        except (StoreUnavailable, sqlite3.IntegrityError) as error:
            if not (self.store.database.derives and self.mends) or not _is_damage(error):
                raise
            logger.warning("the graph in %s is damaged (%s): it is built anew", self.store, error)
        self.rebuild()
        return work()

    def _view(self, view: View) -> GraphView:
        with view.lock:
            return self._locked_view(view)

    def _locked_view(self, view: View) -> GraphView:
        with self._views_lock:
            cached = self._views.get(view.scope)
            if cached is not None and cached.view is not view:
                cached = None
        others = view.pins.threads() - {get_ident()}
        if cached is None or (others and cached.behind()):
            cached = GraphView(self, view)
        else:
            try:
                cached.refresh()
            except BaseException:  # it may be half caught up: the next call starts afresh
                with self._views_lock:
                    self._views.pop(view.scope, None)
                raise
        with self._views_lock:
            self._views[view.scope] = cached
            self._views.move_to_end(view.scope)
            while len(self._views) > VIEWS_KEPT:
                self._views.popitem(last=False)
        return cached


def _is_damage(error: Exception) -> bool:
    """Whether SQLite could not make sense of tables, rather than not get at the file.

    Statements do not change, so that one which it takes for wrong does not fit the tables.
    """
    cause = error if isinstance(error, sqlite3.Error) else error.__cause__
    if isinstance(cause, sqlite3.IntegrityError):
        return True
    code = getattr(cause, "sqlite_errorcode", None) or 0
    return code & 0xFF in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT) or (
        isinstance(cause, sqlite3.DatabaseError) and "malformed" in str(cause)
    )
