"""When a training has learned what it can: the loss of what is held out no longer falls."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hoptrail.errors import ConfigError


@contextmanager
def at_rest(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let modules be judged: nothing is dropped out, no gradient is kept; then they go on.

    Args:
        modules: What is trained.
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


def require_judges(count: int, stop_after: int | None) -> None:
    """Refuse to end early by what is held out where nothing is.

    Args:
        count: Questions that are held out.
        stop_after: As `EarlyStopping` takes it.

    Raises:
        ConfigError: There is none, and training should end early.
    """
    if stop_after is not None and not count:
        raise ConfigError(
            f"stop_after is {stop_after}, and no question is held out to judge by: give more "
            "questions, or a larger held_out"
        )


class EarlyStopping:
    """The weights that did best on what is held out, and whether others have long done no better.

    Prechelt 1998, "Early stopping - but when?", compares this with other criteria.

    Args:
        modules: What is trained, by name.
        stop_after: Judgements in a row without a better loss after which it is enough; None never
            to stop, and to keep the last weights rather than the best.

    Attributes:
        best_modules: Copies with the best weights so far, by the names of a checkpoint; none where
            it never stops.
    """

    def __init__(self, modules: Mapping[str, nn.Module], stop_after: int | None) -> None:
        self._modules, self._stop_after = dict(modules), stop_after
        self._best_loss, self._since = math.inf, 0
        copies = {} if stop_after is None else {n: copy.deepcopy(m) for n, m in modules.items()}
        self.best_modules = {f"best.{name}": module for name, module in copies.items()}

    @property
    def over(self) -> bool:
        """Whether the last `stop_after` judgements brought nothing better."""
        return self._stop_after is not None and self._since >= self._stop_after

    def judge(self, loss: float) -> None:
        """Compare the weights as they are with the best ones; they are kept if they are better.

        Args:
            loss: Of what is held out.
        """
        if not loss < self._best_loss:  # one that is no number is no better
            self._since += 1
            return
        self._best_loss, self._since = loss, 0
        for name, module in self.best_modules.items():
            module.load_state_dict(self._modules[name.removeprefix("best.")].state_dict())

    def restore_best(self) -> None:
        """Give what is trained the best weights that were judged; nothing where none were."""
        if math.isinf(self._best_loss):
            return
        for name, module in self.best_modules.items():
            self._modules[name.removeprefix("best.")].load_state_dict(module.state_dict())

    def describe(self) -> dict[str, Any]:
        """Where it stands, for a checkpoint beside `best_modules`."""
        best = None if math.isinf(self._best_loss) else self._best_loss
        return {"best_loss": best, "since_best": self._since}

    def resume(self, place: Mapping[str, Any]) -> None:
        """Go on from where a checkpoint left it.

        Args:
            place: With what `describe` said.
        """
        best = place["best_loss"]
        self._best_loss, self._since = math.inf if best is None else best, place["since_best"]
