"""A store on PostgreSQL: a replica at each worker, which follows the server and writes through it.

Reading asks the server for its newest version, which is one statement, brings the replica there
where it is behind, and reads the replica. Writing locks the server's head, brings the replica
there, does to it what a store that is one file does, carries what changed to the server, commits
there and then here. So all that is derived, the indexes, the graph and the filters, is the same
code over the same tables, and the same ranking.

The order of locks goes on with `hoptrail.memory.storage.database`: the replica's writer, then the
server's head. Whoever has the second already has the first, on whatever host.

A process that is killed between the two commits leaves a replica that is behind, and catches up.
One that is of another past than the server (a backup was restored there), is damaged, or is of a
role that now sees other namespaces is of no use: whoever has it open is told so, and who opens the
store next gets a new one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from hoptrail.errors import StoreError, StoreUnavailable
from hoptrail.memory.encoders.cache_file import BESIDE, cache_folder
from hoptrail.memory.guarded import guarded
from hoptrail.memory.storage import store_info
from hoptrail.memory.storage.database import BUSY_SECONDS, Database
from hoptrail.memory.storage.postgres import changes, shared_purge
from hoptrail.memory.storage.postgres.generations import (
    AT_ONCE,
    GENERATION,
    ServerChange,
    generation_in_use,
)
from hoptrail.memory.storage.postgres.replica_check import differences
from hoptrail.memory.storage.postgres.server import ALL, Head, Remote, Server

TOKEN = "server_token"
"""Key of the commit on the server that a replica stands for."""
GIVEN_UP = "given up"
"""Stands for no commit."""


class OtherPastError(StoreUnavailable):
    """A replica holds what is no past of the server's."""


