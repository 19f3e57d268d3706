"""The tables of a log of recalls in a store's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite3 import Connection

    from hoptrail.memory.storage import schema

OWNER = "recall_log"

MIGRATIONS: tuple[schema.Migration, ...] = (
    """
    CREATE TABLE log_bound (kept INTEGER NOT NULL);  -- one row: how many recalls are kept
    INSERT INTO log_bound VALUES (0);

    CREATE TABLE log_recalls (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        namespace TEXT NOT NULL,      -- the scope that was asked
        question TEXT NOT NULL,
        effort TEXT NOT NULL,
        asked_at REAL NOT NULL,
        milliseconds REAL NOT NULL
    );
    CREATE INDEX log_recalls_namespace ON log_recalls (namespace);

    CREATE TABLE log_returned (
        recall INTEGER NOT NULL REFERENCES log_recalls (number) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        passage INTEGER NOT NULL REFERENCES passages (rowid) ON DELETE CASCADE,
        score REAL NOT NULL,
        PRIMARY KEY (recall, position)
    ) WITHOUT ROWID;
    CREATE INDEX log_returned_passage ON log_returned (passage);

    CREATE TRIGGER log_returned_deleted AFTER DELETE ON log_returned
    WHEN NOT EXISTS (SELECT 1 FROM log_returned WHERE recall = old.recall) BEGIN
        DELETE FROM log_recalls WHERE number = old.recall;
    END;
    -- What came back was the old text.
    CREATE TRIGGER log_rewritten AFTER UPDATE OF title, text ON passages
    WHEN old.text IS NOT new.text OR old.title IS NOT new.title BEGIN
        DELETE FROM log_returned WHERE passage = old.rowid;
    END;
    """,
)


def cut_log(connection: Connection) -> None:
    """Delete the oldest recalls beyond as many as are kept.

    Args:
        connection: The store's, in a write transaction.
    """
    connection.execute(
        "DELETE FROM log_recalls WHERE number NOT IN (SELECT number FROM log_recalls "
        "ORDER BY number DESC LIMIT (SELECT kept FROM log_bound))"
    )
