"""Items of LangGraph's stores as passages of a memory, and passages as items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import Item, SearchItem, get_text_at_path

from hoptrail.errors import InputError
from hoptrail.formats.json_views import metadata_data
from hoptrail.types import Namespace, Passage
from hoptrail.values.json_values import plain_mapping

OURS = "langgraph"
"""The key of a passage's metadata under which an item stands."""
UNINDEXED = "(not to be found by its words)"
"""The text of an item that no query finds: every passage has one."""
WHOLE = "$"
"""The path of a value as a whole."""


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as a passage holds it."""

    value: dict[str, Any]
    created_at: float
    updated_at: float
    """Seconds since 1970."""
    minutes: float | None
    """How long it stays after it was last used; None for ever."""
    indexed: bool
    """Whether queries find it."""


def passage_of_item(
    key: str, namespace: Namespace, item: StoredItem, paths: Sequence[str], now: float
) -> Passage:
    """The passage that holds an item.

    Args:
        key: The item's, which is the passage's id.
        namespace: The passage's.
        item: What it holds; where its value has no text at the paths, no query finds it.
        paths: Where in the value the text stands that queries find; none for an item that they do
            not find.
        now: Seconds since 1970, from which on it stays.
    """
    texts = [text for path in paths for text in _texts(item.value, path) if text.strip()]
    return Passage(
        id=key,
        text="\n".join(texts) or UNINDEXED,
        metadata={
            OURS: {
                "value": item.value,
                "created_at": item.created_at,
                "updated_at": item.updated_at,
                "minutes": item.minutes,
                "indexed": bool(texts),
            }
        },
        namespace=namespace,
        expires_at=None if item.minutes is None else now + 60 * item.minutes,
    )


def stored_item(passage: Passage) -> StoredItem:
    """What a passage holds; one that was written otherwise is an item of its text and metadata."""
    ours = passage.metadata.get(OURS)
    if isinstance(ours, dict) and isinstance(ours.get("value"), dict):
        values = metadata_data(passage)[OURS]
        return StoredItem(
            values["value"],
            values["created_at"],
            values["updated_at"],
            values["minutes"],
            values["indexed"],
        )
    value: dict[str, Any] = {"text": passage.text}
    if passage.title:
        value["title"] = passage.title
    if passage.metadata:
        value["metadata"] = metadata_data(passage)
    return StoredItem(value, passage.written_at, passage.written_at, None, True)


def checked_value(value: object) -> dict[str, Any]:
    """A value as JSON has it, which shares nothing with what was given.

    Raises:
        InputError: It is no dict, or holds what JSON has nothing for.
    """
    if not isinstance(value, dict):
        raise InputError(f"a value is a dict, got {type(value).__name__}")
    return plain_mapping(value, "value")


def item_of(passage: Passage, depth: int) -> Item:
    """A passage as `get` returns it.

    Args:
        passage: The passage.
        depth: How many parts of its namespace are the store's own.
    """
    return Item(**_fields(passage, depth))


def search_item(passage: Passage, depth: int, score: float | None) -> SearchItem:
    """A passage as `search` returns it.

    Args:
        passage: The passage.
        depth: How many parts of its namespace are the store's own.
        score: How well it fits the query, if there was one.
    """
    return SearchItem(**_fields(passage, depth), score=score)


def _fields(passage: Passage, depth: int) -> dict[str, Any]:
    item = stored_item(passage)
    return {
        "value": item.value,
        "key": passage.id,
        "namespace": passage.namespace[depth:],
        "created_at": datetime.fromtimestamp(item.created_at, UTC),
        "updated_at": datetime.fromtimestamp(item.updated_at, UTC),
    }


def _texts(value: dict[str, Any], path: str) -> list[str]:
    """The texts at a path; of a value as a whole, its strings.

    Not their JSON, as other stores have it: names in quotes and braces make a poor graph.
    """
    return list(_strings(value)) if path == WHOLE else get_text_at_path(value, path)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
