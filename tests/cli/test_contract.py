"""What README, guides and other people's programs call stays callable, with the same JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())


@pytest.fixture
def run(capsys):
    """Runs a command line that must succeed; its stdout."""

    def call(*argv: object) -> str:
        capsys.readouterr()
        assert main([str(arg) for arg in argv]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return call


@pytest.fixture
def store(tmp_path, twelve) -> Path:
    file = tmp_path / "agent.db"
    with Memory(file, encoder=HashEncoder()) as memory:
        memory.add(twelve)
    return file


def keys(out: str) -> set[str]:
    return set(json.loads(out))


def test_the_json_of_what_is_used_every_day(run, store, corpus, tmp_path) -> None:
    new = tmp_path / "new.db"
    assert keys(run("add", "--store", new, "--namespace", "a/b", "--json", corpus)) == {
        *("added", "count", "read", "skipped"),
    }
    assert keys(run("upsert", "--store", new, "--json", corpus)) == {
        *("added", "updated", "unchanged", "deleted", "count", "read", "skipped"),
    }
    recall = json.loads(
        run("recall", "--store", store, "--json", "--k", 3, "--effort", "fast", "Who?")
    )
    assert set(recall) == {"id", "question", "passages", "complete", "trails", "cost"}
    passage = {"id", "title", "text", "score", "namespace", "metadata", "links"}
    stated = {"shares", "sources", "probability", "complete"}
    assert passage | stated <= set(recall["passages"][0])
    hits = json.loads(
        run("search", "--store", store, "--k", 5, "--mode", "sparse", "--json", "bell")
    )
    assert set(hits) == {"query", "passages"}
    assert passage <= set(hits["passages"][0])


def test_the_json_of_what_programs_call_without_a_group(run, store, tmp_path) -> None:
    file = tmp_path / "out.jsonl"
    info = run("info", "--store", store, "--json")
    assert {"passages", "namespaces", "encoder", "version", "bytes"} <= keys(info)
    (entry,) = json.loads(run("history", "--store", store, "--json", "p-varn"))
    assert entry["id"] == "p-varn"
    assert keys(run("export", "--store", store, "--json", file)) == {"file", "exported"}
    new = tmp_path / "new.db"
    assert keys(run("import", "--store", new, "--json", file)) == {"imported", "encoded", "count"}
    assert json.loads(run("get", "--store", new, "--json", "p-varn"))[0]["id"] == "p-varn"
    forgotten = run("forget", "--store", new, "--filter", '{"$id": "p-varn"}', "--json")
    assert keys(forgotten) == {"fulfil", "forgotten", "count"}
    assert keys(run("delete", "--store", new, "--json", "p-varn")) == {"deleted", "count"}


def test_training_and_measuring_without_the_name_of_a_way(run, corpus, questions, tmp_path) -> None:
    policy, report = tmp_path / "policy", tmp_path / "report.json"
    data = ("--set", corpus, questions, "--dev", corpus, questions)
    run("train", *data, "--objective", "imitation", "--seed", 0, *("--epochs", 1, "--networks", 1),
        *("--out", policy))  # fmt: skip
    card = json.loads((policy / "policy.json").read_text())["card"]
    assert card["command"].startswith("hoptrail train --set")
    settings = ("--retrievers", "bm25,policy", "--policy", policy, "--effort", "fast", "--seed", 0)
    out = run(
        *("evaluate", "--corpus", corpus, "--questions", questions, *settings),
        *("--json", report, "--plot", tmp_path / "recall.png"),
    )
    assert "bm25" in out
    written = json.loads(report.read_text())
    assert {"retrievers", "questions", "settings", "splits", "kinds"} <= set(written)
    judged = tmp_path / "stopping.json"
    assert "expected calibration error" in run("stopping", report, "--json", judged)
    assert {"questions", "sets", "calibration"} <= keys(judged.read_text())


def test_a_report_is_printed_where_no_file_is_named(run, corpus, questions, tmp_path) -> None:
    data = ("evaluate", "--corpus", corpus, "--questions", questions)
    printed = json.loads(run(*data, "--retrievers", "bm25,policy", "--json"))
    assert {"retrievers", "questions"} <= set(printed)
    file = tmp_path / "r.json"
    file.write_text(json.dumps(printed))
    assert {"sets", "calibration"} <= keys(run("evaluate", "stopping", file, "--json"))
