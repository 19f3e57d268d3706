"""The tables of a store's file as an ordered list of migrations, and how such lists run.

Others keep tables of their own in the same file: an owner has its own list, which `Store.migrate`
applies. Every row that says something of a passage belongs to it:

    passage INTEGER NOT NULL REFERENCES passages (rowid) ON DELETE CASCADE

Then it goes in the transaction that deletes the passage, whoever deletes it and why (`delete`,
`forget`, expiry); `verify` names a row whose passage is not there, `repair` removes it; `purge`
erases its bytes, those of a word index (FTS5) too; `backup` copies it. A row about several
passages has a table of its own beside it with a row for each of them, and a trigger on that one
where it should go with the last. Whatever quotes a passage elsewhere, as text or by id inside of
JSON, nobody would find.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from hoptrail.errors import SchemaMismatch
from hoptrail.memory.storage import checksums

APPLICATION_ID = 0x686F7074
"""`hopt` in SQLite's header: says that a database is a store of ours."""

OWNER = "memory"

Migration = str | Callable[[sqlite3.Connection], None]
"""A script, or what SQL alone cannot do; inside the transaction of the whole list."""

# Applied once each, in this order. One that was released is never edited: a change is a new one.
MIGRATIONS: tuple[Migration, ...] = (
    """
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    INSERT INTO meta VALUES ('version', '0');

    -- AUTOINCREMENT: a rowid is never given twice, so that what is derived from a passage which is
    -- gone can never be taken for another's.
    CREATE TABLE passages (
        rowid INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        id TEXT NOT NULL,
        title TEXT,
        text TEXT NOT NULL,
        metadata TEXT NOT NULL,
        written_at REAL NOT NULL,
        version INTEGER NOT NULL,
        UNIQUE (namespace, id)
    );
    CREATE UNIQUE INDEX passages_version ON passages (version);

    CREATE TABLE links (
        source INTEGER NOT NULL REFERENCES passages (rowid) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        target TEXT NOT NULL,
        kind TEXT NOT NULL,
        weight REAL NOT NULL,
        PRIMARY KEY (source, position)
    ) WITHOUT ROWID;
    CREATE INDEX links_target ON links (target);

    CREATE TABLE vectors (
        passage INTEGER PRIMARY KEY REFERENCES passages (rowid) ON DELETE CASCADE,
        vector BLOB NOT NULL
    );

    CREATE TABLE tombstones (
        version INTEGER PRIMARY KEY,
        passage INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        id TEXT NOT NULL
    );

    CREATE TABLE snapshots (
        namespace TEXT PRIMARY KEY,
        file TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        version INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE passages ADD COLUMN expires_at REAL;
    CREATE INDEX passages_expires ON passages (expires_at) WHERE expires_at IS NOT NULL;

    -- SHA-256 of contents that were deleted or written over since the last purge: what is derived
    -- from a content and kept by its hash, in other files, can then be found and erased.
    CREATE TABLE erased (content BLOB PRIMARY KEY) WITHOUT ROWID;
    -- A store that was written to before has none of those from then.
    INSERT INTO meta SELECT 'unrecorded', '1' FROM meta WHERE key = 'version' AND value != '0';
    """,
    """
    -- The document that a passage is a part of: given anew, it is replaced whole.
    ALTER TABLE passages ADD COLUMN document TEXT;
    CREATE INDEX passages_document ON passages (namespace, document) WHERE document IS NOT NULL;
    """,
    checksums.add_checksums,
    """
    -- When what a passage says holds. Few passages say so, and the indexes hold those only: who
    -- begins or ends next, and how many of a namespace have ended.
    ALTER TABLE passages ADD COLUMN valid_from REAL;
    ALTER TABLE passages ADD COLUMN valid_until REAL;
    CREATE INDEX passages_valid_from ON passages (valid_from, namespace)
        WHERE valid_from IS NOT NULL;
    CREATE INDEX passages_valid_until ON passages (valid_until, namespace)
        WHERE valid_until IS NOT NULL;
    CREATE INDEX passages_ended ON passages (namespace, valid_until)
        WHERE valid_until IS NOT NULL;
    """,
)


