"""A memory changes its encoder: what it recalls then, and what others may do meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
import torch

from hoptrail import AsyncMemory, Memory, Passage
from hoptrail.api.encoder_slot import EncoderSlot
from hoptrail.errors import EncoderMismatch, InputError, StoreError
from hoptrail.learning.distillation import DistillConfig, distill
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.late_interaction import MaxSim
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy

QUESTIONS = ["Into which lake flows the river of Varn?", "Who painted trout?", "a bell foundry"]


class Held(HashEncoder):
    """Encodes passages only when it is let."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.let, self.waiting = threading.Event(), threading.Event()

    def encode(self, texts):
        self.waiting.set()
        assert self.let.wait(30)
        return super().encode(texts)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    return Policy([PolicyNetwork(NetworkConfig())])


@pytest.fixture
def memory(tmp_path, policy, twelve):
    with Memory(tmp_path / "agent.db", encoder=HashEncoder(), policy=policy) as opened:
        opened.add(twelve)
        yield opened


def told(memory: Memory) -> list:
    """What it recalls and finds; ids, scores and trails."""
    out: list = []
    for question in QUESTIONS:
        for effort in ("fast", "balanced", "thorough"):
            found = memory.recall(question, 5, effort=effort)
            out.append([(hit.passage.id, round(hit.score, 4)) for hit in found.hits])
            out.append([[(hop.id, hop.link) for hop in trail.hops] for trail in found.trails])
        found = memory.search(question, 5)
        out.append([(hit.passage.id, round(hit.score, 4)) for hit in found])
    return out


def fresh(folder: Path, passages, encoder, policy) -> list:
    with Memory(folder / "fresh.db", encoder=encoder, policy=policy) as built:
        built.add(passages)
        return told(built)


def test_it_recalls_what_a_memory_built_with_the_new_encoder_does(
    memory, twelve, tmp_path, policy
) -> None:
    before = told(memory)
    reports = []
    change = memory.change_encoder(HashEncoder(48), progress=lambda *r: reports.append(r))
    assert change.finished
    assert reports == [(0, 12), (12, 12)]
    after = told(memory)
    assert after == fresh(tmp_path, twelve, HashEncoder(48), policy)
    assert after != before
    memory.add("The Ouse is a river.")
    assert memory.verify() == []
    assert memory.change_encoder(HashEncoder(48)).encoded == 0


