"""What the query encoder reads in a state: the question, then the heads of the evidence.

    q(s) = query encoder(question ⊕ evidence of s)

The evidence is a set: the same passages give the same text, in whatever order they were read.
"""

from __future__ import annotations

from collections.abc import Sequence

HEAD = 400
"""Characters of a passage that are read at most: its head says what it is about, and the time to
encode grows with every token."""
TOTAL = 840
"""Characters that all passages share: with the question, about what one pass of MiniLM reads."""
BETWEEN = " | "
"""Between the question and the passages."""


def query_text(question: str, contents: Sequence[str]) -> str:
    """The question and the evidence as one text; the question alone where nothing was read.

    Args:
        question: In words.
        contents: Of the passages read, in an order that depends on the set alone.
    """
    if not contents:
        return question
    share = min(HEAD, TOTAL // len(contents))
    return BETWEEN.join([question, *(content[:share] for content in contents)])
