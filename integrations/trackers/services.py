"""The trackers that are known by name, each a thin hull of its own library.

A library is imported when its run begins; which one is missing, and what brings it, is said before
anything slow is done.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hoptrail.errors import ConfigError
from hoptrail.integrations.trackers.tracker import Tracker

PROJECT = "hoptrail"
"""Where runs go that were given no other place: a project, or an experiment."""


class TensorBoardTracker:
    """Event files, which `tensorboard --logdir` shows.

    Args:
        run: The run's name: the folder of its events is called so, and by the time.
        place: The folder of all runs; `runs` by default.
    """

    def __init__(self, run: str, place: str | None = None) -> None:
        self._folder = Path(place or "runs") / f"{run}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"

    def start(self, settings: Mapping[str, Any]) -> None:
        """As `Tracker.start`; the settings are a text of the run."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(self._folder)
        self._write_text("configuration", settings)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, card: Mapping[str, Any] | None) -> None:
        """As `Tracker.finish`; the card is a text of the run."""
        if card:
            self._write_text("card", card)
        self._writer.close()

    def _write_text(self, name: str, value: Mapping[str, Any]) -> None:
        self._writer.add_text(name, f"```json\n{_spelled(value)}\n```")


class WandbTracker:
    """A run of Weights & Biases; account and mode are those of its own environment (`WANDB_…`).

    Args:
        run: The run's name.
        place: The project.
    """

    def __init__(self, run: str, place: str | None = None) -> None:
        self._name, self._project = run, place

    def start(self, settings: Mapping[str, Any]) -> None:
        """As `Tracker.start`."""
        import wandb

        # A project of None is what WANDB_PROJECT says.
        self._run = wandb.init(project=self._project, name=self._name, config=_plain(settings))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`."""
        self._run.log(dict(figures), step=step)

    def finish(self, card: Mapping[str, Any] | None) -> None:
        """As `Tracker.finish`; the card is part of the run's summary."""
        if card:
            self._run.summary["card"] = _plain(card)
        self._run.finish(exit_code=1 if card is None else 0)


class TrackioTracker:
    """A run of Trackio, on this machine or where its own environment says (`TRACKIO_…`).

    Args:
        run: The run's name; it also has the time, since a name must be new in its project.
        place: The project.
    """

    def __init__(self, run: str, place: str | None = None) -> None:
        self._name = f"{run}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        self._project = place or PROJECT

    def start(self, settings: Mapping[str, Any]) -> None:
        """As `Tracker.start`."""
        import trackio

        self._run = trackio.init(
            project=self._project, name=self._name, config=_plain(settings), embed=False
        )

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`."""
        self._run.log(dict(figures), step=step)

    def finish(self, card: Mapping[str, Any] | None) -> None:
        """As `Tracker.finish`; the card is one more entry."""
        import trackio

        if card:
            self._run.log({"card": _plain(card)})
        trackio.finish()


class MLflowTracker:
    """A run of MLflow, on the server that its own environment names (`MLFLOW_TRACKING_URI`).

    Args:
        run: The run's name.
        place: The experiment; by default MLFLOW_EXPERIMENT_NAME, or MLflow's own.
    """

    def __init__(self, run: str, place: str | None = None) -> None:
        self._name, self._experiment = run, place

    def start(self, settings: Mapping[str, Any]) -> None:
        """As `Tracker.start`; the settings are parameters of the run, those within them too."""
        import mlflow

        if self._experiment:
            mlflow.set_experiment(self._experiment)
        mlflow.start_run(run_name=self._name)
        mlflow.log_params(dict(_flat(settings)))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`; of a name's characters MLflow does not take, `_` takes the place."""
        import mlflow

        names = {re.sub(r"[^\w\-. /]", "_", name): value for name, value in figures.items()}
        mlflow.log_metrics(names, step=step)

    def finish(self, card: Mapping[str, Any] | None) -> None:
        """As `Tracker.finish`; the card is a file of the run, `card.json`."""
        import mlflow

        if card:
            mlflow.log_dict(_plain(card), "card.json")
        mlflow.end_run("FAILED" if card is None else "FINISHED")


TRACKERS: dict[str, tuple[Callable[[str, str | None], Tracker], str]] = {
    "tensorboard": (TensorBoardTracker, "hoptrail[tensorboard]"),
    "trackio": (TrackioTracker, "trackio"),
    "wandb": (WandbTracker, "wandb"),
    "mlflow": (MLflowTracker, "mlflow"),
}
"""By name, which is that of its module too, what makes the tracker and what is to be installed."""


def load_tracker(name: str, run: str) -> Tracker:
    """The tracker of a name; its run has not begun.

    Args:
        name: `tensorboard`, `trackio`, `wandb` or `mlflow`, or one of them with a colon and where
            the run belongs: a folder for TensorBoard, an experiment for MLflow, a project for
            Trackio and Weights & Biases.
        run: What the run is called.

    Raises:
        ConfigError: There is no such tracker, or its library is not installed.
    """
    kind, _, place = name.partition(":")
    if kind not in TRACKERS:
        raise ConfigError(f"unknown tracker {kind!r}: choose from {', '.join(TRACKERS)}")
    make, requirement = TRACKERS[kind]
    if importlib.util.find_spec(kind) is None:
        raise ConfigError(
            f"the tracker {kind} needs a library that is not installed: install it with  "
            f"pip install '{requirement}'"
        )
    return make(run, place or None)


def _spelled(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The value as JSON has it: paths and other objects by their names."""
    plain: dict[str, Any] = json.loads(_spelled(value))
    return plain


def _flat(value: Mapping[str, Any], name: str = "") -> dict[str, str]:
    """Settings one beside the other, those within a setting by both names."""
    flat: dict[str, str] = {}
    for key, part in value.items():
        own = f"{name}.{key}" if name else str(key)
        flat |= _flat(part, own) if isinstance(part, Mapping) else {own: str(part)}
    return flat
