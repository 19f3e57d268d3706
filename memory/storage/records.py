"""Passages as rows: checked on the way in, read in bulk on the way out."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.memory.content_hash import cache_key
from hoptrail.memory.storage import checksums, damaged
from hoptrail.memory.storage.namespaces import (
    EVERYTHING,
    Scope,
    checked_namespace,
    decode_namespace,
    encode_namespace,
)
from hoptrail.memory.storage.validity import EVER, Moment, check_interval
from hoptrail.types import MAX_TEXT, Link, Passage
from hoptrail.values.json_values import plain_mapping
from hoptrail.values.numbers import above_zero, finite, shown
from hoptrail.values.strings import check_length, check_string, check_unicode

BATCH = 500
"""Parameters in one statement; SQLite's oldest limit is 999."""

T = TypeVar("T")

_COLUMNS = (
    "rowid, namespace, id, title, text, metadata, written_at, expires_at, document, valid_from, "
    "valid_until"
)


def check_passage(passage: Passage) -> None:
    """Refuse a passage that cannot be stored, saying which and why.

    Raises:
        InputError: A field has a wrong type or value.
    """
    if not isinstance(passage, Passage):
        raise InputError(f"expected a Passage, got {type(passage).__name__}")
    check_string(passage.id, "a passage's id")
    try:
        checked_namespace(passage.namespace)
        check_string(passage.text, "the text")
        if passage.title is not None:
            if not isinstance(passage.title, str):
                raise InputError(f"the title must be a string, got {type(passage.title).__name__}")
            check_length(passage.title, "the title")
            check_unicode(passage.title, "the title")
        if passage.document is not None:
            check_string(passage.document, "the document")
        encode_metadata(passage.metadata)
        check_links(passage.links)
        check_time(passage.expires_at, "expires_at")
        check_time(passage.valid_from, "valid_from")
        check_time(passage.valid_until, "valid_until")
        check_interval(passage.valid_from, passage.valid_until)
    except InputError as error:
        raise InputError(f"passage {shown(passage.id)}: {error}") from error


def encode_metadata(metadata: Mapping[str, Any]) -> str:
    """Metadata as JSON; times as ISO 8601 text, numbers of numpy and decimals as numbers.

    Raises:
        InputError: It is no mapping, or holds what JSON has nothing for; the message names it.
    """
    plain = plain_mapping(metadata, "metadata")
    encoded = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    if len(encoded) > MAX_TEXT:
        raise InputError(
            f"metadata has {len(encoded):,} characters as JSON, and {MAX_TEXT:,} is the most"
        )
    return encoded


def check_time(value: object, what: str) -> None:
    """Refuse what is neither None nor seconds since 1970.

    Raises:
        InputError: It is something else.
    """
    if value is not None and finite(value) is None:
        raise InputError(f"{what} must be None or seconds since 1970, got {shown(value)}")


def check_links(links: object) -> None:
    """Refuse links that cannot be stored.

    Raises:
        InputError: They are no tuple of links with a target, a kind and a weight, all different.
    """
    if not isinstance(links, tuple):
        raise InputError(f"links must be a tuple of Link, got {type(links).__name__}")
    seen: set[tuple[str, str]] = set()
    for link in links:
        if not isinstance(link, Link):
            raise InputError(f"links must be a tuple of Link, got {link!r}")
        check_string(link.target, "a link's target")
        check_string(link.kind, "a link's kind")
        above_zero(link.weight, "a link's weight")
        if (link.target, link.kind) in seen:
            raise InputError(f"the {link.kind!r} link to {link.target!r} is given twice")
        seen.add((link.target, link.kind))


def tuple_of_links(links: object) -> tuple[Any, ...]:
    """Links as a tuple.

    Raises:
        InputError: They are no several.
    """
    if isinstance(links, str | bytes | Mapping) or not isinstance(links, Iterable):
        raise InputError(f"links must be Link objects in a list, got {shown(links)}")
    return tuple(links)


