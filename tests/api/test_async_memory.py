"""The asynchronous front door: the same calls, and an event loop that is never blocked."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from pathlib import Path

import pytest
import torch

from hoptrail import AsyncMemory, Memory, Passage, StoreError, UnknownId
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy


class HeldEncoder(HashEncoder):
    """Encodes a batch of several texts only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.waiting = threading.Event()

    def encode(self, texts):
        if len(texts) > 1:
            self.waiting.set()
            assert self.let.wait(30)
        return super().encode(texts)


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    return Policy([PolicyNetwork(NetworkConfig())])


async def test_a_memory_is_used_from_a_loop(tmp_path: Path, policy, twelve) -> None:
    async with AsyncMemory(tmp_path / "a.db", encoder=HashEncoder(), policy=policy) as memory:
        assert repr(memory).startswith("<AsyncMemory ")
        assert len(await memory.add(twelve)) == 12
        assert (await memory.upsert(twelve)).unchanged
        await memory.link("p-varn", "p-tolle")
        assert (await memory.unlink("p-varn", "p-tolle")).id == "p-varn"
        asked = ["Where was Ada Lind born?", "What flows into Lake Sorrel?"]
        several = await asyncio.gather(*(memory.recall(text, k=3) for text in asked))
        assert [len(found.hits) for found in several] == [3, 3]
        [_, together] = await memory.recall_many(asked, k=3)
        alone = several[1]
        assert [hit.passage.id for hit in together.hits] == [hit.passage.id for hit in alone.hits]
        assert (await memory.get("p-varn")).title == "Varn"
        assert await memory.count(filter={"$title": "Varn"}) == 1
        assert (await memory.history("p-varn")).counts.updates == 0
        assert await memory.verify() == []
        assert await memory.delete("p-varn") == 1
        with pytest.raises(UnknownId):
            await memory.get("p-varn")
    with pytest.raises(StoreError, match="closed"):
        await memory.count()


async def test_the_loop_runs_and_others_read_while_texts_are_encoded(tmp_path: Path) -> None:
    encoder = HeldEncoder()
    async with AsyncMemory(tmp_path / "a.db", encoder=encoder, policy=None) as memory:
        await memory.add("a stone bridge")
        writing = asyncio.create_task(memory.add(["a river", "a lake"]))
        assert await asyncio.to_thread(encoder.waiting.wait, 30)
        # The write is under way; everything below is answered before it ends.
        found = await asyncio.gather(*(memory.search("stone bridge", 5) for _ in range(8)))
        assert [len(hits) for hits in found] == [1] * 8
        assert await memory.count() == 1
        ticks = 0
        for _ in range(20):
            await asyncio.sleep(0)
            ticks += 1
        assert ticks == 20
        assert not writing.done()
        encoder.let.set()
        assert len(await writing) == 2
        assert await memory.count() == 3


async def test_the_loop_does_not_wait_for_another_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with AsyncMemory(path, encoder=HashEncoder(), policy=None) as memory:
        await memory.add("a stone bridge")
        with Memory(path, encoder=HashEncoder()) as other, other.store.transaction():
            late = asyncio.create_task(memory.delete("none"))
            started = time.monotonic()
            await asyncio.sleep(0.05)
            assert time.monotonic() - started < 10  # the other is waited for thirty seconds
            assert not late.done()
        with pytest.raises(UnknownId):
            await late


async def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    async with AsyncMemory(tmp_path / "a.db", encoder=HashEncoder(), policy=None) as memory:
        await asyncio.gather(*(memory.add(Passage(f"p{i}", f"river {i}")) for i in range(20)))
        assert await memory.count() == 20


async def test_a_file_is_opened_when_it_is_first_needed(tmp_path: Path) -> None:
    memory = AsyncMemory(tmp_path / "no" / "a.db")
    assert "not opened yet" in repr(memory)
    with pytest.raises(StoreError, match="there is no folder"):
        await memory.count()
    await memory.close()
    await memory.close()
    assert "closed" in repr(memory)
    with pytest.raises(StoreError, match="is closed"):
        await memory.count()


async def test_an_open_memory_may_be_used_beside_it(tmp_path: Path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=None) as memory:
        await AsyncMemory(memory).add("a stone bridge")
        assert memory.count() == 1


CALLS = sorted(
    name
    for name, member in inspect.getmembers(Memory, inspect.isfunction)
    if not name.startswith("_")
)


def test_what_is_no_call_of_a_memory_is_reached_in_a_thread_of_the_caller_s_own() -> None:
    apart = {name for name in dir(Memory) if not name.startswith("_")} - set(CALLS)
    assert apart == {"store", "graph", "has_reader", "policy"}
    own = {name for name in dir(AsyncMemory) if not name.startswith("_")}
    assert own - set(CALLS) == {"opened"}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_of_a_memory_can_be_awaited_with_the_same_arguments(name: str) -> None:
    call = getattr(AsyncMemory, name)
    assert inspect.iscoroutinefunction(call)
    assert inspect.signature(call) == inspect.signature(getattr(Memory, name))
    assert inspect.getdoc(call)


async def test_a_call_takes_and_gives_what_the_memory_s_own_does(tmp_path: Path, twelve) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=None) as memory:
        twin = AsyncMemory(memory)
        assert await twin.add(twelve, namespace=("ann",)) == [passage.id for passage in twelve]
        assert await twin.get("p-varn", ("ann",)) == memory.get("p-varn", ("ann",))
        assert await twin.search("Varn", 3, mode="sparse") == memory.search(
            "Varn", 3, mode="sparse"
        )
        with pytest.raises(UnknownId) as plain:
            memory.get("nobody")
        with pytest.raises(UnknownId) as awaited:
            await twin.get("nobody")
        assert str(awaited.value) == str(plain.value)
        with pytest.raises(TypeError):
            await twin.count(nothing=1)  # type: ignore[call-arg]
