"""Lists of records by number, of which a few may be replaced at little cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Records = NDArray[np.int32]
"""`(m, c)`: whole numbers, a record a row."""


@dataclass(frozen=True, slots=True)
class RaggedArray:
    """Row i is a list of records: `values[starts[i]:starts[i + 1]]`, unless it was replaced.

    It is never written to. `with_rows` gives another one that shares all but the rows that changed,
    so that a small change of large lists costs little, and a reader goes on with what it has.
    """

    starts: Ints
    values: Records
    rows: int
    """How many rows there are; those behind `starts` that nothing replaced are empty."""
    changed: Mapping[int, Records] = field(default_factory=dict)
    """The rows that are not as `starts` and `values` have them."""

    def __getitem__(self, row: int) -> Records:
        """The list of a row."""
        changed = self.changed.get(row)
        if changed is not None:
            return changed
        if row >= len(self.starts) - 1:
            return self.values[:0]
        return self.values[self.starts[row] : self.starts[row + 1]]

    def gather(self, rows: Ints) -> tuple[Ints, Records]:
        """The records of some rows: which of `rows` each is of, in their order, and the record.

        Args:
            rows: `(m,)`, by number.
        """
        if not len(self.values) and not self.changed:
            return np.zeros(0, dtype=np.int64), self.values
        base = len(self.starts) - 1
        old_rows = np.minimum(rows, max(base - 1, 0))
        first = self.starts[old_rows]
        counts = np.where(rows < base, self.starts[np.minimum(old_rows + 1, base)] - first, 0)
        owner = np.repeat(np.arange(len(rows)), counts)
        before = np.cumsum(counts) - counts
        values = self.values[np.arange(len(owner)) + np.repeat(first - before, counts)]
        new = self._new(rows)
        if not new:
            return owner, values
        at = np.asarray([i for i, _ in new], dtype=np.int64)
        stale = np.isin(owner, at)
        owner = np.concatenate([owner[~stale], np.repeat(at, [len(part) for _, part in new])])
        values = np.concatenate([values[~stale], *(part for _, part in new)])
        order = np.argsort(owner, kind="stable")
        return owner[order], values[order]

    def lengths(self, rows: NDArray[np.integer]) -> Ints:
        """How many records some rows have.

        Args:
            rows: `(m,)`, by number.
        """
        base = len(self.starts) - 1
        old_rows = np.minimum(rows, max(base - 1, 0))
        last = self.starts[np.minimum(old_rows + 1, base)]
        counts: Ints = np.where(rows < base, last - self.starts[old_rows], 0)
        for i, part in self._new(rows):
            counts[i] = len(part)
        return counts

    def all(self) -> tuple[Ints, Records]:
        """Every record with its row, by row."""
        counts = np.diff(self.starts)
        owner, values = np.repeat(np.arange(len(counts)), counts), self.values
        if not self.changed:
            return owner, values
        stale = np.zeros(self.rows, dtype=np.bool_)
        at = np.fromiter(self.changed, np.int64, len(self.changed))
        stale[at] = True
        keep = ~stale[owner]
        new = list(self.changed.values())
        owner = np.concatenate([owner[keep], np.repeat(at, [len(part) for part in new])])
        order = np.argsort(owner, kind="stable")
        return owner[order], np.concatenate([values[keep], *new])[order]

    def compact(self) -> RaggedArray:
        """The same lists with nothing replaced."""
        if not self.changed and len(self.starts) == self.rows + 1:
            return self
        owner, values = self.all()
        return group(owner, values, self.rows)

    def counts(self) -> Ints:
        """The lengths of the lists, `(rows,)`."""
        counts = np.zeros(self.rows, dtype=np.int64)
        counts[: len(self.starts) - 1] = np.diff(self.starts)
        for row, records in self.changed.items():
            counts[row] = len(records)
        return counts

    def _new(self, rows: NDArray[np.integer]) -> list[tuple[int, Records]]:
        """Those of some rows that were replaced: position, and the list."""
        if not self.changed:
            return []
        changed = self.changed
        return [(i, changed[row]) for i, row in enumerate(rows.tolist()) if row in changed]

    def with_rows(self, new: Mapping[int, Records], rows: int) -> RaggedArray:
        """The lists with some rows replaced, and with room for more rows.

        Args:
            new: The records `(r, c)` of the rows that change, by number.
            rows: How many rows there are afterwards.
        """
        changed = {**self.changed, **new} if new else self.changed
        return RaggedArray(self.starts, self.values, rows, changed)


def group(keys: NDArray[np.integer], records: Records, rows: int) -> RaggedArray:
    """Records by key; within a key they keep their order.

    Args:
        keys: `(n,)` the row of each record.
        records: `(n, c)`.
        rows: How many rows there are.
    """
    starts = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=rows), out=starts[1:])
    return RaggedArray(starts, records[np.argsort(keys, kind="stable")], rows)


def by_key(keys: NDArray[np.integer], records: Records, row_keys: Ints) -> dict[int, Records]:
    """Records by key, an empty list for a key that is wanted and has none; order is kept.

    Args:
        keys: `(n,)`.
        records: `(n, c)`.
        row_keys: The keys that are wanted.
    """
    order = np.argsort(keys, kind="stable")
    keys, records = keys[order], records[order]
    first = np.searchsorted(keys, row_keys, side="left").tolist()
    last = np.searchsorted(keys, row_keys, side="right").tolist()
    return {key: records[a:b] for key, a, b in zip(row_keys.tolist(), first, last, strict=True)}


def records(*columns: NDArray[np.integer]) -> Records:
    """Records out of columns."""
    return np.stack(columns, axis=1).astype(np.int32)


def none(columns: int) -> Records:
    """No record.

    Args:
        columns: How many a record has.
    """
    return np.zeros((0, columns), dtype=np.int32)
