"""Messages of chats as passages, each with its speaker and time, and linked to the next.

They may be dicts or objects, as OpenAI, Anthropic, LangChain and LlamaIndex have them: who speaks
is in `role` or `type`, what is said in `content` or `blocks`, perhaps below `data` or `kwargs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from hoptrail.errors import FormatError, InputError
from hoptrail.formats.sequences import NEXT
from hoptrail.types import Link, Passage
from hoptrail.values.numbers import finite, shown

SPEAKERS = {"human": "user", "ai": "assistant", "chatbot": "assistant", "model": "assistant"}
"""What some libraries call whom others call user and assistant."""
NOT_HEARD = ("system", "developer", "tool", "function")
"""Roles whose messages are left out: instructions, and what programs returned."""
TIMES = ("said_at", "timestamp", "created_at", "create_time", "time", "date")
"""Where a message may say its time: seconds since 1970, or ISO 8601 text."""


def chat_passages(
    messages: Iterable[object], *, session: str = "", metadata: Mapping[str, Any] | None = None
) -> list[Passage]:
    """The turns of one chat as passages, for `memory.add`.

    A turn's metadata is its `speaker`, `session`, and `said_at` where the message has a time.
    Messages of the system and of tools are left out, and so are those without words.

    Args:
        messages: In their order: dicts, or LangChain's or LlamaIndex's messages.
        session: Names the chat; ids begin with it, so that two chats need two names.
        metadata: What else is known of every turn.

    Raises:
        InputError: One is no message.

    Examples:
        >>> turns = chat_passages(
        ...     [
        ...         {"role": "user", "content": "I moved to Larvik."},
        ...         {"role": "assistant", "content": "Noted."},
        ...     ],
        ...     session="monday",
        ... )
        >>> [(turn.id, turn.metadata["speaker"], turn.text) for turn in turns]
        [('monday#1', 'user', 'I moved to Larvik.'), ('monday#2', 'assistant', 'Noted.')]
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        raise InputError(f"messages are a list of them, got {shown(messages)}")
    turns: list[Passage] = []
    for number, message in enumerate(messages, start=1):
        speaker, text, moment = parse_message(message, f"message {number}")
        if speaker in NOT_HEARD or not text.strip():
            continue
        said = {"speaker": speaker, "session": session}
        times = {} if moment is None else {"said_at": moment}
        turns.append(
            Passage(f"{session}#{number}", text, metadata={**(metadata or {}), **said, **times})
        )
    return linked_turns(turns)


def linked_turns(turns: list[Passage]) -> list[Passage]:
    """Turns, each with a link to the next."""
    following = [*(turn.id for turn in turns[1:]), None]
    return [
        Passage(turn.id, turn.text, metadata=turn.metadata, links=(Link(next_id, NEXT),))
        if next_id
        else turn
        for turn, next_id in zip(turns, following, strict=True)
    ]


def parse_message(message: object, where: str) -> tuple[str, str, str | None]:
    """Who speaks in a message, what is said, and when, as ISO 8601 text, if it says so.

    Args:
        message: A dict or an object.
        where: Opens the message of an error.

    Raises:
        FormatError: It is no message.
    """
    fields = _fields(message, where)
    role = fields.get("role") or fields.get("speaker") or fields.get("type")
    role = getattr(role, "value", role)
    if not isinstance(role, str) or not role:
        raise FormatError(f"{where} does not say who speaks: it needs a role, got {shown(message)}")
    content = fields.get("content")
    if content is None and isinstance(fields.get("blocks"), list):
        content = fields["blocks"]
    if content is None and isinstance(fields.get("text"), str):
        content = fields["text"]
    extra = fields.get("additional_kwargs")
    inner = extra if isinstance(extra, Mapping) else {}
    value = next((one[key] for one in (fields, inner) for key in TIMES if one.get(key)), None)
    speaker = SPEAKERS.get(role.lower(), role.lower() if role.isupper() else role)
    return speaker, _words(content, where), time_text(value, where)


def _fields(message: object, where: str) -> Mapping[str, Any]:
    """The fields of a message, wherever a library puts them."""
    if isinstance(message, Mapping):
        data = message.get("data")
        if isinstance(data, Mapping) and "content" in data:  # LangChain's messages_to_dict
            return {**data, "type": message.get("type")}
        inner = message.get("kwargs")
        if isinstance(inner, Mapping) and "content" in inner:  # LangChain's dumps
            return inner
        return message
    names = ("role", "type", "content", "blocks", "additional_kwargs")
    fields = {name: getattr(message, name) for name in names if hasattr(message, name)}
    if "role" in fields and "blocks" in fields:  # LlamaIndex's, whose content is made of the blocks
        fields.pop("content", None)
    if not fields:
        raise InputError(f"{where} is no message: {shown(message)}")
    return fields


def _words(content: object, where: str) -> str:
    """What a message says in words: a text, or the text of its parts; images have none."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise FormatError(f"{where}: its content must be text or a list of parts")
    said = []
    for part in content:
        text = part if isinstance(part, str) else _text_of_part(part)
        if isinstance(text, str) and text.strip():
            said.append(text)
    return "\n\n".join(said)


def _text_of_part(part: object) -> object:
    kind = part.get("type", part.get("block_type")) if isinstance(part, Mapping) else None
    if kind in ("thinking", "reasoning", "tool_use", "tool_result", "tool_call"):
        return None
    return part.get("text") if isinstance(part, Mapping) else getattr(part, "text", None)


def time_text(value: object, where: str) -> str | None:
    """A moment as ISO 8601 text; None if there is none.

    Args:
        value: Seconds (or milliseconds) since 1970, ISO 8601 text, a date, or None.
        where: Opens the message of an error.

    Raises:
        FormatError: It is no moment.
    """
    if value is None or value == "":
        return None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return value
    seconds = finite(value)
    try:
        if seconds is None:
            raise ValueError
        # What would lie after the year 5000 is in milliseconds.
        return datetime.fromtimestamp(
            seconds / 1000 if seconds > 1e11 else seconds, UTC
        ).isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise FormatError(f"{where}: its time is {shown(value)}") from error