def tiny_model(folder: Path, passages) -> Path:
    """A BERT of 16 dims and one layer, with random weights and the passages' words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    words = {w.strip(".").lower() for p in passages for w in p.content.split()}
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    folder.mkdir()
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def fine_tune(folder: Path, to: Path, texts: list[str], questions: list[str]) -> Path:
    """Some steps of contrastive training: the i-th question wants the i-th text."""
    from transformers import AutoModel, AutoTokenizer

    from hoptrail.learning.losses import info_nce_loss

    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def encode(batch: list[str]) -> torch.Tensor:
        inputs = tokenizer(batch, padding=True, return_tensors="pt")
        mask = inputs["attention_mask"].unsqueeze(-1)
        return (model(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1)

    for _ in range(10):
        optimizer.zero_grad()
        info_nce_loss(encode(questions), encode(texts)).backward()
        optimizer.step()
    model.save_pretrained(to)
    tokenizer.save_pretrained(to)
    return to


def test_an_encoder_that_was_fine_tuned_takes_the_place_of_itself(tmp_path, twelve, policy) -> None:
    folder = tiny_model(tmp_path / "model", twelve)
    encoder = TransformerEncoder(folder, device="cpu")
    texts = [passage.content for passage in twelve]
    with Memory(tmp_path / "agent.db", encoder=encoder, policy=policy) as memory:
        memory.add(twelve)
        before = told(memory)
        tuned = TransformerEncoder(
            fine_tune(folder, tmp_path / "tuned", texts, QUESTIONS), device="cpu"
        )
        assert (tuned.dim, tuned.fingerprint == encoder.fingerprint) == (encoder.dim, False)
        assert memory.change_encoder(tuned).encoded == 12
        after = told(memory)
        assert after != before
        assert after == fresh(tmp_path, twelve, tuned, policy)
        pipeline = Pipeline([Search(keep=10), MaxSim(tuned, keep=5)])
        found = memory.search(QUESTIONS[0], 5, pipeline=pipeline)
        assert memory.change_encoder(encoder).encoded == 12
        assert told(memory) == before
        old = Pipeline([Search(keep=10), MaxSim(encoder, keep=5)])
        assert memory.search(QUESTIONS[0], 5, pipeline=old) != found
    with Memory(tmp_path / "fresh.db", encoder=tuned, policy=policy) as memory:
        again = memory.search(QUESTIONS[0], 5, pipeline=pipeline)
        assert [hit.passage.id for hit in again] == [hit.passage.id for hit in found]


def test_an_encoder_that_was_distilled_takes_the_place_of_its_teacher(
    memory, twelve, tmp_path, policy
) -> None:
    config = DistillConfig(dim=12, steps=10, seeds=2)
    static = distill([p.content for p in twelve], HashEncoder(), config=config)
    assert memory.change_encoder(static).encoded == 12
    assert told(memory) == fresh(tmp_path, twelve, static, policy)


def test_in_the_background_it_keeps_answering_and_takes_what_is_written(
    memory, twelve, tmp_path, policy
) -> None:
    before = told(memory)
    new = Held(48)
    change = memory.change_encoder(new, background=True, batch=5)
    assert new.waiting.wait(30)
    assert told(memory) == before
    with pytest.raises(StoreError, match="is being changed by this memory"):
        memory.change_encoder(HashEncoder(16))
    memory.add("The Ouse is a river.", namespace=("else",))
    memory.update("p-varn", text="Varn is a town on the Ouse.")
    memory.delete("p-tolle")
    found = memory.encoder_change()
    assert (found.encoder, found.done, found.total) == ("hash-48 (48 dim)", 0, 12)
    assert not change.wait(0.01)
    new.let.set()
    assert change.wait(30)
    with Memory(tmp_path / "fresh.db", encoder=HashEncoder(48), policy=policy) as built:
        built.add(memory.store.passages())
        assert told(memory) == told(built)


def test_a_write_that_is_being_encoded_is_waited_for(tmp_path, twelve) -> None:
    slow = Held(32)
    slow.let.set()
    with Memory(tmp_path / "a.db", encoder=slow) as memory:
        memory.add(twelve)
        slow.let.clear()
        slow.waiting.clear()
        writing = threading.Thread(target=lambda: memory.add("A boat at the quay of Varn."))
        writing.start()
        assert slow.waiting.wait(30)
        change = memory.change_encoder(HashEncoder(48), background=True)
        assert not change.wait(0.2)
        assert change.done == 12
        slow.let.set()
        assert change.wait(30)
        writing.join()
        assert memory.count() == 13
        assert memory.search("a boat at the quay", 1, mode="dense")[0].score > 0.5
        assert memory.verify() == []


def test_closing_stops_it_and_the_next_goes_on(tmp_path, memory, policy) -> None:
    class Slow(HashEncoder):
        def encode(self, texts):
            time.sleep(0.02)
            return super().encode(texts)

    change = memory.change_encoder(Slow(48), background=True, batch=1)
    while not change.done:
        time.sleep(0.001)
    memory.close()
    assert not change.running
    assert not change.finished
    done = change.done
    with Memory(tmp_path / "agent.db", encoder=None, policy=policy) as again:
        assert again.encoder_change().done == done
        assert again.change_encoder(HashEncoder(48)).encoded == 12 - done
        assert again.recall(QUESTIONS[0], 3).hits
        again.add("A boat.")


def test_a_memory_with_the_old_encoder_says_so(tmp_path, memory, policy, monkeypatch) -> None:
    with Memory(tmp_path / "agent.db", encoder=HashEncoder(), policy=policy) as other:
        assert told(other) == told(memory)
        memory.change_encoder(HashEncoder(48))
        for call in (
            lambda: other.recall(QUESTIONS[0]),
            lambda: other.search(QUESTIONS[0]),
            lambda: other.add("A boat."),
            lambda: other.add_distinct("A boat."),
            lambda: other.update("p-varn", text="A boat."),
        ):
            with pytest.raises(EncoderMismatch, match=r"hash-48 .*change_encoder\(encoder\)"):
                call()
        assert other.search("trout", mode="sparse")
        assert other.delete("p-varn") == 1
        other.change_encoder(HashEncoder(48))  # there already
        assert told(other) == told(memory)
    monkeypatch.setattr(encoders, "minilm", HashEncoder)
    assert memory.change_encoder("auto").encoder.fingerprint == "hash-32"
    with Memory(tmp_path / "agent.db", policy=policy) as other:
        assert told(other) == told(memory)
    with pytest.raises(InputError, match='encoder must be "auto" or an Encoder'):
        memory.change_encoder("minilm")


def test_a_change_is_dropped(memory) -> None:
    new = Held(48)
    change = memory.change_encoder(new, background=True)
    assert new.waiting.wait(30)
    assert memory.drop_encoder_change().total == 12
    new.let.set()
    with pytest.raises(StoreError, match="was dropped"):
        change.wait(30)
    assert memory.encoder_change() is None
    assert memory.change_encoder(HashEncoder(16)).finished


def test_a_read_only_memory_keeps_its_encoder(tmp_path, memory) -> None:
    with Memory(tmp_path / "agent.db", encoder=HashEncoder(), read_only=True) as reader:
        with pytest.raises(StoreError, match="read-only"):
            reader.change_encoder(HashEncoder(48))
        assert reader.encoder_change() is None
        with pytest.raises(StoreError, match="read-only"):
            reader.drop_encoder_change()


@pytest.fixture
def store(tmp_path, twelve):
    with Store(tmp_path / "slot.db", encoder=HashEncoder()) as opened:
        opened.add(twelve)
        yield opened


def test_a_write_gets_the_cache_as_an_argument_and_queries_do_not(store) -> None:
    slot = EncoderSlot(store)
    before = store.encoder
    with slot.for_passages() as encoder:
        assert isinstance(encoder, CachedEncoder)
        assert store.encoder is before
        store.add([Passage("new", "A boat at the quay of Varn.")], encoder=encoder)
    assert slot.for_queries() is before
    assert store.search("a boat at the quay", 1)[0].passage.id == "new"
    with pytest.raises(EncoderMismatch):
        store.add([Passage("other", "A bell.")], encoder=HashEncoder(48))
    slot.close()


def test_a_store_whose_own_encoder_has_a_cache_is_asked_without_it(tmp_path) -> None:
    plain = HashEncoder()
    with Store(tmp_path / "c.db", encoder=CachedEncoder(plain, tmp_path)) as store:
        assert EncoderSlot(store).for_queries() is plain


def test_the_default_is_loaded_once_however_many_ask_for_it(store, monkeypatch) -> None:
    loads: list[HashEncoder] = []

    def load(**_: object) -> HashEncoder:
        time.sleep(0.05)
        loads.append(HashEncoder())
        return loads[-1]

    monkeypatch.setattr(encoders, "minilm", load)
    store.encoder = None
    slot = EncoderSlot(store, default=True)
    assert slot.current is None
    answers: list[object] = []
    threads = [
        threading.Thread(target=lambda: answers.append(slot.for_queries())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(loads) == 1
    assert all(answer is loads[0] for answer in answers)
    assert len(answers) == 8


def test_whoever_depends_on_the_encoder_hears_of_another_one(store) -> None:
    changes: list[int] = []
    slot = EncoderSlot(store, when_changed=lambda: changes.append(store.encoder.dim))
    old = slot.for_queries()
    assert not slot.replaced(old)
    assert slot.change_encoder(HashEncoder(48)).finished
    assert slot.replaced(old)
    assert changes == [48]
    slot.close()


async def test_it_can_be_awaited(tmp_path, twelve, policy) -> None:
    async with AsyncMemory(tmp_path / "a.db", encoder=HashEncoder(), policy=policy) as memory:
        await memory.add(twelve)
        change = await memory.change_encoder(HashEncoder(48))
        assert change.finished
        change = await memory.change_encoder(HashEncoder(16), background=True)
        assert await memory.recall(QUESTIONS[0], k=3)
        assert await asyncio.to_thread(change.wait, 30)
        assert await memory.encoder_change() is None
        assert await memory.drop_encoder_change() is None
