"""What names a passage on every host, where its row is each replica's own: and what it said."""

from __future__ import annotations

import hashlib
import json
import sqlite3


def name_passage(connection: sqlite3.Connection, rowid: int) -> tuple[str, str, str]:
    """The namespace of a passage, as stored, its id, and a hash of its title and text.

    Args:
        connection: The replica's.
        rowid: Of a passage that is there.
    """
    namespace, id_, title, text = connection.execute(
        "SELECT namespace, id, title, text FROM passages WHERE rowid = ?", (rowid,)
    ).fetchone()
    return namespace, id_, _digest(title, text)


def find_passage(
    connection: sqlite3.Connection, namespace: str, id: str, digest: str
) -> int | None:
    """The row of a passage by its name; None where it is gone or says something else.

    Args:
        connection: The replica's.
        namespace: As stored.
        id: The passage's.
        digest: Of what it said.
    """
    row = connection.execute(
        "SELECT rowid, title, text FROM passages WHERE namespace = ? AND id = ?", (namespace, id)
    ).fetchone()
    return row[0] if row is not None and _digest(row[1], row[2]) == digest else None


def _digest(title: str | None, text: str) -> str:
    return hashlib.sha256(json.dumps([title, text]).encode()).hexdigest()[:32]