def insert(connection: sqlite3.Connection, passage: Passage, version: int, now: float) -> int:
    """Write a new passage and its links; its rowid."""
    row, validity = _row(passage, version, now), _validity(passage)
    cursor = connection.execute(
        f"INSERT INTO passages ({checksums.PASSAGE}, {checksums.VALIDITY}, checksum) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, *validity, checksums.of_passage(row, _links(passage), validity)),
    )
    rowid = cursor.lastrowid
    assert rowid is not None
    _insert_links(connection, rowid, passage)
    return rowid


def overwrite(
    connection: sqlite3.Connection, rowid: int, passage: Passage, version: int, now: float
) -> None:
    """Write over a passage and its links; it keeps its rowid."""
    title, text, metadata = connection.execute(
        "SELECT title, text, metadata FROM passages WHERE rowid = ?", (rowid,)
    ).fetchone()
    old = damaged.content_of_row(title, text, metadata)
    if old != passage.content:
        note_erased(connection, [old])
    row, validity = _row(passage, version, now), _validity(passage)
    connection.execute(
        "UPDATE passages SET title = ?, text = ?, metadata = ?, written_at = ?, expires_at = ?, "
        "document = ?, version = ?, valid_from = ?, valid_until = ?, checksum = ? WHERE rowid = ?",
        (*row[2:], *validity, checksums.of_passage(row, _links(passage), validity), rowid),
    )
    connection.execute("DELETE FROM links WHERE source = ?", (rowid,))
    _insert_links(connection, rowid, passage)


def put_vector(connection: sqlite3.Connection, rowid: int, vector: NDArray[np.float32]) -> None:
    """Write a passage's vectors, `(m, d)` or one `(d,)`, over those that were there."""
    stored = vector.astype("<f4").tobytes()
    connection.execute(
        "INSERT OR REPLACE INTO vectors (passage, vector, checksum) VALUES (?, ?, ?)",
        (rowid, stored, checksums.of_vector(rowid, stored)),
    )


def note_erased(connection: sqlite3.Connection, contents: Iterable[str]) -> None:
    """Put contents that are gone on record, so that a purge finds what was derived from them."""
    keys = [cache_key(content) for content in contents]
    connection.executemany(
        "INSERT OR IGNORE INTO erased (content, checksum) VALUES (?, ?)",
        [(key, checksums.of_row([key])) for key in keys],
    )


def delete(connection: sqlite3.Connection, rowids: Sequence[int], version: int) -> None:
    """Delete passages with their links and vectors; tombstones stay, without text.

    Args:
        connection: The store's, in a write transaction.
        rowids: Of passages that are there.
        version: The first's; the next ones follow.
    """
    for start in range(0, len(rowids), BATCH):
        part = rowids[start : start + BATCH]
        rows = connection.execute(
            "SELECT rowid, namespace, id, title, text, metadata FROM passages "
            f"WHERE rowid IN ({','.join('?' * len(part))})",
            part,
        ).fetchall()
        keys = {rowid: (rowid, namespace, id_) for rowid, namespace, id_, *_ in rows}
        graves = [(version + start + i, *keys[rowid]) for i, rowid in enumerate(part)]
        connection.executemany(
            "INSERT INTO tombstones (version, passage, namespace, id, checksum) "
            "VALUES (?, ?, ?, ?, ?)",
            [(*grave, checksums.of_row(grave)) for grave in graves],
        )
        note_erased(connection, (damaged.content_of_row(*row[3:]) for row in rows))
        connection.executemany("DELETE FROM passages WHERE rowid = ?", [(rowid,) for rowid in part])


