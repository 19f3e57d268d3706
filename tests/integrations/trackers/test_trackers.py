"""What trackers are told: by the real libraries, read back as their own tools read it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from hoptrail.errors import ConfigError
from hoptrail.integrations import TrackedProgress, load_tracker
from hoptrail.integrations.trackers.tracker import POINTS, measured_figures

CARD = {
    "config": {"rate": 0.1},
    "curves": [{"epoch": 1, "loss": 0.5}],
    "dev": [{"questions": "a/qa.jsonl", "recall@5": 0.75, "sha256": "ab"}],
    "joint": {"weight": 0.2},
}


class Notes:
    """A tracker of a user's own: a list."""

    def __init__(self, *, fails: str = "") -> None:
        self.lines: list[tuple[str, object]] = []
        self.fails = fails

    def start(self, settings) -> None:
        self._note("start", settings)

    def log(self, figures, step) -> None:
        self._note("log", (step, figures))

    def finish(self, card) -> None:
        self._note("finish", card)

    def _note(self, method: str, value: object) -> None:
        if method == self.fails:
            raise OSError(f"no space left to {method}")
        self.lines.append((method, value))


def follow_training(tracker, progress=None) -> None:
    """Two epochs of two steps, and a card."""
    hand_on = progress or (lambda *_: None)
    with TrackedProgress(tracker, {"seed": 3, "network": {"width": 8}}, hand_on) as steps:
        steps("index corpus", 1, 1, {})
        for epoch in (1, 2):
            for step in (1, 2):
                steps(f"imitation, network 1, epoch {epoch}", step, 2, {"loss": 1 / (epoch * step)})
        steps.keep_card(CARD)


def test_a_run_begins_with_settings_and_ends_with_figures_and_the_card() -> None:
    notes = Notes()
    heard = []
    follow_training(notes, lambda *call: heard.append(call))
    assert notes.lines[0] == ("start", {"seed": 3, "network": {"width": 8}})
    logged = [value for method, value in notes.lines if method == "log"]
    name = "imitation/network 1/loss"  # one curve, whatever the epoch
    assert logged[:4] == [(1, {name: 1.0}), (2, {name: 0.5}), (3, {name: 0.5}), (4, {name: 0.25})]
    assert logged[4] == (5, {"dev/a/qa.jsonl/recall@5": 0.75, "joint/weight": 0.2})
    assert notes.lines[-1] == ("finish", CARD)
    assert len(heard) == 5, "whoever else is told of progress hears all of it"


def test_an_error_ends_the_run_as_failed() -> None:
    notes = Notes()
    with pytest.raises(ZeroDivisionError), TrackedProgress(notes, {}) as steps:
        steps.keep_card(CARD)
        raise ZeroDivisionError
    assert notes.lines[1:] == [("finish", None)]


def test_a_long_stage_gives_a_bounded_number_of_points_and_its_last() -> None:
    notes = Notes()
    total = 10 * POINTS + 3
    with TrackedProgress(notes, {}) as steps:
        for step in range(total):
            steps("fitting", step + 1, total, {"loss": float("nan") if step == 0 else 1.0})
    logged = [value for method, value in notes.lines if method == "log"]
    assert POINTS <= len(logged) <= POINTS + 2
    assert logged[-1][0] == total


def test_a_tracker_that_fails_on_the_way_costs_a_warning_and_not_the_training(caplog) -> None:
    notes = Notes(fails="log")
    follow_training(notes)
    assert [method for method, _ in notes.lines] == ["start"]
    assert [r.getMessage() for r in caplog.records] == [
        "the tracker failed and is told no more: no space left to log"
    ]
    with (
        pytest.raises(ConfigError, match=r"cannot begin a run: no space left to start"),
        TrackedProgress(Notes(fails="start"), {}),
    ):
        pass


def test_figures_of_a_card_are_numbers_by_the_way_to_them() -> None:
    nested = {"dev": {"before": {"f1": 1}, "after": None}, "warnings": ["x"], "ok": True, "sets": 3}
    assert measured_figures(nested) == {"dev/before/f1": 1.0}


def test_tensorboard_reads_the_curve_the_figures_and_the_card(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    follow_training(load_tracker(f"tensorboard:{tmp_path}", "my-policy"))
    [run] = tmp_path.iterdir()
    assert run.name.startswith("my-policy-")
    events = EventAccumulator(str(run))
    events.Reload()
    curve = events.Scalars("imitation/network 1/loss")
    assert [(point.step, point.value) for point in curve] == [
        (1, 1.0),
        (2, 0.5),
        (3, 0.5),
        (4, 0.25),
    ]
    assert events.Scalars("dev/a/qa.jsonl/recall@5")[0].value == 0.75
    [text] = events.Tensors("card/text_summary")
    [spelled] = text.tensor_proto.string_val
    assert json.loads(spelled.decode().strip("`").removeprefix("json")) == CARD


@pytest.mark.filterwarnings("default")
def test_trackio_has_the_curve_in_its_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    pytest.importorskip("trackio", reason="its own dependencies are many: not installed by `dev`")
    follow_training(load_tracker("trackio:ships", "my-policy"))
    with sqlite3.connect(tmp_path / "ships.db") as file:
        rows = [json.loads(row[0]) for row in file.execute("select metrics from metrics")]
    assert [r["imitation/network 1/loss"] for r in rows if "imitation/network 1/loss" in r] == [
        1.0,
        0.5,
        0.5,
        0.25,
    ]
    assert CARD in [row.get("card") for row in rows]


@pytest.mark.filterwarnings("default")
def test_mlflow_has_the_curve_the_parameters_and_the_card(tmp_path: Path, monkeypatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="its own dependencies are many")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"file:{tmp_path}/mlruns")
    follow_training(load_tracker("mlflow:ships", "my-policy"))
    client = mlflow.MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name("ships").experiment_id])
    assert run.data.params == {"seed": "3", "network.width": "8"}
    curve = client.get_metric_history(run.info.run_id, "imitation/network 1/loss")
    assert [point.value for point in curve] == [1.0, 0.5, 0.5, 0.25]
    assert run.data.metrics["dev/a/qa.jsonl/recall_5"] == 0.75
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/card.json") == CARD
    assert run.info.status == "FINISHED"


def test_a_name_that_no_tracker_has_and_a_library_that_is_missing_are_said(monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"unknown tracker 'board': choose from tensorboard,"):
        load_tracker("board", "run")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'hoptrail\[tensorboard\]'"):
        load_tracker("tensorboard", "run")
    with pytest.raises(ConfigError, match=r"pip install 'wandb'"):
        load_tracker("wandb", "run")
