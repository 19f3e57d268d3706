"""The part of a store that changes what a passage says, and may keep what it said before."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import cast

import numpy as np

from hoptrail.errors import DuplicateId, InputError
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.passages import batches, cleaning, settling, versions
from hoptrail.memory.passages.reads import find
from hoptrail.memory.passages.writes import Writer
from hoptrail.memory.storage import records, store_info
from hoptrail.memory.storage.namespaces import Scope, ScopeLike
from hoptrail.memory.storage.validity import EVER, check_interval
from hoptrail.types import Link, Metadata, Passage, Time
from hoptrail.values.flags import flag
from hoptrail.values.json_values import instant
from hoptrail.values.strings import check_string


class Updater(Writer):
    """What can be done to what one passage says."""

    def update(
        self,
        id: str,
        *,
        text: str | None = None,
        title: str | EllipsisType | None = ...,
        metadata: Metadata | None = None,
        links: Sequence[Link] | None = None,
        expires_at: Time | EllipsisType | None = ...,
        valid_from: Time | EllipsisType | None = ...,
        valid_until: Time | EllipsisType | None = ...,
        keep_history: bool = False,
        namespace: ScopeLike = (),
        encoder: Encoder | None = None,
    ) -> Passage:
        """Change what is given of a passage; the passage as it now is.

        A changed content is encoded anew, by `encoder` as for `add`. Metadata and links replace
        those that were there.

        Args:
            id: The passage's, whether it is valid now or not.
            text: Its new text; None leaves what is there, as for the others.
            title: Its new title, or None for none; `...` leaves what is there.
            metadata: Takes the place of all that is there.
            links: Take the place of all that are there but those that tell of its past.
            expires_at: A time, or None for never; `...` leaves what is there.
            valid_from: When what it says begins to hold, a time that says its offset, or None.
            valid_until: When it ceases to, likewise.
            keep_history: Keep what it said until now, as a passage that was valid until now, or
                until `valid_from` where that is given. There is nothing to keep where text, title
                and metadata stay.
            namespace: Exactly the passage's.
            encoder: As for `add`.

        Raises:
            UnknownId: The passage is not there.
            InputError: A value cannot be stored, or what was said would end before it began.
            EncoderMissing: The content changes and the store has no encoder.
        """
        place, keep_history = Scope.parse(namespace).at(EVER), flag(keep_history, "keep_history")
        encoder = self._encoder_of_write(encoder)
        while True:
            old = self.get(id, place)
            new = replace(
                old,
                text=old.text if text is None else text,
                title=old.title if isinstance(title, EllipsisType) else title,
                metadata=old.metadata if metadata is None else metadata,
                links=old.links
                if links is None
                else versions.with_history(records.tuple_of_links(links), old.links),
                expires_at=_time(expires_at, old.expires_at),
                valid_from=_time(valid_from, old.valid_from),
                valid_until=_time(valid_until, old.valid_until),
            )
            update = _Update(old, cleaning.cleaned(new), keep_history)
            update.check(self._clock(), begins=not isinstance(valid_from, EllipsisType))
            changed = update.new.content != old.content
            vectors = self._encode(encoder, [update.new.content]) if changed else None
            with self._write() as (connection, now):
                rowid = find(connection, [id], place, now)[id]
                if batches.one(connection, rowid, id) != old:
                    continue  # someone wrote it while we encoded: start from what they wrote
                if vectors is not None and encoder is not None:
                    store_info.claim_encoder(connection, encoder, self._db.name)
                update.write(connection, rowid, None if vectors is None else vectors[0], now)
                return batches.one(connection, rowid, id)

    def supersede(
        self,
        old_id: str,
        new: Passage,
        *,
        at: Time | None = None,
        namespace: ScopeLike = (),
        encoder: Encoder | None = None,
    ) -> Passage:
        """Let a passage take the place of another, which is valid until then; it as it now is.

        Args:
            old_id: Of the passage that is closed.
            new: What holds from then on: a new passage, or one that is there, as it is.
            at: When; by default the new one's `valid_from`, or now.
            namespace: Exactly the passages'.
            encoder: As for `add`.

        Raises:
            UnknownId: The old passage is not there.
            DuplicateId: There is another passage under the new one's id.
            InputError: Another has taken the old one's place already, it begins later than the new
                one does, or the new one cannot be stored.
            EncoderMissing: The content is new and the store has no encoder.
        """
        place = Scope.parse(namespace).at(EVER)
        check_string(old_id, "the id of what is superseded")
        begin = None if at is None else instant(at, "at")
        encoder = self._encoder_of_write(encoder)
        batch = batches.collect([new], "error", self._clock(), None)
        (passage,) = batch.values()
        if passage.namespace != place.namespace:
            raise InputError(
                f"what supersedes {old_id!r} must be in its namespace, {place.namespace!r}, got "
                f"{passage.namespace!r}"
            )
        if None not in (begin, passage.valid_from) and begin != passage.valid_from:
            raise InputError(
                f"valid_from of {passage.id!r} is {passage.valid_from!r} and at is {begin!r}: give "
                "one of the two"
            )
        vector: Vectors | None = None
        while True:
            with self._db.reading() as connection:
                _, there = _placed(connection, batch, self._clock())
            if there is None and vector is None:
                vector = self._encode(encoder, [passage.content])[0]
            with self._write() as (connection, now):
                rowid = find(connection, [old_id], place, now)[old_id]
                old = batches.one(connection, rowid, old_id)
                placed, there = _placed(connection, batch, now)
                if there is None and vector is None:
                    continue  # someone deleted it meanwhile
                if there is None and encoder is not None:
                    store_info.claim_encoder(connection, encoder, self._db.name)
                begins = next((t for t in (begin, placed.valid_from) if t is not None), now)
                closed, successor = _superseded(connection, old, placed, begins, there)
                version = store_info.bump(connection, 2)
                records.overwrite(connection, rowid, closed, version, old.written_at)
                row = batches.put_passage(
                    connection,
                    successor,
                    None if there is None else there[0],
                    version + 1,
                    now if there is None else successor.written_at,
                )
                if there is None and vector is not None:
                    records.put_vector(connection, row, vector)
                return batches.one(connection, row, successor.id)


@dataclass(slots=True)
class _Update:
    """A change of one passage, and whether what it said is kept."""

    old: Passage
    new: Passage
    keep_history: bool

    def check(self, now: float, *, begins: bool) -> None:
        """Refuse what cannot be stored.

        Args:
            now: Seconds since 1970.
            begins: Whether it was said when the change takes effect.
        """
        batches.check_expiry(self.new, now)
        same = (self.old.text, self.old.title, self.old.metadata) == (
            self.new.text,
            self.new.title,
            self.new.metadata,
        )
        self.keep_history &= not same
        if not self.keep_history:
            return
        begin = self.new.valid_from if begins else None
        if begin is not None and begin > now:
            raise InputError(
                f"passage {self.old.id!r}: valid_from is {begin!r} and now is {now!r}: what begins "
                "later is another passage until then, which supersede takes"
            )
        begin = now if begin is None else begin
        check_end(self.old, begin)
        self.new = replace(self.new, valid_from=begin)
        check_interval(self.new.valid_from, self.new.valid_until)

    def write(
        self, connection: sqlite3.Connection, rowid: int, vector: Vectors | None, now: float
    ) -> None:
        """Write it, and what was said until now beside it.

        Args:
            connection: The store's, in a write transaction.
            rowid: Of the passage.
            vector: Of the new content; None where that stays.
            now: Seconds since 1970.
        """
        new = self.new
        version = store_info.bump(connection, 1 + self.keep_history)
        if self.keep_history:
            earlier = replace(
                ended(self.old, cast("float", new.valid_from)),
                id=versions.free_id(connection, self.old, now),
                document=None,  # which no longer has it
                links=tuple(x for x in self.old.links if x.kind != versions.SUPERSEDES),
            )
            row = records.insert(connection, earlier, version, self.old.written_at)
            _copy_vector(connection, rowid, row)
            links = tuple(link for link in new.links if link.kind != versions.REVISES)
            new = replace(new, links=(*links, Link(earlier.id, versions.REVISES)))
        if vector is not None:
            records.put_vector(connection, rowid, vector)
        records.overwrite(connection, rowid, new, version + self.keep_history, now)


def _time(time: Time | EllipsisType | None, before: float | None) -> float | None:
    """A time that is given, whatever time it is, until `cleaned` makes seconds of it."""
    return before if isinstance(time, EllipsisType) else cast("float | None", time)


def check_end(passage: Passage, at: float) -> None:
    """Refuse to let a passage cease to be valid before it begins.

    Args:
        passage: One that is there.
        at: Seconds since 1970.

    Raises:
        InputError: It begins later, or then.
    """
    if passage.valid_from is not None and at <= passage.valid_from:
        raise InputError(
            f"passage {passage.id!r} is valid from {passage.valid_from!r} on, and cannot cease to "
            f"be at {at!r}: give a later time"
        )


def ended(passage: Passage, at: float) -> Passage:
    """A passage that is valid until a moment, or until it was to end anyway.

    Args:
        passage: One that is there.
        at: Seconds since 1970.
    """
    until = at if passage.valid_until is None else min(passage.valid_until, at)
    return replace(passage, valid_until=until)


def _placed(
    connection: sqlite3.Connection, batch: dict[batches.Key, Passage], now: float
) -> tuple[Passage, tuple[int, Passage] | None]:
    """A passage as it is to be written, and the row and passage that it is already.

    Raises:
        DuplicateId: Its id is another's.
    """
    (placed,) = settling.rekeyed(connection, batch, now).values()
    row = batches.existing_rows(connection, [settling.own(placed)], now).get(settling.own(placed))
    if row is None:
        return placed, None
    rowid, there = row[0], batches.one(connection, row[0], placed.id)
    if there.content != placed.content:
        raise DuplicateId(
            f"the id {placed.id!r} is taken by another text: give what supersedes an id of its own"
        )
    return placed, (rowid, there)


def _superseded(
    connection: sqlite3.Connection,
    old: Passage,
    new: Passage,
    at: float,
    there: tuple[int, Passage] | None,
) -> tuple[Passage, Passage]:
    """The old passage as it is closed, and the new one as it is written.

    Raises:
        InputError: They cannot follow each other.
    """
    if new.id == old.id:
        raise InputError(
            f"{old.id!r} cannot supersede itself: update with keep_history=True keeps what it says"
        )
    if (other := versions.successor(connection, old)) is not None:
        raise InputError(f"{old.id!r} was superseded by {other!r} already: supersede that one")
    check_end(old, at)
    if there is not None:
        if there[1].valid_until is not None and there[1].valid_until <= at:
            raise InputError(f"{new.id!r} is not valid at {at!r}: it cannot supersede {old.id!r}")
        new = there[1]
    new = replace(new, valid_from=at if new.valid_from is None else new.valid_from)
    check_interval(new.valid_from, new.valid_until)
    links = batches.merged_links(new.links, [Link(old.id, versions.SUPERSEDES)])
    return ended(old, at), replace(new, links=links)


def _copy_vector(connection: sqlite3.Connection, source: int, target: int) -> None:
    """Give a passage the vectors of another with the same content."""
    row = connection.execute("SELECT vector FROM vectors WHERE passage = ?", (source,)).fetchone()
    if row is not None:
        records.put_vector(connection, target, np.frombuffer(row[0], dtype="<f4"))
