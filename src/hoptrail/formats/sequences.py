"""Passages that follow each other: turns of conversations, entries of a log, parts of a text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from hoptrail.errors import InputError
from hoptrail.types import Link, Passage

NEXT = "next"
"""The kind of a link that leads from a passage to the one after it."""


def in_sequence(passages: Iterable[Passage], by: str) -> list[Passage]:
    """The passages, each linked to the next of the same namespace and the same value of a field.

    A recall then takes what stands before and after a passage into account. One that lacks the
    field stands in no sequence.

    Args:
        passages: In their order.
        by: A field of their metadata, such as `session`.

    Raises:
        InputError: No passage has the field.

    Examples:
        >>> turns = [Passage(str(i), "...", metadata={"session": i // 2}) for i in range(4)]
        >>> [[link.target for link in turn.links] for turn in in_sequence(turns, "session")]
        [['1'], [], ['3'], []]
    """
    turns = list(passages)
    last: dict[tuple[tuple[str, ...], str], int] = {}
    for place, passage in enumerate(turns):
        if by not in passage.metadata:
            continue
        value = json.dumps(passage.metadata[by], sort_keys=True, default=str)
        before = last.get((passage.namespace, value))
        last[passage.namespace, value] = place
        if before is not None:
            turns[before] = _linked(turns[before], passage.id)
    if turns and not last:
        raise InputError(
            f"no passage has {by!r} in its metadata: "
            "name the field that passages of one sequence have in common"
        )
    return turns


def _linked(passage: Passage, following: str) -> Passage:
    """A passage with a link to the one after it, if it has none yet."""
    if any((link.target, link.kind) == (following, NEXT) for link in passage.links):
        return passage
    return replace(passage, links=(*passage.links, Link(following, NEXT)))
