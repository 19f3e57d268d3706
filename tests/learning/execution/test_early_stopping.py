"""A training ends when what is held out is no longer read better, with the best weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hoptrail.learning.execution.early_stopping import EarlyStopping


@pytest.fixture
def layer() -> nn.Linear:
    return nn.Linear(1, 1, bias=False)


def judged(stopping: EarlyStopping, layer: nn.Linear, losses: list[float]) -> list[bool]:
    """Whether it is over after each of the losses, while the weight is the loss's number."""
    over = []
    for number, loss in enumerate(losses):
        with torch.no_grad():
            layer.weight.fill_(number)
        stopping.judge(loss)
        over.append(stopping.over)
    return over


def test_it_is_over_after_so_many_that_are_no_better_and_the_best_weights_come_back(layer) -> None:
    stopping = EarlyStopping({"layer": layer}, 2)
    assert judged(stopping, layer, [3.0, 2.0, 2.5, 1.0, 1.0, math.nan]) == [False] * 5 + [True]
    stopping.restore_best()
    assert layer.weight.item() == 3


def test_a_checkpoint_takes_the_best_weights_along(layer) -> None:
    stopping = EarlyStopping({"layer": layer}, 2)
    judged(stopping, layer, [1.0, 2.0])
    other = nn.Linear(1, 1, bias=False)
    again = EarlyStopping({"layer": other}, 2)
    for name, module in again.best_modules.items():
        module.load_state_dict(stopping.best_modules[name].state_dict())
    again.resume(stopping.describe())
    assert judged(again, other, [1.5]) == [True]
    again.restore_best()
    assert other.weight.item() == 0


def test_without_a_bound_it_is_never_over_and_the_last_weights_stay(layer) -> None:
    stopping = EarlyStopping({"layer": layer}, None)
    assert judged(stopping, layer, [1.0, 2.0, 3.0]) == [False] * 3
    stopping.restore_best()
    assert layer.weight.item() == 2
    assert stopping.best_modules == {}
