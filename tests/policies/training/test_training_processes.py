"""Two processes of torchrun train the policy that one does, in every stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import hoptrail
from hoptrail.cli.main import main
from hoptrail.policies.training.checkpoint import TENSORS

DEMO = Path(hoptrail.__file__).parent / "demo"
STOPPED = """
import os
from hoptrail.policies.training.stage_run import StageRun
plain = StageRun.epoch
def stop(self, epoch, *rest):
    if epoch == 1 and os.environ["RANK"] == "0":  # which has written its checkpoint by then
        raise KeyboardInterrupt
    return plain(self, epoch, *rest)
StageRun.epoch = stop
"""


@pytest.fixture
def options(tmp_path: Path, tiny_bert: Path) -> list[str]:
    """Of `train questions` without dropout: what is dropped out is drawn in each process."""
    questions = tmp_path / "questions.jsonl"
    lines = (DEMO / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions.write_text("\n".join(lines[:13]), encoding="utf-8")
    settings = [
        'objective = "imitation,marginal,reinforce"',
        "tuning_rate = 1e-3",
        "samples = 3",
        "epochs = 2",
        "stop_after = 1",
        "held_out = 0.3",
        "networks = 1",
        "batch = 5",
        "[network]",
        "width = 8",
        "dropout = 0.0",
    ]
    (tmp_path / "run.toml").write_text("\n".join(settings))
    argv = ["train", "questions", "--set", str(DEMO / "corpus.jsonl"), str(questions)]
    return [*argv, "--encoder", str(tiny_bert), "--config", str(tmp_path / "run.toml")]


@pytest.mark.slow
def test_two_processes_train_the_policy_that_one_does(
    options, tmp_path, run_two, monkeypatch
) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    assert main([*options, "--out", str(tmp_path / "one")]) == 0
    done = run_two([*options, "--out", str(tmp_path / "two")])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained on 13 questions") == 1
    parts = [*options, "--out", str(tmp_path / "parts")]
    assert run_two(parts, before=STOPPED).returncode != 0
    assert (tmp_path / "parts" / TENSORS).exists()
    assert main([*parts, "--resume"]) == 0
    cards, weights = {}, {}
    for name in ("one", "two", "parts"):
        cards[name] = json.loads((tmp_path / name / "policy.json").read_text())["card"]
        weights[name] = load_file(tmp_path / name / "policy.safetensors")
    for name in ("two", "parts"):  # in two processes, and the rest of the run in one
        for one, other in zip(cards["one"]["curves"], cards[name]["curves"], strict=True):
            assert one == pytest.approx(other, abs=2e-4)
            assert ("held_out_loss" in one) == (one["stage"] == "imitation")
        for key, tensor in weights["one"].items():
            np.testing.assert_allclose(weights[name][key], tensor, atol=2e-5, err_msg=key)
