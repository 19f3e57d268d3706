"""Who is told how far something is: functions of a caller's, called as it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

StageProgress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

Figures = dict[str, float]
"""What a step of a training shows of itself, by name."""

TrainingProgress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with (stage, done, total, figures): the means of a stage so far, by name."""


def silent(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """Progress of a training that nobody watches."""
