"""The log of recalls, carried between the server and a replica: a recall is one record.

How many recalls are kept stands on the server, for all. The oldest go at each replica by the same
rule; what is deleted otherwise is noted by its version, and who follows then compares what is left.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hoptrail.memory.storage import schema, store_info
from hoptrail.memory.storage.log_tables import MIGRATIONS, OWNER, cut_log
from hoptrail.memory.storage.postgres import shared_tables
from hoptrail.memory.storage.postgres.change_notes import take_notes
from hoptrail.memory.storage.postgres.passage_names import find_passage, name_passage

if TYPE_CHECKING:
    from psycopg import Connection

MOST = "recall_log"
"""Key of how many recalls are kept."""
DELETED = "recall_log_deleted"
"""Key of the version at which recalls went before they were the oldest."""
_WATCHED = {
    f"log_{event.lower()}": f"{event} ON main.log_recalls BEGIN INSERT INTO changed_log "
    f"VALUES ({row}.namespace, {row}.id) ON CONFLICT DO NOTHING"
    for event, row in (("INSERT", "new"), ("DELETE", "old"))
}


def watch_log(connection: sqlite3.Connection) -> None:
    """Have a replica take note of the recalls that a write puts into its log or deletes.

    Args:
        connection: The replica's, which writes.
    """
    take_notes(connection, "changed_log", OWNER, _WATCHED)


def push_log(connection: sqlite3.Connection, cursor: Any, info: Mapping[str, str]) -> None:
    """Write to the server what a replica's transaction has changed of the log.

    Args:
        connection: The replica's, in the transaction, watched since it began.
        cursor: On the server, in a transaction in which nobody else writes.
        info: What the server says of the store.
    """
    if not schema.applied(connection, OWNER):
        return
    most = str(connection.execute("SELECT kept FROM log_bound").fetchone()[0])
    if most != info.get(MOST, "0"):
        store_info.bump(connection, 1)
        cursor.execute(shared_tables.PUT_META, (MOST, most))
    rows = connection.execute(
        "SELECT c.namespace, c.id, r.number FROM temp.changed_log c LEFT JOIN log_recalls r "
        "ON r.id = c.id ORDER BY r.number"
    ).fetchall()
    new = [row for row in rows if row[2] is not None]
    gone = [row[:2] for row in rows if row[2] is None]
    if gone:
        cursor.executemany("DELETE FROM hoptrail_log WHERE namespace = %s AND id = %s", gone)
    if new:
        first = store_info.bump(connection, len(new))
        cursor.executemany(
            shared_tables.PUT_LOG,
            [
                (namespace, id_, first + i, _record(connection, number))
                for i, (namespace, id_, number) in enumerate(new)
            ],
        )
    elif gone:  # not because others came
        version = store_info.bump(connection, 1)
        cursor.execute(shared_tables.PUT_META, (DELETED, str(version)))


def pull_log(
    connection: sqlite3.Connection, remote: Connection[Any], since: int, info: Mapping[str, str]
) -> None:
    """Bring the log of a replica to the server's state; the passages are there already.

    Args:
        connection: The replica's, which writes.
        remote: In a transaction that sees one state.
        since: The version that the replica had.
        info: What the server says of the store.
    """
    if MOST not in info:
        return
    schema.migrate(connection, OWNER, MIGRATIONS, "the replica")
    connection.execute("UPDATE log_bound SET kept = ?", (int(info[MOST]),))
    if int(info.get(DELETED, "0")) > since:
        left = {row[0] for row in remote.execute("SELECT id FROM hoptrail_log").fetchall()}
        for number, id_ in connection.execute("SELECT number, id FROM log_recalls").fetchall():
            if id_ not in left:
                connection.execute("DELETE FROM log_recalls WHERE number = ?", (number,))
    for namespace, id_, record in remote.execute(shared_tables.READ_LOG, (since,)):
        _put(connection, namespace, id_, json.loads(record))
    cut_log(connection)


def rewrite_log(connection: sqlite3.Connection, cursor: Any) -> None:
    """Leave nothing on the server of recalls, or of their parts, whose passages are gone.

    Args:
        connection: Of a replica that holds all that the server does.
        cursor: On the server, in a transaction in which nobody else writes.
    """
    if not schema.applied(connection, OWNER):
        return
    number_of = dict(connection.execute("SELECT id, number FROM log_recalls").fetchall())
    rows = cursor.execute("SELECT namespace, id, record FROM hoptrail_log").fetchall()
    for namespace, id_, record in rows:
        if id_ not in number_of:
            cursor.execute(
                "DELETE FROM hoptrail_log WHERE namespace = %s AND id = %s", (namespace, id_)
            )
        elif (left := _record(connection, number_of[id_])) != record:
            cursor.execute(
                "UPDATE hoptrail_log SET record = %s WHERE namespace = %s AND id = %s",
                (left, namespace, id_),
            )


def _record(connection: sqlite3.Connection, number: int) -> str:
    """A recall as the server has it."""
    recall = connection.execute(
        "SELECT question, effort, asked_at, milliseconds FROM log_recalls WHERE number = ?",
        (number,),
    ).fetchone()
    returned = connection.execute(
        "SELECT passage, position, score FROM log_returned WHERE recall = ? ORDER BY position",
        (number,),
    ).fetchall()
    rows = [(*name_passage(connection, rowid), *rest) for rowid, *rest in returned]
    return json.dumps({"recall": recall, "returned": rows}, ensure_ascii=False)


def _put(connection: sqlite3.Connection, namespace: str, id: str, record: Any) -> None:
    """Write a recall into a replica's log, without what is gone of it."""
    returned = [
        (rowid, position, score)
        for *name, position, score in record["returned"]
        if (rowid := find_passage(connection, *name)) is not None
    ]
    if not returned:
        return
    number = connection.execute(
        "INSERT INTO log_recalls (id, namespace, question, effort, asked_at, milliseconds) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (id, namespace, *record["recall"]),
    ).lastrowid
    connection.executemany(
        "INSERT INTO log_returned (recall, passage, position, score) VALUES (?, ?, ?, ?)",
        [(number, *row) for row in returned],
    )
