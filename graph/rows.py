"""The graph's rows of one scope in memory, keyed by rowid and kept up to date by what changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import sqlite3

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


def _none(columns: int) -> Ints:
    return np.zeros((0, columns), dtype=np.int64)


@dataclass(slots=True)
class Rows:
    """What the tables say of a scope, as arrays whose first column is a passage's rowid."""

    passages: Ints = field(default_factory=lambda: _none(3))
    """`(p, 3)`: rowid, namespace, version."""
    titles: Ints = field(default_factory=lambda: _none(3))
    """`(t, 3)`: rowid, name, 1 for an alias or 0."""
    mentions: Ints = field(default_factory=lambda: _none(4))
    """`(m, 4)`: rowid, start, end, name."""
    entities: Ints = field(default_factory=lambda: _none(2))
    """`(e, 2)`: rowid, entity; each pair once, in reading order within a passage."""
    links: Ints = field(default_factory=lambda: _none(3))
    """`(l, 3)`: rowids of source and target, kind. Links that lead nowhere are not here."""
    link_weights: Floats = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    """`(l,)`."""
    names: dict[int, str] = field(default_factory=dict)
    """By id; also of titles that are gone."""
    entity_names: list[str] = field(default_factory=list)
    """By entity."""
    kinds: list[str] = field(default_factory=list)
    """Kinds of links, by number."""
    version: int = -1
    """The graph's version that these rows are."""
    epoch: int | None = None
    """Changes when the graph is built anew, which numbers its names anew."""
    _namespaces: dict[str, int] = field(default_factory=dict)
    _entity_ids: dict[tuple[int, str], int] = field(default_factory=dict)

    def catch_up(self, connection: sqlite3.Connection, bounds: tuple[str, str | bytes]) -> None:
        """Read what changed in the scope since the last time.

        Args:
            connection: The store's, in one read transaction.
            bounds: Of the stored namespaces in the scope, `low <= n < high`.
        """
        version, epoch = connection.execute("SELECT version, epoch FROM graph_state").fetchone()
        if epoch != self.epoch:
            self._clear()
        read = partial(_read, connection, bounds, self.version)
        passages = self._read_passages(read(_SELECT_PASSAGES))
        changed = passages[:, 0]
        titles = self._read_titles(read(_SELECT_TITLES).fetchall())
        mentions = _array(read(_SELECT_MENTIONS), 4)
        entities = self._read_entities(read(_SELECT_ENTITIES), passages)
        links, weights = self._read_links(read(_SELECT_LINKS).fetchall())
        touched = np.isin(self.links[:, 0], changed) | np.isin(self.links[:, 1], changed)
        self.links = np.concatenate([self.links[~touched], links])
        self.link_weights = np.concatenate([self.link_weights[~touched], weights])
        self.passages = _replaced(self.passages, changed, passages)
        self.titles = _replaced(self.titles, changed, titles)
        self.mentions = _replaced(self.mentions, changed, mentions)
        self.entities = _replaced(self.entities, changed, entities)
        self.version, self.epoch = version, epoch

    def _clear(self) -> None:
        nothing = Rows()
        for name in self.__slots__:
            setattr(self, name, getattr(nothing, name))

    def entity_ids(self, name: str) -> list[int]:
        """The entities of this name, one for each namespace of the scope that has it."""
        keys = ((space, name) for space in range(len(self._namespaces)))
        return [self._entity_ids[key] for key in keys if key in self._entity_ids]

    def forget(self, rowids: Ints) -> None:
        """Drop passages that were deleted."""
        if not len(rowids):
            return
        none = _none(0)
        self.passages = _replaced(self.passages, rowids, none)
        self.titles = _replaced(self.titles, rowids, none)
        self.mentions = _replaced(self.mentions, rowids, none)
        self.entities = _replaced(self.entities, rowids, none)
        gone = np.isin(self.links[:, 0], rowids) | np.isin(self.links[:, 1], rowids)
        self.links, self.link_weights = self.links[~gone], self.link_weights[~gone]

    def _read_passages(self, rows: Iterable[tuple[Any, ...]]) -> Ints:
        number = self._namespaces
        found = [(rowid, number.setdefault(space, len(number)), at) for rowid, space, at in rows]
        return np.array(found, dtype=np.int64).reshape(-1, 3)

    def _read_titles(self, rows: list[tuple[Any, ...]]) -> Ints:
        self.names.update((name, text) for _, name, _, text in rows)
        return np.array([row[:3] for row in rows], dtype=np.int64).reshape(-1, 3)

    def _read_entities(self, rows: Iterable[tuple[Any, ...]], passages: Ints) -> Ints:
        space_of = dict(passages[:, :2].tolist())
        ids, names = self._entity_ids, self.entity_names
        pairs: dict[tuple[int, int], None] = {}  # a set that keeps the order
        for rowid, name in rows:
            key = (space_of[rowid], name)
            entity = ids.get(key)
            if entity is None:
                entity = ids[key] = len(names)
                names.append(name)
            pairs[rowid, entity] = None
        return np.array(list(pairs), dtype=np.int64).reshape(-1, 2)

    def _read_links(self, rows: list[tuple[Any, ...]]) -> tuple[Ints, Floats]:
        number = {kind: i for i, kind in enumerate(self.kinds)}
        links = [
            (source, target, number.setdefault(kind, len(number)))
            for source, target, kind, _ in rows
        ]
        self.kinds = list(number)
        return (
            np.array(links, dtype=np.int64).reshape(-1, 3),
            np.array([row[3] for row in rows], dtype=np.float32),
        )


