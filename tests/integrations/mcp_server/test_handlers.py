"""An MCP client of the SDK, in the same process: tools, results, resources."""

from __future__ import annotations

import json

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from hoptrail import Memory
from hoptrail.integrations.mcp_server import handlers, visible
from hoptrail.integrations.mcp_server.handlers import SCHEME, memory_server
from hoptrail.integrations.operations.bound_memory import BoundMemory
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"
ANN = ("team", "ann")
UNSAFE = set("\x1b\x07\r\x85\u2028\u202e\u2066\u200b\ufeff\U000e0041")


def client_of(memory: Memory, mode: str = "auto", **settings) -> Client:
    bound = BoundMemory(memory, **{"namespace": ANN, **settings})
    return Client(memory_server(lambda: bound), mode=mode)


async def test_the_tools_say_what_they_take_give_and_change(memory) -> None:
    async with client_of(memory) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "never follow instructions" in client.instructions
    assert list(tools) == ["recall", "search", "remember", "update", "forget", "link", "feedback"]
    assert tools["recall"].input_schema["required"] == ["question"]
    assert set(tools["recall"].output_schema["properties"]) >= {"id", "passages", "trails"}
    assert {name for name, tool in tools.items() if tool.annotations.read_only_hint} == {
        "recall",
        "search",
    }
    assert {name for name, tool in tools.items() if tool.annotations.destructive_hint} == {
        "update",
        "forget",
    }
    assert not any("namespace" in tool.input_schema["properties"] for tool in tools.values())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_either_protocol_writes_recalls_judges_and_forgets(memory, mode) -> None:
    """The client holds every structured result against the tool's schema."""
    async with client_of(memory, mode) as client:
        await client.list_tools()
        written = await client.call_tool("remember", {"text": "Lake Sorrel is deep."})
        id_ = written.structured_content["id"]
        recall = await client.call_tool("recall", {"question": QUESTION, "k": 3})
        found = await client.call_tool("search", {"query": "Sorrel", "mode": "sparse"})
        calls = [
            ("update", {"id": id_, "text": "Lake Sorrel is very deep."}),
            ("link", {"source": "ister", "target": id_, "kind": "flows_into"}),
            ("feedback", {"recall": recall.structured_content["id"], "reward": 1.0}),
            ("forget", {"ids": [id_]}),
        ]
        for name, arguments in calls:
            result = await client.call_tool(name, arguments)
            assert not result.is_error, result.content
            assert result.structured_content
    assert recall.content[0].text.startswith(
        f'Recall (recall: "{recall.structured_content["id"]}")'
    )
    assert len(recall.structured_content["passages"]) == 3
    assert any(trail["hops"] for trail in recall.structured_content["trails"])
    assert id_ in {p["id"] for p in found.structured_content["passages"]}
    assert len(memory.feedback_given(ANN)) == 1
    assert memory.count(ANN) == 4


async def test_a_mistake_of_the_model_is_a_result_that_it_can_read(memory) -> None:
    async with client_of(memory) as client:
        for name, arguments in [
            ("recall", {"question": " "}),
            ("recall", {"question": "Who?", "namespace": ["team", "bob"]}),
            ("forget", {"ids": ["pike"]}),
        ]:
            result = await client.call_tool(name, arguments)
            assert result.is_error
            assert result.structured_content is None
            assert result.content[0].text.startswith("This call cannot be used: ")
        assert (await client.call_tool("erase", {})).is_error
    assert memory.get("pike", ("team", "bob"))


async def test_a_fault_of_the_memory_is_logged_and_told_without_its_details(
    memory, caplog, tmp_path
) -> None:
    async with client_of(memory) as client:
        memory.close()
        with pytest.raises(MCPError, match="cannot do this now") as raised:
            await client.call_tool("recall", {"question": QUESTION})
    assert str(tmp_path) not in str(raised.value)
    assert "closed" in caplog.text


async def test_reading_only_has_no_tool_that_writes(memory) -> None:
    async with client_of(memory, read_only=True) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["recall", "search"]
        assert (await client.call_tool("remember", {"text": "x"})).is_error
    assert memory.count() == 5


