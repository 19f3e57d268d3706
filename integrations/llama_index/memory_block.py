"""A memory as a block of LlamaIndex's agent memory: what left the chat comes back when needed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.memory import BaseMemoryBlock
from pydantic import Field, PrivateAttr, model_validator

from hoptrail.api.async_memory import AsyncMemory
from hoptrail.api.memory import Memory
from hoptrail.formats.sequences import in_sequence
from hoptrail.integrations.operations.passage_text import passages_text
from hoptrail.integrations.operations.recall_settings import RecallSettings
from hoptrail.types import Passage

_TOKEN = 4
"""Characters of a token, about; LlamaIndex asks for a cut in tokens, and takes it as a hint."""


class LlamaIndexMemoryBlock(BaseMemoryBlock[str]):
    """Long-term memory of a chat: writes the messages that leave it, and recalls for the next.

    Give it to LlamaIndex's `Memory.from_defaults(memory_blocks=[...])`. Messages that no longer fit
    into the chat are written as passages: `speaker` (the message's role), `session` and `said_at`
    are their metadata, and each is linked to the next. Before a model is called, the last of the
    user's messages is the question of a recall, and the passages stand in the prompt, each line
    behind `> `. The namespace is the application's: nothing that is said in a chat changes it.

    Raises:
        ValidationError: A setting is of the wrong type, or outside its range; a `ValueError`.
    """

    name: str = "LongTermMemory"
    memory: Memory | AsyncMemory
    namespace: tuple[str, ...] = ()
    """Where messages go; recalls look in every namespace that begins with it."""
    k: int = 5
    """Passages that come back at most."""
    effort: str = "balanced"
    """What a recall may cost: `fast`, `balanced` or `thorough`."""
    filter: Mapping[str, Any] | None = None
    """Only passages that fulfil it come back."""
    score_threshold: float | None = None
    """Only passages whose score is at least this come back."""
    roles: tuple[str, ...] = Field(default=("user", "assistant"))
    """Whose messages are written; what tools and the system say is left out."""

    _settings: RecallSettings = PrivateAttr()

    @model_validator(mode="after")
    def _check_settings(self) -> LlamaIndexMemoryBlock:
        self._settings = RecallSettings(
            self.memory, self.k, self.namespace, self.effort, self.filter, self.score_threshold
        )
        for role in self.roles:
            MessageRole(role)
        return self

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        users = [one for one in messages or () if one.role == MessageRole.USER]
        question = _text_of(users[-1]) if users else ""
        if not question.strip():
            return ""
        recall = await asyncio.to_thread(self._settings.recall, question)
        return passages_text(recall.hits, self._settings.scope) if recall.hits else ""

    async def _aput(self, messages: list[ChatMessage]) -> None:
        now = datetime.now(UTC).isoformat()
        turns = [
            Passage(str(uuid.uuid4()), text, metadata=_said(message, now))
            for message in messages
            if message.role in self.roles and (text := _text_of(message)).strip()
        ]
        if turns:
            memory = await asyncio.to_thread(self._settings.open_memory)
            linked = in_sequence(turns, "session")
            await asyncio.to_thread(memory.add, linked, namespace=self._settings.scope)

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """The passages that still fit, best first; whole ones, or none.

        Args:
            content: What a recall gave.
            tokens_to_truncate: By how much it is too long.
        """
        room = len(content) - _TOKEN * tokens_to_truncate
        passages = content.split("\n\n[")  # no line of a passage's text begins so
        while passages and len("\n\n[".join(passages)) > room:
            passages.pop()
        return "\n\n[".join(passages) or None


def _text_of(message: ChatMessage) -> str:
    """What a message says in words."""
    return "\n".join(block.text for block in message.blocks if isinstance(block, TextBlock))


def _said(message: ChatMessage, now: str) -> dict[str, Any]:
    session = message.additional_kwargs.get("session_id", "")
    return {"speaker": message.role.value, "session": session, "said_at": now}
