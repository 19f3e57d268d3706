"""The views of a store: made when a scope is first asked, caught up, and pinned while in use."""

from __future__ import annotations

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from threading import Lock, get_ident

from hoptrail.errors import EncoderMismatch, HoptrailError
from hoptrail.memory.encoders.query_cache import CacheStats
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.guarded import guarded
from hoptrail.memory.storage import records, store_info
from hoptrail.memory.storage.database import Database
from hoptrail.memory.storage.namespaces import Scope
from hoptrail.memory.storage.validity import Moment
from hoptrail.memory.views.view import View

VIEWS_KEPT = 32
"""Scopes whose indexes stay in memory; the one not asked for longest goes first."""

PAST_VIEWS_KEPT = 4
"""Of these, those as of another time than now: each holds what a whole view does."""

PATIENCE = 1.0
"""Seconds to wait for those who have a view pinned, before a new one is made in its place."""


class Views:
    """The views of a store's scopes. Threads may share it.

    Args:
        database: The store's.
        make: Makes the view of a scope, with nothing in it yet.
    """

    def __init__(self, database: Database, make: Callable[[Scope], View]) -> None:
        self._db = database
        self._make = make
        self._lock = Lock()
        self._views: OrderedDict[Scope, View] = OrderedDict()  # only with the lock held

    def forked(self) -> None:
        """Be a forked child's: no thread of its parent's has the lock there."""
        self._lock = Lock()

    def clear(self) -> None:
        """Forget them all: what they hold is of no use any more."""
        with self._lock:
            self._views.clear()

    def stats(self) -> list[CacheStats]:
        """How often each found a passage that was read in memory."""
        with self._lock:
            return [view.stats for view in self._views.values()]

    @guarded
    def pinned(self, scope: Scope, encoder: Encoder | None) -> Iterator[View]:
        """A scope's view; see `Store.pinned`.

        Args:
            scope: Whose view.
            encoder: The one that the view's vectors must be by; None for whichever it is.
        """
        token, latest = object(), time.monotonic() + PATIENCE
        while True:
            with self._db.snapshot() as connection:
                if encoder is not None:
                    with self._db.inside():
                        store_info.check_encoder(connection, encoder, self._db.name)
                with self._db.inside():
                    canonical = _canonical(connection, scope)
                view = self._view_of(canonical)
                try:
                    if self._pin(view, token, connection):
                        yield view
                        return
                except HoptrailError:
                    raise
                except BaseException:  # stopped anywhere, it may be half changed
                    self._drop(view)
                    raise
                finally:
                    view.pins.remove(token)
            self._wait_for(view, latest)

    def _pin(self, view: View, token: object, connection: sqlite3.Connection) -> bool:
        """Pin a view as of a snapshot; False where another view is needed."""
        try:
            with view.lock:
                if not view.follow(connection):
                    return False
                view.pins.add(token, connection)
                return True
        except EncoderMismatch:
            with view.lock:
                newer = view.renewed()
            with self._lock:
                self._views[view.scope] = newer
            return False
        except BaseException:  # it may be half caught up: the next call starts afresh
            self._drop(view)
            raise

    def _view_of(self, scope: Scope) -> View:
        with self._lock:
            view = self._views.get(scope)
            if view is None:
                view = self._views[scope] = self._make(scope)
            self._views.move_to_end(scope)
            others = [one for one in self._views if not one.moment.moves]
            for past in others[:-PAST_VIEWS_KEPT]:
                del self._views[past]
            while len(self._views) > VIEWS_KEPT:
                self._views.popitem(last=False)
            return view

    def _drop(self, view: View) -> None:
        with self._lock:
            if self._views.get(view.scope) is view:
                del self._views[view.scope]

    def _wait_for(self, view: View, latest: float) -> None:
        """Give those who have a view pinned a moment, then let the next be a new one.

        Who has it pinned itself, and asks again from within, would wait for ever.
        """
        threads = view.pins.threads()
        if threads and get_ident() not in threads and time.monotonic() < latest:
            time.sleep(0.001)
        else:
            self._drop(view)


def _canonical(connection: sqlite3.Connection, scope: Scope) -> Scope:
    """The scope as of the last time that a passage began or ceased to be valid before its moment.

    The same passages were valid then, so that all moments between two such times share a view.
    """
    at = scope.moment.at
    return scope if at is None else scope.at(Moment(records.last_turn(connection, at, scope)))
