"""A store that was made and never written to: what a command that failed leaves behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from hoptrail.memory.storage import store_info


def discard(path: Path) -> bool:
    """Remove a store's file if nothing was ever written to it and nobody else has it open.

    Args:
        path: The store's, which is closed.
    """
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            # Out of the write-ahead log, which SQLite refuses while somebody else is connected.
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("BEGIN EXCLUSIVE")
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and store_info.newest_version(connection):
                return False
            path.unlink()
            return True
    except (sqlite3.Error, OSError):
        return False
