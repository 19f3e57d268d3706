"""Facts in time on the command line: superseded, kept, and asked for as of a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder

CORPUS = [
    {"id": "town", "text": "Ann lives in Bergen.", "valid_from": "2020-01-01"},
    {"id": "old", "text": "Ann rows.", "valid_until": "2021-01-01T00:00:00+01:00"},
    {"id": "boat", "text": "Ann has a boat."},
]


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())


@pytest.fixture
def run(capsys, tmp_path):
    """Runs a command on the store; its exit status and what it printed."""

    def call(command: str, *argv: object) -> tuple[int, str]:
        capsys.readouterr()
        status = main([command, "--store", str(tmp_path / "a.db"), *map(str, argv)])
        captured = capsys.readouterr()
        return status, captured.out if status == 0 else captured.err

    return call


@pytest.fixture
def store(run, tmp_path) -> Path:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(line) + "\n" for line in CORPUS), encoding="utf-8")
    status, out = run("add", corpus)
    assert status == 0, out
    return tmp_path / "a.db"


def ids(run, command: str, *argv: object) -> list[str]:
    status, out = run(command, "--json", *argv)
    assert status == 0, out
    return sorted(passage["id"] for passage in json.loads(out)["passages"])


def test_a_corpus_says_when_its_facts_hold(run, store) -> None:
    for command, question in (("search", ["Ann"]), ("recall", ["Where is Ann?"]), ("list", [])):
        assert ids(run, command, *question) == ["boat", "town"]
        assert ids(run, command, *question, "--as-of", "2020-06-01") == ["boat", "old", "town"]
        assert ids(run, command, *question, "--as-of", "2019-06-01T00:00:00Z") == ["boat", "old"]
        assert ids(run, command, *question, "--as-of", "ever") == ["boat", "old", "town"]
    status, out = run("recall", "--trail", "--as-of", "2019-06-01", "Where does Ann row?")
    assert (status, "Ann rows." in out, "Bergen" in out) == (0, True, False)
    assert run("get", "old")[0] != 0
    assert "Ann rows." in run("get", "old", "--as-of", "ever")[1]


@pytest.mark.parametrize("time", ["then", "2020-01-01T12:00:00", ""])
def test_a_time_that_is_none_is_refused(run, store, time) -> None:
    for command in ("search", "recall"):
        status, err = run(command, "Ann", "--as-of", time)
        assert status != 0
        assert "as_of" in err


@pytest.mark.parametrize(
    "wrong", [{"valid_from": "2020-01-01T10:00"}, {"valid_from": 9, "valid_until": 9}]
)
def test_a_corpus_with_a_wrong_interval_is_refused(run, tmp_path, wrong) -> None:
    corpus = tmp_path / "wrong.jsonl"
    corpus.write_text(json.dumps({"id": "a", "text": "x", **wrong}) + "\n", encoding="utf-8")
    status, err = run("add", corpus)
    assert status != 0
    assert "valid_" in err
    assert "offset" in err or "valid_until must be after valid_from" in err


def test_a_passage_is_superseded_by_a_text_or_by_one_that_is_there(run, store) -> None:
    status, out = run("supersede", "town", "--text", "Ann lives in Oslo.", "--new-id", "oslo")
    assert status == 0
    assert "supersedes -> town" in out
    assert ids(run, "list") == ["boat", "oslo"]
    assert ids(run, "list", "--as-of", "2022-01-01") == ["boat", "town"]
    run("add", "--text", "Ann has sold her boat.")
    [sold] = set(ids(run, "list")) - {"boat", "oslo"}
    status, out = run("supersede", "--json", "boat", "--by", sold, "--at", "2025-05-01")
    assert (status, json.loads(out)["id"]) == (0, sold)
    assert ids(run, "list") == sorted([sold, "oslo"])
    for argv in (
        ["oslo"],
        ["oslo", "--text", "x", "--by", "y"],
        ["oslo", "--by", "y", "--title", "z"],
    ):
        assert "supersede takes --text" in run("supersede", *argv)[1]
    assert "superseded by 'oslo'" in run("supersede", "town", "--text", "x")[1]


def test_history_shows_what_took_whose_place(run, store) -> None:
    run("update", "town", "--text", "Ann lives in Oslo.", "--keep-history")
    run("supersede", "town", "--text", "Ann lives in Rome.", "--new-id", "rome")
    for id_ in ("town", "rome", "town@1"):
        status, out = run("history", id_)
        assert status == 0
        lines = [line for line in out.splitlines() if "Ann lives" in line]
        assert [line.split(",")[0].strip() for line in lines] == ["town@1", "town", "rome"]
        assert lines[0].startswith("  town@1, valid from 2020-01-01 00:00:00Z until 20")
    [entry] = json.loads(run("history", "--json", "town")[1])
    assert [passage["id"] for passage in entry["chain"]] == ["town@1", "town", "rome"]
    assert "Ann has" not in run("history", "boat")[1]


def test_an_update_says_when_a_fact_holds(run, store) -> None:
    assert run("update", "boat", "--valid-until", "2025-01-01")[0] == 0
    assert ids(run, "list") == ["town"]
    assert run("update", "boat", "--valid-until", "")[0] == 0
    assert run("update", "boat", "--valid-from", "2024-01-01")[0] == 0
    assert ids(run, "list") == ["boat", "town"]
    assert ids(run, "list", "--as-of", "2023-01-01") == ["town"]
    with Memory(store, encoder=HashEncoder()) as memory:
        assert memory.verify() == []
