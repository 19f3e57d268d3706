"""Tools for a model without a framework: schemas for OpenAI and Anthropic, and a dispatcher.

Give the schemas to the model's provider, and every call that comes back to `call`:

    tools = MemoryTools(memory, namespace=("team", "ann"))
    message = client.messages.create(tools=tools.anthropic(), ...)
    for block in message.content:
        if block.type == "tool_use":
            outcome = tools.call(block.name, block.input)
            results.append(anthropic_result(block.id, outcome))
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from hoptrail.errors import InputError
from hoptrail.integrations.operations.bound_memory import BoundMemory, Outcome
from hoptrail.values.flags import flag
from hoptrail.values.numbers import shown


class MemoryTools(BoundMemory):
    """A memory as tools of a model, in no framework: schemas for the provider, and a dispatcher.

    Examples:
        >>> from hoptrail import Memory
        >>> from hoptrail.memory.testing.hash_encoder import HashEncoder
        >>> from tempfile import TemporaryDirectory
        >>> folder = TemporaryDirectory()
        >>> with Memory(f"{folder.name}/agent.db", encoder=HashEncoder()) as memory:
        ...     tools = MemoryTools(memory, namespace=("ann",))
        ...     print([tool["name"] for tool in tools.anthropic()][:3])
        ...     print(tools.call("remember", {"text": "Ann likes tea."}).data["written"])
        ...     print(tools.call("forget", '{"ids": ["no-such-id"]}').is_error)
        ['recall', 'search', 'remember']
        True
        True
        >>> folder.cleanup()
    """

    def openai(
        self, api: Literal["responses", "chat"] = "responses", *, strict: bool = False
    ) -> list[dict[str, Any]]:
        """The tools as OpenAI's APIs, and those that follow them, take them.

        Args:
            api: The Responses API ("responses"), or Chat Completions ("chat").
            strict: Have the provider hold the model to the schema. Every argument is then
                required, null for one that is left out, and a model can give no `metadata`.

        Raises:
            InputError: There is no such `api`, or `strict` is neither true nor false.
        """
        if api not in ("responses", "chat"):
            raise InputError(f'api must be "responses" or "chat", got {shown(api)}')
        exact = flag(strict, "strict")
        functions = [
            {
                "name": operation.name,
                "description": operation.description,
                "parameters": operation.input_schema(strict=exact),
                # Said also where it is false: the Responses API would make it true.
                "strict": exact,
            }
            for operation in self.operations
        ]
        if api == "responses":
            return [{"type": "function", **function} for function in functions]
        return [{"type": "function", "function": function} for function in functions]

    def anthropic(self, *, strict: bool = False) -> list[dict[str, Any]]:
        """The tools as Anthropic's Messages API takes them.

        Args:
            strict: As for `openai`.

        Raises:
            InputError: `strict` is neither true nor false.
        """
        exact = flag(strict, "strict")
        return [
            {
                "name": operation.name,
                "description": operation.description,
                "input_schema": operation.input_schema(strict=exact),
                **({"strict": True} if exact else {}),
            }
            for operation in self.operations
        ]

    async def acall(self, name: str, arguments: Mapping[str, Any] | str | None) -> Outcome:
        """As `call`, in a thread, so that the event loop stays free."""
        return await asyncio.to_thread(self.call, name, arguments)


def openai_output(
    call_id: str, outcome: Outcome, api: Literal["responses", "chat"] = "responses"
) -> dict[str, Any]:
    """What goes back to an OpenAI model for one of its calls.

    Args:
        call_id: `call_id` of the function call (Responses), or `id` of the tool call (Chat).
        outcome: What came of it.
        api: The API that the call came by.

    Raises:
        InputError: There is no such `api`.
    """
    if api == "responses":
        return {"type": "function_call_output", "call_id": call_id, "output": outcome.text}
    if api == "chat":
        return {"role": "tool", "tool_call_id": call_id, "content": outcome.text}
    raise InputError(f'api must be "responses" or "chat", got {shown(api)}')


def anthropic_result(tool_use_id: str, outcome: Outcome) -> dict[str, Any]:
    """What goes back to an Anthropic model for one of its calls: a block of a user's message.

    Args:
        tool_use_id: `id` of the `tool_use` block.
        outcome: What came of it.
    """
    return {
        "type": "tool_result",
        "tool_use_id": tool_use_id,
        "content": outcome.text,
        "is_error": outcome.is_error,
    }
