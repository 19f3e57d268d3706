"""Answers of a memory: what is asked is read by whatever reads, and held to what was read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from hoptrail import Answer, AsyncMemory, Evidence, Memory, Passage
from hoptrail.errors import InputError, ReaderError
from hoptrail.learning.answering.answer_network import AnswerHead
from hoptrail.learning.answering.extractive_reader import ExtractiveReader
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.policy_network import NetworkConfig, PolicyNetwork
from hoptrail.policies.policy import Policy


@pytest.fixture(scope="module")
def small_policy() -> Policy:
    torch.manual_seed(0)
    return Policy([PolicyNetwork(NetworkConfig())])


@pytest.fixture
def memory_with(tmp_path, twelve, small_policy):
    """Opens a memory of twelve passages with a reader."""

    def opened(reader: object) -> Memory:
        memory = Memory(
            tmp_path / "agent.db", encoder=HashEncoder(), policy=small_policy, reader=reader
        )
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


def test_a_memory_without_a_reader_says_how_to_get_one(memory_with) -> None:
    with memory_with(None) as memory:
        assert not memory.has_reader
        with pytest.raises(ReaderError, match="hoptrail train reader"):
            memory.ask("Which bell?")


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