def expired_rowids(
    connection: sqlite3.Connection, now: float, scope: Scope = EVERYTHING
) -> list[int]:
    """The rowids of the scope's passages that have expired and are not yet deleted."""
    # By the small index of what expires at all: SQLite would rather read every passage in order.
    rows = connection.execute(
        "SELECT rowid FROM passages INDEXED BY passages_expires "
        "WHERE expires_at <= ? AND namespace >= ? AND namespace < ? ORDER BY rowid",
        (now, *scope.bounds),
    )
    return [row[0] for row in rows]


def passages_at(
    connection: sqlite3.Connection, rowids: Sequence[int], *, links: bool = True
) -> dict[int, Passage]:
    """The passages with these rowids; one that is gone is left out.

    So is one that is damaged, which a warning names.

    Args:
        connection: The store's.
        rowids: Of the passages.
        links: Also read their links; without them `links` is empty.
    """
    passages: dict[int, Passage] = {}
    for part, marks in batches(rowids):
        by_source: dict[int, list[Link]] = {}
        if links:
            rows = connection.execute(
                f"SELECT source, target, kind, weight FROM links WHERE source IN ({marks}) "
                "ORDER BY source, position",
                part,
            )
            for source, target, kind, weight in rows:
                by_source.setdefault(source, []).append(Link(target, kind, weight))
        rows = connection.execute(f"SELECT {_COLUMNS} FROM passages WHERE rowid IN ({marks})", part)
        for row in rows.fetchall():
            try:
                passages[row[0]] = _passage(row, tuple(by_source.get(row[0], ())))
            except ValueError as error:
                damaged.warn(connection, row[0], error)
    return passages


def _passage(row: tuple[Any, ...], links: tuple[Link, ...]) -> Passage:
    """The passage of a row of `_COLUMNS`.

    Raises:
        ValueError: It is damaged.
    """
    _, namespace, id_, title, text, metadata, written_at, expires_at, document, *validity = row
    damaged.check_text(title, text)
    passage = Passage(
        id=id_,
        text=text,
        title=title,
        metadata=damaged.metadata_of(metadata),
        namespace=decode_namespace(namespace),
        links=links,
        written_at=written_at,
        expires_at=expires_at,
        document=document,
        valid_from=validity[0],
        valid_until=validity[1],
    )
    damaged.check_rest(passage)
    return passage


def count(connection: sqlite3.Connection, scope: Scope, now: float) -> int:
    """How many of the scope's passages there are, as of its moment.

    What is not seen is counted and taken off: it is little beside the rest, and has indexes.

    Args:
        connection: The store's.
        scope: Whose passages.
        now: Seconds since 1970.
    """
    within = "namespace >= ? AND namespace < ?"
    (total,) = connection.execute(
        f"SELECT count(*) FROM passages WHERE {within}", scope.bounds
    ).fetchone()
    total -= len(expired_rowids(connection, now, scope))
    if scope.moment.ever:
        return int(total)
    at, alive = scope.moment.judged_at(now), "(expires_at IS NULL OR expires_at > ?)"
    for outside in (
        f"INDEXED BY passages_ended WHERE valid_until <= ? AND {within}",
        f"INDEXED BY passages_valid_from WHERE valid_from > ? AND {within}",
    ):
        query = f"SELECT count(*) FROM passages {outside} AND {alive}"
        total -= connection.execute(query, (at, *scope.bounds, now)).fetchone()[0]
    return int(total)


def says_validity(connection: sqlite3.Connection) -> bool:
    """Whether any passage says when it is valid.

    Args:
        connection: The store's.
    """
    return any(
        connection.execute(
            f"SELECT 1 FROM passages INDEXED BY passages_{end} WHERE {end} IS NOT NULL LIMIT 1"
        ).fetchone()
        for end in ("valid_from", "valid_until")
    )


