"""The tables of a store in PostgreSQL, in the schema that `search_path` names first.

A passage is a row of `hoptrail_passages`, with its links and what was merged into it as JSON, and
its vectors are rows of `hoptrail_vectors`: the first is that of the passage as a whole, those after
it are of the windows of a long text. Those of the next encoder are another generation of them.
`hoptrail_head` is one row, which every writer locks and gives
a new version and a new token; `hoptrail_commits` keeps the tokens, so that a replica can tell
whether what it holds is a past of what the server holds now. `hoptrail_feedback` has a record for
each recall that was judged, null where it was forgotten, `hoptrail_log` one for each recall in the
log, and `hoptrail_counts` what is counted of each passage. All is standard SQL with the type
`vector` of pgvector, and every table of passages begins its key with the namespace.

Row-level security is on from the beginning. The role that made the tables sees everything; another
one sees and writes the namespaces that `hoptrail_grants` gives it, and what is kept of the recalls
that it asked or judged itself.
"""

from __future__ import annotations

TABLES = 5
"""The form of the tables; a higher one was made by a newer version."""

_SECURED = ("hoptrail_passages", "hoptrail_vectors", "hoptrail_deletions")
"""The tables of which a role sees the rows of its namespaces."""


def _secure(table: str, more: str = "") -> tuple[str, str]:
    """What lets a role see and write the rows of the namespaces that it was granted, and more."""
    granted = (
        "EXISTS (SELECT 1 FROM hoptrail_grants g WHERE g.role_name = current_user "
        f"AND left({table}.namespace, length(g.namespace)) = g.namespace) {more}"
    )
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY hoptrail_namespaces ON {table} USING ({granted}) WITH CHECK ({granted})",
    )


_FEEDBACK = (
    """
    CREATE TABLE hoptrail_feedback (
        namespace TEXT COLLATE "C" NOT NULL,
        id TEXT COLLATE "C" NOT NULL,
        version BIGINT NOT NULL,
        role_name TEXT NOT NULL DEFAULT current_user,
        record TEXT,
        PRIMARY KEY (namespace, id)
    )
    """,
    "CREATE INDEX hoptrail_feedback_version ON hoptrail_feedback (version)",
    *_secure("hoptrail_feedback", "OR role_name = current_user"),
)
"""The tables that form 2 has and form 1 had not."""

_LOG = (
    """
    CREATE TABLE hoptrail_log (
        namespace TEXT COLLATE "C" NOT NULL,
        id TEXT COLLATE "C" NOT NULL,
        version BIGINT NOT NULL,
        role_name TEXT NOT NULL DEFAULT current_user,
        record TEXT NOT NULL,
        PRIMARY KEY (namespace, id)
    )
    """,
    "CREATE INDEX hoptrail_log_version ON hoptrail_log (version)",
    *_secure("hoptrail_log", "OR role_name = current_user"),
)
"""The tables that form 3 has and form 2 had not."""

_COUNTS = (
    """
    CREATE TABLE hoptrail_counts (
        namespace TEXT COLLATE "C" NOT NULL,
        id TEXT COLLATE "C" NOT NULL,
        number BIGINT NOT NULL,
        added_at DOUBLE PRECISION,
        updates BIGINT NOT NULL,
        recalls BIGINT NOT NULL,
        recalled_at DOUBLE PRECISION,
        PRIMARY KEY (namespace, id),
        FOREIGN KEY (namespace, id) REFERENCES hoptrail_passages ON DELETE CASCADE
    )
    """,
    "CREATE INDEX hoptrail_counts_number ON hoptrail_counts (number)",
    *_secure("hoptrail_counts"),
)
"""The tables that form 4 has and form 3 had not."""

