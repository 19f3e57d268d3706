"""The option `--tracker`, the progress of a training, and the figures that are shown at its end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hoptrail.cli.command import invocation_line
from hoptrail.cli.options import option
from hoptrail.cli.settings_file import settle_settings

if TYPE_CHECKING:
    from hoptrail.integrations.trackers.tracker import TrackedProgress

TrackerOption = Annotated[
    str | None,
    option(
        "--tracker",
        metavar="NAME[:PLACE]",
        help="show losses, figures and the card there as well: tensorboard (PLACE: a folder, "
        "default runs), trackio, wandb (a project) or mlflow (an experiment)",
    ),
]


@contextmanager
def training_progress(
    context: typer.Context,
    tracker: str | None,
    out: Path,
    settings: Mapping[str, Any],
    *,
    together: bool = False,
) -> Iterator[TrackedProgress]:
    """Progress on stderr, told to the tracker that `--tracker` names as well.

    Of several processes that train together only the first speaks.

    Args:
        context: The command's.
        tracker: What `--tracker` names, if anything.
        out: What the training writes; the run is called by its name.
        settings: The configuration.
        together: Whether the command trains over the processes that `torchrun` starts.

    Raises:
        ConfigError: The file of `--config` sets what there is not; there is no such tracker, or its
            library is not installed; or there are several processes, and each would train alone
            and write to the same place.
    """
    from hoptrail.cli.output import Steps
    from hoptrail.integrations.trackers.services import load_tracker
    from hoptrail.integrations.trackers.tracker import TrackedProgress
    from hoptrail.learning.execution.processes import is_first_process, refuse_several

    if not together:
        refuse_several("what this command makes")
    settle_settings(context, write=is_first_process())
    if not is_first_process():
        logging.disable(logging.WARNING)
        try:
            yield TrackedProgress(None, settings)
        finally:
            logging.disable(logging.NOTSET)
        return
    service = None if tracker is None else load_tracker(tracker, out.resolve().name)
    about = {"command": invocation_line(context), **settings}
    with Steps() as steps, TrackedProgress(service, about, steps) as progress:
        yield progress


def last_of_curves(curves: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The figures of the last epoch of each network and stage, in rows.

    Args:
        curves: As a policy's card has them.
    """
    last = {(curve["network"], curve["stage"]): curve for curve in curves}
    named = dict.fromkeys(name for curve in last.values() for name in curve)
    figures = [name for name in named if name not in ("network", "stage", "epoch")]
    rows = [["stage", "network", "epochs", *figures]]
    for (network, stage), curve in last.items():
        values = [f"{curve[name]:.4g}" if name in curve else "" for name in figures]
        rows.append([stage, str(network + 1), str(curve["epoch"]), *values])
    return rows


def dev_rows(sets: Sequence[dict[str, Any]]) -> list[list[str]]:
    """How a policy does on the sets that it was not trained on, in rows.

    Args:
        sets: As its card has them.
    """
    measures = [name for name in sets[0] if name.startswith("recall@")]
    rows = [["measured on", *measures]]
    rows += [[one["questions"], *(f"{100 * one[m]:.1f}" for m in measures)] for one in sets]
    return rows
