"""Calibrated scores from the command line: fitted, printed, and as limits of a recall."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import hoptrail
from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.frozen_policy import SHIPPED
from hoptrail.policies.training.calibration import price

DEMO = Path(hoptrail.__file__).parent / "demo"


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setattr(price, "STEPS", 10)


@pytest.fixture
def store(tmp_path, twelve) -> str:
    with Memory(tmp_path / "agent.db", encoder=HashEncoder()) as memory:
        memory.add(twelve)
    return str(tmp_path / "agent.db")


def test_a_recall_prints_how_probably_its_passages_suffice(store, capsys) -> None:
    ask = ["recall", "--store", store, "--effort", "fast", "Who was born in Varn?"]
    assert main(ask) == 0
    assert "they suffice with a probability of" in capsys.readouterr().out
    assert main([*ask, "--json", "--until", "complete"]) == 0
    needed = json.loads(capsys.readouterr().out)
    assert main([*ask, "--json", "--k", "12"]) == 0
    ranking = json.loads(capsys.readouterr().out)["passages"]
    assert 1 <= len(needed["passages"]) < 12
    assert needed["complete"] == needed["passages"][-1]["complete"]
    least = ranking[1]["probability"]
    assert main([*ask, "--json", "--k", "12", "--min-score", str(least)]) == 0
    probable = json.loads(capsys.readouterr().out)["passages"]
    assert [one["id"] for one in probable] == [
        one["id"] for one in ranking if one["probability"] >= least
    ]
    assert main([*ask, "--json", "--patience", "0.5"]) == 0
    assert len(json.loads(capsys.readouterr().out)["passages"]) == 1
    assert main([*ask, "--json", "--patience", "1e6"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"] == ranking


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--trail", "--tokens", "9"], "--tokens does not go with --trail"),
        (["--tokens", "9"], "HashEncoder"),
        (["--min-score", "2"], "min_score"),
        (["--patience", "0"], "patience must be a number above 0"),
        (["--patience", "9", "--until", "complete"], "give one of them"),
        (["--patience", "9", "--trail"], "--patience does not go with --trail"),
    ],
)
def test_limits_that_cannot_hold_are_refused(store, capsys, options, complaint) -> None:
    assert main(["recall", "--store", store, "--effort", "fast", *options, "Who?"]) != 0
    assert complaint in capsys.readouterr().err


def test_scores_are_fitted_by_a_command(tmp_path, capsys) -> None:
    policy = tmp_path / "policy"
    shutil.copytree(SHIPPED, policy)
    data = [str(DEMO / "corpus.jsonl"), str(DEMO / "questions.jsonl")]
    fit = ["train", "calibration", str(policy), "--set", *data, "--effort", "fast"]
    assert main([*fit, "--questions", "3", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["answerable"] == printed["unanswerable"] == 3 + 2  # two of a small memory
    settings = json.loads((policy / "policy.json").read_text(encoding="utf-8"))
    assert settings["scores"]["fit"] == printed
    assert set(settings["scores"]["stopping"]) == {"version", "weights", "intercept", "slope"}
    assert "patience: when to stop" in (policy / "README.md").read_text(encoding="utf-8")
    assert printed["command"].startswith("hoptrail train calibration")
    assert main([*fit, "--questions", "0"]) != 0
