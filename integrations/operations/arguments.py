"""What a model gives to each operation: checked, bounded, and described as JSON Schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hoptrail.outputs.printable import printable

MAX_QUERY = 20_000
"""Characters of a question or a query."""
MAX_TEXT = 100_000
"""Characters of a text to remember."""
MAX_NAME = 1_000
"""Characters of an id, a title or the kind of a link."""
MAX_METADATA = 20_000
"""Characters of a metadata as JSON."""
MAX_PASSAGES = 50
"""Passages that one call returns, deletes, links or judges."""

PassageId = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
_BOUNDS = (
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "minItems",
    "maxItems",
)
"""What the strict modes of model providers do not take; the arguments are checked here anyway."""


class Arguments(BaseModel):
    """The arguments of one operation: what is not named here is refused. None is left out."""

    model_config = ConfigDict(extra="forbid", strict=True)


AsOfText = Annotated[
    str | None,
    Field(
        default=None,
        max_length=MAX_NAME,
        description="Find what was valid at a time in the past, as ISO 8601 with an offset, such "
        'as 2026-01-31T12:00:00Z, or at any time ("ever"); leave out for what is valid now.',
    ),
]


class RecallArguments(Arguments):
    """What `recall` takes."""

    question: str = Field(
        max_length=MAX_QUERY,
        description="A whole question in natural language; it may need several facts to answer.",
    )
    k: int | None = Field(
        default=None,
        ge=1,
        le=MAX_PASSAGES,
        description="How many passages to return, 1 to 50; leave out for a few.",
    )
    as_of: AsOfText


class BoundedRecallArguments(RecallArguments):
    """What `recall` takes of a program, which may say how much is to come back."""

    until: Literal["complete"] | None = Field(
        default=None, description="As many passages as are needed; not beside patience."
    )
    tokens: int | None = Field(
        default=None,
        ge=1,
        description="As many passages as have no more tokens together, as the encoder counts them.",
    )
    min_score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Only passages that are needed with at least this probability.",
    )
    patience: float | None = Field(
        default=None,
        gt=0,
        description="Only passages worth reading to whom finding everything is worth reading so "
        "many; not beside until.",
    )


class AskArguments(RecallArguments):
    """What `ask` takes."""

    k: int | None = Field(
        default=None,
        ge=1,
        le=MAX_PASSAGES,
        description="How many passages to read, 1 to 50; leave out for a few.",
    )


class SearchArguments(Arguments):
    """What `search` takes."""

    query: str = Field(
        max_length=MAX_QUERY, description="Words or a sentence that the passages are about."
    )
    k: int | None = Field(
        default=None,
        ge=1,
        le=MAX_PASSAGES,
        description="How many passages to return, 1 to 50; leave out for a few.",
    )
    mode: Literal["hybrid", "dense", "sparse"] | None = Field(
        default=None,
        description="By meaning (dense), by exact words (sparse) or both (hybrid, the default).",
    )
    as_of: AsOfText


class LinkArguments(Arguments):
    """What `link` takes."""

    source: PassageId = Field(description="Id of the passage that the link starts from.")
    target: PassageId = Field(description="Id of the passage that it leads to.")
    kind: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = Field(
        default=None, description='What joins them: "cites", "next", "born_in", ...'
    )


class RememberedLink(Arguments):
    """A link from what is remembered to a passage that is there."""

    target: PassageId = Field(description="Id of the passage that the link leads to.")
    kind: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = Field(
        default=None, description='What joins them: "cites", "next", "born_in", ...'
    )


class _Metadata(Arguments):
    metadata: dict[str, Any] | None = Field(default=None)

    @field_validator("metadata", mode="after")
    @classmethod
    def _check_size(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            size = len(json.dumps(value))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError("metadata must be a JSON object, not too deep") from error
        if size > MAX_METADATA:
            raise ValueError(
                f"metadata has {size:,} characters as JSON, at most {MAX_METADATA:,} are allowed"
            )
        return value


class RememberArguments(_Metadata):
    """What `remember` takes."""

    text: str = Field(
        max_length=MAX_TEXT,
        description="One fact or one short text that is understood by itself: names, not pronouns.",
    )
    title: str | None = Field(
        default=None, max_length=MAX_NAME, description="What or whom it is about."
    )
    metadata: dict[str, Any] | None = Field(
        default=None, description="What else is known of it: source, date, speaker, tags."
    )
    links: list[RememberedLink] | None = Field(
        default=None,
        max_length=MAX_PASSAGES,
        description="Links to passages that are there already.",
    )
    expires_at: str | None = Field(
        default=None,
        max_length=MAX_NAME,
        description="When it is to be forgotten, as ISO 8601; leave out for never.",
    )


class NamedRememberArguments(RememberArguments):
    """What `remember` takes of a program, which may name what it writes."""

    id: PassageId | None = Field(
        default=None,
        description="Id to write it under, refused where it is taken; leave out for a new one.",
    )


class SupersedeArguments(_Metadata):
    """What `supersede` takes."""

    id: PassageId = Field(description="Id of the passage that no longer holds.")
    text: str = Field(max_length=MAX_TEXT, description="What holds instead.")
    title: str | None = Field(
        default=None, max_length=MAX_NAME, description="What or whom it is about."
    )
    metadata: dict[str, Any] | None = Field(
        default=None, description="What else is known of it: source, date, speaker, tags."
    )
    at: str | None = Field(
        default=None,
        max_length=MAX_NAME,
        description="Since when, as ISO 8601 with an offset; leave out for now.",
    )


class UpdateArguments(_Metadata):
    """What `update` takes."""

    id: PassageId = Field(description="Id of the passage to change.")
    text: str | None = Field(
        default=None, max_length=MAX_TEXT, description="Its new text; leave out to keep the old."
    )
    title: str | None = Field(
        default=None,
        max_length=MAX_NAME,
        description="Its new title, empty for none; leave out to keep the old.",
    )
    metadata: dict[str, Any] | None = Field(
        default=None, description="Takes the place of all metadata; leave out to keep it."
    )
    expires_at: str | None = Field(
        default=None,
        max_length=MAX_NAME,
        description="When it is to be forgotten, as ISO 8601, empty for never; leave out to keep.",
    )
    keep_history: bool | None = Field(
        default=None,
        description="True where the world has changed and the old text was right until now: it can "
        "then be found with as_of. Leave out to correct what was wrong.",
    )


class ForgetArguments(Arguments):
    """What `forget` takes."""

    ids: list[PassageId] = Field(
        min_length=1,
        max_length=MAX_PASSAGES,
        description="Ids of the passages to delete, as recall and search show them.",
    )


class FeedbackArguments(Arguments):
    """What `feedback` takes."""

    recall: PassageId = Field(description="Id of the recall, as its result shows it.")
    reward: float = Field(ge=0, le=1, description="From 0 (of no use) to 1 (just what was needed).")
    ids: list[PassageId] | None = Field(
        default=None,
        max_length=MAX_PASSAGES,
        description="Ids of the passages that it is for; leave out for the recall as a whole.",
    )


def json_schema(arguments: type[BaseModel], *, strict: bool = False) -> dict[str, Any]:
    """What a model's provider, or an MCP client, is told of the arguments.

    Args:
        arguments: Of an operation.
        strict: In the subset that the strict modes of OpenAI and Anthropic take: every property
            required, null for what is left out, and no bounds. It has no words for an object of
            any keys, so that `metadata` is not in it.
    """
    schema = arguments.model_json_schema()
    definitions = schema.pop("$defs", {})
    plain: dict[str, Any] = _plain(schema, definitions, strict)
    plain.pop("description", None)  # the class's own docstring, meant for programmers
    return plain


def _plain(schema: Any, definitions: dict[str, Any], strict: bool) -> Any:
    """A schema without references, titles of Python's names, and `anyOf` only to allow null."""
    if isinstance(schema, list):
        return [_plain(item, definitions, strict) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = dict(definitions[schema["$ref"].rpartition("/")[2]])
        target.pop("description", None)
        target.update({key: value for key, value in schema.items() if key != "$ref"})
        return _plain(target, definitions, strict)
    if "anyOf" in schema:
        value = next(one for one in schema["anyOf"] if one.get("type") != "null")
        merged = value | {k: v for k, v in schema.items() if k not in ("anyOf", "default")}
        plain: dict[str, Any] = _plain(merged, definitions, strict)
        return _nullable(plain) if strict else plain
    left_out = {"title", "default", *(_BOUNDS if strict else ())}
    result = {
        key: _plain(value, definitions, strict)
        for key, value in schema.items()
        if key not in left_out and key != "properties"
    }
    if "properties" in schema:
        properties = {
            name: _plain(value, definitions, strict) for name, value in schema["properties"].items()
        }
        if strict:
            properties = {n: p for n, p in properties.items() if not p.get("additionalProperties")}
            result["required"] = list(properties)
        result["properties"] = properties
    return result


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    nullable = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def validation_text(error: ValidationError) -> str:
    """What is wrong with arguments that do not fit, on one line, for a model to mend."""
    complaints = [
        f"{'.'.join(map(str, one['loc'])) or 'the arguments'}: {one['msg']}"
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return printable("; ".join(complaints))
