"""Where an answer stands in a passage, by the passage's own fields."""

from __future__ import annotations

from typing import Literal

from hoptrail.types import Evidence, Passage


def evidence_span(passage: Passage, start: int, end: int) -> Evidence:
    """A span of a passage's content as a span of its title, its speaker or its text.

    Args:
        passage: Whose `content` is the title or the speaker, two characters, and the text.
        start: The span's first character in the content.
        end: The one past its last; the span is of one of the two parts, or is cut to the text.
    """
    behind = len(passage.content) - len(passage.text)
    head: Literal["title", "speaker"] = "title" if passage.title else "speaker"
    if behind and end <= behind - 2:
        return Evidence(passage.id, passage.namespace, head, start, end)
    return Evidence(passage.id, passage.namespace, "text", max(0, start - behind), end - behind)
