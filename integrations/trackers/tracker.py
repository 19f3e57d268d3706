"""What a tracker is, and how the progress of a training becomes what it is told.

Every training of hoptrail reports its progress by one kind of call (`TrainingProgress`), and ends
with a card. A `TrackedProgress` stands between: it hands every call on, and tells the tracker the
settings before, the figures on the way, and the card after.
A tracker that fails on the way is named in a warning and told no more: it is no reason to lose what
is being trained.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from hoptrail.errors import ConfigError
from hoptrail.values.progress import TrainingProgress, silent

_logger = logging.getLogger(__name__)
POINTS = 500
"""Points of a curve that one stage gives, about: a tracker that is a service takes its time."""
NOT_MEASURED = frozenset({"config", "curve", "curves", "seed", "sets"})
"""What numbers of a card say nothing of how good its subject is, or have been told on the way."""
_EPOCH = re.compile(r",? epoch (\d+)$")


class Tracker(Protocol):
    """Where the runs of trainings are kept and compared; one object is one run."""

    def start(self, settings: Mapping[str, Any]) -> None:
        """Begin the run.

        Args:
            settings: The configuration, as JSON has it.
        """

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Put down figures of a moment.

        Args:
            figures: By names whose parts are divided by slashes; all are finite.
            step: Which moment; it rises from call to call.
        """

    def finish(self, card: Mapping[str, Any] | None) -> None:
        """End the run.

        Args:
            card: What is known of the result, as JSON has it; None where the training failed.
        """


class TrackedProgress:
    """The progress of a training, told to a tracker as well.

    Use it as a context: the run begins and ends with it, as failed if an error leaves it.

    Args:
        tracker: Whom to tell; None for nobody.
        settings: The configuration, as JSON has it.
        progress: Who is told of every call besides.
    """

    def __init__(
        self,
        tracker: Tracker | None,
        settings: Mapping[str, Any],
        progress: TrainingProgress = silent,
    ) -> None:
        self._tracker, self._settings, self._progress = tracker, settings, progress
        self._step = 0
        self._card: Mapping[str, Any] | None = None

    def __enter__(self) -> TrackedProgress:
        """Begin the run.

        Raises:
            ConfigError: The tracker cannot begin it, and says why.
        """
        if self._tracker is not None:
            try:
                self._tracker.start(self._settings)
            except Exception as error:  # whatever its library raises
                raise ConfigError(f"the tracker cannot begin a run: {error}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if self._card is not None:
                self._tell("log", measured_figures(self._card), self._step + 1)
            self._tell("finish", self._card or {})
        else:
            self._tell("finish", None)

    def __call__(
        self, stage: str, done: int, total: int, figures: Mapping[str, float] | None = None
    ) -> None:
        """Tell of a step; as `TrainingProgress` says."""
        self._progress(stage, done, total, figures or {})
        if not figures:
            return
        self._step += 1
        if done < total and done % max(1, total // POINTS):
            return
        # The epochs of a stage are one curve.
        name = _EPOCH.sub("", stage).replace(", ", "/")
        values = {f"{name}/{key}": float(value) for key, value in figures.items()}
        self._tell("log", {k: v for k, v in values.items() if math.isfinite(v)}, self._step)

    def _tell(self, method: str, *arguments: Any) -> None:
        """Call a method of the tracker, unless it has failed before."""
        if self._tracker is None:
            return
        try:
            getattr(self._tracker, method)(*arguments)
        except Exception as error:  # whatever its library raises
            self._tracker = None
            _logger.warning("the tracker failed and is told no more: %s", error)

    def keep_card(self, card: Mapping[str, Any]) -> None:
        """Remember the card, which the tracker is told at the end.

        Args:
            card: What is known of the result, as JSON has it.
        """
        self._card = card


def measured_figures(card: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a card: how good what was trained is, by names like `dev/qa.jsonl/recall@5`.

    Args:
        card: As a training returns it.
    """
    measured = {key: value for key, value in card.items() if key not in NOT_MEASURED}
    return dict(_numbers(measured, ""))


def _numbers(value: object, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(part, f"{name}/{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            own = part.get("questions") if isinstance(part, Mapping) else None
            rest = {k: v for k, v in part.items() if k != "questions"} if own else part
            yield from _numbers(rest, f"{name}/{own if isinstance(own, str) else place}")
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield name, float(value)
