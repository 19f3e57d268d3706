"""What is counted of passages, carried between the server and a replica: a row for each passage.

A replica counts by the triggers of a file: when a passage came, how often it was changed, and how
often it was recalled. What a write has counted goes to the server with it, and who follows takes
over what stands there instead of what its own triggers made of the passages that it was brought.
Counting moves no version of the store, so that no index has to look: it has a number of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hoptrail.memory.storage import schema, store_info
from hoptrail.memory.storage.postgres import shared_tables
from hoptrail.memory.storage.postgres.change_notes import take_notes

if TYPE_CHECKING:
    from psycopg import Connection

COUNTED = "counted"
"""Key of the number of the last write that counted something."""
AT_ONCE = 1000
"""Rows that are carried together."""
_WATCHED = {
    f"counts_{event.lower()}": f"{event} ON main.statistics BEGIN INSERT INTO changed_counts "
    "SELECT namespace, id FROM passages WHERE rowid = new.passage ON CONFLICT DO NOTHING"
    for event in ("INSERT", "UPDATE")
}
_PUT = (
    "INSERT INTO statistics (passage, added_at, updates, recalls, recalled_at) "
    "SELECT rowid, ?, ?, ?, ? FROM passages WHERE namespace = ? AND id = ? "
    "ON CONFLICT (passage) DO UPDATE SET added_at = excluded.added_at, "
    "updates = excluded.updates, recalls = excluded.recalls, recalled_at = excluded.recalled_at"
)


def watch_counts(connection: sqlite3.Connection) -> None:
    """Have a replica take note of the passages of which a write counts something.

    Args:
        connection: The replica's, which writes.
    """
    take_notes(connection, "changed_counts", schema.STATISTICS, _WATCHED)


def push_counts(connection: sqlite3.Connection, cursor: Any, info: Mapping[str, str]) -> bool:
    """Write to the server what a replica's transaction has counted; whether there was anything.

    Args:
        connection: The replica's, in the transaction, watched since it began.
        cursor: On the server, in a transaction in which nobody else writes and which has written
            the passages already.
        info: What the server says of the store.
    """
    rows = connection.execute(
        "SELECT p.namespace, p.id, s.added_at, s.updates, s.recalls, s.recalled_at "
        "FROM temp.changed_counts c "
        "JOIN passages p ON p.namespace = c.namespace AND p.id = c.id "
        "JOIN statistics s ON s.passage = p.rowid ORDER BY p.namespace, p.id"
    ).fetchall()
    if not rows:
        return False
    number = int(info.get(COUNTED, "0")) + 1
    cursor.executemany(shared_tables.PUT_COUNTS, [(*row[:2], number, *row[2:]) for row in rows])
    cursor.execute(shared_tables.PUT_META, (COUNTED, str(number)))
    store_info.put_info(connection, COUNTED, str(number))
    return True


def pull_counts(
    connection: sqlite3.Connection, remote: Connection[Any], info: Mapping[str, str]
) -> None:
    """Bring what a replica has counted to the server's state; the passages are there already.

    Args:
        connection: The replica's, which writes.
        remote: In a transaction that sees one state.
        info: What the server says of the store.
    """
    number, since = info.get(COUNTED, "0"), store_info.get(connection, COUNTED) or "0"
    if number == since:
        return
    with remote.cursor(name="hoptrail_counted") as cursor:
        cursor.execute(shared_tables.READ_COUNTS, (int(since),))
        while rows := cursor.fetchmany(AT_ONCE):
            connection.executemany(_PUT, rows)
    store_info.put_info(connection, COUNTED, number)
