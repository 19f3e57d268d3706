"""Checking and rebuilding the graph's rows: all of them are derived from the passages."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hoptrail.errors import StoreError
from hoptrail.graph.extraction import schema
from hoptrail.graph.graph import Graph
from hoptrail.memory.maintenance import checks, soundness
from hoptrail.memory.maintenance.checks import Problem
from hoptrail.memory.storage.schema import applied
from hoptrail.memory.store import Store
from hoptrail.outputs import output_files

_ROWS = {
    "titles": "SELECT p.namespace, p.id, n.name, r.alias FROM graph_titles AS r "
    "JOIN graph_names AS n ON n.id = r.name JOIN passages AS p ON p.rowid = r.passage",
    "mentions": 'SELECT p.namespace, p.id, r.start, r."end", n.name FROM graph_mentions AS r '
    "JOIN graph_names AS n ON n.id = r.name JOIN passages AS p ON p.rowid = r.passage",
    "entities": 'SELECT p.namespace, p.id, r.start, r."end", r.entity FROM graph_entities AS r '
    "JOIN passages AS p ON p.rowid = r.passage",
    "words": "SELECT p.namespace, p.id, w.keys FROM graph_words AS w "
    "JOIN passages AS p ON p.rowid = w.rowid",
}
"""What the graph says, without the numbers that it gives to names."""


def has_graph(store: Store) -> bool:
    """Whether the store's file holds a graph at all.

    Args:
        store: Open; for writing, to repair.
    """
    with store.reading() as connection:
        return applied(connection, schema.OWNER) > 0


def verify_graph(store: Store) -> list[Problem]:
    """Where the graph's rows differ from those built anew; the store is only read.

    A copy of it is caught up and compared with itself after a rebuild: being behind is no fault.

    Args:
        store: Open; for writing, to repair.
    """
    if not has_graph(store):
        return []
    with store.reading() as connection:
        if schema.has_misdeclared_tables(connection):
            return [Problem("graph", "its tables are not declared as they should be", derived=True)]
    with output_files.scratch_folder() as folder:
        copied = checks.backup(store, folder / "copy.db")
        try:
            return _differences(copied, store)
        except (StoreError, sqlite3.Error) as error:
            return [Problem("graph", f"its rows cannot be read: {error}", derived=True)]


def _differences(copied: Path, store: Store) -> list[Problem]:
    """Where the rows of a copy differ from those built anew."""
    with Store(copied, clock=store.clock) as copy:
        graph = Graph(copy)
        graph.mends = False
        with copy.transaction() as connection:
            connection.execute("INSERT INTO graph_words (graph_words) VALUES ('integrity-check')")
        graph.sync()
        with copy.reading() as connection:
            stored = _rows(connection)
        graph.rebuild()
        with copy.reading() as connection:
            built = _rows(connection)
    return [
        Problem(
            "graph",
            f"{len(stored[name] ^ built[name])} rows of {name} are not as built anew, such as "
            f"{min(stored[name] ^ built[name], key=repr)}",
            derived=True,
        )
        for name in _ROWS
        if stored[name] != built[name]
    ]


def drop_if_unreadable(store: Store) -> list[str]:
    """Drop tables whose structure is damaged, so that the rest can be repaired; what was done.

    The next sync fills them again.

    Args:
        store: Open; for writing, to repair.
    """
    if not has_graph(store):
        return []
    with store.reading() as connection:
        whole = soundness.has_sound_structure(connection, schema.PREFIX)
        if whole and not schema.has_misdeclared_tables(connection):
            return []
    Graph(store).reset()
    return ["dropped the tables of the graph, which were damaged"]


def repair_graph(store: Store) -> list[str]:
    """Build the graph anew if it is not as it should be; what was done.

    Args:
        store: Open; for writing, to repair.
    """
    if not verify_graph(store):
        return []
    Graph(store).rebuild()
    return ["built the graph anew"]


def _rows(connection: sqlite3.Connection) -> dict[str, set[tuple[object, ...]]]:
    return {name: set(connection.execute(query)) for name, query in _ROWS.items()}
