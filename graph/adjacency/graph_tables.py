"""Reading the graph's tables of one scope: all of them, or what changed since a version."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from hoptrail.graph.adjacency.adjacency import Tables
from hoptrail.graph.adjacency.ragged import Ints, Records
from hoptrail.graph.adjacency.vocabulary import Vocabulary
from hoptrail.graph.extraction import schema

if TYPE_CHECKING:
    import sqlite3

AT_ONCE = 1 << 16
"""Rows fetched in one go: bounds the memory that Python's numbers take."""

Bounds = tuple[str, str | bytes]
"""Of the stored namespaces in a scope: low <= n < high."""

SlotsOf = Callable[[Ints], Ints]
"""The living slots of rowids; -1 for one that has none."""


@dataclass(frozen=True, slots=True)
class Change:
    """What the tables say of the passages whose rows are newer than a version."""

    tables: Tables
    slots: Ints
    """Of these passages, ascending."""


def state(connection: sqlite3.Connection) -> tuple[int, int]:
    """The store's version that the tables reflect, and a number that changes with a rebuild.

    Args:
        connection: The store's.
    """
    version = schema.reflected_version(connection)
    return version, int(connection.execute("SELECT epoch FROM graph_state").fetchone()[0])


def read_changes(
    connection: sqlite3.Connection, bounds: Bounds, since: int, words: Vocabulary, slots_of: SlotsOf
) -> Change:
    """Read what changed in a scope.

    A passage that was written over and whose rows are yet those of its former text has none.

    Args:
        connection: The store's, in one read transaction.
        bounds: The scope.
        since: The version; -1 for everything.
        words: Takes in what is met.
        slots_of: Tells slots; what has none is left out.
    """
    rows = partial(_rows, connection, bounds, since)

    def known(table: Ints, ends: int = 1) -> Records:
        """Records with slots in place of the rowids that the first columns hold."""
        for column in range(ends):
            table[:, column] = slots_of(table[:, column])
        return table[(table[:, :ends] >= 0).all(1)].astype(np.int32)

    passages = known(_array(rows(_SELECT_PASSAGES), 1, lambda part: part))
    surface_mentions = _array(rows(_SELECT_MENTIONS), 4, lambda part: part)
    surface_mentions[:, 3] = _numbers(surface_mentions[:, 3], words)
    tables = Tables(
        titles=known(_array(rows(_SELECT_TITLES), 3, words.of_titles)),
        surface_mentions=known(surface_mentions),
        entities=_different(known(_array(rows(_SELECT_ENTITIES), 2, words.of_entities))),
        links=known(_array(rows(_SELECT_LINKS), 4, words.of_links), 2),
    )
    return Change(tables, np.sort(passages[:, 0]).astype(np.int64))


def _array(
    rows: sqlite3.Cursor, columns: int, numbers: Callable[[list[Any]], Iterable[Any]]
) -> Ints:
    """Rows as an array, once `numbers` has put numbers in the place of words."""
    parts = [np.zeros((0, columns), dtype=np.int64)]
    while part := rows.fetchmany(AT_ONCE):
        table = numbers(part)
        if not isinstance(table, np.ndarray):  # number by number, which is faster than by rows
            table = np.fromiter(chain.from_iterable(table), np.int64, columns * len(part))
        parts.append(table.reshape(-1, columns))
    return np.concatenate(parts)


def _numbers(ids: Ints, words: Vocabulary) -> Ints:
    """The numbers of the ids of names; new ones get the next."""
    if not len(ids):
        return ids
    different, which = np.unique(ids, return_inverse=True)
    number = words.names
    numbers = [number.setdefault(each, len(number)) for each in different.tolist()]
    return np.asarray(numbers, dtype=np.int64)[which]


def _different(pairs: Records) -> Records:
    """Pairs without repeats, in their order."""
    keys = pairs[:, 0].astype(np.int64) << 32 | pairs[:, 1]
    different: Records = pairs[np.sort(np.unique(keys, return_index=True)[1])]
    return different


def _rows(
    connection: sqlite3.Connection, bounds: Bounds, version: int, query: str
) -> sqlite3.Cursor:
    """The rows of a query above a version, in a scope."""
    tables = ["passages AS p", "graph_passages AS g"]
    if version >= 0:
        tables.reverse()
    query = query.replace("{}", " CROSS JOIN ".join(tables))
    return connection.execute(query, (*bounds, version) * (query.count("?") // 3))


def _query(columns: str, joins: str = "") -> str:
    """A query of the passages that changed in a scope, and what `joins` adds to them.

    SQLite takes CROSS JOINs in the order written. A scope's first reading begins with the index of
    namespaces, what follows with that of versions.
    """
    return (
        f"SELECT {columns} FROM {{}} {joins} WHERE p.rowid = g.passage "
        "AND p.namespace >= ? AND p.namespace < ? AND g.version > ? AND g.version >= p.version "
    )


_SELECT_PASSAGES = _query("g.passage")

_SELECT_TITLES = _query(
    "t.passage, t.name, t.alias, n.name",
    "CROSS JOIN graph_titles AS t ON t.passage = g.passage "
    "CROSS JOIN graph_names AS n ON n.id = t.name",
)

_SELECT_MENTIONS = _query(
    'm.passage, m.start, m."end", m.name',
    "CROSS JOIN graph_mentions AS m ON m.passage = g.passage",
)

# A row a passage: with a row an entity it took twice as long to read ten thousand passages.
_SELECT_ENTITIES = (
    _query(
        "g.passage, CAST(p.namespace AS BLOB), (SELECT CAST(group_concat(entity, char(31)) AS BLOB)"
        " FROM (SELECT entity FROM graph_entities WHERE passage = g.passage ORDER BY start))"
    )
    + "ORDER BY g.passage"
)

_SELECT_LINKS = (
    _query(
        "l.source, t.rowid, l.kind, l.weight",
        "CROSS JOIN links AS l ON l.source = p.rowid "
        "CROSS JOIN passages AS t ON t.namespace = p.namespace AND t.id = l.target",
    )
    + "UNION "
    + _query(
        "l.source, p.rowid, l.kind, l.weight",
        "CROSS JOIN links AS l ON l.target = p.id "
        "CROSS JOIN passages AS s ON s.rowid = l.source AND s.namespace = p.namespace",
    )
)
