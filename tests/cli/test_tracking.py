"""`--tracker`: every command that trains has it, and event files show what it told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoptrail.cli.command import command_paths
from hoptrail.cli.main import build_command, main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder


def test_every_command_that_trains_takes_a_tracker() -> None:
    options = {
        path: {name for one in command.params for name in one.opts}
        for path, command in command_paths(build_command(), "hoptrail")
    }
    training = [
        path
        for path in options
        if path.startswith(("hoptrail train ", "hoptrail index "))
        or path in ("hoptrail encoder tune", "hoptrail encoder distill")
    ]
    assert len(training) >= 12
    assert [path for path in training if "--tracker" not in options[path]] == []


def test_a_distillation_is_shown_in_tensorboard(tmp_path: Path, corpus, monkeypatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    argv = ["encoder", "distill", "--corpus", str(corpus), "--dim", "16", "--steps", "5"]
    runs = tmp_path / "runs"
    argv += ["--out", str(tmp_path / "static"), "--tracker", f"tensorboard:{runs}"]
    assert main(argv) == 0
    [run] = runs.iterdir()
    events = EventAccumulator(str(run))
    events.Reload()
    assert run.name.startswith("static-")
    assert [point.step for point in events.Scalars("fitting/loss")] == [1, 2, 3, 4, 5]
    [settings] = events.Tensors("configuration/text_summary")[0].tensor_proto.string_val
    assert b'"steps": 5' in settings
    assert b"encoder distill" in settings
    [card] = events.Tensors("card/text_summary")[0].tensor_proto.string_val
    assert b'"teacher"' in card


def test_an_unknown_tracker_is_refused_before_anything_is_read(tmp_path, corpus, capsys) -> None:
    argv = ["encoder", "distill", "--corpus", str(corpus), "--out", str(tmp_path / "x")]
    assert main([*argv, "--encoder", "none", "--tracker", "board"]) == 1
    assert "unknown tracker 'board'" in capsys.readouterr().err