_NEVER_COUNTED = (
    "INSERT INTO hoptrail_counts SELECT namespace, id, 1, NULL, 0, 0, NULL FROM hoptrail_passages",
    "INSERT INTO hoptrail_meta VALUES ('counted', '1')",
    "UPDATE hoptrail_head SET token = md5(random()::text)",
    "INSERT INTO hoptrail_commits SELECT token, version FROM hoptrail_head",
)
"""Of passages that were there before anything was counted, nothing is known; replicas made up
something, and are told so by a commit of its own."""

_GENERATIONS = (
    "ALTER TABLE hoptrail_vectors ADD COLUMN IF NOT EXISTS generation INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE hoptrail_vectors DROP CONSTRAINT IF EXISTS hoptrail_vectors_pkey",
    "ALTER TABLE hoptrail_vectors ADD PRIMARY KEY (namespace, id, generation, part)",
    "CREATE INDEX IF NOT EXISTS hoptrail_vectors_generation ON hoptrail_vectors (generation)",
)
"""What form 5 has and form 4 had not: vectors of the next encoder beside those in use."""

UPGRADES = (_FEEDBACK, _LOG, (*_COUNTS, *_NEVER_COUNTED), _GENERATIONS)
"""What makes each form out of the one before, the second first."""

CREATE = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    """
    CREATE TABLE hoptrail_head (
        one SMALLINT PRIMARY KEY CHECK (one = 1),
        store TEXT NOT NULL,
        tables SMALLINT NOT NULL,
        version BIGINT NOT NULL,
        token TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE hoptrail_commits (
        token TEXT PRIMARY KEY,
        version BIGINT NOT NULL
    )
    """,
    """
    CREATE TABLE hoptrail_meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE hoptrail_passages (
        namespace TEXT COLLATE "C" NOT NULL,
        id TEXT COLLATE "C" NOT NULL,
        version BIGINT NOT NULL,
        title TEXT,
        text TEXT NOT NULL,
        metadata JSON NOT NULL,
        links JSON NOT NULL,
        merged JSON NOT NULL,
        written_at DOUBLE PRECISION NOT NULL,
        expires_at DOUBLE PRECISION,
        document TEXT,
        valid_from DOUBLE PRECISION,
        valid_until DOUBLE PRECISION,
        PRIMARY KEY (namespace, id)
    )
    """,
    "CREATE INDEX hoptrail_passages_version ON hoptrail_passages (version)",
    """
    CREATE TABLE hoptrail_vectors (
        namespace TEXT COLLATE "C" NOT NULL,
        id TEXT COLLATE "C" NOT NULL,
        part INTEGER NOT NULL,
        embedding VECTOR NOT NULL,
        PRIMARY KEY (namespace, id, part),
        FOREIGN KEY (namespace, id) REFERENCES hoptrail_passages ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE hoptrail_deletions (
        namespace TEXT COLLATE "C" NOT NULL,
        id TEXT COLLATE "C" NOT NULL,
        version BIGINT NOT NULL,
        PRIMARY KEY (namespace, version)
    )
    """,
    "CREATE INDEX hoptrail_deletions_version ON hoptrail_deletions (version)",
    """
    CREATE TABLE hoptrail_grants (
        role_name TEXT NOT NULL,
        namespace TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (role_name, namespace)
    )
    """,
    *(statement for table in _SECURED for statement in _secure(table)),
    "ALTER TABLE hoptrail_grants ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY hoptrail_own ON hoptrail_grants FOR SELECT USING (role_name = current_user)",
    *_FEEDBACK,
    *_LOG,
    *_COUNTS,
    *_GENERATIONS,
)
"""What makes them, in one transaction."""

RIGHTS = {
    "hoptrail_head": "UPDATE",
    "hoptrail_commits": "INSERT",
    "hoptrail_meta": "INSERT, UPDATE",
    "hoptrail_passages": "INSERT, UPDATE, DELETE",
    "hoptrail_vectors": "INSERT, UPDATE, DELETE",
    "hoptrail_deletions": "INSERT",
    "hoptrail_feedback": "INSERT, UPDATE",
    "hoptrail_log": "INSERT, DELETE",
    "hoptrail_counts": "INSERT, UPDATE",
    "hoptrail_grants": "",
}
"""What a role that writes does to the tables, all of which a role with grants reads."""

