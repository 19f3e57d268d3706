"""What callers of the service are answered, without a network: operations, tokens, limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator

from hoptrail import Answer, ConfigError, Evidence, InputError, Memory
from hoptrail.integrations.http_server.http_serving import serve_http
from hoptrail.integrations.http_server.server_limits import ServerLimits
from hoptrail.integrations.http_server.service_app import service_app
from hoptrail.integrations.operations.bound_memory import BoundMemory
from hoptrail.integrations.operations.operation import PROGRAM_OPERATIONS
from hoptrail.integrations.operations.recall_bounds import RecallBounds
from hoptrail.integrations.web.bounded_connections import ConnectionLimits
from hoptrail.integrations.web.tokens import Access, TokenTable
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"
TEAM, ANN, BOB, GUEST = (name + "-" + "a" * 20 for name in ("team", "ann", "bob", "guest"))
TOKENS = {
    TEAM: Access(("team",), metrics=True),
    ANN: Access(("team", "ann")),
    BOB: Access(("team", "bob")),
    GUEST: Access(("team",), read_only=True),
}


class Client:
    """Calls a service."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def __call__(self, operation: str, token: str | None = None, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.http.post(f"/v1/{operation}", json=body, headers=headers)

    async def metric(self, name: str) -> float:
        lines = (await self.http.get("/metrics")).text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


@asynccontextmanager
async def client(
    memory: Memory,
    tokens: dict[str, Access] | None = None,
    bound: BoundMemory | None = None,
    **limits: Any,
) -> AsyncIterator[Client]:
    app = service_app(
        bound or BoundMemory(memory, operations=PROGRAM_OPERATIONS),
        host="127.0.0.1",
        tokens=TokenTable(tokens) if tokens else None,
        limits=ServerLimits(**{"calls_per_minute": 100_000, **limits}),
    )
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http,
    ):
        yield Client(http)


class GatedEncoder(HashEncoder):
    """Encodes once it may, what says "gate"."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def encode(self, texts, **options):
        if any("gate" in text for text in texts):
            assert self.gate.wait(60)
        return super().encode(texts, **options)


@pytest.fixture
def gated(tmp_path, small_policy) -> Iterator[tuple[Memory, threading.Event]]:
    encoder = GatedEncoder()
    with Memory(tmp_path / "gated.db", encoder=encoder, policy=small_policy) as memory:
        memory.add([f"Place {n} lies on river {n % 5}." for n in range(30)])
        yield memory, encoder.gate
        encoder.gate.set()


def content(recall: dict[str, Any]) -> dict[str, Any]:
    """A recall without what no two have in common."""
    return {name: value for name, value in recall.items() if name not in ("id", "cost")}


def numbers(value: Any) -> list[float]:
    """The numbers in a JSON value, in their order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [value] if isinstance(value, float) else []


def without_numbers(value: Any) -> Any:
    """A JSON value with all that is no float."""
    if isinstance(value, dict):
        return {name: without_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_numbers(inner) for inner in value]
    return None if isinstance(value, float) else value


async def test_each_operation_does_what_its_document_says(tmp_path, small_policy) -> None:
    def reader(question, passages):
        first = passages[0]
        span = Evidence(first.id, first.namespace, start=0, end=3)
        return Answer(question, first.text[:3], probability=0.9, evidence=(span,))

    path = tmp_path / "agent.db"
    with Memory(path, encoder=HashEncoder(), policy=small_policy, reader=reader) as memory:
        async with client(memory) as call:
            document = (await call.http.get("/openapi.json")).json()
            results = {}
            for operation, body in [
                ("remember", {"text": "Ada Lind was born in Varn.", "id": "ada"}),
                ("remember", {"text": "Varn stands on the Ister Beck.", "id": "varn"}),
                ("remember", {"text": "Varn stands on the Ister Beck."}),
                ("link", {"source": "ada", "target": "varn", "kind": "born_in"}),
                ("recall", {"question": QUESTION, "k": 2}),
                ("ask", {"question": QUESTION}),
                ("search", {"query": "Ister Beck", "mode": "sparse"}),
                ("update", {"id": "ada", "metadata": {"page": 3}}),
                ("supersede", {"id": "varn", "text": "Varn stands on the Long Beck."}),
                ("forget", {"ids": ["ada"]}),
            ]:
                reply = await call(operation, **body)
                assert reply.status_code == 200, reply.text
                results[operation] = reply.json()
                described = document["paths"][f"/v1/{operation}"]["post"]
                arguments = described["requestBody"]["content"]["application/json"]["schema"]
                result = described["responses"]["200"]["content"]["application/json"]["schema"]
                check(document, arguments, body)
                check(document, result, reply.json())
            recall = results["recall"]
            assert {hit["id"] for hit in recall["passages"]} == {"ada", "varn"}
            assert results["remember"] == {"id": "varn", "written": False}
            assert results["search"]["passages"][0]["id"] == "varn"
            late = (await call("recall", question=QUESTION)).json()
            judged = await call("feedback", recall=late["id"], reward=1.0)
            assert judged.json() == {"recall": late["id"], "reward": 1.0}
            now = (await call("search", query="Varn", mode="sparse")).json()["passages"]
            ever = await call("search", query="Varn", mode="sparse", as_of="ever")
            assert [hit["id"] for hit in now] == [results["supersede"]["id"]]
            assert {"varn", *(hit["id"] for hit in now)} == {
                hit["id"] for hit in ever.json()["passages"]
            }
        assert set(document["paths"]) >= {f"/v1/{one.name}" for one in PROGRAM_OPERATIONS}
        assert [one.reward for one in memory.feedback_given()] == [1.0]
        assert memory.count() == 1


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """A value fits a schema of a document."""
    whole = {**schema, "components": document["components"]}
    Draft202012Validator.check_schema(whole)
    Draft202012Validator(whole).validate(value)


