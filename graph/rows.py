"""The graph's rows of one scope in memory, keyed by rowid and kept up to date by what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    epoch: int = -1
    """How often the graph had been rebuilt: a rebuilt one numbers its names anew."""
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
        where = (*bounds, self.version)
        passages = self._read_passages(connection, where)
        changed = passages[:, 0]
        mentions = _array(connection.execute(_SELECT_MENTIONS, where), 4)
        entities = self._read_entities(connection, where, passages)
        links, weights = self._read_links(connection, where)
        touched = np.isin(self.links[:, 0], changed) | np.isin(self.links[:, 1], changed)
        self.links = np.concatenate([self.links[~touched], links])
        self.link_weights = np.concatenate([self.link_weights[~touched], weights])
        self.passages = _replaced(self.passages, changed, passages)
        self.titles = _replaced(self.titles, changed, self._read_titles(connection, where))
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

    def _read_passages(self, connection: sqlite3.Connection, where: Sequence[Any]) -> Ints:
        number = self._namespaces
        rows = [
            (rowid, number.setdefault(space, len(number)), at)
            for rowid, space, at in connection.execute(_SELECT_PASSAGES, where)
        ]
        return np.array(rows, dtype=np.int64).reshape(-1, 3)

    def _read_titles(self, connection: sqlite3.Connection, where: Sequence[Any]) -> Ints:
        rows = connection.execute(_SELECT_TITLES, where).fetchall()
        self.names.update((name, text) for _, name, _, text in rows)
        return np.array([row[:3] for row in rows], dtype=np.int64).reshape(-1, 3)

    def _read_entities(
        self, connection: sqlite3.Connection, where: Sequence[Any], passages: Ints
    ) -> Ints:
        space_of = dict(passages[:, :2].tolist())
        ids, names = self._entity_ids, self.entity_names
        pairs: dict[tuple[int, int], None] = {}  # a set that keeps the order
        for rowid, name in connection.execute(_SELECT_ENTITIES, where):
            key = (space_of[rowid], name)
            entity = ids.get(key)
            if entity is None:
                entity = ids[key] = len(names)
                names.append(name)
            pairs[rowid, entity] = None
        return np.array(list(pairs), dtype=np.int64).reshape(-1, 2)

    def _read_links(
        self, connection: sqlite3.Connection, where: Sequence[Any]
    ) -> tuple[Ints, Floats]:
        rows = connection.execute(_SELECT_LINKS, (*where, *where)).fetchall()
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


_SCOPE = """
    FROM graph_passages AS g JOIN passages AS p ON p.rowid = g.passage {}
    WHERE p.namespace >= ? AND p.namespace < ? AND g.version > ?
"""

_SELECT_PASSAGES = "SELECT g.passage, p.namespace, g.version" + _SCOPE.format("")

_SELECT_TITLES = "SELECT t.passage, t.name, t.alias, n.name" + _SCOPE.format(
    "JOIN graph_titles AS t ON t.passage = g.passage JOIN graph_names AS n ON n.id = t.name"
)

_SELECT_MENTIONS = 'SELECT m.passage, m.start, m."end", m.name' + _SCOPE.format(
    "JOIN graph_mentions AS m ON m.passage = g.passage"
)

_SELECT_ENTITIES = (
    "SELECT e.passage, e.entity"
    + _SCOPE.format("JOIN graph_entities AS e ON e.passage = g.passage")
    + "ORDER BY e.passage, e.start"
)

_SELECT_LINKS = """
    SELECT l.source, t.rowid, l.kind, l.weight FROM graph_passages AS g
    JOIN passages AS p ON p.rowid = g.passage
    JOIN links AS l ON l.source = p.rowid
    JOIN passages AS t ON t.namespace = p.namespace AND t.id = l.target
    WHERE p.namespace >= ? AND p.namespace < ? AND g.version > ?
    UNION
    SELECT l.source, t.rowid, l.kind, l.weight FROM graph_passages AS g
    JOIN passages AS t ON t.rowid = g.passage
    JOIN links AS l ON l.target = t.id
    JOIN passages AS p ON p.rowid = l.source AND p.namespace = t.namespace
    WHERE t.namespace >= ? AND t.namespace < ? AND g.version > ?
"""
