"""What a view knows of its passages' fields, for filters: read when one first asks, then kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory import filters, records
from hoptrail.memory.database import Database
from hoptrail.memory.slots import SlotTable

ROWS_AT_ONCE = 5000
"""Passages read in one transaction."""

MASKS_KEPT = 16
"""Filters whose answers stay in memory; the one not asked for longest goes first."""


class Columns:
    """The fields of a view's slots. Not locked: the view that owns it is.

    A slot's passage never changes, because an updated passage gets a new slot: what was read once
    stays right, and only the slots that are new are read.
    """

    def __init__(self, database: Database, table: SlotTable) -> None:
        self._db = database
        self._table = table
        self._known: dict[str, filters.Column] = {}
        self._masks: dict[str, NDArray[np.bool_]] = {}  # of conditions asked lately, with the dead

    def mask(self, condition: filters.Condition) -> NDArray[np.bool_]:
        """Which slots live and fulfil a condition, `(capacity,)`."""
        name = repr(condition)
        found = self._masks.pop(name, None)
        if found is None or len(found) < self._table.capacity:
            found = filters.mask(condition, self._column, self._table.capacity)
        self._masks[name] = found  # now the youngest
        while len(self._masks) > MASKS_KEPT:
            del self._masks[next(iter(self._masks))]
        return found & self._table.alive

    def _column(self, name: str) -> filters.Column:
        column = self._known.get(name)
        if column is None or len(column.codes) < self._table.capacity:
            first = 0 if column is None else len(column.codes)
            column = self._known[name] = filters.column_of(self._values(name, first), column)
        return column

    def _values(self, name: str, first: int) -> Iterator[object]:
        """A field's values of the slots from `first` on; of the dead, whatever is there."""
        rowids = self._table.rowids[first:].tolist()
        for start in range(0, len(rowids), ROWS_AT_ONCE):
            part = rowids[start : start + ROWS_AT_ONCE]
            with self._db.reading() as connection:
                found = records.read(connection, part, links=False)
            for rowid in part:
                passage = found.get(rowid)
                yield filters.ABSENT if passage is None else filters.value_of(passage, name)
