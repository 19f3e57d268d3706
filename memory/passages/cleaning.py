"""Passages as callers give them, made those that a store gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from hoptrail.errors import InputError
from hoptrail.memory.storage import records
from hoptrail.types import Passage
from hoptrail.values.json_values import copied, instant, plain_mapping, seconds
from hoptrail.values.numbers import shown


def cleaned(passage: Passage) -> Passage:
    """A passage as it will be read back: values of JSON, Python's own numbers, nothing shared.

    Args:
        passage: As a caller gave it.

    Raises:
        InputError: It cannot be stored; the message says which and why.
    """
    if not isinstance(passage, Passage):
        raise InputError(f"expected a Passage, got {type(passage).__name__}")
    try:
        passage = replace(
            passage,
            expires_at=_seconds(passage.expires_at, "expires_at", seconds),
            valid_from=_seconds(passage.valid_from, "valid_from", instant),
            valid_until=_seconds(passage.valid_until, "valid_until", instant),
        )
    except InputError as error:
        raise InputError(f"passage {shown(passage.id)}: {error}") from error
    records.check_passage(passage)
    return replace(
        passage,
        id=str.__str__(passage.id),
        text=str.__str__(passage.text),
        metadata=plain_mapping(passage.metadata, "metadata"),
        links=tuple(replace(link, weight=float(link.weight)) for link in passage.links),
    )


def _seconds(value: object, what: str, parse: Callable[[object, str], float]) -> float | None:
    """Seconds since 1970 of a time that may be absent."""
    return None if value is None else parse(value, what)


def apart(passages: Iterable[Passage]) -> list[Passage]:
    """The passages with metadata of their own, so that what a caller does to it stays theirs.

    Args:
        passages: n of them.
    """
    return [replace(passage, metadata=copied(dict(passage.metadata))) for passage in passages]
