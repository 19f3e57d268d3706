"""The tables of feedback in a store's file.

Each row has a checksum, which `verify` compares; `repair` deletes a recall one of whose rows is not
as it was written, since nothing is to be learned from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoptrail.memory.storage import checksums

if TYPE_CHECKING:
    from sqlite3 import Connection

    from hoptrail.memory.storage import schema

OWNER = "feedback"

CHECKED = {
    "feedback_recalls": (
        "number",
        "id, namespace, question, filter, effort, explore, policy, version, asked_at, reward, "
        "rewarded_at",
        "number",
    ),
    "feedback_returned": ("recall, position", "passage, reward", "recall"),
    "feedback_trails": ("number", "recall, place, stopped, log_prob, log_inclusion", "recall"),
    "feedback_hops": (
        "trail, step",
        "passage",
        "(SELECT recall FROM feedback_trails WHERE number = trail)",
    ),
}
"""Each table with its key, the other columns that its checksum covers, and the recall of a row."""


def _add_checksums(connection: Connection) -> None:
    """Give the tables their checksums, those of the rows that are there too: a migration."""
    for table in CHECKED:
        connection.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER")
    seal_feedback(connection)


MIGRATIONS: tuple[schema.Migration, ...] = (
    """
    CREATE TABLE feedback_recalls (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        namespace TEXT NOT NULL,      -- the scope that was asked
        question TEXT NOT NULL,
        filter TEXT,
        effort TEXT NOT NULL,
        explore INTEGER,
        policy TEXT NOT NULL,
        version INTEGER NOT NULL,     -- the store's
        asked_at REAL NOT NULL,
        reward REAL,                  -- of the recall as a whole
        rewarded_at REAL NOT NULL
    );
    CREATE INDEX feedback_recalls_namespace ON feedback_recalls (namespace);

    CREATE TABLE feedback_returned (
        recall INTEGER NOT NULL REFERENCES feedback_recalls (number) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        passage INTEGER NOT NULL REFERENCES passages (rowid) ON DELETE CASCADE,
        reward REAL,
        PRIMARY KEY (recall, position)
    ) WITHOUT ROWID;
    CREATE INDEX feedback_returned_passage ON feedback_returned (passage);

    CREATE TABLE feedback_trails (
        number INTEGER PRIMARY KEY,
        recall INTEGER NOT NULL REFERENCES feedback_recalls (number) ON DELETE CASCADE,
        place INTEGER NOT NULL,
        stopped INTEGER NOT NULL,
        log_prob REAL NOT NULL,
        log_inclusion REAL            -- NULL where nothing was drawn
    );
    CREATE INDEX feedback_trails_recall ON feedback_trails (recall);

    CREATE TABLE feedback_hops (
        trail INTEGER NOT NULL REFERENCES feedback_trails (number) ON DELETE CASCADE,
        step INTEGER NOT NULL,
        passage INTEGER NOT NULL REFERENCES passages (rowid) ON DELETE CASCADE,
        PRIMARY KEY (trail, step)
    ) WITHOUT ROWID;
    CREATE INDEX feedback_hops_passage ON feedback_hops (passage);

    -- A trail without one of its passages is no trail.
    CREATE TRIGGER feedback_hops_deleted AFTER DELETE ON feedback_hops BEGIN
        DELETE FROM feedback_trails WHERE number = old.trail;
    END;
    CREATE TRIGGER feedback_returned_deleted AFTER DELETE ON feedback_returned
    WHEN NOT EXISTS (SELECT 1 FROM feedback_returned WHERE recall = old.recall) BEGIN
        DELETE FROM feedback_recalls WHERE number = old.recall;
    END;
    -- What was said was said of the old text.
    CREATE TRIGGER feedback_rewritten AFTER UPDATE OF title, text ON passages
    WHEN old.text IS NOT new.text OR old.title IS NOT new.title BEGIN
        DELETE FROM feedback_hops WHERE passage = old.rowid;
        DELETE FROM feedback_returned WHERE passage = old.rowid;
    END;
    """,
    _add_checksums,
)


def seal_feedback(connection: Connection, recall: int | None = None) -> None:
    """Write the checksums of a recall's rows as they now are.

    Args:
        connection: The store's, in a write transaction.
        recall: Its number; all of them by default.
    """
    for table, (key, columns, recall_of) in CHECKED.items():
        names = key.split(", ")
        where = "" if recall is None else f" WHERE {recall_of} = {recall:d}"
        rows = connection.execute(f"SELECT {key}, {columns} FROM {table}{where}").fetchall()
        connection.executemany(
            f"UPDATE {table} SET checksum = ? WHERE {' AND '.join(f'{n} = ?' for n in names)}",
            [(checksums.of_row(row), *row[: len(names)]) for row in rows],
        )
