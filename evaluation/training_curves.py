"""How a training went, drawn: what each stage showed of itself, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from hoptrail.errors import InputError
from hoptrail.evaluation.plots import new_figure, save_figure

_PLACE = ("network", "stage", "epoch")
"""What says where a row of a card's curves belongs; the rest are figures."""


def plot_training(card: Mapping[str, Any], path: str | Path) -> None:
    """Draw the curves of a policy's card: a row for each stage, a column for each of its figures.

    A line is one network, and its points are the means of its epochs.

    Args:
        card: As `train` returns it, or a policy's `card`.
        path: The file; its suffix says the format, such as `.png` or `.svg`.

    Raises:
        InputError: The card tells of no epoch.
        MissingExtra: matplotlib is not installed.
        FormatError: The file cannot be written.
    """
    curves: Sequence[Mapping[str, Any]] = card.get("curves") or ()
    if not curves:
        raise InputError(
            "this card has no curves: `hoptrail train questions` writes cards with some"
        )
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for row in curves:
        stages.setdefault(row["stage"], []).append(row)
    figures = {
        stage: [name for name in dict.fromkeys(chain(*rows)) if name not in _PLACE]
        for stage, rows in stages.items()
    }
    columns = max(map(len, figures.values()))
    picture = new_figure(3.0 * columns, 2.2 * len(stages))
    for line, (stage, names) in enumerate(figures.items()):
        for column, name in enumerate(names):
            axes = picture.add_subplot(len(stages), columns, line * columns + column + 1)
            _draw([row for row in stages[stage] if name in row], name, axes)
            axes.set_title(f"{stage}: {name}", fontsize=9)
    save_figure(picture, path)


def _draw(rows: Sequence[Mapping[str, Any]], name: str, axes: Any) -> None:
    """A line for each network of a stage."""
    for network in dict.fromkeys(row["network"] for row in rows):
        points = [(row["epoch"], row[name]) for row in rows if row["network"] == network]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1)
    epochs = sorted({row["epoch"] for row in rows})
    axes.set_xticks(epochs if len(epochs) <= 10 else epochs[:: len(epochs) // 5])
    axes.set_xlabel("epoch", fontsize=8)
    axes.tick_params(labelsize=8)
