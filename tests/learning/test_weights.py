"""Policies out of files: what is none is refused in one sentence, before it costs anything."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hoptrail.errors import PolicyError
from hoptrail.policies.networks.frozen_policy import SETTINGS, SHIPPED, WEIGHTS
from hoptrail.policies.networks.relation_network import RelationScorer
from hoptrail.policies.networks.relation_scorer import FILE
from hoptrail.policies.policy import Policy
from hoptrail.policies.reformulation.learned import FILE as REFORMULATOR
from hoptrail.policies.training.checkpoint import TENSORS, Checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "policy"
    found.mkdir()
    for name in (WEIGHTS, SETTINGS, REFORMULATOR):
        shutil.copy(SHIPPED / name, found / name)
    return found


def settings_with(**changes: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        found = json.loads((folder / SETTINGS).read_text())
        for name, value in changes.items():
            inside, _, key = name.rpartition("__")
            (found[inside] if inside else found)[key] = value
        (folder / SETTINGS).write_text(json.dumps(found))

    return change


def weights_with(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS)

    return write


def every(value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda weights: weights.update(
        {k: torch.full_like(v, value) for k, v in weights.items()}
    )


def one(value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda weights: weights["members.0.score.0.weight"].view(-1)[:1].fill_(value)


SPOILED: dict[str, Callable[[Path], object]] = {
    "huge width": settings_with(network__width=10**9),
    "a width that fits no number": settings_with(network__width=10**40),
    "many layers": settings_with(network__layers=10**9),
    "many networks": settings_with(networks=10**9),
    "negative width": settings_with(network__width=-1),
    "no network": settings_with(networks=0),
    "a width in words": settings_with(network__width="64"),
    "a broken width": settings_with(network__width=64.5),
    "true": settings_with(networks=True),
    "nothing": settings_with(network=None),
    "an unknown key": settings_with(network__depth=3),
    "dropout that is no number": settings_with(network__dropout=float("nan")),
    "a weight that is no number": settings_with(rerank_weight=float("nan")),
    "a weight in words": settings_with(rerank_weight="much"),
    "a weight that no float can hold": settings_with(rerank_weight=10**400),
    "columns of numbers": settings_with(columns=[1, 2]),
    "the same column twice": settings_with(columns=["dense", "dense"]),
    "a card that is a list": settings_with(card=[1]),
    "another width": settings_with(network__width=32),
    "one network less": settings_with(networks=1),
    "settings that are a list": lambda f: (f / SETTINGS).write_text("[]"),
    "settings cut short": lambda f: (f / SETTINGS).write_text("{"),
    "settings that are deep": lambda f: (f / SETTINGS).write_text("[" * 100_000),
    "settings in no text": lambda f: (f / SETTINGS).write_bytes(b"\xff\xfe"),
    "settings that lead nowhere": lambda f: _loop(f / SETTINGS),
    "no settings": lambda f: (f / SETTINGS).unlink(),
    "no weights": lambda f: (f / WEIGHTS).unlink(),
    "weights that lead nowhere": lambda f: _loop(f / WEIGHTS),
    "weights cut short": lambda f: os.truncate(f / WEIGHTS, 1000),
    "no bytes": lambda f: os.truncate(f / WEIGHTS, 0),
    "a header of 2^60": lambda f: (f / WEIGHTS).write_bytes(struct.pack("<Q", 1 << 60) + b"{}"),
    "a pickle": lambda f: torch.save({"a": torch.zeros(2)}, f / WEIGHTS),
    "NaN": weights_with(every(float("nan"))),
    "infinite": weights_with(every(float("inf"))),
    "one NaN": weights_with(one(float("nan"))),
    "one infinite": weights_with(one(float("-inf"))),
    "so large that sums are infinite": weights_with(one(3e38)),
    "whole numbers": weights_with(lambda w: w.update({k: v.long() for k, v in w.items()})),
    "double precision": weights_with(lambda w: w.update({k: v.double() for k, v in w.items()})),
    "another shape": weights_with(lambda w: w.update({"members.0.mean": torch.zeros(1)})),
    "one too many": weights_with(lambda w: w.update(more=torch.zeros(1))),
    "one too few": weights_with(lambda w: w.pop("members.0.mean")),
    "a scale of 0": weights_with(lambda w: w["members.0.scale"].zero_()),
    "a scorer cut short": lambda f: (f / FILE).write_bytes(b"no"),
    "a scorer that leads nowhere": lambda f: _loop(f / FILE),
    "a huge scorer": lambda f: _scorer(f, dim=10**9),
    "a scorer in words": lambda f: _scorer(f, dim="8"),
    "a scorer of NaN": lambda f: _scorer(f, value=float("nan")),
}


def _loop(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.symlink_to(file.name)


def _scorer(folder: Path, dim: object = 8, value: float = 0.0) -> None:
    weights = {k: torch.full_like(v, value) for k, v in RelationScorer("e", 8).state_dict().items()}
    about = {"encoder": "e", "dim": dim, "width": 128}
    save_file(weights, folder / FILE, metadata={"scorer": json.dumps(about)})


@pytest.mark.parametrize("what", SPOILED)
def test_what_is_no_policy_is_refused_in_one_sentence(folder: Path, what: str) -> None:
    SPOILED[what](folder)
    with pytest.raises(PolicyError) as caught:
        Policy.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_one_is_loaded_as_it_was(folder: Path) -> None:
    assert Policy.load(folder).fingerprint == Policy.shipped().fingerprint


def test_a_checkpoint_that_is_damaged_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, {"seed": 1})
    network = torch.nn.Linear(2, 2)
    checkpoint.save({"epoch": 1}, {"a": network}, None)
    loaded = checkpoint.load()
    assert loaded is not None
    with pytest.raises(PolicyError, match="damaged"):
        checkpoint.restore(loaded[1], {"a": torch.nn.Linear(3, 3)}, None)
    with torch.no_grad():
        network.weight.fill_(float("nan"))
    checkpoint.save({"epoch": 1}, {"a": network}, None)
    with pytest.raises(PolicyError, match="not finite"):
        checkpoint.load()
    save_file({"a": torch.zeros(1)}, tmp_path / TENSORS)
    with pytest.raises(PolicyError, match="damaged"):
        checkpoint.load()
