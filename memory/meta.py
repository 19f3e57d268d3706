"""What a store's file says of itself: its version, and whose vectors it holds."""

from __future__ import annotations

import sqlite3

from hoptrail.errors import EncoderMismatch
from hoptrail.memory.encoder import Encoder


def get(connection: sqlite3.Connection, key: str) -> str | None:
    """A value, or None."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else None


def put(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Write a value, over the one that was there."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def version(connection: sqlite3.Connection) -> int:
    """The newest version."""
    return int(get(connection, "version") or 0)


def bump(connection: sqlite3.Connection, count: int) -> int:
    """Take `count` new versions; the first of them."""
    newest = version(connection)
    put(connection, "version", str(newest + count))
    return newest + 1


def describe(encoder: Encoder) -> str:
    """An encoder as it is written down and named in messages."""
    return f"{encoder.fingerprint} ({encoder.dim} dim)"


def check_encoder(connection: sqlite3.Connection, encoder: Encoder | None, where: str) -> None:
    """Refuse an encoder that did not make the store's vectors.

    Raises:
        EncoderMismatch: Another one did.
    """
    known = get(connection, "encoder")
    if encoder is None or known is None or known == describe(encoder):
        return
    if connection.execute("SELECT 1 FROM vectors LIMIT 1").fetchone():
        raise EncoderMismatch(
            f"the vectors of {where} were made by encoder {known}, got {describe(encoder)}: "
            "open it with that encoder, or add its passages to a new store"
        )


def claim_encoder(connection: sqlite3.Connection, encoder: Encoder, where: str) -> None:
    """Write down whose vectors the store holds; two encoders' are never mixed."""
    check_encoder(connection, encoder, where)
    put(connection, "encoder", describe(encoder))
