"""The language of a memory on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoptrail.cli.main import main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())


@pytest.mark.parametrize("command", ["add", "upsert"])
def test_the_first_write_settles_the_language_and_info_says_it(
    tmp_path: Path, capsys, command: str
) -> None:
    notes, store = tmp_path / "notes.txt", str(tmp_path / "a.db")
    notes.write_text("Alte Häuser am Fluss.", encoding="utf-8")
    assert main([command, "--store", store, "--language", "german", str(notes)]) == 0
    assert main(["info", "--store", store]) == 0
    assert "language german" in capsys.readouterr().out
    assert main(["info", "--store", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["language"] == "german"
    assert main(["search", "--store", store, "--mode", "sparse", "--json", "Haus"]) == 0
    assert len(json.loads(capsys.readouterr().out)["passages"]) == 1


@pytest.mark.parametrize("language", ["klingon", "french", ""])
def test_add_refuses_another_language_than_the_recorded(
    tmp_path: Path, capsys, language: str
) -> None:
    notes, store = tmp_path / "notes.txt", str(tmp_path / "a.db")
    notes.write_text("Old houses by the river.", encoding="utf-8")
    assert main(["add", "--store", store, str(notes)]) == 0
    capsys.readouterr()
    assert main(["add", "--store", store, "--language", language, str(notes)]) != 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("hoptrail: ")
    assert "language" in last
