"""Pictures of a training hold what its card says."""

from __future__ import annotations

import json
import re

import pytest

from hoptrail import InputError
from hoptrail.errors import FormatError
from hoptrail.evaluation.training_curves import plot_training
from hoptrail.policies.networks.frozen_policy import SETTINGS, SHIPPED


def test_each_stage_has_a_row_and_each_of_its_figures_a_picture(tmp_path) -> None:
    card = json.loads((SHIPPED / SETTINGS).read_text(encoding="utf-8"))["card"]
    plot_training(card, tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    titles = set(re.findall(r"<!-- (.+: .+) -->", text))
    assert titles == {
        f"{row['stage']}: {name}"
        for row in card["curves"]
        for name in row
        if name not in ("network", "stage", "epoch")
    }
    plot_training(card, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_card_without_curves_and_a_file_that_cannot_be_written_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="no curves"):
        plot_training({"objective": "imitation"}, tmp_path / "curves.png")
    rows = [{"network": 0, "stage": "imitation", "epoch": 1, "loss": 2.0}]
    with pytest.raises(FormatError):
        plot_training({"curves": rows}, tmp_path / "nowhere" / "curves.png")
