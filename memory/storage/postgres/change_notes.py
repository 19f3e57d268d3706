"""What a write of a replica has changed, as notes that its triggers take."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from hoptrail.memory.storage import schema


def take_notes(
    connection: sqlite3.Connection, table: str, owner: str, triggers: Mapping[str, str]
) -> None:
    """Begin anew to take note of what changes, in a temporary table of namespaces and ids.

    Args:
        connection: The replica's, which writes.
        table: The temporary table, made where it is absent.
        owner: Whose tables are watched; where they are absent, nothing changes in them.
        triggers: By their names: the event, and what is done then.
    """
    connection.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS {table} (namespace TEXT, id TEXT, "
        "PRIMARY KEY (namespace, id))"
    )
    connection.execute(f"DELETE FROM temp.{table}")
    if schema.applied(connection, owner):
        for name, event in triggers.items():
            connection.execute(f"CREATE TEMP TRIGGER IF NOT EXISTS {name} AFTER {event}; END")