STATISTICS = "statistics"
"""Owns what is counted of passages: apart from the store's own tables, so that a version which does
not know it can use the file all the same."""

STATISTICS_MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE statistics (
        passage INTEGER PRIMARY KEY REFERENCES passages (rowid) ON DELETE CASCADE,
        added_at REAL,
        updates INTEGER NOT NULL DEFAULT 0,
        recalls INTEGER NOT NULL DEFAULT 0,
        recalled_at REAL
    );
    CREATE TRIGGER statistics_added AFTER INSERT ON passages BEGIN
        INSERT INTO statistics (passage, added_at) VALUES (new.rowid, new.written_at);
    END;
    CREATE TRIGGER statistics_updated
    AFTER UPDATE OF text, title, metadata, expires_at ON passages
    WHEN (old.text, old.title, old.metadata, old.expires_at)
        IS NOT (new.text, new.title, new.metadata, new.expires_at)
    BEGIN
        INSERT INTO statistics (passage, updates) VALUES (new.rowid, 1)
        ON CONFLICT (passage) DO UPDATE SET updates = updates + 1;
    END;
    """,
)

MERGES = "merges"
"""Owns what passages keep of the duplicates that were merged into them."""

MERGES_MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE merges (
        passage INTEGER NOT NULL REFERENCES passages (rowid) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        record TEXT NOT NULL,
        checksum INTEGER,
        PRIMARY KEY (passage, position)
    ) WITHOUT ROWID;
    """,
)

REENCODING = "reencoding"
"""Owns what a change of encoder keeps until it is done. Its tables are made when one begins and go
when it ends: at other times a file has none of them, and costs nothing for them."""

REENCODING_MIGRATIONS: tuple[str, ...] = (
    """
    -- The same as `vectors`, whose place it takes.
    CREATE TABLE next_vectors (
        passage INTEGER PRIMARY KEY REFERENCES passages (rowid) ON DELETE CASCADE,
        vector BLOB NOT NULL,
        checksum INTEGER
    );
    CREATE TABLE unencoded (
        passage INTEGER PRIMARY KEY REFERENCES passages (rowid) ON DELETE CASCADE
    );
    -- Whoever writes a passage's content writes its vector, also a version of hoptrail that knows
    -- nothing of this.
    CREATE TRIGGER vectors_written AFTER INSERT ON vectors BEGIN
        INSERT INTO unencoded VALUES (new.passage) ON CONFLICT DO NOTHING;
        DELETE FROM next_vectors WHERE passage = new.passage;
    END;
    """,
)

LISTS: tuple[tuple[str, tuple[Migration, ...]], ...] = (
    (OWNER, MIGRATIONS),
    (STATISTICS, STATISTICS_MIGRATIONS),
    (MERGES, MERGES_MIGRATIONS),
)
"""What every store has that may be written to, by owner."""


def applied(connection: sqlite3.Connection, owner: str) -> int:
    """How many of an owner's migrations the file has seen."""
    row = connection.execute("SELECT steps FROM migrations WHERE owner = ?", (owner,)).fetchone()
    return int(row[0]) if row else 0


def check_schema_version(steps: int, newest: int, owner: str, where: str) -> None:
    """Refuse a file whose tables are newer than this code.

    Raises:
        SchemaMismatch: It has seen more migrations than this version knows.
    """
    if steps > newest:
        raise SchemaMismatch(
            f"{where} has schema {steps} of {owner!r} and this hoptrail knows {newest}: "
            "it was written by a newer version, install that one"
        )


def migrate(
    connection: sqlite3.Connection, owner: str, migrations: Sequence[Migration], where: str
) -> None:
    """Apply what is new of an owner's list, inside the caller's transaction."""
    steps = applied(connection, owner)
    check_schema_version(steps, len(migrations), owner, where)
    if steps == len(migrations):
        return
    for script in migrations[steps:]:
        if not isinstance(script, str):
            script(connection)
            continue
        for statement in statements(script):
            connection.execute(statement)
    connection.execute(
        "INSERT INTO migrations VALUES (?, ?) "
        "ON CONFLICT (owner) DO UPDATE SET steps = excluded.steps",
        (owner, len(migrations)),
    )


