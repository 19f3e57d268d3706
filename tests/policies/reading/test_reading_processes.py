"""Two processes of torchrun train the reader that one does, and a run may go on with either."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from hoptrail.cli.main import main
from hoptrail.learning.answering import answer_network
from hoptrail.learning.answering.extractive_reader import WEIGHTS
from hoptrail.learning.execution import processes
from hoptrail.policies.training.checkpoint import TENSORS

# On a processor that multiplies bfloat16, training rounds by what else is in a batch.
PROGRAM = """
import sys
from hoptrail.cli.main import main
from hoptrail.learning.answering import answer_network
answer_network._multiplies_bfloat16 = lambda: False
if sys.argv.pop(1) == "stop":
    from hoptrail.integrations.trackers.tracker import TrackedProgress
    plain = TrackedProgress.__call__
    def stop(self, stage, done, total, figures):
        if stage == "questions" and done > total / 2:
            raise KeyboardInterrupt
        plain(self, stage, done, total, figures)
    TrackedProgress.__call__ = stop
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def options(tmp_path: Path, tiny_bert: Path) -> list[str]:
    """Of `train reader` without dropout: what is dropped out is drawn in each process."""
    base = tmp_path / "bert"
    base.mkdir()
    for file in tiny_bert.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    about = json.loads((base / "config.json").read_text())
    about |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(about))
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
    argv = ["train", "reader", "--set", str(corpus), str(questions), "--encoder", str(base)]
    argv += ["--dev", str(corpus), str(questions), "--device", "cpu", "--json"]
    return [*argv, "--config", str(tmp_path / "run.toml"), "--stop-after", "2"]


def run_two(how: str, argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*torchrun, "--nproc-per-node", "2", str(program), how, *argv],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HOPTRAIL_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_train_the_reader_that_one_does(
    options, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(answer_network, "_multiplies_bfloat16", lambda: False)
    assert main([*options, "--out", str(tmp_path / "one")]) == 0
    card = json.loads(capsys.readouterr().out)
    done = run_two("go", [*options, "--out", str(tmp_path / "two")], tmp_path)
    assert done.returncode == 0, done.stderr
    of_two = json.loads(done.stdout)  # one document: the second process says nothing
    for one, two in zip(card["curve"], of_two["curve"], strict=True):
        assert (one["round"], one["loss"]) == (two["round"], pytest.approx(two["loss"], abs=2e-4))
    assert of_two["dev"] == [pytest.approx(row, abs=1e-3) for row in card["dev"]]
    stopped = run_two("stop", [*options, "--out", str(tmp_path / "parts")], tmp_path)
    assert stopped.returncode != 0
    assert (tmp_path / "parts" / TENSORS).exists()
    assert main([*options, "--out", str(tmp_path / "parts"), "--resume"]) == 0
    whole = load_file(tmp_path / "one" / WEIGHTS)
    for other in ("two", "parts"):  # in two processes, and the rest of the run in one
        weights = load_file(tmp_path / other / WEIGHTS)
        assert weights.keys() == whole.keys()
        for name, tensor in whole.items():
            np.testing.assert_allclose(tensor, weights[name], atol=2e-5, rtol=2e-3, err_msg=name)


def test_several_processes_have_no_common_clock(options, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(processes, "launched_count", lambda: 2)
    with (tmp_path / "run.toml").open("a") as file:
        file.write("\ntime_limit = 5")
    assert main([*options, "--out", str(tmp_path / "reader")]) == 1
    error = json.loads(capsys.readouterr().err)
    assert error["message"].startswith("time_limit is 5.0, and 2 processes have as many clocks")
