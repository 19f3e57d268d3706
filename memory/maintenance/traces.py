"""What a store keeps beside a passage, and what goes with it: feedback, log, counts, merges.

All of it is deleted in the transaction that deletes the passage or writes over its text. Whoever
may take that back looks first (`traces_of`), and brings it back afterwards (`restore_judgements`,
and `restore_counts` for a passage that was deleted).

Passages have other rowids when they return, and others may have changed meanwhile. Rows are joined
to them by namespace and id again, and only where they say what they said: a trail one of whose
passages is gone or says something else stays gone, as what was forgotten on purpose does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hoptrail.memory.passages import provenance, versions
from hoptrail.memory.storage import feedback_tables, log_tables, records, schema
from hoptrail.memory.storage.namespaces import Scope, ScopeLike
from hoptrail.memory.store import Store
from hoptrail.types import Passage

if TYPE_CHECKING:
    from sqlite3 import Connection

Row = dict[str, Any]
"""A row of a table, by column."""
Content = tuple[str, str, str | None, str]
"""Of a passage: its namespace as it is stored, id, title and text."""


@dataclass(frozen=True, slots=True)
class PassageTraces:
    """Passages, and what a store keeps of them beside them."""

    passages: tuple[Passage, ...]
    """The passage, then what it said before (`keep_history`), which goes with it."""
    contents: Mapping[int, Content]
    """By rowid, of these and of all that their trails read."""
    rows: Mapping[str, Sequence[Row]]
    """By table, those that go with them."""


def traces_of(store: Store, id: str, namespace: ScopeLike = ()) -> PassageTraces:
    """A passage, with what it said before, and what is kept of both.

    Counts of recalls that wait to be written (`store.recorder.flush()`) are not among it.

    Args:
        store: Holds it.
        id: The passage's.
        namespace: Exactly the passage's.

    Raises:
        UnknownId: It is not there.
    """
    place = Scope.parse(namespace)
    store.get(id, place.at("ever"))
    with store.reading() as connection:
        [rowid] = _rowids(connection, place.encoded, id)
        rowids = versions.with_earlier(connection, [rowid])
        rows = {**_feedback_rows(connection, rowids), **_log_rows(connection, rowids)}
        for table in ("statistics", "merges"):
            rows[table] = _select(connection, table, "passage", rowids)
        named = {*rowids, *(row["passage"] for row in rows["feedback_hops"])}
        contents = {
            row["rowid"]: (row["namespace"], row["id"], row["title"], row["text"])
            for row in _select(connection, "passages", "rowid", sorted(named))
        }
        passages = records.passages_at(connection, rowids)
    return PassageTraces(tuple(passages[row] for row in rowids if row in passages), contents, rows)


def restore_judgements(store: Store, traces: PassageTraces) -> None:
    """Bring back what was said of passages that say again what they said, and the log of them.

    Feedback that was given since on the same recall stays. Nothing comes to a log that is kept no
    more.

    Args:
        store: Holds the passages again.
        traces: As they were.
    """
    with store.transaction() as connection:
        rowid_of = {
            old: rowid
            for old, content in traces.contents.items()
            for rowid in _rowids(connection, *content[:2], content[2:])
        }
        _restore_feedback(connection, traces.rows, rowid_of)
        _restore_log(connection, traces.rows, rowid_of)


def restore_counts(store: Store, traces: PassageTraces) -> None:
    """Bring back what was counted of passages that were deleted, and what was merged into them.

    Args:
        store: Holds the passages again, as new ones.
        traces: As they were.
    """
    with store.transaction() as connection:
        for row in traces.rows["statistics"]:
            for rowid in _rowids(connection, *traces.contents[row["passage"]][:2]):
                connection.execute(
                    "UPDATE statistics SET added_at = ?, updates = ?, recalls = recalls + ?, "
                    "recalled_at = max(coalesce(recalled_at, ?), ?) WHERE passage = ?",
                    (
                        *(row[name] for name in ("added_at", "updates", "recalls")),
                        *(row["recalled_at"], row["recalled_at"]),
                        rowid,
                    ),
                )
        by_passage: dict[int, list[str]] = {}
        for row in traces.rows["merges"]:
            by_passage.setdefault(row["passage"], []).append(row["record"])
        for old, entries in by_passage.items():
            for rowid in _rowids(connection, *traces.contents[old][:2]):
                provenance.put_records(connection, rowid, entries)


def _feedback_rows(connection: Connection, rowids: Sequence[int]) -> dict[str, list[Row]]:
    """The rows of feedback that go with passages, and the recalls that they belong to."""
    names = ("feedback_returned", "feedback_hops", "feedback_trails", "feedback_recalls")
    if not schema.applied(connection, feedback_tables.OWNER):
        return {name: [] for name in names}
    returned = _select(connection, "feedback_returned", "passage", rowids)
    read = {row["trail"] for row in _select(connection, "feedback_hops", "passage", rowids)}
    trails = _select(connection, "feedback_trails", "number", sorted(read))
    hops = _select(connection, "feedback_hops", "trail", sorted(read))
    numbers = {row["recall"] for row in (*returned, *trails)}
    recalls = _select(connection, "feedback_recalls", "number", sorted(numbers))
    return dict(zip(names, (returned, hops, trails, recalls), strict=True))


def _log_rows(connection: Connection, rowids: Sequence[int]) -> dict[str, list[Row]]:
    """The rows of the log of recalls that go with passages, and the recalls that they belong to."""
    if not schema.applied(connection, log_tables.OWNER):
        return {"log_returned": [], "log_recalls": []}
    returned = _select(connection, "log_returned", "passage", rowids)
    numbers = sorted({row["recall"] for row in returned})
    recalls = _select(connection, "log_recalls", "number", numbers)
    return {"log_returned": returned, "log_recalls": recalls}


def _restore_feedback(
    connection: Connection, rows: Mapping[str, Sequence[Row]], rowid_of: Mapping[int, int]
) -> None:
    if not rows["feedback_recalls"]:
        return
    returned = [row for row in rows["feedback_returned"] if row["passage"] in rowid_of]
    number_of = _recalls(connection, "feedback_recalls", rows["feedback_recalls"], returned)
    for row in returned:
        _insert(connection, "feedback_returned", _joined(row, number_of, rowid_of))
    hops: dict[int, list[Row]] = {}
    for row in rows["feedback_hops"]:
        hops.setdefault(row["trail"], []).append(row)
    for trail in rows["feedback_trails"]:
        steps = hops[trail["number"]]
        recall = number_of.get(trail["recall"])
        if recall is None or any(step["passage"] not in rowid_of for step in steps):
            continue
        if connection.execute(
            "SELECT 1 FROM feedback_trails WHERE recall = ? AND place = ?", (recall, trail["place"])
        ).fetchone():
            continue
        number = _insert(connection, "feedback_trails", {**trail, "recall": recall, "number": None})
        for step in steps:
            new = {**step, "trail": number, "passage": rowid_of[step["passage"]]}
            _insert(connection, "feedback_hops", new)
    for number in number_of.values():
        feedback_tables.seal_feedback(connection, number)


def _restore_log(
    connection: Connection, rows: Mapping[str, Sequence[Row]], rowid_of: Mapping[int, int]
) -> None:
    if not rows["log_recalls"]:
        return
    returned = [row for row in rows["log_returned"] if row["passage"] in rowid_of]
    number_of = _recalls(connection, "log_recalls", rows["log_recalls"], returned)
    for row in returned:
        _insert(connection, "log_returned", _joined(row, number_of, rowid_of))
    log_tables.cut_log(connection)


def _recalls(
    connection: Connection, table: str, recalls: Iterable[Row], returned: Iterable[Row]
) -> dict[int, int]:
    """The numbers that recalls have now, by what they had; those that went are written again."""
    number_of: dict[int, int] = {}
    needed = {row["recall"] for row in returned}
    for row in recalls:
        existing = connection.execute(
            f"SELECT number FROM {table} WHERE id = ?", (row["id"],)
        ).fetchone()
        if existing is not None:
            number_of[row["number"]] = existing[0]
        elif row["number"] in needed:
            another = connection.execute(
                f"SELECT 1 FROM {table} WHERE number = ?", (row["number"],)
            ).fetchone()
            number_of[row["number"]] = _insert(
                connection, table, {**row, "number": None} if another else row
            )
    return number_of


def _joined(row: Row, number_of: Mapping[int, int], rowid_of: Mapping[int, int]) -> Row:
    return {**row, "recall": number_of[row["recall"]], "passage": rowid_of[row["passage"]]}


def _rowids(
    connection: Connection, namespace: str, id: str, says: tuple[str | None, str] | None = None
) -> list[int]:
    """The rowid of a passage, if it is there and, where that is given, says this."""
    rows = connection.execute(
        "SELECT rowid, title, text FROM passages WHERE namespace = ? AND id = ?", (namespace, id)
    ).fetchall()
    return [rowid for rowid, *content in rows if says is None or tuple(content) == says]


def _select(connection: Connection, table: str, column: str, values: Sequence[int]) -> list[Row]:
    """The rows of a table whose column has one of these values, in their order."""
    out: list[Row] = []
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    names = [column, *(name for name in names if name != column)]
    for part, marks in records.batches(values):
        rows = connection.execute(
            f"SELECT {', '.join(names)} FROM {table} WHERE {column} IN ({marks})", part
        )
        out += [dict(zip(names, row, strict=True)) for row in rows]
    return out


def _insert(connection: Connection, table: str, row: Row) -> int:
    """Write a row unless there is one of its key; its number, where the table numbers its rows."""
    cursor = connection.execute(
        f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
        tuple(row.values()),
    )
    return cursor.lastrowid or 0
