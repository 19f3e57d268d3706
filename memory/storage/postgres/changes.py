"""What happened to a store, carried between the server and a replica, row by row.

Both sides name a passage by its namespace and its id; the rowids of a replica are its own. A
change is a passage as it now is, with all its vectors, or that it is gone, each under the version
that the write gave it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hoptrail.errors import StoreError
from hoptrail.memory.passages import batches, provenance
from hoptrail.memory.storage import checksums, records, store_info
from hoptrail.memory.storage.namespaces import decode_namespace
from hoptrail.memory.storage.postgres import shared_tables
from hoptrail.memory.storage.postgres.generations import (
    GENERATION,
    generation_in_use,
    pull_generation,
)
from hoptrail.memory.storage.postgres.server_passages import server_passages
from hoptrail.memory.storage.postgres.shared_counts import (
    pull_counts,
    push_counts,
    watch_counts,
)
from hoptrail.memory.storage.postgres.shared_feedback import (
    pull_feedback,
    push_feedback,
    watch_feedback,
)
from hoptrail.memory.storage.postgres.shared_log import pull_log, push_log, watch_log
from hoptrail.memory.storage.postgres.shared_purge import pull_purge
from hoptrail.types import Link, Passage

if TYPE_CHECKING:
    from psycopg import Connection

SHARED = ("encoder", store_info.LANGUAGE, store_info.SINCE)
"""Keys of what a store says of itself that are the same for all who share it."""

_WATCH = (
    "CREATE TEMP TABLE IF NOT EXISTS merged_into (passage INTEGER PRIMARY KEY)",
    "DELETE FROM temp.merged_into",
    "CREATE TEMP TRIGGER IF NOT EXISTS merges_come AFTER INSERT ON main.merges BEGIN "
    "INSERT INTO merged_into VALUES (new.passage) ON CONFLICT DO NOTHING; END",
    "CREATE TEMP TRIGGER IF NOT EXISTS merges_go AFTER DELETE ON main.merges BEGIN "
    "INSERT INTO merged_into VALUES (old.passage) ON CONFLICT DO NOTHING; END",
)


def read_info(remote: Connection[Any]) -> dict[str, str]:
    """What the server says of the store: its encoder and its language, where they are settled.

    Args:
        remote: In a transaction.
    """
    return dict(remote.execute("SELECT key, value FROM hoptrail_meta").fetchall())


def pull(connection: sqlite3.Connection, remote: Connection[Any], version: int) -> None:
    """Bring a replica to the server's state, inside the transactions of both.

    Args:
        connection: The replica's, which writes.
        remote: In a transaction that sees one state.
        version: The server's in that state.
    """
    since = store_info.newest_version(connection)
    if since:  # else there is nothing to delete
        for stored, id_, number in remote.execute(
            "SELECT namespace, id, version FROM hoptrail_deletions WHERE version > %s "
            "ORDER BY version",
            (since,),
        ).fetchall():
            rowid_of = _rowids(connection, stored, [id_])
            if rowid_of:  # one that came and went in between was never here
                records.delete(connection, list(rowid_of.values()), number)
    info = read_info(remote)
    pull_purge(connection, remote, since, info)
    for row, vectors in server_passages(remote, since, generation_in_use(info)):
        _put(connection, row, vectors)
    if since:
        pull_generation(connection, remote, info)
    store_info.put_info(connection, GENERATION, str(generation_in_use(info)))
    pull_counts(connection, remote, info)
    pull_feedback(connection, remote, since)
    pull_log(connection, remote, since, info)
    for key in SHARED:
        if key in info and info[key] != store_info.get(connection, key):
            store_info.put_info(connection, key, info[key])
    store_info.put_info(connection, "version", str(version))


def _rowids(connection: sqlite3.Connection, stored: str, ids: Sequence[str]) -> dict[str, int]:
    """The rowids of ids in a namespace, as stored, expired or not."""
    return records.rowids(connection, stored, ids, -np.inf)


def _put(connection: sqlite3.Connection, row: Sequence[Any], vectors: Sequence[Any]) -> None:
    """Write a passage as the server has it."""
    stored, id_, version, title, text, metadata, links, merged, written_at, *times = row
    expires_at, document, valid_from, valid_until = times
    passage = Passage(
        id=id_,
        text=text,
        title=title,
        metadata=json.loads(metadata),
        namespace=decode_namespace(stored),
        links=tuple(Link(*link) for link in json.loads(links)),
        expires_at=expires_at,
        document=document,
        valid_from=valid_from,
        valid_until=valid_until,
    )
    old = _rowids(connection, stored, [id_]).get(id_)
    rowid = batches.put_passage(connection, passage, old, version, written_at)
    if vectors:
        records.put_vector(connection, rowid, np.stack(vectors))
    entries = json.loads(merged)
    if old is not None:
        connection.execute("DELETE FROM merges WHERE passage = ?", (rowid,))
    provenance.put_records(connection, rowid, (_json(entry) for entry in entries))


def watch(connection: sqlite3.Connection) -> None:
    """Have a replica take note of what a write changes without giving it a version.

    Args:
        connection: The replica's, which writes.
    """
    for statement in _WATCH:
        connection.execute(statement)
    watch_counts(connection)
    watch_feedback(connection)
    watch_log(connection)


def push(
    connection: sqlite3.Connection, remote: Connection[Any], since: int, info: dict[str, str]
) -> bool:
    """Write to the server what a replica's transaction has written; whether there was anything.

    Args:
        connection: The replica's, in the transaction.
        remote: In a transaction in which nobody else writes.
        since: The version before the replica's transaction.
        info: What the server says of the store; see `read_info`.
    """
    _version_merges(connection, since)
    with remote.cursor() as cursor:
        push_feedback(connection, cursor)
        push_log(connection, cursor, info)
    changed = store_info.newest_version(connection) != since
    for key in SHARED:
        value = store_info.get(connection, key)
        if value is not None and value != info.get(key):
            changed = True
            remote.execute(shared_tables.PUT_META, (key, value))
    graves = connection.execute(
        "SELECT namespace, id, version FROM tombstones WHERE version > ? ORDER BY version",
        (since,),
    ).fetchall()
    with remote.cursor() as cursor:
        if graves:
            cursor.executemany(
                "DELETE FROM hoptrail_passages WHERE namespace = %s AND id = %s",
                [grave[:2] for grave in graves],
            )
            cursor.executemany("INSERT INTO hoptrail_deletions VALUES (%s, %s, %s)", graves)
        for rowids in _parts(_written(connection, since)):
            keys = _push_passages(connection, cursor, rowids)
            cursor.executemany(
                "DELETE FROM hoptrail_vectors WHERE namespace = %s AND id = %s", keys.values()
            )
            cursor.executemany(
                shared_tables.PUT_VECTOR,
                [(*row, generation_in_use(info)) for row in _vectors(connection, keys)],
            )
        has_counts = push_counts(connection, cursor, info)
    return changed or has_counts


def _written(connection: sqlite3.Connection, since: int) -> list[int]:
    rows = connection.execute("SELECT rowid FROM passages WHERE version > ?", (since,))
    return [row[0] for row in rows]


def _parts(rowids: Sequence[int]) -> Iterator[Sequence[int]]:
    for part, _ in records.batches(rowids):
        yield part


def _version_merges(connection: sqlite3.Connection, since: int) -> None:
    """Give a new version to passages that took others in and were not written for it."""
    rows = connection.execute(
        "SELECT rowid FROM passages WHERE rowid IN (SELECT passage FROM temp.merged_into) "
        "AND version <= ?",
        (since,),
    ).fetchall()
    if not rows:
        return
    first = store_info.bump(connection, len(rows))
    for i, (rowid,) in enumerate(rows):
        connection.execute("UPDATE passages SET version = ? WHERE rowid = ?", (first + i, rowid))
    checksums.seal(connection, [row[0] for row in rows])


def _push_passages(
    connection: sqlite3.Connection, cursor: Any, rowids: Sequence[int]
) -> dict[int, tuple[str, str]]:
    """Write passages to the server; the namespace, as stored, and the id of each."""
    marks = ",".join("?" * len(rowids))
    merged: dict[int, list[Any]] = {}
    for rowid, record in connection.execute(
        f"SELECT passage, record FROM merges WHERE passage IN ({marks}) ORDER BY passage, position",
        rowids,
    ):
        merged.setdefault(rowid, []).append(json.loads(record))
    links: dict[int, list[Any]] = {}
    for rowid, *link in connection.execute(
        f"SELECT source, target, kind, weight FROM links WHERE source IN ({marks}) "
        "ORDER BY source, position",
        rowids,
    ):
        links.setdefault(rowid, []).append(link)
    rows = connection.execute(
        "SELECT rowid, namespace, id, version, title, text, metadata, written_at, expires_at, "
        f"document, valid_from, valid_until FROM passages WHERE rowid IN ({marks})",
        rowids,
    ).fetchall()
    cursor.executemany(
        shared_tables.PUT_PASSAGE,
        [
            (*row[1:7], _json(links.get(row[0], [])), _json(merged.get(row[0], [])), *row[7:])
            for row in rows
        ],
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def _vectors(
    connection: sqlite3.Connection, keys: dict[int, tuple[str, str]]
) -> Iterator[tuple[str, str, int, Any]]:
    """The rows of the vectors of passages, one for each vector."""
    width = store_info.width(store_info.get(connection, "encoder") or "")
    marks = ",".join("?" * len(keys))
    for rowid, blob in connection.execute(
        f"SELECT passage, vector FROM vectors WHERE passage IN ({marks})", list(keys)
    ):
        flat = np.frombuffer(blob, dtype="<f4").astype(np.float32)
        if not width or len(flat) % width:
            raise StoreError(f"the vectors of {keys[rowid][1]!r} have no whole number of values")
        for part, vector in enumerate(flat.reshape(-1, width)):
            yield *keys[rowid], part, vector


def _json(value: Iterable[Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
