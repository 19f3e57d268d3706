"""The reader: what it says stands in what it read, alone or in a batch, before and after a file."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch

from hoptrail import Passage
from hoptrail.errors import FormatError, ReaderError
from hoptrail.learning.answering.answer_network import AnswerHead
from hoptrail.learning.answering.certainty import Certainty
from hoptrail.learning.answering.extractive_reader import CARD, WEIGHTS, ExtractiveReader
from hoptrail.learning.low_rank import add_low_rank
from hoptrail.learning.reader.answers import normalize_answer
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.types import AbstainingReader

PASSAGES = [
    Passage("bridge", "The old bridge was built of it.", "old city", namespace=("a",)),
    Passage("river", "A river under the city.", metadata={"speaker": "who"}),
    Passage("long", " ".join(["the city and the river"] * 60)),
]


@pytest.fixture
def base(tiny_bert) -> TransformerEncoder:
    return TransformerEncoder(tiny_bert, device="cpu")


@pytest.fixture
def reader(base) -> ExtractiveReader:
    """One with weights of chance, that is always sure enough to answer."""
    torch.manual_seed(3)
    head = AnswerHead(base.dim)
    changes = add_low_rank(copy.deepcopy(base.model.network), 2)
    for change in changes.values():
        torch.nn.init.normal_(change.b, std=0.3)
    factors = {name: (change.a, change.b) for name, change in changes.items()}
    return ExtractiveReader(base, factors, head, certainty=Certainty(threshold=0.0))


def said(passage: Passage, field: str, start: int, end: int) -> str:
    speaker = passage.metadata.get("speaker")
    return {"text": passage.text, "title": passage.title, "speaker": speaker}[field][start:end]


def test_the_answer_stands_where_the_evidence_says(reader) -> None:
    for passages in (PASSAGES[:1], PASSAGES[1:2], PASSAGES):
        answer = reader.read("who built the bridge", passages)
        assert answer.known
        assert 0 <= answer.probability <= 1
        assert answer.passages == tuple(passages)
        spans = [one for one in answer.evidence if one.start is not None]
        if answer.text in ("yes", "no"):
            continue
        assert spans
        by_id = {passage.id: passage for passage in passages}
        for one in spans:
            words = said(by_id[one.id], one.field, one.start, one.end)
            assert normalize_answer(words) == normalize_answer(answer.text)
            assert one.namespace == by_id[one.id].namespace


def test_an_answer_is_the_same_alone_and_in_a_batch(reader) -> None:
    trails = [("who built it", PASSAGES), ("the river", PASSAGES[:1]), ("under", PASSAGES[1:])]
    together = reader.read_many(trails)
    for trail, answer in zip(trails, together, strict=True):
        alone = reader.read(*trail)
        assert alone.text == answer.text
        assert alone.probability == pytest.approx(answer.probability, abs=1e-4)


def test_where_nothing_was_read_there_is_no_answer(reader) -> None:
    answer = reader.read("who", [])
    assert answer == replace(answer, text=None, probability=1.0, answerable=0.0, evidence=())


def test_a_reader_that_is_not_sure_enough_says_so(reader) -> None:
    reader.certainty = Certainty(threshold=1.0)
    answer = reader.read("who built the bridge", PASSAGES)
    assert not answer.known
    assert answer.probability == pytest.approx(1 - answer.answerable)
    assert answer.evidence == ()
    always = reader.without_abstaining()
    assert isinstance(reader, AbstainingReader)
    guess = always.read("who built the bridge", PASSAGES)
    assert guess.known
    assert guess.answerable == answer.answerable
    assert not reader.read("who built the bridge", PASSAGES).known
    assert not always.read("who", []).known


def test_two_dates_are_compared_and_are_the_evidence(reader) -> None:
    passages = [
        Passage("a", "Ann Ray (born 3 May 1950) is a singer.", "Ann Ray"),
        Passage("b", "Bo Lee (born 1949) is a dancer.", "Bo Lee"),
    ]
    answer = reader.read("Who was born later, Ann Ray or Bo Lee?", passages)
    assert answer.text == "Ann Ray"
    assert [one.id for one in answer.evidence] == ["a", "b"]
    words = [
        said(passage, one.field, one.start, one.end)
        for passage, one in zip(passages, answer.evidence, strict=True)
    ]
    assert words == ["3 May 1950", "1949"]


def test_two_numbers_are_compared_and_are_the_evidence(reader) -> None:
    passages = [
        Passage("a", "Mount Ulv is 2,410 m high.", title="Mount Ulv"),
        Passage("b", "Hestfjell rises to 8,100 feet.", title="Hestfjell"),
    ]
    answer = reader.read("Which mountain is higher, Mount Ulv or Hestfjell?", passages)
    assert answer.text == "Hestfjell"
    said = {
        one.id: passages["ab".index(one.id)].text[one.start : one.end] for one in answer.evidence
    }
    assert said == {"a": "2,410 m", "b": "8,100 feet"}


def test_two_countries_are_compared_and_are_the_evidence(reader) -> None:
    passages = [
        Passage("a", "Ann Ray is a Swiss singer.", "Ann Ray"),
        Passage("b", "Bo Lee is a Danish dancer.", "Bo Lee"),
    ]
    answer = reader.read("Are Ann Ray and Bo Lee from the same country?", passages)
    assert answer.text == "no"
    assert [one.id for one in answer.evidence] == ["a", "b"]


def test_a_file_holds_all_of_it(reader, base, tmp_path) -> None:
    reader.certainty = Certainty((0.1, 0.9), (0.2, 1.1, 0.7), 0.8, 0.1)
    reader.save(tmp_path / "r")
    again = ExtractiveReader.load(tmp_path / "r", encoder=base)
    assert again.certainty == reader.certainty
    first, second = (one.read("who built the bridge", PASSAGES) for one in (reader, again))
    assert first == second


def test_what_is_no_reader_of_this_encoder_is_refused(reader, base, tmp_path) -> None:
    with pytest.raises(ReaderError, match="no reader can be read"):
        ExtractiveReader.load(tmp_path, encoder=base)
    folder = reader.save(tmp_path / "r")
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | {"encoder": "another"}))
    with pytest.raises(ReaderError, match="belongs to the encoder another"):
        ExtractiveReader.load(folder, encoder=base)
    (folder / CARD).write_text(json.dumps(card))
    (folder / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(ReaderError, match="no reader can be read"):
        ExtractiveReader.load(folder, encoder=base)


def test_files_of_somebody_else_stay(reader, tmp_path) -> None:
    (tmp_path / CARD).write_text("{}")
    with pytest.raises(FormatError, match="is no reader's"):
        reader.save(tmp_path)
