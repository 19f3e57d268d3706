"""Two processes of torchrun train the readers that one does, and a run may go on with either."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from hoptrail.cli.main import main
from hoptrail.learning.answering import answer_network
from hoptrail.learning.answering.extractive_reader import WEIGHTS
from hoptrail.learning.execution import processes
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.policies.networks.frozen_policy import WEIGHTS as POLICY_WEIGHTS
from hoptrail.policies.policy import Policy
from hoptrail.policies.reading.trainable_reader import TrainableReader
from hoptrail.policies.training.checkpoint import TENSORS

# On a processor that multiplies bfloat16, training rounds by what else is in a batch.
PLAIN = """
from hoptrail.learning.answering import answer_network
answer_network._multiplies_bfloat16 = lambda: False
"""
STOPPED = """
from hoptrail.integrations.trackers.tracker import TrackedProgress
plain = TrackedProgress.__call__
def stop(self, stage, done, total, figures):
    if stage == "questions" and done > total / 2:
        raise KeyboardInterrupt
    plain(self, stage, done, total, figures)
TrackedProgress.__call__ = stop
"""


@pytest.fixture
def options(tmp_path: Path, sober_bert: Path) -> list[str]:
    """Of `train reader`, over passages in which a word stands behind "who"."""
    words = "old bridge river city under".split()
    pairs = [(one, other) for one in words for other in words if one != other]
    corpus, questions = tmp_path / "corpus.jsonl", tmp_path / "questions.jsonl"
    passages = [
        {"id": f"{one}-{other}", "text": f"the {one} who {other} . " + "the city . " * (i % 4)}
        for i, (one, other) in enumerate(pairs)
    ]
    corpus.write_text("\n".join(map(json.dumps, passages)))
    lines = [
        {
            "id": f"q{i}",
            "question": f"the {one} who",
            "answers": [other],
            "supporting_ids": [f"{one}-{other}"],
        }
        for i, (one, other) in enumerate(pairs)
    ]
    questions.write_text("\n".join(map(json.dumps, lines)))
    settings = ["rank = 2", "cloze = 4", "epochs = 3", "batch = 5", "held_out = 0.25"]
    (tmp_path / "run.toml").write_text("\n".join([*settings, "learning_rate = 1e-2"]))
    argv = ["train", "reader", "--set", str(corpus), str(questions), "--encoder", str(sober_bert)]
    argv += ["--dev", str(corpus), str(questions), "--device", "cpu", "--json"]
    return [*argv, "--config", str(tmp_path / "run.toml"), "--stop-after", "2"]


@pytest.fixture(autouse=True)
def _exact(monkeypatch, tmp_path) -> None:
    """A cache of its own, and single precision: in half of it two processes differ."""
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(answer_network, "_multiplies_bfloat16", lambda: False)


@pytest.mark.slow
def test_two_processes_train_the_reader_that_one_does(options, tmp_path, run_two, capsys) -> None:
    assert main([*options, "--out", str(tmp_path / "one")]) == 0
    card = json.loads(capsys.readouterr().out)
    done = run_two([*options, "--out", str(tmp_path / "two")], before=PLAIN)
    assert done.returncode == 0, done.stderr
    of_two = json.loads(done.stdout)  # one document: the second process says nothing
    for one, two in zip(card["curve"], of_two["curve"], strict=True):
        assert (one["round"], one["loss"]) == (two["round"], pytest.approx(two["loss"], abs=2e-4))
    assert of_two["dev"] == [pytest.approx(row, abs=1e-3) for row in card["dev"]]
    stopped = run_two([*options, "--out", str(tmp_path / "parts")], before=PLAIN + STOPPED)
    assert stopped.returncode != 0
    assert (tmp_path / "parts" / TENSORS).exists()
    assert main([*options, "--out", str(tmp_path / "parts"), "--resume"]) == 0
    whole = load_file(tmp_path / "one" / WEIGHTS)
    for other in ("two", "parts"):  # in two processes, and the rest of the run in one
        weights = load_file(tmp_path / other / WEIGHTS)
        assert weights.keys() == whole.keys()
        for name, tensor in whole.items():
            np.testing.assert_allclose(tensor, weights[name], atol=2e-5, rtol=2e-3, err_msg=name)


@pytest.mark.slow
def test_two_processes_train_reader_and_policy_on_trails_as_one_does(
    options, tmp_path, sober_bert, run_two
) -> None:
    base = TransformerEncoder(sober_bert, device="cpu")
    network = TrainableReader(base, rank=2, layers=1, window=64, seed=0)
    with torch.random.fork_rng(), torch.no_grad():  # a reader that has opinions
        torch.manual_seed(1)
        for weight in network.weights:
            weight.add_(torch.randn(weight.shape) / 4)
    network.reader().save(tmp_path / "start")
    files = options[options.index("--set") : options.index("--dev")]
    argv = ["train", "answers", *files, "--reader", str(tmp_path / "start"), "--device", "cpu"]
    argv += ["--questions", "11", "--learning-rate", "1e-3", "--policy-rate", "1e-3"]
    trails = ["--trails-file", str(tmp_path / "trails.jsonl")]
    commands = {}
    for name in ("one", "two"):
        to, policy = (str(tmp_path / f"{name}-{what}") for what in ("reader", "policy"))
        commands[name] = [
            [*argv, "--out", to, "--policy-out", policy],
            [*argv, "--out", f"{to}-alone", *trails],
        ]
    for command in commands["one"]:
        assert main(command) == 0
    (tmp_path / "trails.jsonl").unlink()
    done = run_two(*commands["two"], before=PLAIN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("two-reader") == 2, "the second process says nothing"
    for file in (f"reader/{WEIGHTS}", f"reader-alone/{WEIGHTS}", f"policy/{POLICY_WEIGHTS}"):
        one, two = (load_file(tmp_path / f"{name}-{file}") for name in ("one", "two"))
        assert one.keys() == two.keys()
        for name, tensor in one.items():
            np.testing.assert_allclose(tensor, two[name], atol=2e-5, rtol=2e-3, err_msg=name)
    assert Policy.load(tmp_path / "two-policy").fingerprint != Policy.shipped().fingerprint


def test_several_processes_have_no_common_clock(options, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(processes, "launched_count", lambda: 2)
    with (tmp_path / "run.toml").open("a") as file:
        file.write("\ntime_limit = 5")
    assert main([*options, "--out", str(tmp_path / "reader")]) == 1
    error = json.loads(capsys.readouterr().err)
    assert error["message"].startswith("time_limit is 5.0, and 2 processes have as many clocks")
