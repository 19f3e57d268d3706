"""hoptrail ask: an answer with where it stands, or the plain word that there is none."""

from __future__ import annotations

import json
import re

import pytest

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.learning.answering import extractive_reader
from hoptrail.learning.answering.answer_network import AnswerHead
from hoptrail.learning.answering.certainty import Certainty
from hoptrail.learning.answering.extractive_reader import ExtractiveReader
from hoptrail.memory.encoders import transformer
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUESTION = "Who was born later, Ann Ray or Bo Lee?"


@pytest.fixture
def base(tiny_bert, monkeypatch) -> TransformerEncoder:
    base = TransformerEncoder(tiny_bert, device="cpu")
    monkeypatch.setattr(transformer, "minilm", lambda **_: HashEncoder())
    monkeypatch.setattr(extractive_reader, "minilm", lambda: base)
    return base


@pytest.fixture
def store(tmp_path, base):
    file = tmp_path / "agent.db"
    with Memory(file, encoder=HashEncoder()) as memory:
        memory.add(
            [
                {"id": "ann", "title": "Ann Ray", "text": "Ann Ray (born 3 May 1950) is a singer."},
                {"id": "bo", "title": "Bo Lee", "text": "Bo Lee (born 1949) is a\u202e dancer."},
            ]
        )
    return file


@pytest.fixture
def reader(tmp_path, base):
    """A folder with a reader that knows dates, and is sure of nothing else."""
    sure = Certainty(of_answerable=(-20.0, 1.0))
    return ExtractiveReader(base, {}, AnswerHead(base.dim), certainty=sure).save(
        tmp_path / "reader"
    )


def test_the_answer_is_printed_with_what_it_rests_on(store, reader, capsys) -> None:
    assert main(["ask", "--store", str(store), "--reader", str(reader), QUESTION]) == 0
    out = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Ann Ray  \(\d\d% sure\)", out[0])
    assert "  [ann]  Ann Ray" in out
    assert any("born 1949" in line and "\\u202e" in line for line in out)


def test_its_json_names_the_places(store, reader, capsys) -> None:
    assert main(["ask", "--store", str(store), "--reader", str(reader), "--json", QUESTION]) == 0
    data = json.loads(capsys.readouterr().out)
    assert set(data) == {
        *("question", "answer", "known", "probability", "answerable", "evidence", "recall")
    }
    assert data["answer"] == "Ann Ray"
    first = next(one for one in data["evidence"] if one["id"] == "ann")
    assert (first["field"], first["start"], first["end"]) == ("text", 14, 24)
    assert {passage["id"] for passage in data["recall"]["passages"]} == {"ann", "bo"}


def test_no_answer_is_said_plainly_with_an_exit_code_of_its_own(store, reader, capsys) -> None:
    line = ["ask", "--store", str(store), "--reader", str(reader), "Who sang best?"]
    assert main(line) == 4
    assert capsys.readouterr().out.startswith("the memory does not hold an answer")
    assert main([*line, "--json"]) == 4
    data = json.loads(capsys.readouterr().out)
    assert (data["answer"], data["known"], data["evidence"]) == (None, False, [])


def test_where_none_is_named_the_reader_of_the_package_is_asked(store, base, capsys) -> None:
    """Its encoder is another here, so that it says so."""
    for name in ([], ["--reader", "shipped"]):
        assert main(["ask", "--store", str(store), *name, "Who sang best?"]) == 1
        assert f"got {base.fingerprint}" in capsys.readouterr().err


def test_a_question_about_another_time(store, reader, capsys) -> None:
    with Memory(store, encoder=HashEncoder()) as memory:
        memory.supersede("ann", {"id": "new", "text": "Ann Ray was born in 1930."}, at="2020-01-01")
    line = ["ask", "--store", str(store), "--reader", str(reader), "--json", QUESTION]
    main([*line, "--as-of", "2019-01-01"])
    data = json.loads(capsys.readouterr().out)
    assert {passage["id"] for passage in data["recall"]["passages"]} == {"ann", "bo"}
    assert main([*line, "--as-of", "then"]) == 1
    assert "as_of" in capsys.readouterr().err