def _read(
    connection: sqlite3.Connection, bounds: tuple[str, str | bytes], version: int, query: str
) -> sqlite3.Cursor:
    """The rows of a query above a version, in a scope."""
    tables = ["passages AS p", "graph_passages AS g"]
    if version >= 0:
        tables.reverse()
    query = query.replace("{}", " CROSS JOIN ".join(tables))
    return connection.execute(query, (*bounds, version) * (query.count("?") // 3))


def _array(rows: sqlite3.Cursor, columns: int) -> Ints:
    """Rows of whole numbers as an array, `(n, columns)`."""
    parts = [_none(columns)]
    while part := rows.fetchmany(1 << 16):
        parts.append(np.array(part, dtype=np.int64))
    return np.concatenate(parts)


def _replaced(rows: Ints, changed: Ints, new: Ints) -> Ints:
    """Rows with those of changed passages taken out and the new ones put in."""
    kept = rows[~np.isin(rows[:, 0], changed)] if len(rows) and len(changed) else rows
    return np.concatenate([kept, new]) if len(new) else kept


def _query(columns: str, joins: str = "") -> str:
    """A query of the passages that changed in a scope, and what `joins` adds to them.

    SQLite takes CROSS JOINs in the order written. A scope's first reading begins with the index of
    namespaces, what follows with that of versions.
    """
    return (
        f"SELECT {columns} FROM {{}} {joins} WHERE p.rowid = g.passage "
        "AND p.namespace >= ? AND p.namespace < ? AND g.version > ? "
    )


_SELECT_PASSAGES = _query("g.passage, p.namespace, g.version")

_SELECT_TITLES = _query(
    "t.passage, t.name, t.alias, n.name",
    "CROSS JOIN graph_titles AS t ON t.passage = g.passage "
    "CROSS JOIN graph_names AS n ON n.id = t.name",
)

_SELECT_MENTIONS = _query(
    'm.passage, m.start, m."end", m.name',
    "CROSS JOIN graph_mentions AS m ON m.passage = g.passage",
)

_SELECT_ENTITIES = (
    _query("e.passage, e.entity", "CROSS JOIN graph_entities AS e ON e.passage = g.passage")
    + "ORDER BY e.passage, e.start"
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
