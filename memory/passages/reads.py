"""The part of a store that reads: passages by key or scope, and what changed since a version."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from hoptrail.errors import InputError, StoreError, UnknownId
from hoptrail.memory.filters import Filter, FilterLike
from hoptrail.memory.storage import damaged, records, store_info
from hoptrail.memory.storage.database import Database
from hoptrail.memory.storage.namespaces import (
    Scope,
    ScopeLike,
    decode_namespace,
    encode_namespace,
)
from hoptrail.memory.storage.validity import EVER, NOW, Moment
from hoptrail.types import Namespace, Passage
from hoptrail.values.numbers import shown
from hoptrail.values.strings import check_string

if TYPE_CHECKING:
    from hoptrail.memory.passages.usage import Recorder


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to the store after a version."""

    version: int
    """The newest version: pass it as `since` next time."""
    written: tuple[int, ...]
    """Rowids of passages added or changed, in the order of writing."""
    deleted: tuple[int, ...]
    """Rowids of passages that are gone, in the order of deletion."""


class PassageReads:
    """What can be asked of a store's file without an index or an encoder."""

    _db: Database
    _clock: Callable[[], float]
    recorder: Recorder

    @property
    def clock(self) -> Callable[[], float]:
        """What tells it the time."""
        return self._clock

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty store is still a store

    @property
    def database(self) -> Database:
        """The file underneath, for those who look after it."""
        return self._db

    @property
    def name(self) -> str:
        """What messages call it: the path of its file."""
        return self._db.name

    @property
    def read_only(self) -> bool:
        """Whether it refuses to be written to."""
        return self._db.read_only

    @property
    def version(self) -> int:
        """The newest version: it grows with every passage written or deleted."""
        with self._db.reading() as connection:
            return store_info.newest_version(connection)

    def get(self, id: str, namespace: ScopeLike = ()) -> Passage:
        """The passage with this id in exactly this namespace.

        Args:
            id: The passage's.
            namespace: Exactly the passage's.

        Raises:
            UnknownId: It is not there.
        """
        return self.get_many([id], namespace)[0]

    def get_many(self, ids: Iterable[str], namespace: ScopeLike = ()) -> list[Passage]:
        """The passages with these ids, in this order.

        Args:
            ids: In any order; one that is repeated comes as often.
            namespace: Exactly the passages'.

        Raises:
            UnknownId: One of them is not there.
        """
        id_list, place = list_of_ids(ids), Scope.parse(namespace)
        with self._db.reading() as connection:
            rowid_of = find(connection, id_list, place, self._clock(), place.moment)
            passages = records.passages_at(connection, list(rowid_of.values()))
        for id_ in id_list:
            if rowid_of[id_] not in passages:
                raise StoreError(damaged.message(id_, self._db.name))
        return [passages[rowid_of[id_]] for id_ in id_list]

    def has(self, id: str, namespace: ScopeLike = ()) -> bool:
        """Whether exactly this namespace has this id.

        Args:
            id: The passage's.
            namespace: Exactly the passage's.
        """
        place, ids = Scope.parse(namespace), list_of_ids([id])
        with self._db.reading() as connection:
            now = self._clock()
            return bool(records.rowids(connection, place.encoded, ids, now, place.moment))

    def count(self, namespace: ScopeLike = (), *, filter: FilterLike | None = None) -> int:
        """How many passages the scope holds, or how many of them fulfil a filter.

        Args:
            namespace: The scope: every namespace that begins with it.
            filter: Only passages that fulfil it; see `hoptrail.memory.filters`.

        Raises:
            InputError: It is no filter.
        """
        conditions, scope = Filter.parse_optional(filter), Scope.parse(namespace)
        if conditions is not None:
            passages, count = self.passages(scope), 0
            with self._db.reading():  # of one state, however many there are
                while part := list(islice(passages, records.BATCH)):
                    count += int(conditions.passages_mask(part).sum())
            return count
        with self._db.reading() as connection:
            return records.count(connection, scope, self._clock())

    def holds_any(self, namespace: ScopeLike = ()) -> bool:
        """Whether the scope holds a passage: what it costs does not grow with how many.

        Args:
            namespace: The scope: every namespace that begins with it.
        """
        scope = Scope.parse(namespace)
        condition, values = scope.moment.condition(self._clock())
        with self._db.reading() as connection:
            row = connection.execute(
                "SELECT 1 FROM passages WHERE namespace >= ? AND namespace < ? "
                f"AND {condition} LIMIT 1",
                (*scope.bounds, *values),
            ).fetchone()
            return row is not None

    def namespaces(self) -> list[Namespace]:
        """Every namespace that holds a passage which is valid now, sorted."""
        with self._db.reading() as connection:
            query, now = "SELECT DISTINCT namespace FROM passages", self._clock()
            values: tuple[float, ...] = ()
            # Else the index of namespaces is enough.
            if records.says_validity(connection) or records.expired_rowids(connection, now):
                condition, values = NOW.condition(now)
                query += f" WHERE {condition}"
            rows = connection.execute(query, values).fetchall()
        return sorted(decode_namespace(row[0]) for row in rows)

    def passages(
        self, namespace: ScopeLike = (), *, after: tuple[Namespace, str] | None = None
    ) -> Iterator[Passage]:
        """The scope's passages by namespace and id; what is written meanwhile may be missed.

        Args:
            namespace: The scope: every namespace that begins with it.
            after: Namespace and id of the passage behind which to begin; it need not be there.
        """
        scope = Scope.parse(namespace)
        low, high = scope.bounds
        start = (low, "")
        if after is not None:
            start = max(start, (encode_namespace(after[0]), after[1]))
        while True:
            with self._db.reading() as connection:
                rows = connection.execute(
                    "SELECT namespace, id, rowid FROM passages "
                    "WHERE (namespace, id) > (?, ?) AND namespace < ? "
                    "ORDER BY namespace, id LIMIT ?",
                    (*start, high, records.BATCH),
                ).fetchall()
                by_rowid = records.passages_at(connection, [row[2] for row in rows])
            if not rows:
                return
            now = self._clock()
            for row in rows:
                passage = by_rowid.get(row[2])  # none is damaged
                if passage and scope.moment.includes(passage, now):
                    yield passage
            start = (rows[-1][0], rows[-1][1])

    def read_rows(self, rowids: Sequence[int]) -> dict[int, Passage]:
        """The passages with these rowids; one that is gone is left out.

        Args:
            rowids: Of the passages; they stay while a passage lives.
        """
        with self._db.reading() as connection:
            return records.passages_at(connection, rowids)

    def unchanged(self, since: int, rowids: Iterable[int]) -> bool:
        """Whether passages are there yet, and none of them was written after a version.

        Args:
            since: A version.
            rowids: Of the passages.
        """
        different = list(dict.fromkeys(rowids))
        count = 0
        with self._db.reading() as connection:
            for part, marks in records.batches(different):
                count += connection.execute(
                    f"SELECT count(*) FROM passages WHERE rowid IN ({marks}) AND version <= ?",
                    (*part, since),
                ).fetchone()[0]
        return count == len(different)

    def changes(self, since: int) -> Changes:
        """What was written and deleted with a version above `since`.

        A passage that came and went in between is only among the deleted.

        Args:
            since: A version, 0 for everything.
        """
        with self._db.reading() as connection:
            written = connection.execute(
                "SELECT rowid FROM passages WHERE version > ? ORDER BY version", (since,)
            ).fetchall()
            deleted = connection.execute(
                "SELECT passage FROM tombstones WHERE version > ? ORDER BY version", (since,)
            ).fetchall()
            newest = store_info.newest_version(connection)
        return Changes(newest, tuple(r[0] for r in written), tuple(r[0] for r in deleted))

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """One consistent state of the file, however many statements read it."""
        return self._db.reading()


