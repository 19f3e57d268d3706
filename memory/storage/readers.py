"""The connections that read a store's file: a pool, of which each reading takes one for itself."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hoptrail.memory.storage import connections
from hoptrail.memory.storage.connections import ReadOnlyFile

IDLE = 8
"""Connections that stay open for the next who read."""

Lent = tuple[int, sqlite3.Connection]
"""A connection that reads, with the state of the file that it was opened in."""


class Readers:
    """Opens connections that read, and keeps some. Needs no lock: each change is one step.

    Args:
        path: The file.
        file: How it is read, where it may only be read.
        recheck: Looks at the file as a connection sees it, and refuses it where it must.
        patience: Seconds that a connection waits for locks.
    """

    def __init__(
        self,
        path: Path,
        file: ReadOnlyFile | None,
        recheck: Callable[[sqlite3.Connection], None],
        patience: float,
    ) -> None:
        self._path, self._file, self._patience = path, file, patience
        self._recheck = recheck
        self._pid = os.getpid()
        self._closed = False
        self._idle: list[Lent] = []
        self._lent: set[sqlite3.Connection] = set()

    def close(self) -> None:
        """Close what nobody uses; who uses one closes it when it gives it back."""
        self._closed = True
        while self._idle:
            self._idle.pop()[1].close()
        if self._file is not None:
            self._file.close()

    def forked(self) -> list[sqlite3.Connection]:
        """In a forked child: forget all connections; those that there were."""
        opened = [connection for _, connection in self._idle] + list(self._lent)
        self._idle, self._lent = [], set()
        return opened

    def begun(self) -> Lent:
        """A connection in a read transaction: to be given back."""
        lent = self._lend()
        try:
            lent[1].execute("BEGIN")
            self._recheck(lent[1])
        except BaseException as error:
            self._discard(lent[1])
            if self._file is None or not isinstance(error, sqlite3.OperationalError):
                raise
            lent = self._lend(again=True)  # the writer beside it has gone, or come
            lent[1].execute("BEGIN")
            self._recheck(lent[1])
        return lent

    def _lend(self, *, again: bool = False) -> Lent:
        """A connection that reads, of the pool or new, with the state of the file it belongs to."""
        state = 0 if self._file is None else self._file.state(again=again)
        while True:
            try:
                lent = self._idle.pop()
            except IndexError:
                break
            if lent[0] == state:
                self._lent.add(lent[1])
                return lent
            lent[1].close()
        if self._file is not None:
            connection = self._file.connect()
        else:
            connection = connections.open_reader(self._path, self._patience)
        self._lent.add(connection)
        return state, connection

    def give_back(self, lent: Lent) -> None:
        """End the transaction, and keep the connection for the next."""
        connection = lent[1]
        self._lent.discard(connection)
        if os.getpid() != self._pid:
            return
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not self._closed and len(self._idle) < IDLE:
                self._idle.append(lent)
                if not self._closed:  # still
                    return
            connection.close()

    def _discard(self, connection: sqlite3.Connection) -> None:
        self._lent.discard(connection)
        connection.close()