ROLES = (
    "SELECT DISTINCT r.rolname, has_table_privilege(r.rolname, 'hoptrail_passages', 'INSERT') "
    "FROM hoptrail_grants g JOIN pg_roles r ON r.rolname = g.role_name"
)
"""The roles that were granted something, and whether they write."""

INSERT_HEAD = f"INSERT INTO hoptrail_head VALUES (1, %s, {TABLES}, 0, '')"
"""Takes the name of the new store, which no other has."""

HEAD = (
    "SELECT version, token, row_security_active('hoptrail_passages'), (SELECT "
    "string_agg(namespace, chr(30) ORDER BY namespace) FROM hoptrail_grants "
    "WHERE role_name = current_user) FROM hoptrail_head"
)
"""The newest version and token, and what tells which rows this role sees."""

PUT_PASSAGE = (
    "INSERT INTO hoptrail_passages (namespace, id, version, title, text, metadata, links, merged, "
    "written_at, expires_at, document, valid_from, valid_until) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (namespace, id) DO UPDATE SET version = excluded.version, "
    "title = excluded.title, text = excluded.text, metadata = excluded.metadata, "
    "links = excluded.links, merged = excluded.merged, written_at = excluded.written_at, "
    "expires_at = excluded.expires_at, document = excluded.document, "
    "valid_from = excluded.valid_from, valid_until = excluded.valid_until"
)

READ_PASSAGES = (
    "SELECT namespace, id, version, title, text, metadata::text, links::text, merged::text, "
    "written_at, expires_at, document, valid_from, valid_until FROM hoptrail_passages "
    "WHERE version > %s ORDER BY version"
)

READ_VECTORS = (
    "SELECT v.namespace, v.id, v.embedding FROM hoptrail_vectors v "
    "JOIN hoptrail_passages p ON p.namespace = v.namespace AND p.id = v.id "
    "WHERE p.version > %s AND p.version <= %s AND v.generation = %s "
    "ORDER BY v.namespace, v.id, v.part"
)

PUT_VECTOR = (
    "INSERT INTO hoptrail_vectors (namespace, id, part, embedding, generation) "
    "VALUES (%s, %s, %s, %b, %s)"
)

READ_GENERATION = (
    "SELECT namespace, id, embedding FROM hoptrail_vectors WHERE generation = %s "
    "ORDER BY namespace, id, part"
)

PUT_FEEDBACK = (
    "INSERT INTO hoptrail_feedback (namespace, id, version, record) VALUES (%s, %s, %s, %s) "
    "ON CONFLICT (namespace, id) DO UPDATE SET version = excluded.version, "
    "record = excluded.record"
)

READ_FEEDBACK = (
    "SELECT namespace, id, record FROM hoptrail_feedback WHERE version > %s ORDER BY version"
)

PUT_META = (
    "INSERT INTO hoptrail_meta VALUES (%s, %s) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)

PUT_LOG = "INSERT INTO hoptrail_log (namespace, id, version, record) VALUES (%s, %s, %s, %s)"

READ_LOG = "SELECT namespace, id, record FROM hoptrail_log WHERE version > %s ORDER BY version"

PUT_COUNTS = (
    "INSERT INTO hoptrail_counts VALUES (%s, %s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (namespace, id) DO UPDATE SET number = excluded.number, "
    "added_at = excluded.added_at, updates = excluded.updates, recalls = excluded.recalls, "
    "recalled_at = excluded.recalled_at"
)

READ_COUNTS = (
    "SELECT added_at, updates, recalls, recalled_at, namespace, id FROM hoptrail_counts "
    "WHERE number > %s ORDER BY number"
)
