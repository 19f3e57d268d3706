"""What a view knows of its passages' fields, for filters: read when one first asks, then kept.

SQLite takes the field out of each passage's metadata and gives it as JSON; Python reads each
different text of these once. No passage is made.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory import filters
from hoptrail.memory.index.slots import SlotTable
from hoptrail.memory.storage import damaged, records

ROWS_AT_ONCE = 20_000
"""Passages read in one transaction."""

SCATTERED = 4
"""Rows for each one wanted up to which they are read in a row, and those not wanted passed over."""

MOST_DOTS = 3
"""In a name, up to which SQLite looks: each may part two keys or belong to one."""

ARROW = sqlite3.sqlite_version_info >= (3, 38)
"""Whether SQLite gives a part of a JSON text as it is written."""

MASKS_KEPT = 16
"""Filters whose answers stay in memory; the one not asked for longest goes first."""


class FilterColumns:
    """The fields of a view's slots. Not locked: the view that owns it is.

    A slot's passage never changes, because an updated passage gets a new slot: what was read once
    stays right, and only the slots that are new are read.
    """

    def __init__(
        self, reading: Callable[[], AbstractContextManager[sqlite3.Connection]], table: SlotTable
    ) -> None:
        self._reading = reading
        self._table = table
        self._columns: dict[str, filters.Column] = {}
        self._masks: dict[str, NDArray[np.bool_]] = {}  # of the last filters, with the dead

    def mask(self, filter: filters.Filter) -> NDArray[np.bool_]:
        """Which slots live and fulfil a filter, `(capacity,)`.

        Args:
            filter: What passages must fulfil.
        """
        name = repr(filter.condition)
        mask = self._masks.pop(name, None)
        if mask is None or len(mask) < self._table.capacity:
            mask = filter.mask(self._column, self._table.capacity)
        self._masks[name] = mask  # now the youngest
        while len(self._masks) > MASKS_KEPT:
            del self._masks[next(iter(self._masks))]
        return mask & self._table.alive

    def _column(self, name: str) -> filters.Column:
        column = self._columns.get(name)
        first = 0 if column is None else len(column.codes)
        if column is None or first < self._table.capacity:
            what, value = field(name)
            number: dict[Any, int] = {}  # of the different texts
            codes = [number.setdefault(text, len(number)) for text in self._texts(what, first)]
            grown = filters.column_of((value(text) for text in number), column)
            new = grown.codes[first:][np.asarray(codes, dtype=np.int64)]
            column = filters.Column(np.concatenate([grown.codes[:first], new]), grown.values)
            self._columns[name] = column
        return column

    def _texts(self, what: str, first: int) -> Iterator[Any]:
        """What SQLite gives for the slots from `first` on; of the dead, whatever is there."""
        rowids = self._table.rowids[first:].tolist()
        for start in range(0, len(rowids), ROWS_AT_ONCE):
            part = rowids[start : start + ROWS_AT_ONCE]
            with self._reading() as connection:
                try:
                    texts = _read(connection, what, part)
                except sqlite3.OperationalError:  # metadata that is no JSON, among all the others
                    texts = _read(
                        connection, f"CASE WHEN json_valid(metadata) THEN {what} END", part
                    )
            yield from map(texts.get, part)


def field(name: str) -> tuple[str, Callable[[Any], Any]]:
    """What to ask SQLite for, of a passage's row, and what that says of a field.

    NULL, as of a passage that is gone, says that the field is absent.

    Args:
        name: The field's, as filters spell it.
    """
    if name in filters.OWN:
        return name[1:], lambda own: filters.ABSENT if own is None else own
    plain = all(name.split(".")) and not any(mark < " " or mark in "\"\\'" for mark in name)
    if not ARROW or not plain or name.count(".") > MOST_DOTS:
        return (
            "metadata",
            lambda text: (
                filters.ABSENT
                if text is None
                else filters.value_at(damaged.metadata_or_none(text), name)
            ),
        )
    paths = [".".join(f'"{key}"' for key in path) for path in _paths(name)]
    parts = [f"metadata -> '$.{path}'" for path in paths]
    what = parts[0] if len(parts) == 1 else f"coalesce({', '.join(parts)})"
    return what, lambda text: filters.ABSENT if text is None else json.loads(text)


def _paths(name: str) -> list[list[str]]:
    """The keys that a name may mean, one inside another; as `filters.value_at` tries them."""
    paths = [[name]]
    for at, mark in enumerate(name):
        if mark == ".":
            paths += [[name[:at], *rest] for rest in _paths(name[at + 1 :])]
    return paths


def _read(connection: sqlite3.Connection, what: str, rowids: list[int]) -> dict[int, Any]:
    """What SQLite gives for some rows, by rowid."""
    first, last = min(rowids), max(rowids)
    texts: dict[int, Any] = {}
    if last - first < SCATTERED * len(rowids):
        within = f"SELECT rowid, {what} FROM passages WHERE rowid BETWEEN ? AND ?"
        texts.update(connection.execute(within, (first, last)).fetchall())
        return texts
    for part, marks in records.batches(rowids):
        those = f"SELECT rowid, {what} FROM passages WHERE rowid IN ({marks})"
        texts.update(connection.execute(those, part).fetchall())
    return texts