def turning_rowids(
    connection: sqlite3.Connection, after: float, until: float, scope: Scope
) -> list[int]:
    """The rowids of the scope's passages that begin or cease to be valid in a span of time.

    Args:
        connection: The store's.
        after: The first moment that is not in it, seconds since 1970.
        until: The last that is.
        scope: Whose passages.
    """
    rows: set[tuple[int]] = set()
    for end in ("valid_from", "valid_until"):
        rows.update(
            connection.execute(
                f"SELECT rowid FROM passages INDEXED BY passages_{end} "
                f"WHERE {end} > ? AND {end} <= ? AND namespace >= ? AND namespace < ?",
                (after, until, *scope.bounds),
            )
        )
    return sorted(row[0] for row in rows)


def next_turn(connection: sqlite3.Connection, now: float, scope: Scope) -> float:
    """When one of the scope's passages next begins or ceases to be valid; infinity for never.

    Args:
        connection: The store's.
        now: Seconds since 1970.
        scope: Whose passages.
    """
    return min(_turns(connection, ">", "ASC", now, scope), default=math.inf)


def last_turn(connection: sqlite3.Connection, at: float, scope: Scope) -> float:
    """When one last did, at a moment or before: until then the same were valid; or -infinity.

    Args:
        connection: The store's.
        at: Seconds since 1970.
        scope: Whose passages.
    """
    return max(_turns(connection, "<=", "DESC", at, scope), default=-math.inf)


def _turns(
    connection: sqlite3.Connection, sign: str, order: str, at: float, scope: Scope
) -> list[float]:
    """The first beginning and the first end on one side of a moment, in an order."""
    return [
        row[0]
        for end in ("valid_from", "valid_until")
        for row in connection.execute(
            f"SELECT {end} FROM passages INDEXED BY passages_{end} "
            f"WHERE {end} {sign} ? AND namespace >= ? AND namespace < ? "
            f"ORDER BY {end} {order} LIMIT 1",
            (at, *scope.bounds),
        )
    ]


def rowids(
    connection: sqlite3.Connection,
    stored: str,
    ids: Sequence[str],
    now: float,
    moment: Moment = EVER,
) -> dict[str, int]:
    """The rowids of those of these ids that are in a namespace, as stored, and not expired.

    Args:
        connection: The store's.
        stored: The namespace.
        ids: Of the passages.
        now: Seconds since 1970.
        moment: Only those valid then. Who writes meets all that there are.
    """
    condition, values = moment.condition(now)
    rowid_of: dict[str, int] = {}
    for part, marks in batches(ids):
        rows = connection.execute(
            "SELECT id, rowid FROM passages "
            f"WHERE namespace = ? AND id IN ({marks}) AND {condition}",
            (stored, *part, *values),
        )
        rowid_of.update(rows.fetchall())
    return rowid_of


def batches(values: Sequence[T]) -> Iterator[tuple[Sequence[T], str]]:
    """Parts that fit one statement, each with its placeholders."""
    for start in range(0, len(values), BATCH):
        part = values[start : start + BATCH]
        yield part, ",".join("?" * len(part))


def _row(passage: Passage, version: int, now: float) -> tuple[str | float | None, ...]:
    """The values of `checksums.PASSAGE`."""
    return (
        encode_namespace(passage.namespace),
        passage.id,
        passage.title,
        passage.text,
        encode_metadata(passage.metadata),
        float(now),
        None if passage.expires_at is None else float(passage.expires_at),
        passage.document,
        version,
    )


def _validity(passage: Passage) -> tuple[float | None, float | None]:
    """The values of `checksums.VALIDITY`."""
    ends = (passage.valid_from, passage.valid_until)
    first, last = (None if end is None else float(end) for end in ends)
    return first, last


def _links(passage: Passage) -> list[tuple[str, str, float]]:
    return [(link.target, link.kind, float(link.weight)) for link in passage.links]


def _insert_links(connection: sqlite3.Connection, rowid: int, passage: Passage) -> None:
    rows = ((rowid, i, *link) for i, link in enumerate(_links(passage)))
    connection.executemany("INSERT INTO links VALUES (?, ?, ?, ?, ?)", rows)
