"""`hoptrail train` without labels: it shows what it makes, trains on it, says what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hoptrail.cli.main import main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path_factory) -> Run:
    """Runs a command: its exit code, stdout and stderr."""
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))

    def call(*argv: object) -> tuple[int, str, str]:
        code = main([str(a) for a in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_what_is_made_can_be_looked_at(run, corpus) -> None:
    ask = ("train", "--self-supervised", "--corpus", corpus, "--show", 3)
    code, out, _ = run(*ask)
    assert code == 0
    questions = [line for line in out.splitlines() if not line.startswith(" ")]
    passages = [line for line in out.splitlines() if line.startswith("    p-")]
    assert 1 <= len(questions) <= 3
    assert len(passages) >= 2 * len(questions)
    assert run(*ask)[1] == out
    assert run(*ask, "--seed", 1)[1] != out


def test_it_trains_and_says_on_what(run, corpus, tmp_path) -> None:
    out = tmp_path / "adapted"
    code, said, err = run("train", "--self-supervised", 4, "--corpus", corpus, "--out", out)
    assert code == 0, err
    assert "of them made" in said
    card = json.loads((out / "policy.json").read_text(encoding="utf-8"))["card"]
    assert card["objective"] == "self-supervised"
    assert 1 <= card["made"] <= 4


def test_a_reward_of_one_s_own(run, corpus, tmp_path, monkeypatch) -> None:
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"id": "q", "question": "Where was Ada Lind born?"}\n', encoding="utf-8")
    (tmp_path / "mine.py").write_text(
        "def reward(question, passages):\n    return float(len(passages))\n\nthree = 3\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    train = ("train", "--set", corpus, questions, "--objective", "reinforce", "--networks", 1)
    code, _, err = run(*train, "--reward", "mine:reward", "--out", tmp_path / "p")
    assert code == 0, err
    card = json.loads((tmp_path / "p" / "policy.json").read_text(encoding="utf-8"))["card"]
    assert card["reward"] == "mine:reward"
    for wrong, says in (
        ("mine:nothing", "cannot be loaded"),
        ("no_such_module:reward", "cannot be loaded"),
        ("mine:three", "is not a function"),
        ("luck", "unknown reward 'luck'"),
    ):
        code, _, err = run(*train, "--reward", wrong, "--out", tmp_path / "p")
        assert code == 1
        assert says in err


def test_later_stages_take_their_own_epochs_and_rate(run, corpus, questions, tmp_path) -> None:
    train = ("train", "--set", corpus, questions, "--networks", 1, "--epochs", 1)
    stages = ("--objective", "imitation,reinforce", "--tuning-epochs", 2, "--tuning-rate", "3e-4")
    code, _, err = run(*train, *stages, "--out", tmp_path / "p")
    assert code == 0, err
    card = json.loads((tmp_path / "p" / "policy.json").read_text(encoding="utf-8"))["card"]
    passes = [curve["stage"] for curve in card["curves"]]
    assert passes == ["imitation", "reinforce", "reinforce"]
    assert card["config"]["tuning_rate"] == 3e-4
    code, _, err = run(*train, "--tuning-rate", "-1", "--out", tmp_path / "q")
    assert code == 1
    assert "tuning_rate must be above 0" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--self-supervised", "--show", "3"), "Missing option '--corpus'"),
        (("--self-supervised", "--corpus", "c.jsonl"), "the folder to write is missing"),
        (("--self-supervised", "--out", "p"), "Missing option '--corpus'"),
        (("--out", "p"), "Missing option '--set'"),
        (("--corpus", "c.jsonl", "--out", "p"), "Missing option '--set'"),
        (("--set", "c.jsonl", "--out", "p"), "takes CORPUS QUESTIONS, got 1 of them"),
        (("--set", "a", "b", "c", "--out", "p"), "takes CORPUS QUESTIONS, got 3 of them"),
        (
            ("--self-supervised", "--corpus", "gone.jsonl", "--out", "p"),
            "gone.jsonl does not exist",
        ),
    ],
)
def test_what_is_missing_is_said(run, tmp_path, monkeypatch, argv, says) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("train", *argv)
    assert (code in (1, 2), out) == (True, "")
    assert says in err
    assert not Path("p").exists()


def test_a_corpus_beside_sets_is_for_self_supervision(run, corpus, questions, tmp_path) -> None:
    options = ("--set", corpus, questions, "--corpus", corpus, "--out", tmp_path / "p")
    code, _, err = run("train", *options)
    assert code == 1
    assert "--corpus is for --self-supervised" in err
    assert not Path(tmp_path / "p").exists()