async def test_a_token_opens_its_namespace_and_no_other(memory) -> None:
    async with client(memory, TOKENS) as call:
        for token in (None, "x" * 30, ANN + "x"):
            reply = await call("search", token, query="Ann")
            assert reply.status_code == 401
            assert reply.headers["WWW-Authenticate"] == "Bearer"
            assert (await call.http.get("/metrics")).status_code == 401
        seen = (await call("search", ANN, query="pike diary Varn", k=50)).json()["passages"]
        assert {hit["id"] for hit in seen} == {"ada", "varn", "ister", "deep"}
        below = await call("search", TEAM, query="pike", k=9, namespace=["team", "bob"])
        assert [hit["id"] for hit in below.json()["passages"]] == ["pike"]
        for token, namespace in ((ANN, ["team", "bob"]), (ANN, ["team"]), (ANN, []), (GUEST, [])):
            for operation, body in (
                ("search", {"query": "pike"}),
                ("recall", {"question": "What does Bob know?"}),
                ("remember", {"text": "Ann was here."}),
            ):
                reply = await call(operation, token, namespace=namespace, **body)
                assert reply.status_code == 403, (operation, namespace)
        assert (await call("remember", GUEST, text="A guest was here.")).status_code == 403
        assert (await call("forget", ANN, ids=["pike"])).status_code == 404
        # What one has recalled is nothing to another, whatever id he says.
        recall = (await call("recall", ANN, question=QUESTION)).json()
        assert (await call("feedback", BOB, recall=recall["id"], reward=0)).status_code == 404
        assert (await call("feedback", ANN, recall=recall["id"], reward=1)).status_code == 200
        right = {"Authorization": f"Bearer {ANN}"}
        assert (await call.http.get("/metrics", headers=right)).status_code == 403
        metrics = await call.http.get("/metrics", headers={"Authorization": f"Bearer {TEAM}"})
        assert 'hoptrail_calls_total{operation="recall",status="200"} 1.0' in metrics.text
        assert not any(secret in metrics.text for secret in ("ann", "pike", QUESTION))
    assert memory.count() == 5


