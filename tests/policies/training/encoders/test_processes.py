"""Two processes of torchrun train what one does of the same batches, and only the first writes."""

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

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SHARES = """
import torch
from torch import nn
from hoptrail.learning.execution import processes

layer = nn.Linear(3, 2)
with torch.no_grad():
    layer.weight.copy_(torch.arange(6.0).view(2, 3) / 6)
    layer.bias.zero_()


def encode(texts):
    return layer(torch.tensor([[float(len(text)), 1.0, 2.0] for text in texts]))


def gradient(texts, shared):
    layer.zero_grad()
    vectors = processes.shared_vectors(texts, encode) if shared else encode(texts)
    logits = vectors @ vectors.T  # every text with every other one
    (logits.logsumexp(1) - logits.diagonal()).sum().backward()
    if shared:
        processes.add_gradients(list(layer.parameters()))
    return vectors.detach(), layer.weight.grad.clone()


with processes.joined_processes():
    for count in (1, 2, 5):
        texts = ["x" * (i + 1) for i in range(count)]
        for ours, alone in zip(gradient(texts, True), gradient(texts, False), strict=True):
            torch.testing.assert_close(ours, alone)
"""


def run_together(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOPTRAIL_CACHE": str(folder / "cache")}
    return subprocess.run(
        [*TORCHRUN, *command], cwd=folder, env=environment, capture_output=True, text=True
    )


def tuning(tiny_bert: Path, one_set, side: str, out: Path) -> list[str]:
    files = ["--set", str(one_set.corpus), str(one_set.questions)]
    argv = ["encoder", "tune", *files, "--dev", *files[1:], "--encoder", str(tiny_bert)]
    argv += ["--side", side, "--objective", "contrastive", "--epochs", "3", "--device", "cpu"]
    return [*argv, "--out", str(out), "--json"]


@pytest.mark.slow
def test_shares_of_any_size_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    (tmp_path / "shares.py").write_text(SHARES)
    done = run_together("shares.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("side", "file"),
    [("query", "query-tuned.safetensors"), ("both", "passage-tuned.safetensors")],
)
def test_two_processes_train_what_one_does(
    tmp_path: Path, tiny_bert, one_set, side, file, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    assert main(tuning(tiny_bert, one_set, side, tmp_path / "one")) == 0
    card = json.loads(capsys.readouterr().out)
    argv = tuning(tiny_bert, one_set, side, tmp_path / "two")
    done = run_together("-m", "hoptrail", *argv, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    of_two = json.loads(done.stdout)  # one document: the second process says nothing
    assert of_two["dev"] == card["dev"]
    one, two = (load_file(tmp_path / name / file) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():  # they are written in 16 bits
        np.testing.assert_allclose(tensor, two[name], rtol=2e-3, atol=1e-6, err_msg=name)
    learned = max(abs(tensor).max() for name, tensor in two.items() if name.startswith("b."))
    assert learned > 1e-5, "what starts at zero has moved"


def test_what_trains_alone_refuses_torchrun(tmp_path: Path, corpus, monkeypatch, capsys) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    argv = ["encoder", "distill", "--corpus", str(corpus), "--out", str(tmp_path / "x")]
    assert main([*argv, "--encoder", "none"]) == 1
    assert "this training runs in one process, got 2 of torchrun" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
