"""A scope's picture in memory: its passages as slots, and the indexes over them.

A view is derived: it is read from the store, remembers the version it stands for, and catches up
by asking for what is newer. One tenant's view sees only its own passages, so that nobody's words
move another's scores.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import EncoderMismatch, StoreError
from hoptrail.memory import content_hash
from hoptrail.memory.encoders.query_cache import CacheStats
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.filters import Filter
from hoptrail.memory.index import snapshot
from hoptrail.memory.index.ann_types import LEAST, AnnIndexType, IndexName
from hoptrail.memory.index.dense import DenseIndex
from hoptrail.memory.index.engines.engine_search import EngineSearch
from hoptrail.memory.index.engines.qdrant import QdrantEngine
from hoptrail.memory.index.filter_columns import FilterColumns
from hoptrail.memory.index.mapped_arrays import Mapped
from hoptrail.memory.index.slots import Slots, SlotTable
from hoptrail.memory.index.sparse_types import SparseName, sparse_index
from hoptrail.memory.passages import vector_rows
from hoptrail.memory.storage import damaged, records, store_info
from hoptrail.memory.storage.database import Database
from hoptrail.memory.storage.namespaces import Scope, ScopeLike
from hoptrail.memory.storage.pins import Pins
from hoptrail.memory.views.passages_read import PassagesRead
from hoptrail.memory.views.validity_clock import ValidityClock
from hoptrail.memory.views.view_state import Spent, part, with_prefix
from hoptrail.types import Passage

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 20_000
"""Passages indexed in one go when a view is built: bounds the memory that takes."""

MOST_DEAD = 1000
"""Dead slots that a view keeps however few are alive; beyond, as many as are alive."""


_SELECT = (
    "SELECT p.rowid, p.title, p.text, p.metadata, v.vector "
    "FROM passages p LEFT JOIN vectors v ON v.passage = p.rowid"
)


class View:
    """The passages of the namespaces that begin with `scope`, by slot. Made by `Store.view`.

    It holds what is valid at the moment of its scope, which mostly is now and moves on. A
    slot is a small whole number that stays its passage's for the life of the view. A deleted
    passage's slot is dead; an updated passage gets a new one. All its vectors are one encoder's:
    when the store changes to another, the view is done for, and `Store.view` gives a new one.
    Threads may share a view. What must see one state holds `lock` meanwhile, or has the store pin
    it (`Store.pinned`): then its passages can be read though others delete them.
    """

    def __init__(
        self,
        database: Database,
        scope: Scope,
        clock: Callable[[], float],
        index: IndexName | AnnIndexType | QdrantEngine = "auto",
        sparse: SparseName = "auto",
    ) -> None:
        self.scope = scope
        """Its namespaces, and as of when it holds their passages."""
        self.lock = RLock()
        """Held while it is searched or changed; for the order of locks see
        `hoptrail.memory.storage.database`."""
        self._db = database
        self._clock = clock
        self._kinds = index, sparse
        # All below only with the lock held.
        self._table = SlotTable()
        self._slot_of: dict[int, int] = {}  # of living slots, by rowid
        self._version = 0
        self._encoder: str | None = None  # whose vectors it holds, as described
        self._since = 0  # the version from which on they are the store's
        self._unsaved = 0  # slots taken in or killed since the last snapshot
        self._mapped: Mapped | None = None  # the file that arrays lie in
        self._expired_at = 0.0  # when something was last taken out that the file still holds
        self._validity = ValidityClock(scope)
        self.turns = 0
        """How often passages came in by the clock alone, with no version of the store."""
        self.pins = Pins(database)
        """Who wants it to stay as it is."""
        self._engine = index if isinstance(index, QdrantEngine) else None
        if isinstance(index, QdrantEngine):
            search = EngineSearch(index, scope.encoded, self._table, self.slot_of_rowid)
            self.dense = DenseIndex(self._table, self.lock, search)
        else:
            self.dense = DenseIndex(self._table, self.lock, index)
        with database.reading() as connection:
            language = store_info.language(connection)
        self.sparse = sparse_index(sparse, self._table, self.lock, language)
        self._passages = PassagesRead(self._table, self.pins, self._leave_out)
        self._columns = FilterColumns(self.pins.reading, self._table)

    def __repr__(self) -> str:
        scope = "/".join(self.scope.namespace) or "everything"
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
    def keys(self) -> NDArray[np.uint64]:
        """64 bits of the hash of each slot's content, `(capacity,)`."""
        return self._table.keys

    @property
    def stats(self) -> CacheStats:
        """How often a passage that was read was in memory."""
        return self._passages.stats

    def fits(self, encoder: Encoder) -> bool:
        """Whether its vectors are this encoder's; so are none at all.

        Args:
            encoder: Any.
        """
        return self._encoder in (None, store_info.describe_encoder(encoder))

    def slot_of_rowid(self, rowid: int) -> int | None:
        """The living slot of a rowid, or None.

        Args:
            rowid: The store's, of a passage.
        """
        return self._slot_of.get(rowid)

    def slot_of(self, id: str, namespace: ScopeLike = ()) -> int | None:
        """The living slot of a passage, or None if this view has none.

        Args:
            id: The passage's.
            namespace: Exactly the passage's.
        """
        with self.pins.reading() as connection:
            stored = Scope.parse(namespace).encoded
            rowids = records.rowids(connection, stored, [id], self._clock())
        return self._slot_of.get(rowids[id]) if rowids else None

    def content_key(self, slot: int) -> bytes:
        """A hash of the slot's content: breaks ties whatever the order and the ids.

        Args:
            slot: Any.
        """
        return int(self._table.keys[slot]).to_bytes(8, "big")

    def has_content(self, content: str) -> NDArray[np.bool_]:
        """Which slots hold exactly this content, `(capacity,)`, by its hash.

        Args:
            content: A passage's, as `Passage.content` gives it.
        """
        return np.asarray(self._table.keys == np.uint64(content_hash.content_key(content)))

    def order(self, scores: NDArray[np.floating], slots: Slots) -> NDArray[np.int64]:
        """Positions that sort slots `(m,)` by score, best first, equals by content.

        Args:
            scores: `(m,)`.
            slots: `(m,)`.
        """
        return self._table.order(scores, slots)

    def allowed(self, filter: Filter | None) -> NDArray[np.bool_] | None:
        """Which slots are alive and fulfil a filter, `(capacity,)`; None without one.

        Args:
            filter: What passages must fulfil.
        """
        if filter is None:
            return None
        with self.lock:
            return self._columns.mask(filter)

    def passages(self, slots: Sequence[int] | Slots) -> list[Passage]:
        """The passages of slots, in this order; those read lately are not read again.

        Args:
            slots: m of them.

        Raises:
            UnknownId: One was deleted after this view was last refreshed, and it is not pinned.
        """
        self._db.check()
        with self.lock:
            return self._passages.get([int(slot) for slot in slots])

    def _leave_out(self, rowids: Sequence[int]) -> None:
        """Take passages out that are there and cannot be read."""
        self._remove([self._slot_of.pop(rowid) for rowid in rowids if rowid in self._slot_of])

    def refresh(self) -> bool:
        """Catch up with the last commit; whether anything changed. One that is pinned stays.

        Raises:
            StoreError: This thread has a write transaction open: what is not committed may yet be
                undone, and a view could not follow.
            EncoderMismatch: The store has changed to another encoder.
        """
        with self.lock:
            before = self.capacity, self.size
            self._refuse_in_a_write()
            with self._db.snapshot() as connection:
                self.follow(connection)
            return before != (self.capacity, self.size)

    def follow(self, connection: sqlite3.Connection) -> bool:
        """Catch up with the state that a snapshot reads; False if that cannot be done.

        It is pinned as it is, or is newer than that state, or the clock has been set back and what
        had expired has not any more. A new view can do it, then. Only with the lock held.

        Args:
            connection: Reads one state of the store.

        Raises:
            As `refresh` does.
        """
        self._refuse_in_a_write()
        with self._db.inside():
            self._check_encoder(connection)
            newest, now = store_info.newest_version(connection), self._clock()
            if not self._version and not self._table.capacity:
                self._restore(connection, newest)
            turning = self._validity.turning(connection, now)
            if newest < self._version or now < self._expired_at or turning is None:
                return False
            # What has expired is out at once, also where nobody may write and delete it.
            expired = records.expired_rowids(connection, now, self.scope)
            changed = newest != self._version or bool(turning)
            if changed or any(row in self._slot_of for row in expired):
                if self.pins:
                    return False
                self._check_room(newest)
                if newest != self._version:
                    self._catch_up(connection, self._deleted(connection), now)
                self._turn(connection, turning, now)
                self._remove([self._slot_of.pop(row) for row in expired if row in self._slot_of])
                self._version = newest
                self._expired_at = now if expired else 0.0
            self._validity.follow(connection, now, changed=changed)
            if self._engine is not None and self.size > LEAST:
                self._engine.follow(connection, newest)
        trained = self.dense.settle() and self.size >= snapshot.MINIMUM
        if trained or self._unsaved >= max(snapshot.MINIMUM, self.size // 4):
            self.save()
        return True

    def _turn(self, connection: sqlite3.Connection, rowids: Sequence[int], now: float) -> None:
        """Take in those of these passages that are valid now, and take the others out."""
        valid, values = self.scope.moment.condition(now, "p.")
        gone = {row for row in rowids if row in self._slot_of}
        for some, marks in records.batches(rowids):
            rows = connection.execute(
                f"{_SELECT} WHERE p.rowid IN ({marks}) AND {valid}", (*some, *values)
            ).fetchall()
            gone -= {row[0] for row in rows}
            new = [row for row in rows if row[0] not in self._slot_of]
            self._take_in(connection, new)
            self._unsaved += len(new)
            self.turns += bool(new)
        self._remove([self._slot_of.pop(row) for row in gone])

    def _refuse_in_a_write(self) -> None:
        if self._db.busy == "write":
            raise StoreError("a view cannot be refreshed inside a write transaction")

    def save(self) -> bool:
        """Write the snapshot that the next to open this scope starts from; whether it was done.

        Refreshing does it by itself whenever enough has changed to be worth it.
        """
        with self.lock:
            if not self._db.derives or self._db.busy or self._expired_at:
                return False  # what it leaves out since it expired, the store may still hold
            if not self.scope.moment.moves:
                return False  # that of now is the one that others start from
            state = self._state() | with_prefix("dense.", self.dense.state())
            self._unsaved = 0
            return snapshot.save(self._db, self.scope.encoded, self._version, state)

    def renewed(self) -> View:
        """A view of the same scope without dead slots, with the vectors that the store now has.

        All else is taken over, the vectors too where the encoder is the same.
        """
        with self.lock:
            view = View(self._db, self.scope, self._clock, *self._kinds)
            if self.size and self._whole:
                state = self._state() | with_prefix("dense.", self.dense.state())
                # Copies: what is taken over is not to hold on to all that there was.
                copies = {key: np.array(value) for key, value in state.items()}
                with self._db.reading() as connection:
                    view._resume(self._version, copies, connection)
                view._unsaved = max(view._unsaved, self._unsaved)
            return view

    @property
    def _whole(self) -> bool:
        return self._mapped is None or self._mapped.whole

    def _check_room(self, newest: int) -> None:
        """Refuse to take in more where most slots are dead: they would never be fewer.

        Raises:
            Spent: They are.
        """
        dead = self.capacity - self.size
        if newest != self._version and dead > max(MOST_DEAD, self.size):
            raise Spent(
                f"{dead} of {self.capacity} slots are dead: ask the store for its view again"
            )

    def _state(self) -> dict[str, NDArray[Any]]:
        """What `_resume` needs, but for the vectors."""
        state = {"rowids": self.rowids[self.alive], "keys": self._table.keys[self.alive]}
        state["moment"] = np.array([self._validity.reached])
        return state | with_prefix("sparse.", self.sparse.state())

    def _restore(self, connection: sqlite3.Connection, newest: int) -> None:
        """Start from the snapshot, if there is one to be trusted and not from the future."""
        if not self.scope.moment.moves:
            return
        saved = snapshot.load_snapshot(self._db, self.scope.encoded)
        if saved is None or saved[0] > newest:
            return
        if not self._validity.is_sound(connection, self._clock(), _moment_of(saved[1])):
            return
        self._mapped = saved[1]
        self._resume(*saved, connection)

    def _resume(
        self, version: int, state: Mapping[str, NDArray[Any]], connection: sqlite3.Connection
    ) -> None:
        """Start from a state of a version; if the encoder has changed since, with new vectors."""
        self._version, self._validity.reached = version, _moment_of(state)
        slots = self._table.add(state["rowids"], state["keys"])
        self._slot_of = dict(zip(state["rowids"].tolist(), slots.tolist(), strict=True))
        self.sparse.restore(part(state, "sparse."))
        self._check_encoder(connection)
        if version >= self._since and "dense.vectors" in state:
            self.dense.restore(part(state, "dense."))
            return
        width = store_info.width(self._encoder or "") or 0
        for start in range(0, len(slots), ROWS_AT_ONCE):
            rowids = state["rowids"][start : start + ROWS_AT_ONCE].tolist()
            vectors = vector_rows.read_vectors(connection, rowids, width)
            self.dense.add(vectors.main, vectors.windows, vectors.owners)
        self._unsaved = len(slots)

    def _check_encoder(self, connection: sqlite3.Connection) -> None:
        """Take note of whose vectors the store holds.

        Raises:
            EncoderMismatch: Those that are here are another's.
            Spent: The file that they lie in was cut short.
        """
        if not self._whole:
            logger.warning("an index file of %s was cut short: it is built anew", self._db.name)
            raise Spent(
                f"an index file of {self._db.name} was cut short: ask the store for its view again"
            )
        since, encoder = store_info.encoder_since(connection), store_info.get(connection, "encoder")
        if self._encoder is not None and (self._since, self._encoder) != (since, encoder):
            raise EncoderMismatch(
                f"{self._db.name} has changed its encoder to {encoder} and this view holds vectors "
                f"of {self._encoder}: ask the store for its view again"
            )
        self._since, self._encoder = since, encoder

    def _deleted(self, connection: sqlite3.Connection) -> list[int]:
        """Slots whose passages were deleted since."""
        rows = connection.execute(
            # Of whatever namespace: a purge leaves none, and a rowid is never given twice.
            "SELECT passage FROM tombstones WHERE version > ?",
            (self._version,),
        )
        return [self._slot_of.pop(row[0]) for row in rows if row[0] in self._slot_of]

    def _catch_up(self, connection: sqlite3.Connection, gone: list[int], now: float) -> None:
        """Take in what was written, kill what it replaces and what is gone or not valid."""
        valid, values = self.scope.moment.valid(now, "p.")
        # A + keeps SQLite from an index: a first reading goes by namespace, a later by version.
        where = "+p.version > ? AND p.namespace >= ? AND p.namespace < ?"
        if self._version:
            where = "p.version > ? AND +p.namespace >= ? AND +p.namespace < ? "
            ended = connection.execute(
                f"SELECT p.rowid FROM passages p WHERE {where} AND NOT ({valid})",
                (self._version, *self.scope.bounds, *values),
            )
            gone += [self._slot_of.pop(row[0]) for row in ended if row[0] in self._slot_of]
        order = "ORDER BY p.version" if self._version else ""
        cursor = connection.execute(
            f"{_SELECT} WHERE {where} AND {valid} {order}",
            (self._version, *self.scope.bounds, *values),
        )
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            gone += [self._slot_of[row[0]] for row in rows if row[0] in self._slot_of]
            self._take_in(connection, rows)
            self._unsaved += len(rows)
        self._remove(gone)

    def _remove(self, gone: list[int]) -> None:
        """Take slots out of the indexes."""
        if not gone:
            return
        self._unsaved += len(gone)
        slots = np.asarray(gone, dtype=np.int64)
        self._table.mark_deleted(slots)
        self.dense.remove(slots)
        self.sparse.remove(slots)
        self._passages.drop(gone)

    def _take_in(
        self, connection: sqlite3.Connection, rows: list[tuple[int, object, object, object, object]]
    ) -> None:
        """Give slots to passages; to those that are damaged none."""
        sound: list[int] = []
        contents: list[str] = []
        stored: list[object] = []
        for rowid, title, text, metadata, vector in rows:
            try:
                content = damaged.checked_content(title, text, metadata)
            except ValueError as error:
                damaged.warn(connection, rowid, error)
                continue
            sound.append(rowid)
            contents.append(content)
            stored.append(vector)
        if not sound:
            return
        keys = np.asarray([content_hash.content_key(c) for c in contents], dtype=np.uint64)
        width = store_info.width(self._encoder or "") or 0
        vectors = vector_rows.unpacked_vectors(connection, stored, sound, width)
        slots = self._table.add(np.asarray(sound, dtype=np.int64), keys)
        self._slot_of.update(zip(sound, slots.tolist(), strict=True))
        self.dense.add(vectors.main, vectors.windows, vectors.owners)
        self.sparse.add(contents)


def _moment_of(state: Mapping[str, NDArray[Any]]) -> float:
    """Until when the passages of a state were the valid ones; one of before says nothing of it."""
    return float(state["moment"][0]) if "moment" in state else -math.inf
