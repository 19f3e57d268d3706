"""A scope's picture in memory: its passages as slots, and the indexes over them.

A view is derived: it is read from the store, remembers the version it stands for, and catches up
by asking for what is newer. One tenant's view sees only its own passages, so that nobody's words
move another's scores.
"""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import StoreError, UnknownId
from hoptrail.memory import filters, meta, records, snapshot
from hoptrail.memory.columns import Columns
from hoptrail.memory.database import Database
from hoptrail.memory.dense import DenseIndex
from hoptrail.memory.dense_kinds import IndexName
from hoptrail.memory.remembering import Looked
from hoptrail.memory.slots import Slots, SlotTable
from hoptrail.memory.sparse_kinds import SparseName, sparse_index
from hoptrail.types import Filter, Namespace, Passage

ROWS_AT_ONCE = 20_000
"""Passages indexed in one go when a view is built: bounds the memory that takes."""

PASSAGES_KEPT = 4096
"""Passages that a view keeps after reading them; the one not read for longest goes first."""


class View:
    """The passages of the namespaces that begin with `scope`, by slot. Made by `Store.view`.

    A slot is a small whole number that stays its passage's for the life of the view. A deleted
    passage's slot is dead; an updated passage gets a new one. Threads may share a view; hold
    `lock` around several calls that must see the same state.
    """

    def __init__(
        self,
        database: Database,
        scope: Namespace,
        clock: Callable[[], float],
        index: IndexName = "auto",
        sparse: SparseName = "auto",
    ) -> None:
        self.scope = scope
        self.lock = database.lock
        self._db = database
        self._clock = clock
        self._stored = records.encode_namespace(scope)
        # All below only with the lock held.
        self._table = SlotTable()
        self._slot_of: dict[int, int] = {}  # of living slots, by rowid
        self._read: OrderedDict[int, Passage] = OrderedDict()
        self._hits = self._misses = 0  # of passages in _read
        self._version = 0
        self._unsaved = 0  # slots taken in or killed since the last snapshot
        self.dense = DenseIndex(self._table, self.lock, index)
        self.sparse = sparse_index(sparse, self._table, self.lock)
        self._columns = Columns(database, self._table)

    def __repr__(self) -> str:
        scope = "/".join(self.scope) or "everything"
        kind = f", {self.dense.approximate!r}" if self.dense.approximate else ""
        return f"<View of {scope}: {self.size} passages, version {self.version}{kind}>"

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True

    @property
    def size(self) -> int:
        """How many passages are alive."""
        return self._table.size

    @property
    def capacity(self) -> int:
        """How many slots there are, dead ones among them."""
        return self._table.capacity

    @property
    def version(self) -> int:
        """The store's version that it stands for."""
        return self._version

    @property
    def rowids(self) -> NDArray[np.int64]:
        """The store's rowid of each slot, `(capacity,)`."""
        return self._table.rowids

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which slots are alive, `(capacity,)`."""
        return self._table.alive

    @property
    def looked(self) -> Looked:
        """How often a passage that was read was in memory."""
        return Looked(self._hits, self._misses, len(self._read), PASSAGES_KEPT)

    def slot_of_rowid(self, rowid: int) -> int | None:
        """The living slot of a rowid, or None."""
        return self._slot_of.get(rowid)

    def slot_of(self, id: str, namespace: Namespace = ()) -> int | None:
        """The living slot of a passage, or None if this view has none."""
        with self._db.reading() as connection:
            stored = records.encode_namespace(namespace)
            found = records.rowids(connection, stored, [id], self._clock())
        return self._slot_of.get(found[id]) if found else None

    def content_key(self, slot: int) -> bytes:
        """A hash of the slot's content: breaks ties whatever the order and the ids."""
        return int(self._table.keys[slot]).to_bytes(8, "big")

    def has_content(self, content: str) -> NDArray[np.bool_]:
        """Which slots hold exactly this content, `(capacity,)`, by its hash."""
        found: NDArray[np.bool_] = self._table.keys == np.uint64(records.content_key(content))
        return found

    def order(self, scores: NDArray[np.floating], slots: Slots) -> NDArray[np.int64]:
        """Positions that sort slots `(m,)` by score, best first, equals by content."""
        return self._table.order(scores, slots)

    def allowed(self, filter: Filter | None) -> NDArray[np.bool_] | None:
        """Which slots are alive and fulfil a filter, `(capacity,)`; None without one.

        Raises:
            InputError: It is no filter.
        """
        if filter is None:
            return None
        condition = filters.parse(filter)
        with self.lock:
            return self._columns.mask(condition)

    def passages(self, slots: Sequence[int] | Slots) -> list[Passage]:
        """The passages of slots, in this order; those read lately are not read again.

        Raises:
            UnknownId: One was deleted after this view was last refreshed.
        """
        wanted = [int(slot) for slot in slots]
        with self.lock:
            missing = [slot for slot in dict.fromkeys(wanted) if slot not in self._read]
            self._hits += len(wanted) - len(missing)
            self._misses += len(missing)
            rowid_of = {slot: int(self._table.rowids[slot]) for slot in missing}
            with self._db.reading() as connection:
                found = records.read(connection, list(rowid_of.values()))
            for slot, rowid in rowid_of.items():
                if rowid not in found or not self._table.alive[slot]:
                    raise UnknownId(
                        f"the passage of slot {slot} was deleted: refresh the view and ask again"
                    )
                self._read[slot] = found[rowid]
            out = []
            for slot in wanted:
                self._read.move_to_end(slot)
                out.append(self._read[slot])
            while len(self._read) > PASSAGES_KEPT:
                self._read.popitem(last=False)
        return out

    def refresh(self) -> bool:
        """Catch up with the last commit; whether anything changed.

        Raises:
            StoreError: This thread has a write transaction open: what is not committed may yet be
                undone, and a view could not follow.
        """
        with self.lock:
            if self._db.busy == "write":
                raise StoreError("a view cannot be refreshed inside a write transaction")
            if not self._version and not self._table.capacity:
                self._restore()
            with self._db.reading() as connection:
                newest = meta.version(connection)
                changed = newest != self._version and self._catch_up(
                    connection, self._deleted(connection)
                )
                # What has expired is out at once, also where nobody may write and delete it.
                expired = records.due(connection, self._clock(), self.scope)
                gone = [self._slot_of.pop(row) for row in expired if row in self._slot_of]
            self._version = newest
            self._kill(gone)
            changed |= bool(gone)
            trained = self.dense.settle() and self.size >= snapshot.MINIMUM
            if trained or self._unsaved >= max(snapshot.MINIMUM, self.size // 4):
                self.save()
            return changed

    def save(self) -> bool:
        """Write the snapshot that the next to open this scope starts from; whether it was done.

        Refreshing does it by itself whenever enough has changed to be worth it.
        """
        with self.lock:
            if self._db.read_only or self._db.busy:
                return False
            state = {"rowids": self.rowids[self.alive], "keys": self._table.keys[self.alive]}
            for name, index in (("dense", self.dense), ("sparse", self.sparse)):
                state.update({f"{name}.{key}": value for key, value in index.state().items()})
            self._unsaved = 0
            return snapshot.save(self._db, self._stored, self._version, state)

    def _restore(self) -> None:
        """Start from the snapshot, if there is one to be trusted."""
        found = snapshot.load(self._db, self._stored)
        if found is None:
            return
        self._version, state = found
        slots = self._table.add(state["rowids"], state["keys"])
        self._slot_of = dict(zip(state["rowids"].tolist(), slots.tolist(), strict=True))
        for name, index in (("dense", self.dense), ("sparse", self.sparse)):
            prefix = f"{name}."
            index.restore(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )

    def _deleted(self, connection: sqlite3.Connection) -> list[int]:
        """Slots whose passages were deleted since."""
        rows = connection.execute(
            "SELECT passage FROM tombstones WHERE version > ? AND namespace >= ? AND namespace < ?",
            (self._version, *records.scope_range(self._stored)),
        )
        return [self._slot_of.pop(row[0]) for row in rows if row[0] in self._slot_of]

    def _catch_up(self, connection: sqlite3.Connection, gone: list[int]) -> bool:
        """Take in what was written, kill what it replaces and what is gone."""
        # A + keeps SQLite from an index: a first reading goes by namespace, a later by version.
        where = "+p.version > ? AND p.namespace >= ? AND p.namespace < ?"
        if self._version:
            where = "p.version > ? AND +p.namespace >= ? AND +p.namespace < ? ORDER BY p.version"
        cursor = connection.execute(
            "SELECT p.rowid, p.title, p.text, p.metadata, v.vector "
            f"FROM passages p LEFT JOIN vectors v ON v.passage = p.rowid WHERE {where}",
            (self._version, *records.scope_range(self._stored)),
        )
        changed = bool(gone)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            gone += [self._slot_of[row[0]] for row in rows if row[0] in self._slot_of]
            self._take_in(rows)
            self._unsaved += len(rows)
            changed = True
        self._kill(gone)
        return changed

    def _kill(self, gone: list[int]) -> None:
        """Take slots out of the indexes."""
        if not gone:
            return
        self._unsaved += len(gone)
        slots = np.asarray(gone, dtype=np.int64)
        self._table.kill(slots)
        self.dense.remove(slots)
        self.sparse.remove(slots)
        for slot in gone:
            self._read.pop(slot, None)

    def _take_in(self, rows: list[tuple[int, str | None, str, str, bytes | None]]) -> None:
        contents = []
        for rowid, title, text, metadata, vector in rows:
            if vector is None or len(vector) != len(rows[0][4] or b""):
                raise StoreError(
                    f"passage {rowid} of {self._db.path} has no vector of the right length: "
                    "the file was written to by something else"
                )
            contents.append(
                Passage(id="", text=text, title=title, metadata=json.loads(metadata)).content
            )
        rowids = np.asarray([row[0] for row in rows], dtype=np.int64)
        keys = np.asarray([records.content_key(c) for c in contents], dtype=np.uint64)
        slots = self._table.add(rowids, keys)
        self._slot_of.update(zip(rowids.tolist(), slots.tolist(), strict=True))
        flat = np.frombuffer(b"".join(row[4] or b"" for row in rows), dtype="<f4")
        self.dense.add(flat.reshape(len(rows), -1).astype(np.float32))
        self.sparse.add(contents)