def list_of_ids(ids: Iterable[str]) -> list[str]:
    """Ids as a list, refusing one bare string, whose characters would be taken for ids.

    Args:
        ids: As a caller gave them.

    Raises:
        InputError: It is no list of non-empty strings.
    """
    if isinstance(ids, str):
        raise InputError(f"expected a list of ids, got the string {ids!r}")
    if not isinstance(ids, Iterable) or isinstance(ids, Mapping | bytes):
        raise InputError(f"expected a list of ids, got {shown(ids)}")
    id_list = list(ids)
    for id_ in id_list:
        check_string(id_, "an id")
    return id_list


def find(
    connection: sqlite3.Connection,
    ids: Sequence[str],
    place: Scope,
    now: float,
    moment: Moment = EVER,
) -> dict[str, int]:
    """The rowids of these ids, in exactly a scope's namespace.

    Args:
        connection: The store's.
        ids: In any order.
        place: Whose namespace holds them.
        now: Seconds since 1970.
        moment: Only those valid then; who writes meets all that there are.

    Raises:
        UnknownId: One of them is not in this namespace, or not valid then.
    """
    rowid_of = records.rowids(connection, place.encoded, ids, now, moment)
    for id_ in ids:
        if id_ not in rowid_of:
            name = "/".join(place.namespace)
            where = f"namespace {name}" if name else "the root namespace"
            if records.rowids(connection, place.encoded, [id_], now):
                when = "now" if moment.at is None else "at that time"
                raise UnknownId(
                    f"the passage {id_!r} in {where} is not valid {when}: its history tells when "
                    'it is, and as_of="ever" reads it all the same'
                )
            raise UnknownId(f"no passage has the id {id_!r} in {where}")
    return rowid_of
