"""`hoptrail distill`, and a memory of the encoder that it makes."""

from __future__ import annotations

import json

import pytest

from hoptrail import Memory
from hoptrail.cli import main
from hoptrail.memory import encoder as encoders
from hoptrail.memory.static_encoder import StaticEncoder
from hoptrail.memory.testing import HashEncoder


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())


def test_distill_writes_an_encoder_that_add_and_search_take(
    capsys, tmp_path, corpus, questions
) -> None:
    out = tmp_path / "static"
    argv = ["distill", "--corpus", str(corpus), "--questions", str(questions), "--dim", "16"]
    assert main([*argv, "--steps", "40", "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    encoder = StaticEncoder.load(out)
    assert (said["fingerprint"], said["texts"]) == (encoder.fingerprint, 12)
    store = tmp_path / "fast.db"
    assert main(["add", "--store", str(store), "--encoder", str(out), str(corpus)]) == 0
    capsys.readouterr()
    argv = ["search", "--store", str(store), "--encoder", str(out), "--mode", "dense", "--json"]
    assert main([*argv, "who founds bells in a foundry"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"][0]["id"] == "p-bell-founding"
    with Memory(store, encoder=encoder) as memory:
        assert len(memory) == 12


def test_a_width_above_the_teacher_s_is_refused_in_a_sentence(capsys, tmp_path, corpus) -> None:
    argv = ["distill", "--corpus", str(corpus), "--dim", "999", "--out", str(tmp_path / "static")]
    assert main(argv) == 1
    assert "dim must be at most the teacher's 32, got 999" in capsys.readouterr().err
    assert not (tmp_path / "static").exists()
