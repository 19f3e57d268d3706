"""What a store's file says of itself: its version, and whose vectors it holds."""

from __future__ import annotations

import json
import secrets
import sqlite3
from pathlib import Path

from hoptrail.errors import ConfigError, EncoderMismatch, InputError, StoreError
from hoptrail.memory.analysis.analyzer import ENGLISH
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.storage import checksums
from hoptrail.values.numbers import whole

NEXT = "next_encoder"
"""Key of the encoder whose vectors are being made, as described; absent when none are."""

CACHES = "caches"
"""Key of the folders of vector caches that the store was written with, a JSON list."""

COLLECTIONS = "collections"
"""Key of the collections of other engines that hold the store's vectors, by place, as JSON."""

SINCE = "encoder_since"
"""Key of the version in which the encoder's vectors took the place of another's."""


LANGUAGE = "language"
"""Key of the language whose stemmer the words go through; absent for English."""


def get(connection: sqlite3.Connection, key: str) -> str | None:
    """A value, or None."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else None


def put_info(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Write a value, over the one that was there."""
    connection.execute(
        "INSERT INTO meta (key, value, checksum) VALUES (?, ?, ?) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum",
        (key, value, checksums.of_row((key, value))),
    )


def newest_version(connection: sqlite3.Connection) -> int:
    """The newest version.

    Raises:
        StoreError: The file says no number.
    """
    return _number(connection, "version")


def bump(connection: sqlite3.Connection, count: int) -> int:
    """Take `count` new versions; the first of them."""
    newest = max(newest_version(connection), highest_version(connection))
    put_info(connection, "version", str(newest + count))
    return newest + 1


def highest_version(connection: sqlite3.Connection) -> int:
    """The highest version of a row: above the newest, if the file is damaged."""
    row = connection.execute(
        "SELECT max(version) FROM (SELECT max(version) AS version FROM passages "
        "UNION ALL SELECT max(version) FROM tombstones)"
    ).fetchone()
    return int(row[0] or 0)


def language(connection: sqlite3.Connection) -> str:
    """The language whose stemmer the words go through."""
    return get(connection, LANGUAGE) or ENGLISH


def undecided(connection: sqlite3.Connection) -> bool:
    """Whether the store may still get a language: nothing was written, nobody named one."""
    return get(connection, LANGUAGE) is None and newest_version(connection) == 0


def claim_language(connection: sqlite3.Connection, name: str, where: str) -> None:
    """Write down a new store's language; it stays what it is.

    Raises:
        ConfigError: The store has another.
    """
    if undecided(connection):
        put_info(connection, LANGUAGE, name)
    else:
        check_language(connection, name, where)


def check_language(connection: sqlite3.Connection, name: str, where: str) -> None:
    """Refuse a language that is not the store's.

    Raises:
        ConfigError: It is not.
    """
    if language(connection) != name:
        raise ConfigError(
            f"the words of {where} are stemmed as {language(connection)}, which was settled when "
            f"it was made, got language {name!r}: open it without a language, or export it into "
            "a new store of that language"
        )


def encoder_since(connection: sqlite3.Connection) -> int:
    """The version from which on the vectors are those of the present encoder; 0 for all."""
    return _number(connection, SINCE)


def is_version(value: str) -> bool:
    """Whether a value that is written down is a version, as SQLite can hold one."""
    return value.isascii() and value.isdigit() and len(value) < 19


def _number(connection: sqlite3.Connection, key: str) -> int:
    """A version that is written down; 0 if there is none.

    Raises:
        StoreError: It is no number.
    """
    value = get(connection, key) or "0"
    if not is_version(value):
        raise StoreError(
            f"the file's {key} is {value[:40]!r}, which is no version: hoptrail store repair"
        )
    return int(value)


def describe_encoder(encoder: Encoder) -> str:
    """An encoder as it is written down and named in messages."""
    if isinstance(encoder, type):
        raise InputError(f"an encoder is an object, got the class {encoder.__name__}")
    try:
        fingerprint, dim = encoder.fingerprint, encoder.dim
    except AttributeError as error:
        raise InputError(
            f"an encoder has a fingerprint, a dim and a method encode, got {type(encoder).__name__}"
        ) from error
    if not isinstance(fingerprint, str) or not fingerprint:
        raise InputError(f"an encoder's fingerprint must be a text, got {fingerprint!r}")
    dim = whole(dim, "an encoder's dim", least=1)
    return f"{fingerprint} ({dim} dim)"


