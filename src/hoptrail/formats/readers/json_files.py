"""Files of JSON that have a meaning here: chats, ChatGPT's export of them, works of OpenAlex."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hoptrail.errors import FormatError
from hoptrail.formats.readers.chat_messages import (
    NOT_HEARD,
    chat_passages,
    linked_turns,
    parse_message,
    time_text,
)
from hoptrail.formats.readers.files import read_json
from hoptrail.formats.readers.openalex import is_work, works_content
from hoptrail.formats.readers.registry import FileContent
from hoptrail.types import Passage


def read_json_file(path: Path) -> FileContent:
    """The passages of a file of JSON, if it is one that is known.

    That is a list of messages, an object with `messages`, a list of such objects, what ChatGPT
    exports (`conversations.json`), and works of OpenAlex (one, a list, or `results`).

    Raises:
        FormatError: It is none of these.
    """
    value = read_json(path)
    results = value.get("results") if isinstance(value, Mapping) else None
    items = results if isinstance(results, list) else value if isinstance(value, list) else [value]
    if items and all(isinstance(item, Mapping) for item in items):
        if all(is_work(item) for item in items):
            return works_content(items)
        if all(isinstance(item.get("mapping"), Mapping) for item in items):
            return _exported(items)
        if all(isinstance(item.get("messages"), list) for item in items):
            chats = [(_name(item, at), item["messages"]) for at, item in enumerate(items, start=1)]
            return _chats(path, chats)
        if all(_speaks(item) for item in items):
            return _chats(path, [("chat", items)])
    raise FormatError(
        f"{path} is neither a chat log nor ChatGPT's export nor works of OpenAlex: JSON of other "
        'kinds is given as a corpus (.jsonl), a line {"id": ..., "text": ...} for each passage'
    )


def _speaks(item: Mapping[str, Any]) -> bool:
    inner = item.get("data", item.get("kwargs"))
    body = inner if isinstance(inner, Mapping) else item
    says = "content" in body or "blocks" in body
    return says and any(isinstance(item.get(key), str | int) for key in ("role", "type", "lc"))


def _name(item: Mapping[str, Any], number: int) -> str:
    named = (item.get(key) for key in ("session", "session_id", "id", "title"))
    return next((one for one in named if isinstance(one, str) and one), f"chat {number}")


def _chats(path: Path, chats: list[tuple[str, list[Any]]]) -> FileContent:
    names = [name for name, _ in chats]
    records: list[Passage] = []
    count = 0
    for number, (name, messages) in enumerate(chats, start=1):
        session = name if names.count(name) == 1 else f"{name} ({number})"
        try:
            records += chat_passages(messages, session=session)
        except FormatError as error:
            raise FormatError(f"{path}, {session}: {error}") from error
        count += len(messages)
    return _content(records, count)


def _content(records: list[Passage], messages: int) -> FileContent:
    left_out = messages - len(records)
    remark = f"{left_out} messages of the system or of tools, or without words"
    return FileContent(records=tuple(records), remarks=(remark,) if left_out else ())


def _exported(conversations: list[Any]) -> FileContent:
    """ChatGPT's export: of each conversation the branch that it ended with."""
    records: list[Passage] = []
    count = 0
    for number, conversation in enumerate(conversations, start=1):
        title = conversation.get("title") or f"conversation {number}"
        where = f"conversation {number} ({title!r})"
        session = str(conversation.get("conversation_id") or conversation.get("id") or number)
        turns: list[Passage] = []
        for message in _branch(conversation, where):
            count += 1
            speaker, text, moment = parse_message(_plain(message, where), where)
            if speaker in NOT_HEARD or not text.strip():
                continue
            metadata = {"speaker": speaker, "session": session, "conversation": str(title)}
            when = moment or time_text(conversation.get("create_time"), where)
            times = {"said_at": when} if when else {}
            turns.append(Passage(f"{session}#{len(turns) + 1}", text, metadata=metadata | times))
        records += linked_turns(turns)
    return _content(records, count)


def _branch(conversation: Mapping[str, Any], where: str) -> Iterator[Mapping[str, Any]]:
    """The messages from the first to the last one shown; other branches were replaced by it."""
    nodes: Mapping[str, Any] = conversation["mapping"]
    at = conversation.get("current_node")
    if at is None:  # of an old export: the last node that has no child
        leaves = [key for key, node in nodes.items() if not node.get("children")]
        at = leaves[-1] if leaves else None
    path: list[Mapping[str, Any]] = []
    visited: set[str] = set()
    while at is not None:
        node = nodes.get(at)
        if not isinstance(node, Mapping) or at in visited:
            raise FormatError(f"{where}: its messages do not lead back to a first one")
        visited.add(at)
        if isinstance(node.get("message"), Mapping):
            path.append(node["message"])
        at = node.get("parent")
    return iter(path[::-1])


def _plain(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A message of the export as others are."""
    author, content = message.get("author"), message.get("content")
    if not isinstance(author, Mapping) or not isinstance(content, Mapping):
        raise FormatError(f"{where}: a message has no author or no content")
    parts = content.get("parts")
    spoken = content.get("content_type") in ("text", "multimodal_text")
    return {
        "role": author.get("role"),
        "content": parts if spoken and isinstance(parts, list) else "",
        "create_time": message.get("create_time"),
    }