class ReplicatedDatabase(Database):
    """The database of a store on PostgreSQL: its replica, kept at one with the server.

    Args:
        url: Of the server.
        read_only: Write nothing to the server, and make no tables there.
        patience: Seconds that it waits for other writers.

    Raises:
        MissingExtra: `hoptrail[postgres]` is not installed.
        StoreUnavailable: The server cannot be reached, or is no store and cannot be made one.
        SchemaMismatch: The tables were made by a newer version, or by an older one and it is
            read-only.
    """

    is_shared = True

    def __init__(
        self, url: str, *, read_only: bool = False, patience: float = BUSY_SECONDS
    ) -> None:
        self._server = Server(url, patience, read_only=read_only)
        try:
            self._head = self._server.head()
            path = self._replica_path()
            try:
                self._open_replica(path, patience, read_only=read_only)
            except OtherPastError:
                super().close()
                _remove(path)
                self._open_replica(path, patience, read_only=read_only)
        except BaseException:
            self._server.close()
            raise

    def _open_replica(self, path: Path, patience: float, *, read_only: bool) -> None:
        super().__init__(path, patience=patience)
        self.name, self.read_only = self._server.name, read_only
        self._follow()
        with super().reading() as connection:
            self.purge_due = shared_purge.is_purge_due(connection)

    @property
    def derives(self) -> bool:
        """Whether its replica may be written to: whatever it may do to the server, it follows."""
        return True

    def _replica_path(self) -> Path:
        """Where the replica of this role lies, in the user's cache; those that it had before go."""
        folder = cache_folder() / "replicas"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreUnavailable(
                f"{folder}, where what {self._server.name} holds is to be copied, cannot be made: "
                f"{error} (HOPTRAIL_CACHE names another folder)"
            ) from error
        mine = f"{self._server.store}-{_short(self._server.role)}"
        path = folder / f"{mine}-{_short(self._head.visible)}.db"
        for other in folder.glob(f"{mine}-*.db"):
            if other != path:
                _remove(other)
        return path

    def close(self) -> None:
        """Close the replica and the connections; a second time does nothing.

        Raises:
            StoreError: This thread has a transaction open, or the store is a parent process's.
        """
        super().close()
        self._server.close()

    @guarded
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent state, not older than the call, however many statements read it."""
        self._catch_up()
        with super().reading() as connection:
            yield connection

    @guarded
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A state, not older than the call, kept for a while: this thread may write meanwhile."""
        self._catch_up()
        with super().snapshot() as connection:
            yield connection

    @guarded
    def writing(
        self, *, wait: bool | float = True, checked: bool = True, derived: bool = False
    ) -> Iterator[sqlite3.Connection]:
        """A transaction of the replica and of the server: all of it on both, or nothing.

        Args:
            wait: For other writers, of this host and of others.
            checked: As in a store that is one file.
            derived: Only what can be made anew from the passages is written: the server is not
                asked.

        Raises:
            StoreError: It is read-only, and not all is derived.
            StoreBusy: Another one writes.
            StoreUnavailable: The server cannot be reached; nothing was written, unless the
                message says that this cannot be told.
        """
        if derived or self.busy is not None:
            with super().writing(wait=wait, checked=checked, derived=derived) as connection:
                yield connection
            return
        is_written = False
        try:
            with (
                super().writing(wait=wait, checked=checked) as connection,
                self._server.writing(wait=wait) as remote,
            ):
                self._bring_to(connection, remote)
                changes.watch(connection)
                info = changes.read_info(remote.connection)
                since = store_info.newest_version(connection)
                yield connection
                if changes.push(connection, remote.connection, since, info):
                    token = remote.commit(store_info.newest_version(connection))
                    is_written = True
                    store_info.put_info(connection, TOKEN, token)
        except StoreUnavailable as error:
            if is_written:  # a full disk, for instance: the replica goes on from before
                raise StoreUnavailable(
                    f"this was written to {self.name}, and its replica {self.path} cannot follow: "
                    f"{error}"
                ) from error
            raise

    def server_change(self, described: str, patience: float) -> ServerChange:
        """A change of the encoder of the store, with connections of its own; see `Reencoding`.

        Args:
            described: The next encoder, as described; "" to look at a change or to drop it.
            patience: Seconds that it waits for other writers at a time.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        return ServerChange(self._server.another(patience), self, described)

    def source_problems(self) -> list[str]:
        """Where the replica is not what the server holds, a sentence each."""
        with super().writing(derived=True) as connection, self._server.reading() as remote:
            self._bring_to(connection, remote)
            info = changes.read_info(remote.connection)
            return list(differences(connection, remote.connection, generation_in_use(info)))

    def purge_source(self) -> None:
        """Have nothing of what was deleted stay in the server's tables, for all who follow it.

        Raises:
            StoreError: The role sees only a part of them, or may not have them rewritten.
            StoreBusy: Another transaction is in the way.
            StoreUnavailable: The server cannot be reached.
        """
        with super().writing(derived=True) as connection, self._server.writing() as remote:
            if remote.head.visible != ALL:
                raise StoreError(
                    f"a purge of {self.name} takes the role that made its tables, and "
                    f"{self._server.role!r} sees a part of them: only its replica was purged"
                )
            self._bring_to(connection, remote)
            shared_purge.erase_deleted(connection, remote.connection, remote.head.version)
            store_info.put_info(connection, TOKEN, remote.commit(remote.head.version))
        with closing(self.server_change("", BUSY_SECONDS)) as change:
            while not change.clear(AT_ONCE):
                pass
        with self._server.maintaining() as (server, seconds):
            shared_purge.rewrite_tables(server, self.name, seconds)

    def purged(self) -> None:
        """Have it known that the files of this host hold nothing any more of what was deleted."""
        with super().writing(derived=True) as connection:
            connection.execute("DELETE FROM meta WHERE key = ?", (shared_purge.DUE,))
        self.purge_due = False

    def make_independent(self, copy: sqlite3.Connection) -> None:
        """Have a copy of the replica be a store of its own, which follows no server.

        Args:
            copy: A connection to it that writes.
        """
        keys = (TOKEN, GENERATION, shared_purge.PURGED, shared_purge.DUE)
        copy.execute("DELETE FROM meta WHERE key IN (?, ?, ?, ?)", keys)

    def give_up(self) -> None:
        """Have the replica made anew by whoever opens the store next; until then nobody reads."""
        try:
            with super().writing(checked=False, derived=True) as connection:
                store_info.put_info(connection, TOKEN, GIVEN_UP)
        except StoreUnavailable:  # it cannot even be written
            _remove(self.path)

    def _forked(self, *, whole: bool) -> Path | None:
        self._server.forked()
        return super()._forked(whole=whole)

    def _catch_up(self) -> None:
        """Have the replica hold what the server does, before this thread begins to read."""
        self.check()
        if self.busy is None:
            self._follow()

    def _follow(self) -> None:
        head = self._server.head()
        self._check_visible(head)
        if head.token == self._head_token():
            return
        with super().writing(derived=True) as connection, self._server.reading() as remote:
            self._bring_to(connection, remote)

    def _head_token(self) -> str:
        """The commit that the replica stands for, whichever process brought it there."""
        with super().reading() as connection:
            return store_info.get(connection, TOKEN) or ""

    def _bring_to(self, connection: sqlite3.Connection, remote: Remote) -> None:
        """Bring the replica to the server's state, in the transactions of both."""
        head = remote.head
        self._check_visible(head)
        token = store_info.get(connection, TOKEN) or ""
        if token == head.token:
            return
        query = "SELECT 1 FROM hoptrail_commits WHERE token = %s"
        if token and not remote.connection.execute(query, (token,)).fetchone():
            raise OtherPastError(
                f"{self.name} does not know what its replica {self.path} holds: a backup was "
                "restored there, or the replica was damaged; open it again"
            )
        changes.pull(connection, remote.connection, head.version)
        self.purge_due = shared_purge.is_purge_due(connection)
        store_info.put_info(connection, TOKEN, head.token)

    def _check_visible(self, head: Head) -> None:
        """Refuse to go on where other namespaces are granted than when it was opened."""
        if head.visible != self._head.visible:
            raise StoreUnavailable(
                f"what the role {self._server.role!r} may see of {self.name} has changed: "
                "open it again"
            )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _remove(replica: Path) -> None:
    for end in BESIDE:
        with suppress(OSError):
            Path(f"{replica}{end}").unlink(missing_ok=True)
