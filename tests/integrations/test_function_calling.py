"""Schemas as two providers take them, and what goes back to their models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hoptrail import InputError
from hoptrail.integrations import MemoryTools, anthropic_result, openai_output

NAMES = ["recall", "search", "remember", "update", "forget", "link", "feedback"]


@pytest.fixture
def tools(memory) -> MemoryTools:
    return MemoryTools(memory, namespace=("team", "ann"))


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema of an object inside of one."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_each_api_gets_its_shape(tools) -> None:
    chat, responses, anthropic = tools.openai("chat"), tools.openai(), tools.anthropic()
    assert [tool["function"]["name"] for tool in chat] == NAMES
    assert [tool["name"] for tool in responses] == [tool["name"] for tool in anthropic] == NAMES
    assert {tool["type"] for tool in (*chat, *responses)} == {"function"}
    # The Responses API makes every function strict for which nothing is said.
    assert {tool["strict"] for tool in responses} == {False}
    assert all("type" not in tool and "strict" not in tool for tool in anthropic)
    for first, second, third in zip(chat, responses, anthropic, strict=True):
        assert first["function"]["parameters"] == second["parameters"] == third["input_schema"]
        assert second["description"] == third["description"]
        Draft202012Validator.check_schema(third["input_schema"])


def test_a_model_is_told_each_argument_and_no_namespace(tools) -> None:
    schemas = {tool["name"]: tool["input_schema"] for tool in tools.anthropic()}
    assert schemas["recall"] == {
        "type": "object",
        "properties": {
            "question": {
                "type": "string",
                "maxLength": 20_000,
                "description": "A whole question in natural language; it may need several facts "
                "to answer.",
            },
            "k": {
                "type": "integer",
                "minimum": 1,
                "maximum": 50,
                "description": "How many passages to return, 1 to 50; leave out for a few.",
            },
            "as_of": {
                "type": "string",
                "maxLength": 1000,
                "description": "Find what was valid at a time in the past, as ISO 8601 with an "
                'offset, such as 2026-01-31T12:00:00Z, or at any time ("ever"); leave out for '
                "what is valid now.",
            },
        },
        "required": ["question"],
        "additionalProperties": False,
    }
    assert set(schemas["remember"]["properties"]) == {
        "text",
        "title",
        "metadata",
        "links",
        "expires_at",
    }
    for schema in schemas.values():
        assert "namespace" not in schema["properties"]
        for properties in (one["properties"] for one in objects(schema)):
            assert all("description" in one for one in properties.values())


@pytest.mark.parametrize("api", ["chat", "responses", "anthropic"])
def test_a_strict_schema_keeps_to_what_strict_modes_take(tools, api) -> None:
    """Every property is required, objects are closed, and there are no bounds and no references."""
    if api == "anthropic":
        schemas = [tool["input_schema"] for tool in tools.anthropic(strict=True)]
        assert all(tool["strict"] is True for tool in tools.anthropic(strict=True))
    else:
        functions = [tool.get("function", tool) for tool in tools.openai(api, strict=True)]
        schemas = [tool["parameters"] for tool in functions]
        assert all(tool["strict"] is True for tool in functions)
    for schema in schemas:
        assert not {"$ref", "anyOf", "maxLength", "minimum", "maxItems", "default"} & set(
            str(schema).replace("'", " ").split()
        )
        for one in objects(schema):
            assert one["additionalProperties"] is False
            assert set(one["required"]) == set(one["properties"])
            assert "metadata" not in one["properties"]


def test_null_for_what_is_left_out_is_understood(tools) -> None:
    """As a model in strict mode gives it."""
    for tool in tools.anthropic(strict=True):
        optional = {
            name: None
            for name, one in tool["input_schema"]["properties"].items()
            if "null" in one["type"]
        }
        needed = {
            "recall": {"question": "Who?"},
            "search": {"query": "Varn"},
            "remember": {"text": "Tolle has seven bells."},
            "update": {"id": "ada", "text": "New."},
            "forget": {"ids": ["ister"]},
            "link": {"source": "ada", "target": "varn"},
            "feedback": {"recall": "?", "reward": 1},
        }[tool["name"]]
        if tool["name"] == "feedback":
            needed["recall"] = tools.call("recall", {"question": "Who?"}).data["id"]
        outcome = tools.call(tool["name"], optional | needed)
        assert not outcome.is_error, outcome.text


def test_what_came_of_a_call_goes_back_in_each_provider_s_form(tools) -> None:
    good = tools.call("search", '{"query": "Varn", "k": 1}')
    bad = tools.call("search", '{"words": "Varn"}')
    assert openai_output("c1", good) == {
        "type": "function_call_output",
        "call_id": "c1",
        "output": good.text,
    }
    assert openai_output("c1", bad, "chat") == {
        "role": "tool",
        "tool_call_id": "c1",
        "content": bad.text,
    }
    assert [anthropic_result("t1", one)["is_error"] for one in (good, bad)] == [False, True]
    assert anthropic_result("t1", bad)["content"] == bad.text


async def test_asynchronous_calls_run_side_by_side_and_leave_the_loop_free(tools) -> None:
    outcomes = await asyncio.gather(
        *(tools.acall("remember", {"text": f"Fact number {n}."}) for n in range(8)),
        tools.acall("recall", {"question": "Where was Ada Lind born?"}),
        tools.acall("forget", {"ids": ["nobody"]}),
    )
    assert [outcome.is_error for outcome in outcomes] == [False] * 9 + [True]
    assert tools.memory.count(("team", "ann")) == 4 + 8


def test_what_is_no_api_is_refused(tools) -> None:
    with pytest.raises(InputError, match="api"):
        tools.openai("completions")
    with pytest.raises(InputError, match="strict"):
        tools.openai(strict="yes")
    with pytest.raises(InputError, match="strict"):
        tools.anthropic(strict=1)
    with pytest.raises(InputError, match="api"):
        openai_output("c1", tools.call("recall", {}), "assistants")


def test_an_exchange_with_a_scripted_model_writes_recalls_and_judges(tools) -> None:
    """The loop of an application without a framework, with a model that answers by rule."""

    def model(messages: list[dict[str, Any]]) -> dict[str, Any]:
        if len(messages) == 1:
            return {"name": "remember", "input": {"text": "Cem was born in Tolle.", "title": "Cem"}}
        if len(messages) == 2:
            return {"name": "recall", "input": {"question": "Where was Cem born?", "k": 1}}
        if len(messages) == 3:
            recall_id = messages[-1]["content"].split('"')[1]  # what a model reads of it
            return {"name": "feedback", "input": {"recall": recall_id, "reward": 1.0}}
        return {}

    messages: list[dict[str, Any]] = [{"role": "user", "content": "Cem was born in Tolle."}]
    while call := model(messages):
        outcome = tools.call(call["name"], call["input"])
        messages.append(anthropic_result(f"t{len(messages)}", outcome))
    assert "> Cem was born in Tolle." in messages[2]["content"]
    assert not messages[3]["is_error"]
    assert tools.memory.feedback_given(("team", "ann"))[0].reward == 1.0