def width(described: str) -> int | None:
    """The width of a described encoder's vectors, if it says one."""
    digits = described.rpartition("(")[2].partition(" ")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 9 else None


def check_encoder(connection: sqlite3.Connection, encoder: Encoder | None, where: str) -> None:
    """Refuse an encoder that did not make the store's vectors.

    Raises:
        EncoderMismatch: Another one did.
    """
    if encoder is not None:
        check_made_by(connection, describe_encoder(encoder), where)


def check_made_by(connection: sqlite3.Connection, described: str, where: str) -> None:
    """Refuse vectors of an encoder, as described, that did not make the store's.

    Raises:
        EncoderMismatch: Another one did.
    """
    recorded = get(connection, "encoder")
    if recorded in (None, described):
        return
    if connection.execute("SELECT 1 FROM vectors LIMIT 1").fetchone():
        raise EncoderMismatch(
            f"the vectors of {where} were made by encoder {recorded}, got {described}: open it "
            f"with that encoder, or {_way_out(connection, described, where)}"
        )


def _way_out(connection: sqlite3.Connection, described: str, where: str) -> str:
    """What leads to a store of another encoder's vectors, for a message."""
    if get(connection, NEXT) == described:
        return (
            "go on with the change to this one, which has begun: memory.change_encoder(encoder) or "
            f"hoptrail encoder reencode --store {where}"
        )
    return (
        "change it: Memory(path, encoder=None).change_encoder(encoder) or "
        f"hoptrail encoder reencode --store {where} --encoder …"
    )


def other_change(where: str, under_way: str, described: str) -> str:
    """What is said to who wants another change of encoder than the one that has begun.

    Args:
        where: The store, as messages call it.
        under_way: The change that has begun: its encoder and how far it is.
        described: The encoder that is wanted.
    """
    return (
        f"{where} is changing to encoder {under_way}, got {described}: go on with that one, or "
        "drop the change (memory.drop_encoder_change(), hoptrail encoder reencode --drop)"
    )


def claim_encoder(connection: sqlite3.Connection, encoder: Encoder, where: str) -> None:
    """Write down whose vectors the store holds; two encoders' are never mixed."""
    claim(connection, describe_encoder(encoder), where)
    folder = getattr(encoder, "folder", None)  # of its vector cache, if it has one
    if isinstance(folder, Path):
        _note_cache(connection, folder)


def _note_cache(connection: sqlite3.Connection, folder: Path) -> None:
    """Put a folder of vectors on record: the environment may name another when a purge comes."""
    folders, place = [str(other) for other in caches(connection)], str(folder.absolute())
    if place not in folders:
        put_info(connection, CACHES, json.dumps(sorted([*folders, place])))


def caches(connection: sqlite3.Connection) -> list[Path]:
    """The folders of the vector caches that the store was written with."""
    try:
        folders = json.loads(get(connection, CACHES) or "[]")
    except ValueError:  # damaged, which verify says
        return []
    folders = folders if isinstance(folders, list) else []
    return [Path(folder) for folder in folders if isinstance(folder, str)]


def note_collection(connection: sqlite3.Connection, place: str, prefix: str) -> str:
    """Put on record that an engine holds the store's vectors; the collection's name there.

    Args:
        connection: Writes.
        place: A folder or the address of a server.
        prefix: How the name begins: what is derived from the file's path. What follows is random,
            so that another store under the same path has another.
    """
    named = collections(connection)
    names = named.setdefault(place, [])
    name = next((name for name in names if name.startswith(prefix)), None)
    if name is None:
        name = prefix + secrets.token_hex(8)
        names.append(name)
        put_info(connection, COLLECTIONS, json.dumps(named, sort_keys=True))
    return name


def collections(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """The collections that the store's vectors were put into, by place."""
    try:
        named = json.loads(get(connection, COLLECTIONS) or "{}")
        return {str(place): [str(name) for name in names] for place, names in named.items()}
    except (ValueError, TypeError, AttributeError):  # damaged, which verify says
        return {}


def claim(connection: sqlite3.Connection, described: str, where: str) -> None:
    """The same for an encoder that is not there but described."""
    check_made_by(connection, described, where)
    put_info(connection, "encoder", described)
