"""Structured results as a model may be shown them: bounded, and without what hides or turns."""

from __future__ import annotations

import json
from typing import Any

from hoptrail.integrations.operations.passage_text import MAX_SHOWN
from hoptrail.outputs.printable import printable_lines

MAX_RESULT = 4_000_000
"""Characters of one structured result as JSON."""


def visible(value: Any) -> Any:
    """A JSON value whose strings hold no control, bidirectional or invisible characters.

    Each of those becomes its escape. Of a string longer than `MAX_SHOWN` its end says how much
    is left out; the resource of a passage has all of it.
    """
    if isinstance(value, str):
        more = len(value) - MAX_SHOWN
        text = "\n".join(printable_lines(value[:MAX_SHOWN]))
        return f"{text} […{more} characters more]" if more > 0 else text
    if isinstance(value, dict):
        return {visible(key): visible(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [visible(inner) for inner in value]
    return value


def too_large(value: Any) -> bool:
    """Whether a result is more than a client should have to read at once."""
    return len(json.dumps(value)) > MAX_RESULT
