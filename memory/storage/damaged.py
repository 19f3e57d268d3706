"""Rows that are not what anybody wrote: named once in a warning, and left out of what is read.

A file can be damaged in one place and sound in all others. Whoever reads passages goes on without
the damaged one; `verify` names it, and writing it again, deleting it or a backup mends it.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
from typing import Any

from hoptrail.types import Passage

logger = logging.getLogger(__name__)

_warned: set[tuple[str, int, str]] = set()  # file, rowid, reason: each is said once


class Undecodable(str):
    """Text of a row that is not UTF-8; its bytes come back by `surrogateescape`."""

    __slots__ = ()


def decode_text(raw: bytes) -> str:
    """Text as SQLite has it: what a connection's `text_factory` is to be."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return Undecodable(raw.decode("utf-8", "surrogateescape"))


def metadata_of(stored: object) -> dict[str, Any]:
    """The metadata of a row.

    Raises:
        ValueError: It is no JSON object.
    """
    if type(stored) is not str:
        raise ValueError("its metadata is not UTF-8")
    try:
        metadata = json.loads(stored)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its metadata is not JSON ({error})") from error
    if not isinstance(metadata, dict):
        raise ValueError(f"its metadata is no JSON object but {stored[:40]!r}")
    return metadata


def metadata_or_none(stored: object) -> dict[str, Any]:
    """The metadata of a row; nothing of one that is damaged."""
    try:
        return metadata_of(stored)
    except ValueError:
        return {}


def check_text(title: object, text: object) -> None:
    """Refuse a title and a text that nobody wrote.

    Raises:
        ValueError: One is not UTF-8, or no text.
    """
    if type(text) is not str:
        raise ValueError("its text is not UTF-8")
    if title is not None and type(title) is not str:
        raise ValueError("its title is not UTF-8")


def checked_content(title: object, text: object, metadata: object) -> str:
    """What is indexed and encoded of a passage.

    Raises:
        ValueError: Its row is damaged.
    """
    check_text(title, text)
    values = metadata_of(metadata)
    plain = None if title is None else str(title)
    return Passage(id="", text=str(text), title=plain, metadata=values).content


def check_rest(passage: Passage) -> None:
    """Refuse what else of a passage nobody wrote.

    Raises:
        ValueError: Its id, its namespace, a time or a link is not what it should be.
    """
    if type(passage.id) is not str:
        raise ValueError("its id is not UTF-8")
    times = (passage.written_at, passage.expires_at, passage.valid_from, passage.valid_until)
    for value in times:
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            raise ValueError(f"a time of it is {value!r}")
    for link in passage.links:
        sound = type(link.target) is str and type(link.kind) is str
        if not sound or not isinstance(link.weight, int | float):
            raise ValueError(f"a link of it is {link!r}")


def content_of_row(title: object, text: object, metadata: object) -> str:
    """What was indexed and encoded of a passage, as far as its row can still tell."""
    values = metadata_or_none(metadata)
    return Passage(id="", text=_plain(text), title=_plain(title) or None, metadata=values).content


def message(id: str, where: object) -> str:
    """What is said of a damaged passage that somebody names."""
    return (
        f"the passage {id!r} of {where} is damaged (hoptrail store verify says how): "
        "write it again, delete it, or restore a backup"
    )


def warn(connection: sqlite3.Connection, rowid: int, reason: object) -> None:
    """Name a damaged passage, once in the life of this process."""
    why = f"is left out, because {reason}: hoptrail store verify names all that are"
    _warn(connection, rowid, why)


def warn_of_vector(connection: sqlite3.Connection, rowid: int) -> None:
    """Name a passage without a whole vector, once in the life of this process."""
    if connection.execute("SELECT 1 FROM passages WHERE rowid = ?", (rowid,)).fetchone():
        _warn(
            connection,
            rowid,
            "has no whole vector and is found by its words only: hoptrail store repair",
        )


def _warn(connection: sqlite3.Connection, rowid: int, what: str) -> None:
    file = str(connection.execute("PRAGMA database_list").fetchone()[2])
    if (file, rowid, what) in _warned:
        return
    _warned.add((file, rowid, what))
    row = connection.execute("SELECT id FROM passages WHERE rowid = ?", (rowid,)).fetchone()
    logger.warning("the passage %r of %s %s", _plain(row[0]) if row else rowid, file, what)


def _plain(value: object) -> str:
    """A value as valid Unicode."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
