"""Who wants a view to stay as it is, and what they read its passages with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from threading import get_ident

from hoptrail.memory.guarded import guarded
from hoptrail.memory.storage.database import Database


class Pins:
    """The threads that have a view pinned. Each change is one step, so that it needs no lock."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._pins: dict[object, tuple[int, sqlite3.Connection]] = {}

    def __bool__(self) -> bool:
        return bool(self._pins)

    def add(self, token: object, connection: sqlite3.Connection) -> None:
        """Keep the view as it is, for this thread to read with a snapshot."""
        self._pins[token] = get_ident(), connection

    def remove(self, token: object) -> None:
        """Let it be changed again, as far as this token goes."""
        self._pins.pop(token, None)

    def threads(self) -> set[int]:
        """The threads that have it pinned."""
        return {thread for thread, _ in list(self._pins.values())}

    @guarded
    def reading(self) -> Iterator[sqlite3.Connection]:
        """What this thread reads with: where it has the view pinned, the state of the view."""
        me = get_ident()
        snapshots = [one for thread, one in list(self._pins.values()) if thread == me]
        if snapshots:
            with self._db.inside():
                yield snapshots[-1]
        else:
            with self._db.reading() as connection:
                yield connection
