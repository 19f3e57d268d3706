"""Making anew what is derived in a store's file, where it is wrong."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hoptrail.memory import feedback
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.index import snapshot
from hoptrail.memory.maintenance import soundness
from hoptrail.memory.storage import checksums, next_vectors, records, schema, store_info
from hoptrail.memory.store import Store
from hoptrail.outputs import output_files


def repair(store: Store, encoder: Encoder | None = None) -> list[str]:
    """Make anew what is derived from the passages, where it is wrong; what was done.

    Args:
        store: What to mend.
        encoder: What makes the vectors that are wrong; the store's own by default.

    Raises:
        EncoderMissing: Vectors are wrong and there is no encoder.
        StoreUnavailable: The file is damaged beyond what can be derived: restore a backup.
    """
    done: list[str] = []
    if left := _sweep(store):
        done.append(f"removed {left} files that killed commands had left behind")
    with store.reading() as connection:  # what finds damage can write no more in SQLite
        whole = not soundness.integrity(connection)
        lost = [] if whole else [table for table in schema.SPARE if _lost(connection, table)]
    with store.transaction() as connection:
        _structures(connection, lost, done)
        if orphans := schema.remove_orphans(connection):
            done.append(f"removed {orphans} rows that belonged to no passage")
        _rows(connection, done)
        if count := feedback.remove_damaged(connection):
            done.append(f"removed the feedback on {count} recalls, which was not as it was written")
        if again := next_vectors.wrong(connection):
            next_vectors.again(connection, again)
            done.append(f"{len(again)} passages are to be encoded again by the next encoder")
    _vectors(store, store.encoder if encoder is None else encoder, done)
    with store.reading() as connection:
        spare = not whole and soundness.integrity(connection)
    if spare:
        store.database.compact()
        done.append("rewrote the file without pages that nothing used")
    if snapshot.snapshot_problems(store.database):
        done.append(f"removed {snapshot.drop_all(store.database)} index files")
    return done


def _sweep(store: Store) -> int:
    """Remove what killed writers and checks have left; how many there were."""
    folder = store.database.path.resolve().parent
    places = (folder, snapshot.folder_of(store.database), Path(tempfile.gettempdir()))
    return sum(map(output_files.sweep, places))


def _lost(connection: sqlite3.Connection, table: str) -> bool:
    """Whether the rows of a table, not only its indexes, are damaged."""
    return any(" index " not in message for message in soundness.integrity(connection, table))


def _structures(connection: sqlite3.Connection, lost: Sequence[str], done: list[str]) -> None:
    """Mend indexes and triggers, and put empty tables in the place of lost ones."""
    mended = schema.mend(connection)
    for table in soundness.tables(connection):
        if table in lost:
            _anew(connection, table)
            mended.append(f"the table {table}")
        elif not table.startswith("graph_"):  # those are the graph's to mend
            connection.execute(f'REINDEX "{table}"')
    if "the table erased" in mended:
        store_info.put_info(connection, "unrecorded", "1")  # so that a purge says so
    done += [f"made {what} anew" for what in mended]


def _anew(connection: sqlite3.Connection, table: str) -> None:
    """An empty table in the place of one that cannot be read."""
    (declaration,) = connection.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
    ).fetchone()
    triggers = connection.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (table,)
    ).fetchall()
    schema.drop_tables(connection, [table], readable=False)
    for (statement,) in [(declaration,), *triggers]:
        connection.execute(statement)


def _rows(connection: sqlite3.Connection, done: list[str]) -> None:
    """Mend what the small tables say, as far as others tell it."""
    wrong = list(checksums.wrong_rows(connection))
    for table, key in wrong:
        if table not in checksums.SPARE:
            continue
        name = checksums.ROWS[table][0]
        connection.execute(f"DELETE FROM {table} WHERE {name} = ?", (key,))
        if table == "erased":
            store_info.put_info(connection, "unrecorded", "1")  # so that a purge says so
        done.append(f"removed the row {key!r} of {table}, which was not as it was written")
    highest, stored = (
        store_info.highest_version(connection),
        store_info.get(connection, "version") or "",
    )
    version = int(stored) if store_info.is_version(stored) else 0
    if highest > version or ("meta", "version") in wrong or not store_info.is_version(stored):
        store_info.put_info(connection, "version", str(max(highest, version)))
        done.append(f"moved the version on to {max(highest, version)}")


def _vectors(store: Store, encoder: Encoder | None, done: list[str]) -> None:
    """Encode the passages anew whose vectors are not as they were written."""
    with store.reading() as connection:
        wrong = soundness.wrong_vectors(connection)
        passages = records.passages_at(connection, wrong, links=False)
    wrong = [rowid for rowid in wrong if rowid in passages]  # else it is damaged
    if not wrong:
        return
    contents = [passages[rowid].content for rowid in wrong]
    vectors = store.encode_passages(contents, encoder=encoder)
    with store.transaction() as connection:
        if encoder is not None:
            store_info.check_encoder(connection, encoder, str(store.path))
        now = records.passages_at(connection, wrong, links=False)
        version = store_info.bump(connection, len(wrong))
        sealed = set(wrong) - set(soundness.wrong_passages(connection))
        for i, (rowid, vector) in enumerate(zip(wrong, vectors, strict=True)):
            if rowid in now and now[rowid].content == passages[rowid].content:
                records.put_vector(connection, rowid, vector)
                # As a new version, so that views that hold the old one take it in.
                connection.execute(
                    "UPDATE passages SET version = ? WHERE rowid = ?", (version + i, rowid)
                )
                if rowid in sealed:  # else what is damaged would pass for sound
                    checksums.seal(connection, [rowid])
    done.append(f"encoded {len(wrong)} passages anew")
