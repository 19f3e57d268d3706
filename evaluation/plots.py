"""Pictures of reports, with matplotlib from the `plots` extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hoptrail.errors import FormatError, MissingExtra
from hoptrail.outputs import output_files


def new_figure(width: float, height: float) -> Any:
    """An empty figure.

    Args:
        width: In inches.
        height: In inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("drawing needs matplotlib", "plots") from error
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: str | Path) -> None:
    """Write a figure.

    Args:
        figure: As `new_figure` gives it.
        path: The file; its suffix says the format, such as `.png` or `.svg`.

    Raises:
        FormatError: The file cannot be written.
    """
    target = output_files.output_path(path)
    try:
        figure.savefig(target, dpi=150)
    except (OSError, ValueError) as error:
        raise FormatError(f"the picture {path} cannot be written: {error}") from error
