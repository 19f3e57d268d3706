"""The tables that the graph owns in a store's file.

They name memory's rows and go with them: deleting a passage deletes, in the same transaction, what
it brought here. Edges are nowhere stored: they are joins of mentions with titles.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from hoptrail.memory.storage.schema import statements

OWNER = "graph"

PREFIX = "graph_"
"""Begins the names of the tables."""

RULES = 6
"""Counts up when the tables change, or what a text is found to hold. All is derived, so nothing is
carried over: a file with older rows starts anew, and the next sync reads every passage again."""

_SCHEMA = """
    DROP TABLE IF EXISTS graph_state;
    DROP TABLE IF EXISTS graph_lost;
    DROP TABLE IF EXISTS graph_gone;
    DROP TABLE IF EXISTS graph_entities;
    DROP TABLE IF EXISTS graph_mentions;
    DROP TABLE IF EXISTS graph_titles;
    DROP TABLE IF EXISTS graph_passages;
    DROP TABLE IF EXISTS graph_names;
    DROP TABLE IF EXISTS graph_words;

    -- The store's version that the rows below reflect, and a number that changes when they are
    -- built anew.
    CREATE TABLE graph_state (version INTEGER NOT NULL, epoch INTEGER NOT NULL);
    INSERT INTO graph_state VALUES (0, random());

    -- What some passage is called by in texts of its namespace. AUTOINCREMENT: a reader that
    -- remembers an id never finds another name under it.
    CREATE TABLE graph_names (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        head TEXT NOT NULL,  -- its first two words
        UNIQUE (namespace, name)
    );
    CREATE INDEX graph_names_head ON graph_names (namespace, head);

    CREATE TABLE graph_passages (
        passage INTEGER PRIMARY KEY REFERENCES passages (rowid) ON DELETE CASCADE,
        version INTEGER NOT NULL   -- the store's, when its rows here last changed
    );
    CREATE INDEX graph_passages_version ON graph_passages (version);

    -- Which passages a name may mean.
    CREATE TABLE graph_titles (
        passage INTEGER NOT NULL REFERENCES graph_passages (passage) ON DELETE CASCADE,
        name INTEGER NOT NULL,
        alias INTEGER NOT NULL,    -- 0 for the title, 1 for what else the passage is called by
        PRIMARY KEY (passage, name)
    ) WITHOUT ROWID;
    CREATE INDEX graph_titles_name ON graph_titles (name);

    CREATE TABLE graph_mentions (
        passage INTEGER NOT NULL REFERENCES graph_passages (passage) ON DELETE CASCADE,
        start INTEGER NOT NULL,
        "end" INTEGER NOT NULL,
        name INTEGER NOT NULL,
        PRIMARY KEY (passage, start)
    ) WITHOUT ROWID;
    CREATE INDEX graph_mentions_name ON graph_mentions (name);

    -- An entity has no row of its own: it exists while a mention does.
    CREATE TABLE graph_entities (
        passage INTEGER NOT NULL REFERENCES graph_passages (passage) ON DELETE CASCADE,
        start INTEGER NOT NULL,    -- -1 for the title
        "end" INTEGER NOT NULL,
        entity TEXT NOT NULL,
        PRIMARY KEY (passage, start)
    ) WITHOUT ROWID;

    -- Keys of words and pairs, to find the older passages that hold a new name (`name_index`). It
    -- keeps its content: without it, SQLite before 3.43 cannot delete.
    CREATE VIRTUAL TABLE graph_words USING fts5 (
        keys, detail=none, columnsize=0, tokenize="ascii"
    );

    -- Names that lost a passage since the last sync.
    CREATE TABLE graph_lost (name INTEGER PRIMARY KEY);

    -- Passages whose words the next sync takes out of the index: whoever deletes a passage does not
    -- touch what is derived from it and may be damaged.
    CREATE TABLE graph_gone (passage INTEGER PRIMARY KEY);

    CREATE TRIGGER graph_passages_deleted AFTER DELETE ON graph_passages BEGIN
        INSERT OR IGNORE INTO graph_gone VALUES (old.passage);
    END;
    CREATE TRIGGER graph_titles_deleted AFTER DELETE ON graph_titles BEGIN
        INSERT OR IGNORE INTO graph_lost VALUES (old.name);
    END;
"""

MIGRATIONS: tuple[str, ...] = (_SCHEMA,) * RULES


def reflected_version(connection: sqlite3.Connection) -> int:
    """The store's version that the rows reflect.

    Args:
        connection: The store's.

    Raises:
        sqlite3.DatabaseError: They do not say.
    """
    row = connection.execute("SELECT version FROM graph_state").fetchone()
    if row is None or not isinstance(row[0], int):
        raise sqlite3.DatabaseError("the state of the graph is malformed")
    return row[0]


def has_misdeclared_tables(connection: sqlite3.Connection) -> bool:
    """Whether the tables in a file are not declared as here.

    Args:
        connection: The store's.
    """
    query = (
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name GLOB 'graph_*' "
        "AND tbl_name NOT GLOB 'graph_words_*' ORDER BY name"
    )
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.execute("CREATE TABLE passages (namespace TEXT)")
        for statement in statements(_SCHEMA):
            fresh.execute(statement)
        return bool(fresh.execute(query).fetchall() != connection.execute(query).fetchall())
