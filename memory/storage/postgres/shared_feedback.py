"""Feedback, carried between the server and a replica: a judged recall is one record on the server.

A record names passages by namespace and id, and says what they held: where one is gone or holds
something else, what was said of it is left out, as it is in the file. Whoever changes a judged
recall, by judging it again or by deleting a passage that it returned, writes its record anew.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from hoptrail.memory.storage import schema, store_info
from hoptrail.memory.storage.feedback_tables import MIGRATIONS, OWNER, seal_feedback
from hoptrail.memory.storage.postgres import shared_tables
from hoptrail.memory.storage.postgres.change_notes import take_notes
from hoptrail.memory.storage.postgres.passage_names import find_passage, name_passage

if TYPE_CHECKING:
    from psycopg import Connection

_NOTE = "INSERT INTO changed_feedback {} ON CONFLICT DO NOTHING"
_OLD, _NEW = (_NOTE.format(f"VALUES ({row}.namespace, {row}.id)") for row in ("old", "new"))
_OF_RECALL = _NOTE.format("SELECT namespace, id FROM feedback_recalls WHERE number = old.recall")
_WATCHED = {
    "feedback_insert_recall": f"INSERT ON main.feedback_recalls BEGIN {_NEW}",
    "feedback_update_recall": f"UPDATE ON main.feedback_recalls BEGIN {_NEW}",
    "feedback_delete_recall": f"DELETE ON main.feedback_recalls BEGIN {_OLD}",
    "feedback_update_returned": f"UPDATE ON main.feedback_returned BEGIN {_OF_RECALL}",
    "feedback_delete_returned": f"DELETE ON main.feedback_returned BEGIN {_OF_RECALL}",
    "feedback_delete_trail": f"DELETE ON main.feedback_trails BEGIN {_OF_RECALL}",
}
_OF_A_RECALL = "question, filter, effort, explore, policy, version, asked_at, reward, rewarded_at"


def watch_feedback(connection: sqlite3.Connection) -> None:
    """Have a replica take note of the judged recalls that a write changes.

    Args:
        connection: The replica's, which writes.
    """
    take_notes(connection, "changed_feedback", OWNER, _WATCHED)


def push_feedback(connection: sqlite3.Connection, cursor: Any) -> None:
    """Write to the server what a replica's transaction has changed of judged recalls.

    Args:
        connection: The replica's, in the transaction, watched since it began.
        cursor: On the server, in a transaction in which nobody else writes.
    """
    keys = connection.execute("SELECT namespace, id FROM temp.changed_feedback").fetchall()
    if not keys:
        return
    first = store_info.bump(connection, len(keys))
    cursor.executemany(
        shared_tables.PUT_FEEDBACK,
        [(*key, first + i, _record(connection, key[1])) for i, key in enumerate(keys)],
    )


def pull_feedback(connection: sqlite3.Connection, remote: Connection[Any], since: int) -> None:
    """Bring the feedback of a replica to the server's state; the passages are there already.

    Args:
        connection: The replica's, which writes.
        remote: In a transaction that sees one state.
        since: The version that the replica had.
    """
    rows = remote.execute(shared_tables.READ_FEEDBACK, (since,)).fetchall()
    if not rows:
        return
    schema.migrate(connection, OWNER, MIGRATIONS, "the replica")
    for namespace, id_, record in rows:
        connection.execute("DELETE FROM feedback_recalls WHERE id = ?", (id_,))
        if record is not None:
            _put(connection, namespace, id_, json.loads(record))


def rewrite_feedback(connection: sqlite3.Connection, cursor: Any) -> None:
    """Leave nothing on the server of judged recalls, or of their parts, whose passages are gone.

    Args:
        connection: Of a replica that holds all that the server does.
        cursor: On the server, in a transaction in which nobody else writes.
    """
    rows = cursor.execute("SELECT namespace, id, record FROM hoptrail_feedback").fetchall()
    has_tables = schema.applied(connection, OWNER) > 0
    for namespace, id_, record in rows:
        left = _record(connection, id_) if has_tables else None
        if left is None:
            cursor.execute(
                "DELETE FROM hoptrail_feedback WHERE namespace = %s AND id = %s", (namespace, id_)
            )
        elif left != record:
            cursor.execute(
                "UPDATE hoptrail_feedback SET record = %s WHERE namespace = %s AND id = %s",
                (left, namespace, id_),
            )


def drop_feedback(connection: sqlite3.Connection, remote: Connection[Any]) -> None:
    """Delete from a replica the judged recalls that the server has not even a trace of.

    Args:
        connection: The replica's, which writes.
        remote: In a transaction that sees one state.
    """
    if schema.applied(connection, OWNER):
        there = {row[0] for row in remote.execute("SELECT id FROM hoptrail_feedback").fetchall()}
        for (id_,) in connection.execute("SELECT id FROM feedback_recalls").fetchall():
            if id_ not in there:
                connection.execute("DELETE FROM feedback_recalls WHERE id = ?", (id_,))


def _record(connection: sqlite3.Connection, id: str) -> str | None:
    """A judged recall as the server has it; None where it is gone."""
    recall = connection.execute(
        f"SELECT number, {_OF_A_RECALL} FROM feedback_recalls WHERE id = ?", (id,)
    ).fetchone()
    if recall is None:
        return None
    number, *columns = recall
    places: dict[int, int] = {}  # of passages in the record, by rowid
    returned = [
        (places.setdefault(rowid, len(places)), position, reward)
        for rowid, position, reward in connection.execute(
            "SELECT passage, position, reward FROM feedback_returned WHERE recall = ? "
            "ORDER BY position",
            (number,),
        )
    ]
    trails = [
        (
            *columns_of_trail,
            [
                places.setdefault(rowid, len(places))
                for (rowid,) in connection.execute(
                    "SELECT passage FROM feedback_hops WHERE trail = ? ORDER BY step", (trail,)
                )
            ],
        )
        for trail, *columns_of_trail in connection.execute(
            "SELECT number, place, stopped, log_prob, log_inclusion FROM feedback_trails "
            "WHERE recall = ? ORDER BY number",
            (number,),
        ).fetchall()
    ]
    record = {
        "recall": columns,
        "passages": [name_passage(connection, rowid) for rowid in places],
        "returned": returned,
        "trails": trails,
    }
    return json.dumps(record, ensure_ascii=False)


def _put(connection: sqlite3.Connection, namespace: str, id: str, record: Any) -> None:
    """Write a judged recall into a replica, without what is gone of it."""
    rowids = [find_passage(connection, *passage) for passage in record["passages"]]
    returned = [
        (rowids[place], position, reward)
        for place, position, reward in record["returned"]
        if rowids[place] is not None
    ]
    if not returned:
        return
    number = connection.execute(
        f"INSERT INTO feedback_recalls (id, namespace, {_OF_A_RECALL}) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (id, namespace, *record["recall"]),
    ).lastrowid
    connection.executemany(
        "INSERT INTO feedback_returned (recall, passage, position, reward) VALUES (?, ?, ?, ?)",
        [(number, *row) for row in returned],
    )
    for *columns, places in record["trails"]:
        hops = [rowids[place] for place in places]
        if None in hops:  # a trail without one of its passages is none
            continue
        trail = connection.execute(
            "INSERT INTO feedback_trails (recall, place, stopped, log_prob, log_inclusion) "
            "VALUES (?, ?, ?, ?, ?)",
            (number, *columns),
        ).lastrowid
        connection.executemany(
            "INSERT INTO feedback_hops (trail, step, passage) VALUES (?, ?, ?)",
            [(trail, step, rowid) for step, rowid in enumerate(hops)],
        )
    seal_feedback(connection, number)
