"""What the writer does with many passages at once: checked, compared with what is there, deleted.

Every function that takes a connection runs inside its caller's transaction.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from hoptrail.errors import DuplicateId, InputError, StoreError
from hoptrail.memory.filters import Filter
from hoptrail.memory.passages import cleaning, versions, whole_documents
from hoptrail.memory.passages.identity import is_by_content
from hoptrail.memory.storage import damaged, records, store_info
from hoptrail.memory.storage.namespaces import encode_namespace
from hoptrail.types import Duration, Link, Metadata, Namespace, Passage
from hoptrail.values.numbers import above_zero

OnDuplicate = Literal["error", "replace", "skip"]
Key = tuple[Namespace, str]
Row = tuple[int, Passage | None]
"""A rowid, and the passage that it holds; None if that is damaged."""


@dataclass(frozen=True, slots=True)
class Upserted:
    """What an upsert did, by id, each in the order given."""

    added: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]
    """There already, the same in every field: not written."""
    deleted: tuple[str, ...] = ()
    """What documents no longer have, in no order that matters."""


def collect(
    passages: Iterable[Passage], on_duplicate: OnDuplicate, now: float, ttl: Duration | None
) -> dict[Key, Passage]:
    """The passages by key, checked; those given twice as `on_duplicate` says.

    Args:
        passages: As a caller gave them.
        on_duplicate: "error", "replace" or "skip"; as `Store.add` takes it.
        now: Seconds since 1970.
        ttl: How long those live that have no expiry of their own; None for ever.

    Raises:
        InputError: One cannot be stored, or has expired.
        DuplicateId: One is given twice and `on_duplicate` is "error", or is of two documents.
    """
    if isinstance(passages, Passage | str):
        raise InputError(f"expected a list of passages, got one {type(passages).__name__}")
    life = None if ttl is None else _life(ttl)
    batch: dict[Key, Passage] = {}
    for passage in passages:
        passage = cleaning.cleaned(passage)
        check_expiry(passage, now)
        key = (passage.namespace, passage.id)
        if key in batch:
            whole_documents.check_same(batch[key], passage)
            # To give what has no id of its own twice is to give it once.
            twin = is_by_content(passage) and batch[key].content == passage.content
            if on_duplicate == "error" and not twin:
                raise DuplicateId(f"the id {passage.id!r} is given twice in one batch")
            if on_duplicate == "skip":
                continue
            if on_duplicate == "replace":
                del batch[key]  # so that the later one also keeps its place
        if life is not None and passage.expires_at is None:
            passage = replace(passage, expires_at=now + life)
        batch[key] = passage
    return batch


def _life(ttl: object) -> float:
    """Seconds that passages live."""
    return above_zero(ttl.total_seconds() if isinstance(ttl, timedelta) else ttl, "ttl in seconds")


def check_expiry(passage: Passage, now: float) -> None:
    """Refuse a passage that has expired.

    Args:
        passage: To be written.
        now: Seconds since 1970.

    Raises:
        InputError: It has; seconds from now may have been meant.
    """
    if passage.expires_at is not None and passage.expires_at <= now:
        raise InputError(
            f"passage {passage.id!r}: expires_at is {passage.expires_at!r} and now is {now!r}: "
            "it takes seconds since 1970, and ttl seconds from now"
        )


def existing_rowids(
    connection: sqlite3.Connection, batch: Iterable[Key], now: float
) -> dict[Key, int]:
    """The rowids of those keys that the store has.

    Args:
        connection: The store's.
        batch: Keys.
        now: Seconds since 1970.
    """
    by_namespace: dict[Namespace, list[str]] = {}
    for namespace, id_ in batch:
        by_namespace.setdefault(namespace, []).append(id_)
    return {
        (namespace, id_): rowid
        for namespace, ids in by_namespace.items()
        for id_, rowid in records.rowids(connection, encode_namespace(namespace), ids, now).items()
    }


def without_duplicates(
    connection: sqlite3.Connection,
    batch: dict[Key, Passage],
    on_duplicate: OnDuplicate,
    now: float,
) -> dict[Key, Passage]:
    """The batch as `on_duplicate` lets it be written over what the store has.

    Args:
        connection: The store's.
        batch: To be written, by the keys given.
        on_duplicate: "error", "replace" or "skip"; as `Store.add` takes it.
        now: Seconds since 1970.

    Raises:
        DuplicateId: An id is taken and `on_duplicate` is "error".
    """
    if on_duplicate == "replace":
        return batch
    keys = {key: (passage.namespace, passage.id) for key, passage in batch.items()}
    there = existing_rowids(connection, keys.values(), now)
    if there and on_duplicate == "error":
        namespace, id_ = next(key for key in keys.values() if key in there)
        where = f" in namespace {'/'.join(namespace)}" if namespace else ""
        raise DuplicateId(
            f"the id {id_!r} is taken{where} ({len(there)} of {len(batch)} are): "
            "upsert writes what differs, on_duplicate='replace' or 'skip' all or what is new"
        )
    skipped = {key for key, own in keys.items() if own in there}
    if on_duplicate == "skip":  # a document is skipped whole: never half of it new, half old
        whole = whole_documents.there(connection, whole_documents.complete(batch.values()))
        skipped |= {key for key, p in batch.items() if (p.namespace, p.document) in whole}
    return {key: passage for key, passage in batch.items() if key not in skipped}


def existing_rows(
    connection: sqlite3.Connection, batch: Iterable[Key], now: float
) -> dict[Key, Row]:
    """What the store has under those keys.

    Args:
        connection: The store's.
        batch: Keys.
        now: Seconds since 1970.
    """
    there = existing_rowids(connection, batch, now)
    passages = records.passages_at(connection, list(there.values()))
    return {key: (rowid, passages.get(rowid)) for key, rowid in there.items()}


def new_contents(
    batch: Mapping[Key, Passage], existing: Mapping[Key, Row], encoded: Collection[str]
) -> list[str]:
    """The contents, each once, that neither the passages' old rows nor `encoded` have.

    Args:
        batch: To be written, by key.
        existing: What the store has under these keys.
        encoded: Contents whose vectors are at hand.
    """
    olds = {key: existing[key][1] if key in existing else None for key in batch}
    contents = {
        passage.content: None
        for key, passage in batch.items()
        if (old := olds[key]) is None or old.content != passage.content
    }
    return [content for content in contents if content not in encoded]


def same(old: Passage | None, new: Passage) -> bool:
    """Whether writing one over the other would change nothing but its time.

    Args:
        old: What the store has; None where that is damaged.
        new: What is to be written.
    """
    if old is None:
        return False
    if _canonical(old.metadata) != _canonical(new.metadata):
        return False
    return replace(old, metadata={}, written_at=0.0) == replace(new, metadata={}, written_at=0.0)


def _canonical(metadata: Metadata) -> str:
    return json.dumps(dict(metadata), sort_keys=True)  # told apart: True, 1 and 1.0


def owned(batch: Mapping[Key, Passage], existing: Mapping[Key, Row]) -> dict[Key, Passage]:
    """The batch, each passage that names no document in the one that its row belongs to.

    Args:
        batch: To be written, by key.
        existing: What the store has under these keys.
    """
    olds = {key: row[1] for key, row in existing.items()}
    return {
        key: replace(passage, document=old.document)
        if passage.document is None and (old := olds.get(key)) is not None
        else passage
        for key, passage in batch.items()
    }


def one(connection: sqlite3.Connection, rowid: int, id: str) -> Passage:
    """The passage of a row that is there.

    Args:
        connection: The store's.
        rowid: The passage's.
        id: The passage's, for a message.

    Raises:
        StoreError: It is damaged.
    """
    passages = records.passages_at(connection, [rowid])
    if rowid not in passages:
        where = connection.execute("PRAGMA database_list").fetchone()[2]
        raise StoreError(damaged.message(id, where))
    return passages[rowid]


def put_passage(
    connection: sqlite3.Connection, passage: Passage, rowid: int | None, version: int, now: float
) -> int:
    """Write a passage, over the row that it has if it has one; its rowid.

    Args:
        connection: The store's.
        passage: What is written.
        rowid: The row that it is written over; None for a new one.
        version: The one that it gets.
        now: Seconds since 1970.
    """
    if rowid is None:
        return records.insert(connection, passage, version, now)
    records.overwrite(connection, rowid, passage, version, now)
    return rowid


def delete_rows(connection: sqlite3.Connection, rowids: Sequence[int]) -> int:
    """Delete passages that are there, with what they said before; how many.

    Args:
        connection: The store's.
        rowids: Of passages that are there.
    """
    rowids = versions.with_earlier(connection, rowids)
    if rowids:
        records.delete(connection, rowids, store_info.bump(connection, len(rowids)))
    return len(rowids)


def matching(connection: sqlite3.Connection, rowids: Sequence[int], filter: Filter) -> list[int]:
    """Those of these rows whose passages fulfil a filter.

    Args:
        connection: The store's.
        rowids: Of passages that are there.
        filter: What they must fulfil.
    """
    matching_rowids: list[int] = []
    for part, _ in records.batches(rowids):
        passage_of = records.passages_at(connection, part, links=False)
        mask = filter.passages_mask(passage_of.values())
        matching_rowids += itertools.compress(passage_of, mask.tolist())
    return matching_rowids


def merged_links(old: tuple[Link, ...], new: Sequence[Link]) -> tuple[Link, ...]:
    """The old links and the new, of the same target and kind the new.

    Args:
        old: Those that a passage has.
        new: Those that are added.
    """
    by_key = {(link.target, link.kind): link for link in old}
    by_key.update({(link.target, link.kind): link for link in new})
    return tuple(by_key.values())