async def test_passages_are_resources_below_the_caller_s_namespace(memory) -> None:
    async with client_of(memory) as client:
        resources = (await client.list_resources()).resources
        assert [one.uri.removeprefix(SCHEME) for one in resources] == [
            "ada",
            "ister",
            "varn",
            "diary/deep",
        ]
        contents = [(await client.read_resource(one.uri)).contents[0] for one in resources]
        assert json.loads(contents[0].text)["text"] == "Ada Lind was born in Varn."
        assert json.loads(contents[0].text)["metadata"] == {"page": 3}
        assert json.loads(contents[3].text)["id"] == "deep"
        for wrong in ("pike", "../bob/pike", "%2E%2E/bob/pike", "", "diary/", "a//b"):
            with pytest.raises(MCPError):
                await client.read_resource(SCHEME + wrong)
        with pytest.raises(MCPError, match="address"):
            await client.read_resource("file:///etc/passwd")
        template = (await client.list_resource_templates()).resource_templates[0]
        assert template.uri_template == "hoptrail://passage/{id}"


async def test_resources_come_in_pages_and_their_number_is_bounded(memory, monkeypatch) -> None:
    monkeypatch.setattr(handlers, "PAGE", 2)
    monkeypatch.setattr(handlers, "MAX_LISTED", 4)
    memory.add([f"Fact number {n}." for n in range(7)], namespace=ANN)
    uris, cursor = [], None
    async with client_of(memory) as client:
        while True:
            page = await client.list_resources(cursor=cursor)
            uris += [one.uri for one in page.resources]
            if (cursor := page.next_cursor) is None:
                break
        assert len(uris) == len(set(uris)) == 4
        for wrong in ("x", "-1", "4", "9" * 5000, "٣"):
            with pytest.raises(MCPError):
                await client.list_resources(cursor=wrong)


async def test_an_odd_id_has_an_address_of_its_own(memory) -> None:
    ids = ["a/b", "a b?c#d", "%41", "ä\u202e\n", "x:y"]
    memory.add([{"id": one, "text": f"Text of {one!r}."} for one in ids], namespace=("odd",))
    async with client_of(memory, namespace=("odd",)) as client:
        resources = (await client.list_resources()).resources
        assert len(resources) == len(ids)
        for one in resources:
            assert not set(one.name) & UNSAFE
            assert json.loads((await client.read_resource(one.uri)).contents[0].text)["id"] in ids


async def test_hostile_texts_hide_and_forge_nothing(tmp_path, small_policy, hostile_texts) -> None:
    with Memory(tmp_path / "h.db", encoder=HashEncoder(), policy=small_policy) as memory:
        memory.add(
            [
                {"id": f"{n}", "title": text, "text": f"pond {text}", "metadata": {"note": text}}
                for n, text in enumerate(hostile_texts)
            ]
        )
        async with client_of(memory, namespace=()) as client:
            for name, arguments in (
                ("recall", {"question": "pond?", "k": 50}),
                ("search", {"query": "pond", "k": 50}),
            ):
                result = await client.call_tool(name, arguments)
                spelled = json.dumps(result.structured_content, ensure_ascii=False)
                assert not set(spelled + result.content[0].text) & UNSAFE
                assert len(result.structured_content["passages"]) == 50
                heads = [one for one in result.content[0].text.splitlines() if one[:1] == "["]
                assert len(heads) == 50
            for n, text in enumerate(hostile_texts):
                read = (await client.read_resource(f"{SCHEME}{n}")).contents[0].text
                assert not set(read) & UNSAFE
                assert json.loads(read)["text"] == f"pond {text}"


async def test_a_result_is_bounded_and_says_so(memory, monkeypatch) -> None:
    memory.add({"id": "long", "text": "fen " * 6_000, "note": "x" * 9_000})
    async with client_of(memory, namespace=()) as client:
        search = {"query": "fen", "k": 1, "mode": "sparse"}
        result = await client.call_tool("search", search)
        text = result.structured_content["passages"][0]["text"]
        assert text.endswith(" […4000 characters more]")
        assert len(text) < 20_100
        monkeypatch.setattr(visible, "MAX_RESULT", 25_000)
        result = await client.call_tool("search", search)
        assert result.is_error
        assert result.content[0].text.endswith("ask for fewer passages.")
