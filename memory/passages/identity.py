"""Ids made of content: of passages that come without one.

A string's id is the hash of its content; what has a title, metadata or links has them in its hash,
so that equal texts which differ in these are two passages.
"""

from __future__ import annotations

import hashlib
import json

from hoptrail.types import Passage

DIGITS = 16
"""Hexadecimal digits of an id that was made of content."""


def content_id(passage: Passage, again: int = 0) -> str:
    """The id of a passage that came without one: 16 hexadecimal digits of a hash.

    Args:
        passage: Its metadata holds values of JSON only.
        again: How many ids of its content were taken by something else.
    """
    basis = passage.content
    if passage.title or passage.metadata or passage.links:
        links = [(link.target, link.kind, link.weight) for link in passage.links]
        parts = [passage.text, passage.title or "", dict(passage.metadata), links]
        basis = json.dumps(parts, sort_keys=True)
    if again:
        basis = f"{basis}\x1f{again}"
    return hashlib.sha256(basis.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def is_by_content(passage: Passage) -> bool:
    """Whether a passage's id was made of its content.

    Args:
        passage: Any.
    """
    return len(passage.id) == DIGITS and passage.id == content_id(passage)