SPARE = ("vectors", "snapshots", "erased")
"""Tables that may be made anew, empty: what they hold is derived, or can be spared."""


def misdeclared_tables(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Kind, name and right declaration of what the store's own tables lack, or declare otherwise.

    Vectors may be declared otherwise: a change of encoder puts another table in their place.
    """
    query = "SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL"
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.execute("CREATE TABLE migrations (owner TEXT PRIMARY KEY, steps INTEGER NOT NULL)")
        for owner, migrations in LISTS:
            migrate(fresh, owner, migrations[: applied(connection, owner)], "")
        expected = {name: (kind, sql) for name, kind, sql in fresh.execute(query)}
    declared = {name: sql for name, _, sql in connection.execute(query)}
    return [
        (kind, name, sql)
        for name, (kind, sql) in expected.items()
        if name not in ("migrations", "sqlite_sequence")
        and declared.get(name) != sql
        and not (name == "vectors" and name in declared)
    ]


def drop_tables(
    connection: sqlite3.Connection, names: Sequence[str], *, readable: bool = True
) -> None:
    """Drop tables and all that is theirs, in a transaction.

    Args:
        connection: The store's.
        names: Of the tables.
        readable: Whether SQLite can follow their pages. It would give those of a damaged one free
            that are another's; such a one is only struck off the list of tables, and what was its
            is lost until the file is compacted.
    """
    struck = [name for name in names if not (readable and _dropped(connection, name))]
    if not struck:
        return
    connection.execute("PRAGMA writable_schema=ON")
    for name in struck:
        connection.execute("DELETE FROM sqlite_master WHERE tbl_name = ?", (name,))
    connection.execute("PRAGMA writable_schema=RESET")


def _dropped(connection: sqlite3.Connection, name: str) -> bool:
    """Drop a table; False if SQLite cannot."""
    connection.execute("SAVEPOINT dropping")
    try:
        connection.execute(f'DROP TABLE IF EXISTS "{name}"')
    except sqlite3.DatabaseError:
        connection.execute("ROLLBACK TO dropping")
        return False
    finally:
        connection.execute("RELEASE dropping")
    return True


def mend(connection: sqlite3.Connection) -> list[str]:
    """Make anew what is missing or declared otherwise and can be spared; the names."""
    mended = []
    for kind, name, declaration in misdeclared_tables(connection):
        if kind != "table" or name in SPARE:
            connection.execute(f'DROP {kind} IF EXISTS "{name}"')
            connection.execute(declaration)
            mended.append(f"the {kind} {name}")
    return mended


def forget_owner(
    connection: sqlite3.Connection, owner: str, prefix: str, *, readable: bool = True
) -> None:
    """Drop an owner's tables, whose names begin alike, as if it had never had any."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB ? "
        "ORDER BY sql NOT LIKE 'CREATE VIRTUAL%'",  # before those that SQLite keeps for them
        (f"{prefix}*",),
    ).fetchall()
    drop_tables(connection, [row[0] for row in rows], readable=readable)
    connection.execute("DELETE FROM migrations WHERE owner = ?", (owner,))


def remove_orphans(connection: sqlite3.Connection) -> int:
    """Delete the rows, of any owner, that belong to a row which is not there; how many."""
    removed = 0
    while orphans := {(row[0], row[3]) for row in connection.execute("PRAGMA foreign_key_check")}:
        gone = 0
        for table, number in sorted(orphans):
            keys = connection.execute(f'PRAGMA foreign_key_list("{table}")').fetchall()
            parent, column, target = next(key[2:5] for key in keys if key[0] == number)
            gone += connection.execute(
                f'DELETE FROM "{table}" WHERE "{column}" NOT IN '
                f'(SELECT "{target or "rowid"}" FROM "{parent}")'
            ).rowcount
        if not gone:
            break  # a key of several columns, which none of ours is
        removed += gone
    return removed


def statements(script: str) -> Iterator[str]:
    """The statements of a script; `executescript` would commit the transaction around it."""
    pending = ""
    for part in script.split(";"):
        pending += part + ";"
        if sqlite3.complete_statement(pending):  # else the semicolon was inside a string
            yield pending
            pending = ""
    if pending.strip(" \t\r\n;"):
        yield pending
