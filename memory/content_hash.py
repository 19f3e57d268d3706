"""Hashes of a passage's content: what breaks ties, and what names things derived from it."""

from __future__ import annotations

import hashlib


def content_key(content: str) -> int:
    """64 bits of the content's hash: what breaks ties, whatever the order and the ids."""
    return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "big")


def cache_key(content: str) -> bytes:
    """The content's whole hash: names what is derived from it outside of the store."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()
