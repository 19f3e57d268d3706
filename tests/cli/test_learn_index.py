"""`hoptrail index`, and searches through what it writes."""

from __future__ import annotations

import json

import pytest

from hoptrail.cli.main import main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path, corpus, capsys) -> str:
    path = str(tmp_path / "agent.db")
    assert main(["add", "--store", path, str(corpus)]) == 0
    capsys.readouterr()
    return path


def test_a_rotation_is_learned_and_searched_through(
    capsys, tmp_path, store, corpus, questions
) -> None:
    out = str(tmp_path / "rotation.safetensors")
    argv = ["index", "rotate", "--corpus", str(corpus), "--questions", str(questions)]
    argv += ["--cloze", "8", "--dims", "8,16", "--steps", "3", "--out", out, "--json"]
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out)["config"]["dims"] == [8, 16]
    argv = ["search", "--store", store, "--json", "who founds bells in a foundry"]
    assert main([*argv, "--learned", out]) == 0
    learned = json.loads(capsys.readouterr().out)["passages"]
    assert main([*argv, "--mode", "dense"]) == 0
    assert learned == json.loads(capsys.readouterr().out)["passages"]


def test_a_memory_alone_is_enough_to_learn_from(capsys, tmp_path, store) -> None:
    out = str(tmp_path / "rotation.safetensors")
    argv = ["index", "rotate", "--corpus", store, "--cloze", "8", "--dims", "8", "--steps", "2"]
    assert main([*argv, "--out", out]) == 0
    assert "learned of" in capsys.readouterr().out


def test_dims_that_are_no_numbers_are_refused(capsys, tmp_path, store) -> None:
    argv = ["index", "rotate", "--corpus", store, "--dims", "a,b", "--out", str(tmp_path / "r")]
    assert main(argv) == 1
    assert "--dims must be whole numbers" in capsys.readouterr().err


def test_a_router_is_learned_with_costs_and_searched_through(
    capsys, tmp_path, store, questions
) -> None:
    out = str(tmp_path / "router.safetensors")
    argv = ["index", "route", "--corpus", store, "--cloze", "8", "--shards", "4", "--steps", "2"]
    argv += ["--probes", "2", "--costs", '{"cache": 0.5}', "--out", out]
    assert main([*argv, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["shards"], said["probes"], said["config"]["cache"]) == (4, 2, 0.5)
    assert main(["search", "--store", store, "--learned", out, "--json", "bells"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"]
    argv[argv.index("--costs") + 1] = '{"price": 1}'
    assert main(argv) == 1
    assert "numbers for latency, locality, cache, bandwidth" in capsys.readouterr().err


def test_ids_are_learned_and_searched_through(capsys, tmp_path, store, questions) -> None:
    out = str(tmp_path / "ids.safetensors")
    argv = ["index", "ids", "--corpus", store, "--questions", str(questions), "--cloze", "8"]
    argv += ["--levels", "2", "--codes", "3", "--steps", "2", "--out", out]
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["codes"] == 3
    assert main(["search", "--store", store, "--learned", out, "--json", "bells"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"]
