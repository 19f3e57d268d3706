"""The passages that a view has read lately: they are not read again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from hoptrail.errors import UnknownId
from hoptrail.memory.encoders.query_cache import CacheStats
from hoptrail.memory.index.slots import SlotTable
from hoptrail.memory.storage import records
from hoptrail.memory.storage.pins import Pins
from hoptrail.types import Passage

PASSAGES_KEPT = 4096
"""Passages that a view keeps after reading them; the one not read for longest goes first."""


class PassagesRead:
    """Passages by slot. Not locked: the view that owns it is.

    Args:
        table: The view's slots.
        pins: Tell what a thread reads with.
        leave_out: Takes passages, by rowid, out of the view.
    """

    def __init__(
        self, table: SlotTable, pins: Pins, leave_out: Callable[[Sequence[int]], None]
    ) -> None:
        self._table = table
        self._pins = pins
        self._leave_out = leave_out
        self._read: OrderedDict[int, Passage] = OrderedDict()
        self._hits = self._misses = 0

    @property
    def stats(self) -> CacheStats:
        """How often a passage that was read was in memory."""
        return CacheStats(self._hits, self._misses, len(self._read), PASSAGES_KEPT)

    def get(self, slots: Sequence[int]) -> list[Passage]:
        """The passages of slots, in this order.

        Args:
            slots: Living ones.

        Raises:
            UnknownId: One was deleted, or is damaged.
        """
        missing = [slot for slot in dict.fromkeys(slots) if slot not in self._read]
        self._hits += len(slots) - len(missing)
        self._misses += len(missing)
        if missing:
            self._read_in(missing)
        passages = []
        for slot in slots:
            self._read.move_to_end(slot)
            passages.append(self._read[slot])
        while len(self._read) > PASSAGES_KEPT:
            self._read.popitem(last=False)
        return passages

    def drop(self, slots: Sequence[int]) -> None:
        """Forget the passages of slots.

        Args:
            slots: Those whose passages may have changed.
        """
        for slot in slots:
            self._read.pop(slot, None)

    def _read_in(self, slots: Sequence[int]) -> None:
        rowid_of = {slot: int(self._table.rowids[slot]) for slot in slots}
        there: list[int] = []
        with self._pins.reading() as connection:
            passages = records.passages_at(connection, list(rowid_of.values()))
            for part, marks in records.batches([r for r in rowid_of.values() if r not in passages]):
                query = f"SELECT rowid FROM passages WHERE rowid IN ({marks})"
                there += [row[0] for row in connection.execute(query, part)]
        if there:  # and cannot be read: damaged since they were taken in
            self._leave_out(there)
        for slot, rowid in rowid_of.items():
            if rowid not in passages or not self._table.alive[slot]:
                raise UnknownId(
                    f"the passage of slot {slot} was deleted: refresh the view and ask again"
                )
            self._read[slot] = passages[rowid]
