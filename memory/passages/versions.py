"""What passages say of their own past: which took the place of which, and what each said before.

It is told by links of two kinds, so that whatever copies, exports, merges or deletes links does so
with the past as well. Both lead from the newer to the older, whose validity has ended:

    supersedes    to another passage, whose place this one took (`Store.supersede`)
    revises       to what this passage said before (`Store.update` with `keep_history`)

What a passage said before is a part of it: it stands under the passage's id with `@` and a number
behind it, and is deleted with the passage.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from hoptrail.memory.storage import records
from hoptrail.memory.storage.namespaces import encode_namespace
from hoptrail.types import Link, Passage

SUPERSEDES = "supersedes"
"""The kind of the link from a passage to the one whose place it took."""
REVISES = "revises"
"""The kind of the link from a passage to what it said before."""
KINDS = (SUPERSEDES, REVISES)
MARK = "@"
"""Stands between the id of a passage and the number of what it said before."""

K = TypeVar("K")


def history_links(links: Iterable[Link]) -> tuple[Link, ...]:
    """Those links that tell of the past.

    Args:
        links: A passage's.
    """
    return tuple(link for link in links if link.kind in KINDS)


def with_history(links: tuple[Link, ...], before: Iterable[Link]) -> tuple[Link, ...]:
    """New links in the place of old ones, of which those that tell of the past stay.

    Args:
        links: The new ones.
        before: The old ones.
    """
    present = {(link.target, link.kind) for link in links}
    return links + tuple(
        link for link in history_links(before) if (link.target, link.kind) not in present
    )


def successor(connection: sqlite3.Connection, passage: Passage) -> str | None:
    """The id of what took a passage's place, or says now what it said before; None if nothing did.

    Args:
        connection: The store's.
        passage: One that is there.
    """
    row = connection.execute(
        "SELECT s.id FROM links AS l INDEXED BY links_target "
        "CROSS JOIN passages AS s ON s.rowid = l.source "
        "WHERE l.target = ? AND l.kind IN (?, ?) AND s.namespace = ? LIMIT 1",
        (passage.id, *KINDS, encode_namespace(passage.namespace)),
    ).fetchone()
    return None if row is None else str(row[0])


def with_earlier(connection: sqlite3.Connection, rowids: Sequence[int]) -> list[int]:
    """Passages, and what they said before.

    Args:
        connection: The store's.
        rowids: Of passages that are there.
    """
    every = dict.fromkeys(rowids)
    owner: dict[int, str] = {}  # of what a passage said before: its id
    pending = list(every)
    while pending:
        earlier: list[int] = []
        for part, marks in records.batches(pending):
            rows = connection.execute(
                "SELECT s.rowid, s.id, t.rowid, t.id FROM links AS l "
                "CROSS JOIN passages AS s ON s.rowid = l.source "
                "CROSS JOIN passages AS t ON t.namespace = s.namespace AND t.id = l.target "
                f"WHERE l.source IN ({marks}) AND l.kind = ? AND t.valid_until IS NOT NULL",
                (*part, REVISES),
            )
            for source, source_id, rowid, id_ in rows:
                own = owner.get(source, source_id)
                # A link of this kind may be a user's, and lead to what is not the passage's own.
                if rowid not in every and _number(id_, own) is not None:
                    every[rowid] = None
                    owner[rowid] = own
                    earlier.append(rowid)
        pending = earlier
    return list(every)


def free_id(connection: sqlite3.Connection, passage: Passage, now: float) -> str:
    """The id under which what a passage says now is to be kept.

    Args:
        connection: The store's.
        passage: One that is there.
        now: Seconds since 1970.
    """
    numbers = [_number(link.target, passage.id) or 0 for link in history_links(passage.links)]
    number, stored = max(numbers, default=0) + 1, encode_namespace(passage.namespace)
    while records.rowids(connection, stored, [f"{passage.id}{MARK}{number}"], now):
        number += 1
    return f"{passage.id}{MARK}{number}"


def carried(
    connection: sqlite3.Connection,
    batch: Mapping[K, Passage],
    existing: Mapping[K, tuple[int, Passage | None]],
    *,
    ended: bool,
) -> dict[K, Passage]:
    """A batch with what the store knows of the past of the passages that it is written over.

    Those are the links that tell of it, and the ends of validity that came with them: whoever gives
    a passage again does not undo that another took its place.

    Args:
        connection: The store's.
        batch: To be written, by key.
        existing: What the store has under these keys.
        ended: Whether what has ended stays so where the same content is given again.
    """
    out = dict(batch)
    for key, (_, old) in existing.items():
        if old is None or key not in out:
            continue
        new = out[key]
        past = history_links(old.links)
        says_nothing = new.valid_from is None and new.valid_until is None
        if past:
            new = replace(new, links=with_history(new.links, past))
        if says_nothing and past:
            new = replace(new, valid_from=old.valid_from)
        stays = says_nothing and ended and new.content == old.content
        if stays and old.valid_until is not None and successor(connection, old) is not None:
            new = replace(new, valid_from=old.valid_from, valid_until=old.valid_until)
        out[key] = new
    return out


def chain(connection: sqlite3.Connection, rowid: int, now: float) -> list[Passage]:
    """The passages that took each other's place, and what they said before, the oldest first.

    Args:
        connection: The store's, in one read transaction.
        rowid: Of one of them.
        now: Seconds since 1970; what has expired is none of them.
    """
    passages = records.passages_at(connection, [rowid])
    pending = list(passages)
    while pending:
        new = [row for row in _beside(connection, pending) if row not in passages]
        more = records.passages_at(connection, new)
        passages |= more
        pending = list(more)
    alive = [p for p in passages.values() if p.expires_at is None or p.expires_at > now]
    return sorted(alive, key=_age)


def _beside(connection: sqlite3.Connection, rowids: Sequence[int]) -> set[int]:
    """The rowids of what a link that tells of the past joins to some passages."""
    joined: set[int] = set()
    for part, marks in records.batches(rowids):
        older = connection.execute(
            "SELECT t.rowid FROM links AS l CROSS JOIN passages AS s ON s.rowid = l.source "
            "CROSS JOIN passages AS t ON t.namespace = s.namespace AND t.id = l.target "
            f"WHERE l.source IN ({marks}) AND l.kind IN (?, ?)",
            (*part, *KINDS),
        )
        newer = connection.execute(
            "SELECT s.rowid FROM passages AS t "
            "CROSS JOIN links AS l INDEXED BY links_target ON l.target = t.id "
            "CROSS JOIN passages AS s ON s.rowid = l.source AND s.namespace = t.namespace "
            f"WHERE t.rowid IN ({marks}) AND l.kind IN (?, ?)",
            (*part, *KINDS),
        )
        joined.update(row[0] for rows in (older, newer) for row in rows.fetchall())
    return joined


def _age(passage: Passage) -> tuple[float, float, float, str]:
    """Sorts by when passages were valid: what began first and ended first is the oldest."""
    begun = -math.inf if passage.valid_from is None else passage.valid_from
    ended = math.inf if passage.valid_until is None else passage.valid_until
    return ended, begun, passage.written_at, passage.id


def _number(id: str, owner: str) -> int | None:
    """The number of what a passage said before, by its id; None if that is no such id."""
    digits = id.removeprefix(f"{owner}{MARK}")
    return int(digits) if digits != id and digits.isascii() and digits.isdigit() else None
