"""Documents in a store: each passage may name one that it is a part of, and one is replaced whole.

Every function that takes a connection runs inside its caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hoptrail.errors import DuplicateId
from hoptrail.memory.storage import records
from hoptrail.memory.storage.namespaces import encode_namespace
from hoptrail.types import Namespace, Passage

DocumentKey = tuple[Namespace, str]
"""A document's namespace and name; of a folder, what all names in it begin with."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What is given whole beside the passages themselves."""

    documents: frozenset[DocumentKey] = frozenset()
    """Documents that hold nothing any more: all their passages go."""
    folders: frozenset[DocumentKey] = frozenset()
    """Folders: the passages of documents in them that are not given go."""
    unread: frozenset[DocumentKey] = frozenset()
    """Documents that are there still, and could not be read: what the store has of them stays."""


NOTHING = Whole()


def complete(passages: Iterable[Passage]) -> set[DocumentKey]:
    """The documents of which all parts are among these passages.

    Args:
        passages: To be written.
    """
    counts: Counter[DocumentKey] = Counter()
    parts: dict[DocumentKey, int] = {}
    for passage in passages:
        if passage.document is not None and passage.parts:
            counts[passage.namespace, passage.document] += 1
            parts[passage.namespace, passage.document] = passage.parts
    return {key for key, count in counts.items() if count == parts[key]}


def there(connection: sqlite3.Connection, documents: Collection[DocumentKey]) -> set[DocumentKey]:
    """Those of these documents of which the store has a passage.

    Args:
        connection: The store's.
        documents: By namespace and name.
    """
    return {
        (namespace, name)
        for namespace, names in _by_namespace(documents).items()
        for part, marks in records.batches(names)
        for (name,) in connection.execute(
            f"SELECT DISTINCT document FROM passages WHERE namespace = ? AND document IN ({marks})",
            (encode_namespace(namespace), *part),
        )
    }


def stale(
    connection: sqlite3.Connection, batch: Mapping[tuple[Namespace, str], Passage], whole: Whole
) -> dict[int, str]:
    """Rowids and ids of the passages that documents no longer have, once the batch is written.

    Args:
        connection: The store's.
        batch: To be written, by key.
        whole: What is given whole beside them.
    """
    documents = complete(batch.values()) | whole.documents
    rows: dict[int, str] = {}
    for namespace, names in _by_namespace(documents).items():
        for part, marks in records.batches(names):
            of_documents = connection.execute(
                f"SELECT rowid, id FROM passages WHERE namespace = ? AND document IN ({marks})",
                (encode_namespace(namespace), *part),
            )
            rows |= {rowid: id_ for rowid, id_ in of_documents if (namespace, id_) not in batch}
    present = {(p.namespace, p.document) for p in batch.values()} | whole.unread
    for namespace, prefix in whole.folders:
        within = connection.execute(
            "SELECT rowid, id, document FROM passages "
            "WHERE namespace = ? AND document >= ? AND document < ?",
            (encode_namespace(namespace), prefix, _after(prefix)),
        )
        rows |= {
            rowid: id_
            for rowid, id_, name in within
            if (namespace, name) not in present and (namespace, id_) not in batch
        }
    return rows


def check_owners(
    batch: Mapping[tuple[Namespace, str], Passage],
    rows: Mapping[tuple[Namespace, str], tuple[int, Passage | None]],
) -> None:
    """Refuse to write parts of a document over what is not the document's.

    Args:
        batch: What is to be written.
        rows: What the store has under those keys.

    Raises:
        DuplicateId: An id is another's.
    """
    for key, passage in batch.items():
        if passage.document is None or key not in rows:
            continue
        old = rows[key][1]
        if old is None:  # it is damaged, and written anew
            continue
        owner = old.document
        if owner != passage.document:
            whose = "a passage of its own" if owner is None else f"a part of document {owner!r}"
            raise DuplicateId(
                f"the id {passage.id!r} of document {passage.document!r} is taken by {whose}: "
                "give the two other ids, or write them to namespaces of their own"
            )


def check_same(first: Passage, second: Passage) -> None:
    """Refuse two passages of one id that are of different documents.

    Args:
        first: One of them.
        second: The other.

    Raises:
        DuplicateId: They are.
    """
    if first.document != second.document:
        raise DuplicateId(
            f"the id {first.id!r} is given twice, of document {first.document!r} and of "
            f"{second.document!r}: give read_source or read_sources as it is, or other ids"
        )


def names(connection: sqlite3.Connection, namespace: Namespace) -> dict[str, str]:
    """The documents of exactly this namespace, each with the shortest id of its passages.

    Args:
        connection: The store's.
        namespace: Exactly this one; it was checked.
    """
    rows = connection.execute(
        "SELECT document, id, min(length(id)) FROM passages "
        "WHERE namespace = ? AND document IS NOT NULL GROUP BY document",
        (encode_namespace(namespace),),
    )
    return {name: id_ for name, id_, _ in rows}


def owners(
    connection: sqlite3.Connection, namespace: Namespace, ids: Collection[str]
) -> dict[str, str | None]:
    """The documents of those of these ids that exactly this namespace has.

    Args:
        connection: The store's.
        namespace: Exactly this one; it was checked.
        ids: Of passages.
    """
    return {
        id_: name
        for part, marks in records.batches(list(ids))
        for id_, name in connection.execute(
            f"SELECT id, document FROM passages WHERE namespace = ? AND id IN ({marks})",
            (encode_namespace(namespace), *part),
        )
    }


def _by_namespace(documents: Iterable[DocumentKey]) -> dict[Namespace, list[str]]:
    grouped: dict[Namespace, list[str]] = {}
    for namespace, name in documents:
        grouped.setdefault(namespace, []).append(name)
    return grouped


def _after(prefix: str) -> str:
    """The smallest string above all that begin with this one; its last one is no surrogate."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