async def test_what_is_wrong_with_a_request_is_a_status_and_a_sentence(memory, tmp_path) -> None:
    async with client(memory, body_bytes=2_000, body_seconds=1, reply_bytes=3_000) as call:

        async def slow() -> AsyncIterator[bytes]:
            yield b'{"text": '
            await asyncio.sleep(60)
            yield b'"late"}'

        for content, status, complaint in [
            (b"", 400, "no JSON"),
            (b"{", 400, "no JSON"),
            (b"[" * 1_000, 400, "JSON"),
            (b"\xff", 400, "no JSON"),
            (b'"text"', 400, "one JSON object"),
            (b'{"text": NaN}', 400, "NaN is no JSON"),
            (b" " * 2_001, 413, "2,000 bytes"),
            (b'{"text": "\\ud800"}', 422, "text"),
            (slow(), 408, "1 seconds"),
        ]:
            reply = await call.http.post("/v1/remember", content=content)
            assert (reply.status_code, set(reply.json())) == (status, {"error"}), complaint
            assert complaint in reply.json()["error"]
        for operation, body, status, complaint in [
            ("recall", {"question": "?", "k": 0}, 422, "k: Input should be greater"),
            ("recall", {"question": " "}, 422, "question"),
            ("recall", {"question": "?", "filter": {}}, 422, "filter: Extra inputs"),
            ("recall", {"question": "?", "as_of": "soon"}, 422, "soon"),
            ("search", {"query": "?", "namespace": "team"}, 422, "a list such as"),
            ("search", {"query": "?", "namespace": [""]}, 422, "namespace"),
            ("search", {"query": "Ann", "k": 50}, 200, ""),
            ("update", {"id": "ada", "text": "?"}, 404, "ada"),
            ("supersede", {"id": "nobody", "text": "?"}, 404, "nobody"),
            ("feedback", {"recall": "0", "reward": 1}, 404, "no recall"),
            ("ask", {"question": "?"}, 404, "no reader"),
            ("drop", {}, 404, "use one of recall, search"),
        ]:
            reply = await call(operation, **body)
            assert reply.status_code == status, (operation, body, reply.text)
            assert complaint in reply.json().get("error", "")
        assert (await call("remember", text="A heron.", id="heron")).status_code == 200
        assert (await call("remember", text="Another.", id="heron")).status_code == 409
        for n in range(4):
            await call("remember", text=f"Swan {n} " + "x" * 900)
        assert (await call("search", query="swan", k=9)).status_code == 422
        nowhere = await call.http.get("/nowhere")
        assert (nowhere.status_code, set(nowhere.json())) == (404, {"error"})
        reading = await call.http.get("/v1/recall")
        assert (reading.status_code, set(reading.json())) == (405, {"error"})
        for headers, status in (({"Origin": "https://evil.example"}, 403), ({"Host": "evil"}, 421)):
            reply = await call.http.post("/v1/search", json={"query": "Ann"}, headers=headers)
            assert (reply.status_code, set(reply.json())) == (status, {"error"})
        assert (await call.http.get("/health/live")).json() == {"status": "live"}
        memory.store.path.rename(tmp_path / "elsewhere.db")
        for reply in (await call.http.get("/health/ready"), await call("remember", text="Lost.")):
            assert reply.status_code == 503
            assert str(tmp_path) not in reply.text
        (tmp_path / "elsewhere.db").rename(memory.store.path)
        assert (await call.http.get("/health/ready")).json() == {"status": "ready"}


async def test_what_is_served_for_reading_only_is_not_written(memory) -> None:
    app = service_app(
        BoundMemory(memory, read_only=True, operations=PROGRAM_OPERATIONS), host="127.0.0.1"
    )
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        assert (await http.post("/v1/remember", json={"text": "x"})).status_code == 403
        assert (await http.post("/v1/search", json={"query": "x"})).status_code == 200
        paths = (await http.get("/openapi.json")).json()["paths"]
        assert {path for path in paths if path.startswith("/v1")} == {"/v1/recall", "/v1/search"}


