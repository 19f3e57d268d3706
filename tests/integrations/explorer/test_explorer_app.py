"""The explorer without a browser: who may ask, and what each request does to a memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from hoptrail import ConfigError, InputError, Link, Memory
from hoptrail.integrations.explorer.explorer_app import MAX_BODY, explorer_app
from hoptrail.integrations.explorer.explorer_session import OPERATIONS, ExplorerSession
from hoptrail.integrations.explorer.exploring import explore
from hoptrail.memory.testing.hash_encoder import HashEncoder

TOKEN = "token-" + "a" * 20
ANN = ["team", "ann"]
Call = Callable[..., Awaitable[httpx2.Response]]


def client(session: ExplorerSession, **settings: Any) -> httpx2.AsyncClient:
    app = explorer_app(session, token=TOKEN, host="127.0.0.1", **settings)
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765")


@pytest.fixture
def call(memory) -> Call:
    session = ExplorerSession(memory)

    async def post(operation: str, _: dict[str, str] | None = None, **body: Any) -> httpx2.Response:
        async with client(session) as http:
            headers = {"Authorization": f"Bearer {TOKEN}"} if _ is None else _
            return await http.post(f"/api/{operation}", json=body, headers=headers)

    return post


async def test_whoever_asks_needs_the_token_and_the_page_itself_holds_nothing(memory) -> None:
    async with client(ExplorerSession(memory)) as http:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            for operation in OPERATIONS:
                answer = await http.post(f"/api/{operation}", json={}, headers=headers)
                assert answer.status_code == 401
        for path in ("/", "/explorer.js", "/explorer.css"):
            page = await http.get(path)
            assert page.status_code == 200
            assert "Ada" not in page.text
            policy = page.headers["Content-Security-Policy"]
            assert "default-src 'none'; script-src 'self'" in policy
            assert "unsafe" not in policy
        assert (await http.get("/api/overview")).status_code == 405
        assert (await http.get("/explorer.html")).status_code == 404


async def test_a_page_from_elsewhere_and_a_name_that_is_not_ours_are_refused(memory) -> None:
    right = {"Authorization": f"Bearer {TOKEN}"}
    async with client(ExplorerSession(memory)) as http:
        for origin, status in [
            ("https://evil.example", 403),
            ("null", 403),
            ("http://127.0.0.1.evil.example", 403),
            ("http://127.0.0.1:8765", 200),
            ("http://localhost:1", 200),
        ]:
            headers = {**right, "Origin": origin}
            answer = await http.post("/api/overview", json={}, headers=headers)
            assert answer.status_code == status, origin
        for host, status in [
            ("evil.example", 421),
            ("127.0.0.1.evil.example:8765", 421),
            ("localhost:8765", 200),
            ("[::1]:8765", 200),
            ("127.0.0.1", 200),
        ]:
            answer = await http.post("/api/overview", json={}, headers={**right, "Host": host})
            assert answer.status_code == status, host
        assert (await http.get("/", headers={"Host": "evil.example"})).status_code == 421


async def test_a_request_is_bounded_and_what_is_wrong_with_it_is_said(memory, call) -> None:
    right = {"Authorization": f"Bearer {TOKEN}"}
    async with client(ExplorerSession(memory)) as http:
        large = await http.post("/api/add", content=b" " * (MAX_BODY + 1), headers=right)
        assert large.status_code == 413
        for wrong in (b"", b"{", b"[" * 100_000, b"\xff"):
            answer = await http.post("/api/overview", content=wrong, headers=right)
            assert answer.status_code == 400
            assert "JSON" in answer.json()["error"]
    assert (await call("nothing")).status_code == 404
    for operation, body, complaint in [
        ("overview", {"x": 1}, "x: Extra inputs"),
        ("recall", {"question": "?", "k": 0}, "k: Input should be greater"),
        ("recall", {"question": "?", "effort": "huge"}, "no effort 'huge'"),
        ("recall", {"question": "?", "policy": "other"}, "no policy 'other'"),
        ("recall", {"question": " "}, "question"),
        ("update", {"id": "ada", "namespace": ANN, "text": ""}, "text"),
    ]:
        answer = await call(operation, **body)
        assert answer.status_code == 400
        assert complaint in answer.json()["error"]
    missing = await call("passage", id="nobody")
    assert (missing.status_code, "nobody" in missing.json()["error"]) == (404, True)


async def test_a_recall_brings_its_trails_with_texts_and_the_graph_they_walk(memory, call) -> None:
    answer = await call("recall", question="Where was Ada Lind born?", namespace=ANN, k=2)
    data = answer.json()
    assert [hit["id"] for hit in data["hits"]] == [
        p.id for p in memory.recall("Where was Ada Lind born?", 2, ANN).passages
    ]
    assert all("trails" in hit["how"] for hit in data["hits"])
    nodes = {node["id"] for node in data["graph"]["nodes"]}
    for trail in data["trails"]:
        assert trail["reason"]
        for hop in trail["hops"]:
            assert hop["how"]
            assert hop["text"] == memory.get(hop["id"], hop["namespace"]).text
            assert hop["id"] in nodes
    kinds = {edge["kind"] for edge in data["graph"]["edges"]}
    assert "mentions" in kinds
    assert all(0 <= node["x"] <= 1 and 0 <= node["y"] <= 1 for node in data["graph"]["nodes"])


async def test_looking_is_not_counted_as_use(memory, call) -> None:
    await call("recall", question="Where was Ada Lind born?")
    await call("browse", words="Ada Lind")
    memory.store.recorder.flush()
    assert (await call("passage", id="ada", namespace=ANN)).json()["recalls"] == 0


async def test_two_policies_over_one_memory_are_compared(memory, small_policy) -> None:
    with Memory(
        memory.store.path, encoder=HashEncoder(), policy=small_policy, read_only=True
    ) as other:
        session = ExplorerSession(memory, policies={"mine": other})
        async with client(session) as http:
            right = {"Authorization": f"Bearer {TOKEN}"}
            overview = (await http.post("/api/overview", json={}, headers=right)).json()
            assert overview["policies"] == ["", "mine"]
            body = {"question": "Where was Ada Lind born?", "policy": "mine"}
            answer = await http.post("/api/recall", json=body, headers=right)
            assert answer.json()["hits"]


async def test_a_list_goes_on_behind_its_last_passage_and_words_find_others(memory, call) -> None:
    memory.add(
        [{"id": f"n{n:02}", "text": f"Note {n}."} for n in range(7)], namespace="team ann".split()
    )
    ids, after = [], None
    while True:
        page = (await call("browse", namespace=ANN, limit=4, after=after)).json()
        ids += [one["id"] for one in page["passages"]]
        after = page["after"]
        if after is None:
            break
    assert ids == [p.id for p in memory.store.passages(tuple(ANN))]
    assert len(ids) == 11
    words = (await call("browse", words="Ister Beck", namespace=ANN)).json()
    assert {one["id"] for one in words["passages"]} == {"varn", "ister"}


async def test_every_change_can_be_taken_back_the_latest_first(memory, call) -> None:
    before = {p.id: p for p in memory.store.passages(tuple(ANN))}
    ada = {"id": "ada", "namespace": ANN}
    new = (await call("add", text="Ada wound the clock.", title="Clock", namespace=ANN)).json()
    changed = await call("update", **ada, text="Ada was born in Tolle.", title=None)
    assert changed.json()["text"] == "Ada was born in Tolle."
    assert memory.get("ada", ANN).title is None
    assert memory.get("ada", ANN).metadata == {"page": 3}
    await call("link", **ada, target="varn", kind="lives_in")
    assert memory.get("ada", ANN).links == (Link("varn", "lives_in"),)
    await call("unlink", **ada, target="varn", kind="lives_in")
    assert memory.get("ada", ANN).links == ()
    forgot = await call("forget", **ada)
    assert forgot.json() == {"undo": "forgot ada"}
    assert not memory.store.has("ada", tuple(ANN))
    sentences = [(await call("undo")).json()["undone"] for _ in range(5)]
    assert sentences == [
        "forgot ada",
        "unlinked ada from varn",
        "linked ada to varn",
        "changed ada",
        f"added {new['id']}",
    ]
    after = {p.id: p for p in memory.store.passages(tuple(ANN))}
    assert {id: (p.title, p.text, p.metadata, p.links) for id, p in after.items()} == {
        id: (p.title, p.text, p.metadata, p.links) for id, p in before.items()
    }
    assert "nothing to take back" in (await call("undo")).json()["error"]


async def test_what_was_said_of_a_passage_comes_back_with_it(memory, call) -> None:
    memory.keep_log(5)
    memory.recall("Where was Ada Lind born?", 2, ANN).feedback(1.0)
    ada = {"id": "ada", "namespace": ANN}
    log, count = memory.recall_log(), len(memory.feedback_given())
    assert "ada" in [hit.id for hit in log[0].hits]
    for change in (("forget", ada), ("update", {**ada, "text": "Ada was born in Tolle."})):
        await call(change[0], **change[1])
        assert "ada" not in [hit.id for entry in memory.recall_log() for hit in entry.hits]
        await call("undo")
        assert memory.recall_log() == log
        assert len(memory.feedback_given()) == count == 1
    assert memory.verify() == []


async def test_a_link_to_nowhere_is_refused_and_a_failed_undo_can_be_tried_again(
    memory, call
) -> None:
    nowhere = await call("link", id="ada", namespace=ANN, target="nobody")
    assert nowhere.status_code == 404
    await call("forget", id="varn", namespace=ANN)
    memory.add({"id": "varn", "text": "Another Varn."}, namespace=ANN)
    refused = await call("undo")
    assert refused.status_code == 400
    memory.delete("varn", ANN)
    assert (await call("undo")).json()["undone"] == "forgot varn"


async def test_what_another_wrote_since_is_not_taken_back(memory, call) -> None:
    [id] = memory.add("An otter.")
    await call("update", id=id, text="Two otters.")
    await call("update", id=id, text="Three otters.")
    memory.update(id, text="Three otters and a heron.")
    refused = await call("undo")
    assert refused.status_code == 400
    assert "changed by somebody else" in refused.json()["error"]
    assert memory.get(id).text == "Three otters and a heron."
    memory.update(id, text="Two otters.")  # as the change before it had left it
    assert (await call("undo")).json()["undone"] == f"changed {id}"
    assert memory.get(id).text == "An otter."


async def test_a_scope_is_all_that_is_seen_and_read_only_changes_nothing(memory) -> None:
    right = {"Authorization": f"Bearer {TOKEN}"}
    count = memory.count()
    session = ExplorerSession(memory, namespace=ANN, read_only=True)
    async with client(session) as http:
        overview = (await http.post("/api/overview", json={}, headers=right)).json()
        assert overview["read_only"]
        assert overview["passages"] == 4
        assert [["team", "bob"]] not in overview["namespaces"]
        outside = {"id": "pike", "namespace": ["team", "bob"]}
        answer = await http.post("/api/passage", json=outside, headers=right)
        assert "lies outside" in answer.json()["error"]
        words = await http.post("/api/browse", json={"words": "pike"}, headers=right)
        assert words.json()["passages"] == []
        ada = {"id": "ada", "namespace": ANN}
        for operation, body in [
            ("add", {"text": "x", "namespace": ANN}),
            ("update", {**ada, "text": "x"}),
            ("link", {**ada, "target": "varn"}),
            ("unlink", {**ada, "target": "varn"}),
            ("forget", ada),
            ("undo", {}),
        ]:
            answer = await http.post(f"/api/{operation}", json=body, headers=right)
            assert "read-only" in answer.json()["error"]
    assert memory.count() == count


def test_an_explorer_that_others_reach_must_know_its_names_and_no_token_is_short(memory) -> None:
    with pytest.raises(ConfigError, match="allowed hosts"):
        explore(memory, host="0.0.0.0")
    with pytest.raises(ConfigError, match="at least 20"):
        explore(memory, token="secret")
    with pytest.raises(InputError, match="must be a Memory"):
        explore("agent.db")
    with pytest.raises(InputError, match="port"):
        explore(memory, port=-1)
