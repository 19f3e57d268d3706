"""Checking and rebuilding the graph's rows: all of them are derived from the passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoptrail import outputs
from hoptrail.graph import schema
from hoptrail.graph.graph import Graph
from hoptrail.memory import upkeep
from hoptrail.memory.schema import applied
from hoptrail.memory.store import Store
from hoptrail.memory.upkeep import Problem

if TYPE_CHECKING:
    import sqlite3

_ROWS = {
    "titles": "SELECT p.namespace, p.id, n.name, r.alias FROM graph_titles AS r "
    "JOIN graph_names AS n ON n.id = r.name JOIN passages AS p ON p.rowid = r.passage",
    "mentions": 'SELECT p.namespace, p.id, r.start, r."end", n.name FROM graph_mentions AS r '
    "JOIN graph_names AS n ON n.id = r.name JOIN passages AS p ON p.rowid = r.passage",
    "entities": 'SELECT p.namespace, p.id, r.start, r."end", r.entity FROM graph_entities AS r '
    "JOIN passages AS p ON p.rowid = r.passage",
}
"""What the graph says, without the numbers that it gives to names."""


def has_graph(store: Store) -> bool:
    """Whether the store's file holds a graph at all."""
    with store.reading() as connection:
        return applied(connection, schema.OWNER) > 0


def verify(store: Store) -> list[Problem]:
    """Where the graph's rows differ from those built anew; the store is only read.

    A copy of it is caught up and compared with itself after a rebuild: being behind is no fault.
    """
    if not has_graph(store):
        return []
    with outputs.check_folder() as folder:
        copied = upkeep.backup(store, folder / "copy.db")
        with Store(copied, clock=store.clock) as copy:
            graph = Graph(copy)
            graph.sync()
            with copy.reading() as connection:
                kept = _rows(connection)
            graph.rebuild()
            with copy.reading() as connection:
                built = _rows(connection)
    return [
        Problem(
            "graph",
            f"{len(kept[name] ^ built[name])} rows of {name} are not as built anew, such as "
            f"{min(kept[name] ^ built[name])}",
            derived=True,
        )
        for name in _ROWS
        if kept[name] != built[name]
    ]


def repair(store: Store) -> list[str]:
    """Build the graph anew if it is not as it should be; what was done."""
    if not verify(store):
        return []
    Graph(store).rebuild()
    return ["built the graph anew"]


def _rows(connection: sqlite3.Connection) -> dict[str, set[tuple[object, ...]]]:
    return {name: set(connection.execute(query)) for name, query in _ROWS.items()}