async def test_each_caller_has_a_rate(memory) -> None:
    async with client(memory, TOKENS, calls_per_minute=3) as call:
        statuses = [(await call("search", ANN, query="Ann")).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refusal = await call("search", ANN, query="Ann")
        assert 1 <= int(refusal.headers["Retry-After"]) <= 20
        assert (await call("search", BOB, query="Ann")).status_code == 200


async def test_a_call_too_many_is_told_to_come_again(gated) -> None:
    memory, gate = gated
    async with client(memory, calls_at_once=2) as call:
        calls = [asyncio.create_task(call("remember", text=f"The gate {n}.")) for n in range(2)]
        while await call.metric("hoptrail_calls_in_progress") < 2:
            await asyncio.sleep(0.01)
        refusal = await call("search", query="river", mode="sparse")
        assert (refusal.status_code, refusal.headers["Retry-After"]) == (503, "1")
        gate.set()
        assert [(await one).status_code for one in calls] == [200, 200]
        assert (await call("search", query="river", mode="sparse")).status_code == 200


async def test_a_call_that_takes_too_long_is_told_so_and_closing_waits_for_it(gated) -> None:
    memory, gate = gated
    async with client(memory, call_seconds=0.3) as call:
        reply = await call("remember", text="The gate is shut.")
        assert reply.status_code == 504
        assert "may still be carried out" in reply.json()["error"]
        gate.set()
    assert memory.count() == 31


async def test_recalls_that_arrive_together_are_walked_together_and_none_is_mixed_up(gated) -> None:
    memory, gate = gated
    questions = [f"On which river lies place {n}?" for n in range(12)]
    bodies = [{"question": one, "k": 2 + n % 2} for n, one in enumerate(questions)]
    async with client(memory, recalls_together=1) as call:
        alone = [content((await call("recall", **body)).json()) for body in bodies]
        assert await call.metric("hoptrail_recall_batch_size_count") == 12
    async with client(memory) as call:
        first = asyncio.create_task(call("recall", question="What is behind the gate?"))
        while await call.metric("hoptrail_recall_batch_size_count") < 1:
            await asyncio.sleep(0.01)
        wrong = [{"question": " "}, {"question": "Which?", "as_of": "soon"}]
        calls = [asyncio.create_task(call("recall", **body)) for body in [*bodies, *wrong]]
        while await call.metric("hoptrail_calls_in_progress") < 15:
            await asyncio.sleep(0.01)
        gate.set()
        replies = [await one for one in calls]
        assert (await first).status_code == 200
        assert [reply.status_code for reply in replies] == [200] * 12 + [422] * 2
        together = [content(reply.json()) for reply in replies[:12]]
        # The gate's, those of two k, the blank one among the usual k, and that of no time.
        assert await call.metric("hoptrail_recall_batch_size_count") == 5
        assert await call.metric("hoptrail_recall_batch_size_sum") == 15
    assert without_numbers(together) == without_numbers(alone)
    # A batch adds floats up in another order.
    assert numbers(together) == pytest.approx(numbers(alone), rel=1e-3, abs=1e-6)
    assert len({reply.json()["id"] for reply in replies[:12]}) == 12


async def test_who_gives_up_waiting_is_left_out_of_the_next_batch(gated) -> None:
    memory, gate = gated
    async with client(memory, call_seconds=0.4) as call:
        calls = [asyncio.create_task(call("recall", question="What is behind the gate?"))]
        while await call.metric("hoptrail_recall_batch_size_count") < 1:
            await asyncio.sleep(0.01)
        calls += [asyncio.create_task(call("recall", question=f"river {n}?")) for n in (1, 2)]
        assert [(await one).status_code for one in calls] == [504] * 3
        gate.set()
        walks = 1
        while (await call("recall", question="river 3?")).status_code != 200:
            walks += 1  # a busy machine may be too slow for it
        assert await call.metric("hoptrail_recall_batch_size_sum") <= walks + 1


def test_a_service_that_others_reach_needs_tokens_and_its_names(memory) -> None:
    with pytest.raises(ConfigError, match="give it tokens"):
        serve_http(memory, host="0.0.0.0")
    with pytest.raises(ConfigError, match="allowed hosts"):
        serve_http(memory, host="0.0.0.0", tokens=TOKENS)
    with pytest.raises(InputError, match="calls_at_once"):
        ServerLimits(calls_at_once=0)
    with pytest.raises(InputError, match="head_seconds"):
        ConnectionLimits(head_seconds=0)
    with pytest.raises(InputError, match="must be a Memory"):
        serve_http("agent.db")


async def test_a_call_may_say_how_much_comes_back(tmp_path) -> None:
    with Memory(tmp_path / "ships.db", encoder=HashEncoder(384)) as memory:
        memory.add([f"Captain {n} sails ship number {n} to port {n + 1}." for n in range(60)])
        question = "Who sails ship number 3 to port 4?"
        app = BoundMemory(memory, bounds=RecallBounds(patience=3), operations=PROGRAM_OPERATIONS)
        async with client(memory, bound=app) as call:
            for body, options in (
                ({}, {"patience": 3}),
                ({"until": "complete"}, {"until": "complete"}),
                ({"patience": 500.5, "min_score": 0.001}, {"patience": 500.5, "min_score": 0.001}),
                ({"patience": 500, "k": 7}, {"patience": 500, "k": 7}),
            ):
                expected = [hit.passage.id for hit in memory.recall(question, **options).hits]
                reply = await call("recall", question=question, **body)
                assert [one["id"] for one in reply.json()["passages"]] == expected, body
            for body, complaint in (
                ({"patience": 0}, "patience: Input should be greater than 0"),
                ({"until": "complete", "patience": 1}, "give one of them"),
                ({"tokens": 10}, "tokens needs an encoder that counts tokens"),
            ):
                reply = await call("recall", question=question, **body)
                assert (reply.status_code, complaint in reply.json()["error"]) == (422, True)


async def test_a_bound_that_the_policy_cannot_keep_is_the_callers_to_leave_out(memory) -> None:
    async with client(memory) as call:
        reply = await call("recall", question="Where was Ada Lind born?", until="complete")
        assert reply.status_code == 422
        assert "say k or tokens instead" in reply.json()["error"]
        document = (await call.http.get("/openapi.json")).json()
    content_of_body = document["paths"]["/v1/recall"]["post"]["requestBody"]["content"]
    properties = content_of_body["application/json"]["schema"]["properties"]
    assert "complete" in str(properties["until"])
    assert properties["patience"]["exclusiveMinimum"] == 0
