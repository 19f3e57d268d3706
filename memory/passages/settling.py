"""What of a batch is to be written, beside what the store has under its ids.

To add a passage whose id was made of its content again is no error: it is there. Where it was
rewritten under its id meanwhile (`update`), what is added is another passage, and gets the next id
of its content.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.passages import batches, provenance, usage, versions, whole_documents
from hoptrail.memory.passages.batches import Key, OnDuplicate
from hoptrail.memory.passages.identity import content_id, is_by_content
from hoptrail.memory.passages.provenance import Merged
from hoptrail.memory.passages.usage import Counts
from hoptrail.memory.passages.whole_documents import NOTHING
from hoptrail.memory.storage import records, store_info
from hoptrail.memory.storage.validity import holds
from hoptrail.types import Passage


@dataclass(frozen=True, slots=True)
class Settled:
    """A batch, by the keys that it was given under, as it is to be written."""

    writing: dict[Key, Passage]
    """Those to write, under ids that are free or may be written over."""
    ids: list[str]
    """In the order given: of those, and of what is there already and need not be written."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What another store knew of passages, by key."""

    counts: Mapping[Key, Counts]
    merged: Mapping[Key, Sequence[Merged]]


def rekeyed(
    connection: sqlite3.Connection,
    batch: Mapping[Key, Passage],
    now: float,
    *,
    ended: bool = False,
) -> dict[Key, Passage]:
    """A batch, by the keys given, each under an id that no other content has.

    Only of passages whose ids were made of their content: what a caller named stays so. What says
    the same but is not valid now is another passage, unless it was given for just that time.

    Args:
        connection: The store's.
        batch: To be written, by the keys given.
        now: Seconds since 1970.
        ended: Whether what is not valid now is the same passage all the same.
    """
    mine = {key: passage for key, passage in batch.items() if is_by_content(passage)}
    existing = batches.existing_rows(connection, mine, now)
    out = dict(batch)
    for key in existing:
        passage, again = batch[key], 0
        there: Passage | None = existing[key][1]
        while there is not None and not _is_it(there, passage, math.inf if ended else now):
            again += 1
            passage = replace(passage, id=content_id(batch[key], again))
            row = batches.existing_rows(connection, [own(passage)], now).get(own(passage))
            there = None if row is None else row[1]
        out[key] = passage
    return out


def renamed(
    connection: sqlite3.Connection, batch: Mapping[Key, Passage], now: float
) -> dict[Key, Passage]:
    """A batch as `rekeyed` gives it, by the passages' own keys.

    Args:
        connection: The store's.
        batch: To be written, by the keys given.
        now: Seconds since 1970.
    """
    again = rekeyed(connection, batch, now, ended=True)
    return {own(passage): passage for passage in again.values()}


def _is_it(there: Passage, passage: Passage, now: float) -> bool:
    """Whether what is there under an id of its content is what is given; at infinity, ever."""
    if there.content != passage.content:
        return False
    times = (passage.valid_from, passage.valid_until)
    return now == math.inf or holds(there, now) or times == (there.valid_from, there.valid_until)


def settle(
    connection: sqlite3.Connection,
    batch: Mapping[Key, Passage],
    how: OnDuplicate,
    now: float,
    *,
    rekey: bool,
) -> Settled:
    """What of a batch is to be written, beside what the store has.

    Args:
        connection: The store's.
        batch: By the keys given.
        how: What to do with an id that is taken.
        now: The time.
        rekey: Whether ids that were made of content may become others.

    Raises:
        DuplicateId: An id that a caller named is taken, and `how` is "error".
    """
    placed = rekeyed(connection, batch, now) if rekey else dict(batch)
    if how == "error" and rekey:
        mine = [own(p) for key, p in placed.items() if p.id != batch[key].id or is_by_content(p)]
        existing = batches.existing_rows(connection, mine, now)
        writing = {}
        for key, passage in placed.items():
            row = existing.get(own(passage))
            if row is None or row[1] is None:  # not there, or damaged
                writing[key] = passage
            elif (again := _again(row[1], passage)) != row[1]:
                writing[key] = again
        fresh = {key: p for key, p in writing.items() if own(p) not in existing}
        batches.without_duplicates(connection, fresh, how, now)
        return Settled(writing, [passage.id for passage in placed.values()])
    writing = batches.without_duplicates(connection, placed, how, now)
    return Settled(writing, [passage.id for passage in writing.values()])


def _again(there: Passage, passage: Passage) -> Passage:
    """A passage that is added again, with what it has got since and the times that are given."""
    first, last = passage.valid_from, passage.valid_until
    return replace(
        there,
        expires_at=passage.expires_at,
        valid_from=there.valid_from if first is None else first,
        valid_until=there.valid_until if last is None else last,
    )


def put_settled(
    connection: sqlite3.Connection,
    writing: Mapping[Key, Passage],
    vectors: Mapping[str, Vectors],
    now: float,
    old: Elsewhere | None = None,
) -> None:
    """Write passages, each over what its id has, and documents in place of all that they had.

    Args:
        connection: In a write transaction.
        writing: The passages, by the keys that they were given under.
        vectors: Of their contents, `(d,)` each.
        now: When they are written.
        old: What another store knew of them, which then also says when they were written.

    Raises:
        DuplicateId: A document has the id of a passage that is not its own.
    """
    batch = {own(passage): passage for passage in writing.values()}
    if old is None and any(passage.document is not None for passage in writing.values()):
        whole_documents.check_owners(batch, batches.existing_rows(connection, batch, now))
        batches.delete_rows(connection, list(whole_documents.stale(connection, batch, NOTHING)))
    existing = batches.existing_rows(connection, batch, now)
    if old is None:
        batch = versions.carried(connection, batch, existing, ended=False)
        writing = {key: batch[own(passage)] for key, passage in writing.items()}
    rowid_of = {key: row[0] for key, row in existing.items()}
    version = store_info.bump(connection, len(writing))
    for i, (key, passage) in enumerate(writing.items()):
        written_at = now if old is None else passage.written_at
        rowid = batches.put_passage(
            connection, passage, rowid_of.get(own(passage)), version + i, written_at
        )
        records.put_vector(connection, rowid, vectors[passage.content])
        if old is not None and key in old.counts:
            usage.put_counts(connection, rowid, old.counts[key])
        if old is not None and key in old.merged:
            connection.execute("DELETE FROM merges WHERE passage = ?", (rowid,))
            provenance.put_merged(connection, rowid, old.merged[key])


def own(passage: Passage) -> Key:
    """The key that a passage has.

    Args:
        passage: Any.
    """
    return passage.namespace, passage.id
