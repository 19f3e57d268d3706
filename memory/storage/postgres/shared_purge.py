"""A purge of a store on a server: of what was deleted nothing stays in its tables or in replicas.

What names a deleted passage is needed by replicas that have it yet. So a purge writes down up to
which version it has erased, and a replica that is older compares what it holds with what the server
still has. Each replica then has its own file, index files and vector cache to purge, and keeps a
mark until that is done.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hoptrail.errors import StoreBusy, StoreError
from hoptrail.memory.storage import records, store_info
from hoptrail.memory.storage.postgres import shared_tables
from hoptrail.memory.storage.postgres.shared_feedback import drop_feedback, rewrite_feedback
from hoptrail.memory.storage.postgres.shared_log import rewrite_log

if TYPE_CHECKING:
    from psycopg import Connection

logger = logging.getLogger(__name__)

PURGED = "purged"
"""Key of the version up to which nothing on the server names what was deleted."""
DUE = "purge_due"
"""Key of a replica that has followed a purge of the server and was not yet purged itself."""
STATISTICS = "pg_statistic"
"""Where the server keeps samples of columns, for its planner."""
_AGAIN = 0.05
"""Seconds between two looks at who has a transaction open."""


def erase_deleted(connection: sqlite3.Connection, remote: Connection[Any], version: int) -> None:
    """Delete from the server's rows what names or tells of passages that are gone.

    Args:
        connection: A replica's that holds all that the server does, in a transaction.
        remote: In a transaction in which nobody else writes, as a role that sees everything.
        version: The server's.
    """
    remote.execute("DELETE FROM hoptrail_deletions")
    with remote.cursor() as cursor:
        rewrite_feedback(connection, cursor)
        rewrite_log(connection, cursor)
    remote.execute(shared_tables.PUT_META, (PURGED, str(version)))
    store_info.put_info(connection, PURGED, str(version))


def pull_purge(
    connection: sqlite3.Connection, remote: Connection[Any], since: int, info: Mapping[str, str]
) -> None:
    """Delete from a replica what a purge has left no word of; what is on record is deleted before.

    Args:
        connection: The replica's, which writes.
        remote: In a transaction that sees one state.
        since: The version that the replica had.
        info: What the server says of the store.
    """
    purged = info.get(PURGED)
    if purged is None or purged == store_info.get(connection, PURGED):
        return
    store_info.put_info(connection, PURGED, purged)
    if not since:  # it was empty
        return
    store_info.put_info(connection, DUE, "1")
    if int(purged) <= since:
        return
    connection.execute("CREATE TEMP TABLE there (namespace TEXT, id TEXT)")
    with remote.cursor(name="hoptrail_there") as cursor:
        cursor.execute("SELECT namespace, id FROM hoptrail_passages")
        while rows := cursor.fetchmany(10_000):
            connection.executemany("INSERT INTO there VALUES (?, ?)", rows)
    gone = connection.execute(
        "SELECT rowid FROM passages WHERE (namespace, id) NOT IN (SELECT namespace, id FROM there)"
    ).fetchall()
    # Each was deleted after `since` and before the purge, by a version of its own.
    records.delete(connection, [row[0] for row in gone], since + 1)
    connection.execute("DROP TABLE there")
    drop_feedback(connection, remote)


def is_purge_due(connection: sqlite3.Connection) -> bool:
    """Whether a replica's own files are still to be purged.

    Args:
        connection: The replica's.
    """
    return store_info.get(connection, DUE) is not None


def rewrite_tables(connection: Connection[Any], name: str, seconds: float) -> None:
    """Have the server write its tables anew, without the rows that were deleted.

    Args:
        connection: Outside of a transaction.
        name: What messages call the server.
        seconds: How long others are waited for.

    Raises:
        StoreBusy: A transaction that is older than the purge does not end.
        StoreError: The role may not.
    """
    _wait_for_older(connection, name, seconds)
    connection.execute(f"SET lock_timeout = {int(1000 * seconds)}")
    refused = [table for table in shared_tables.RIGHTS if not _may_rewrite(connection, table)]
    if refused:
        raise StoreError(
            f"what was deleted is out of the rows of {name}, and its bytes stay until "
            f"{', '.join(refused)} are written anew: purge as the role that made them, or have "
            "VACUUM (FULL, ANALYZE) said of each"
        )
    for table in shared_tables.RIGHTS:
        connection.execute(f"VACUUM (FULL, ANALYZE) {table}")
    if _may_rewrite(connection, STATISTICS):
        connection.execute(f"VACUUM (FULL) {STATISTICS}")
    else:
        logger.warning(
            "samples of what was deleted may stay in unused bytes of %s of %s: only the owner of "
            "the database may say VACUUM FULL %s",
            STATISTICS,
            name,
            STATISTICS,
        )


def _may_rewrite(connection: Connection[Any], table: str) -> bool:
    row = connection.execute(
        "SELECT pg_has_role(c.relowner, 'USAGE') OR pg_has_role(d.datdba, 'USAGE') "
        "FROM pg_class c, pg_database d "
        "WHERE c.oid = to_regclass(%s) AND d.datname = current_database()",
        (table,),
    ).fetchone()
    return row is not None and bool(row[0])


def _wait_for_older(connection: Connection[Any], name: str, seconds: float) -> None:
    """Wait for all transactions that may still read what is deleted: the server keeps it so long.

    Raises:
        StoreBusy: One does not end.
    """
    query = (
        "SELECT l.virtualxid, l.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
        "WHERE l.locktype = 'virtualxid' AND l.pid != pg_backend_pid() "
        "AND a.datname = current_database()"
    )
    latest = time.monotonic() + seconds
    older = set(connection.execute(query).fetchall())
    while older:
        if time.monotonic() > latest:
            pids = ", ".join(sorted({str(pid) for _, pid in older}))
            raise StoreBusy(
                f"what was deleted is out of the rows of {name}, and its bytes stay while a "
                f"transaction from before is open (process {pids} of the server): purge again "
                "when it has ended"
            )
        time.sleep(_AGAIN)
        older &= set(connection.execute(query).fetchall())
