"""What a language model is shown of a memory, and how its reply is read.

Passages stand in a prompt as data: one JSON object in which every text is a JSON string. So
whatever a passage holds, it cannot end the quotation it stands in, nor pass for another passage.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hoptrail.errors import HoptrailError
from hoptrail.outputs.printable import printable_json
from hoptrail.types import Passage
from hoptrail.values.numbers import shown

MAX_READ = 20_000
"""Characters of one passage's text that the model is given."""


def prompt_data(question: str, passages: Sequence[Passage]) -> str:
    """The question and the passages as the model is given them: one JSON object.

    Args:
        question: In words.
        passages: In the order in which they are numbered, from 1.
    """
    data = {
        "question": question,
        "passages": [
            {"number": number, "title": passage.title, "text": passage.text[:MAX_READ]}
            for number, passage in enumerate(passages, 1)
        ],
    }
    return printable_json(json.dumps(data, ensure_ascii=False, indent=1))


def reply_object(text: str, error: type[HoptrailError]) -> dict[str, Any]:
    """The JSON object of a reply, which a model may have put between fences.

    Args:
        text: All that the model said.
        error: What is raised where there is none.
    """
    start, end = text.find("{"), text.rfind("}")
    try:
        reply = json.loads(text[start : end + 1])
    except (ValueError, RecursionError) as problem:
        raise error(f"the chat model should reply with JSON, got {shown(text)}") from problem
    if not isinstance(reply, dict):
        raise error(f"the chat model should reply with a JSON object, got {shown(text)}")
    return reply
