"""Two processes of torchrun train what one does of the same batches, and only the first writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from hoptrail.cli.main import main
from hoptrail.errors import ConfigError
from hoptrail.evaluation.use import learn_from_use
from hoptrail.learning.distillation import distill
from hoptrail.learning.indexes.id_training import learn_semantic_ids
from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.learning.indexes.matryoshka import learn_rotation
from hoptrail.learning.indexes.routing import learn_router
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.policy import Policy
from hoptrail.policies.relations.training import RelationConfig, train_relations
from hoptrail.policies.training.calibration.scores import calibrate_scores

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


with join():
    for count in (1, 2, 5):
        texts = ["x" * (i + 1) for i in range(count)]
        for ours, alone in zip(gradient(texts, True), gradient(texts, False), strict=True):
            torch.testing.assert_close(ours, alone)
"""


LISTS = ["epochs = 2", "batch = 4", "learning_rate = 1e-3", "same = 2.0"]
ASKING = ["epochs = 2", "rank = 2", "batch = 4", "learning_rate = 1e-2"]
KINDS = ("cross-encoder", "sparse", "late-interaction")


def trainings(one_set, apart, bert: Path, config: Path, out: Path) -> dict[str, list[object]]:
    """The command lines of all trainings of encoders, by name; each writes to its own folder."""
    (config / "lists.toml").write_text("\n".join(LISTS))
    early = ["epochs = 6", "batch = 3", "learning_rate = 3e-2", "same = 2.0", "held_out = 0.4"]
    (config / "early.toml").write_text("\n".join(early))
    (config / "asking.toml").write_text("\n".join(ASKING))
    files = [one_set.corpus, one_set.questions]
    tune = ["encoder", "tune", "--set", *files, "--dev", *files, "--device", "cpu"]
    sides = [*tune, "--objective", "contrastive", "--epochs", "3"]
    lists = [*tune, "--config", config / "lists.toml"]
    asking = ["train", "reformulator", "--set", apart.corpus, apart.questions, "--parts", "2"]
    on_others = ["encoder", "tune", "--set", apart.corpus, apart.questions, "--device", "cpu"]
    on_others += ["--config", config / "early.toml"]
    commands: dict[str, list[object]] = {
        **{side: [*sides, "--side", side] for side in ("query", "both")},
        **{kind: [*lists, "--kind", kind] for kind in KINDS},
        # Of a loss over a list the bias of its scores has no gradient either.
        KINDS[0]: [*lists, "--kind", KINDS[0], "--objective", "binary"],
        "early": [*on_others, "--kind", KINDS[2], "--stop-after", "1"],
        "reformulator": [*asking, "--config", config / "asking.toml"],
    }
    return {
        name: [*argv, "--encoder", bert, "--out", out / name] for name, argv in commands.items()
    }


def differences(one: Path, two: Path) -> list[str]:
    """Weights of the files of a folder that are others in another, by file and name."""
    names = sorted(file.name for file in one.iterdir())
    assert names == sorted(file.name for file in two.iterdir())
    different = []
    for file in (name for name in names if name.endswith(".safetensors")):
        weights, others = load_file(one / file), load_file(two / file)
        assert weights.keys() == others.keys()
        for name, tensor in weights.items():
            # The bias of keys has no gradient but by rounding, which Adam takes for one. Some
            # files are written in 16 bits.
            if not name.endswith("key.bias") and not np.allclose(
                tensor, others[name], rtol=2e-3, atol=5e-5
            ):
                far = np.abs(tensor.astype(float) - others[name].astype(float)).max()
                different.append(f"{one.name} {file} {name}: {far:.2g}")
    return different


@pytest.mark.slow
def test_shares_of_any_size_give_the_gradient_of_the_whole_batch(run_two) -> None:
    done = run_two(before=SHARES)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_processes_train_what_one_does(
    tmp_path: Path, sober_bert, one_set, apart, run_two, monkeypatch
) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    alone = trainings(one_set, apart, sober_bert, tmp_path, tmp_path / "one")
    together = trainings(one_set, apart, sober_bert, tmp_path, tmp_path / "two")
    for argv in alone.values():
        assert main([str(part) for part in argv]) == 0
    done = run_two(*together.values())
    assert done.returncode == 0, done.stderr
    for name in together:  # the second process says nothing
        assert done.stdout.count(str(tmp_path / "two" / name)) == 1
    folders = [[tmp_path / when / name for when in ("one", "two")] for name in together]
    assert not [line for one, two in folders for line in differences(one, two)]
    for kind in (*KINDS, "early"):
        one, two = (losses_of(tmp_path / name / kind) for name in ("one", "two"))
        assert one == pytest.approx(two, abs=2e-4)
    tuned = load_file(tmp_path / "two" / "both" / "passage-tuned.safetensors")
    learned = max(abs(tensor).max() for name, tensor in tuned.items() if name.startswith("b."))
    assert learned > 1e-5, "what starts at zero has moved"


def losses_of(folder: Path) -> list[float]:
    """The losses of a ranker's training, as its card has them."""
    cards = [json.loads(file.read_text()) for file in folder.glob("*.json")]
    (made_of,) = [card["made_of"] for card in cards if "made_of" in card]
    return made_of["losses"]


ENCODER, VECTORS = HashEncoder(), np.eye(4, dtype=np.float32)
QUERIES = LabelledQueries(VECTORS[:1], [[0]], np.zeros(1, dtype=np.int64))
ALONE = {
    "a static encoder": lambda out: distill(["a", "b"], ENCODER),
    "a rotation of vectors": lambda out: learn_rotation(VECTORS, QUERIES),
    "a router of shards": lambda out: learn_router(VECTORS, QUERIES),
    "what proposes passages by their ids": lambda out: learn_semantic_ids(VECTORS, QUERIES),
    "what scores mean": lambda out: calibrate_scores(out, [], encoder=ENCODER),
    "what walks relations": lambda out: train_relations(
        out, [], out, config=RelationConfig(), encoder=ENCODER, policy=Policy.shipped()
    ),
    "a policy that learns from feedback": lambda out: learn_from_use(
        Store(out / "a.db", encoder=ENCODER), Policy.shipped(), out, encoder=ENCODER
    ),
}


@pytest.mark.parametrize("what", ALONE)
def test_what_each_process_would_train_alone_is_refused_by_name(tmp_path, what, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=f"{what} is trained in one process, got 2 of torchrun"):
        ALONE[what](tmp_path)


def test_what_trains_alone_refuses_torchrun(tmp_path: Path, corpus, monkeypatch, capsys) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    argv = ["encoder", "distill", "--corpus", str(corpus), "--out", str(tmp_path / "x")]
    assert main([*argv, "--encoder", "none"]) == 1
    assert "is trained in one process, got 2 of torchrun" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
