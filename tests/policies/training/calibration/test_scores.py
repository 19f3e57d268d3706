"""Fitting calibrated scores: on walks whose truth is known, and into the folder of a policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hoptrail.errors import InputError
from hoptrail.formats.jsonl import read_questions
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.data.training_data import TrainingSet
from hoptrail.policies.networks.score_calibration import (
    PASSAGE_FEATURES,
    PREFIX_FEATURES,
    WalkFeatures,
)
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.calibration import price
from hoptrail.policies.training.calibration.scores import (
    calibrate_scores,
    fit_logistic,
    fit_scores,
    judge_scores,
)
from hoptrail.policies.training.calibration.walks import JudgedWalk

MASS = "log read mass"
DEMO = Path(__file__).resolve().parents[4] / "src" / "hoptrail" / "demo"


@pytest.fixture(autouse=True)
def _few_steps_of_stopping(monkeypatch) -> None:
    monkeypatch.setattr(price, "STEPS", 10)


def made_up(name: str, count: int, rng: np.random.Generator) -> list[JudgedWalk]:
    """Walks of ten passages, of which the read mass says how probably each is needed."""
    walks = []
    for number in range(count):
        passages = {one: rng.normal(size=10) for one in PASSAGE_FEATURES}
        answerable = number % 2 == 0
        passages[MASS] = np.sort(rng.normal(size=10))[::-1] + (0.0 if answerable else -3.0)
        needed = rng.random(10) < 1 / (1 + np.exp(1 - 2 * passages[MASS]))
        prefixes = {one: np.zeros(10) for one in PREFIX_FEATURES}
        last = np.flatnonzero(needed).max(initial=-1)
        suffices = answerable & (np.arange(10) >= last)
        walks.append(
            JudgedWalk(
                name,
                WalkFeatures(passages, prefixes),
                needed,
                suffices,
                answerable,
                int(needed.sum()) if answerable else 0,
            )
        )
    return walks


def test_what_is_stated_comes_true_on_a_set_that_was_left_out() -> None:
    rng = np.random.default_rng(0)
    walks = [walk for name in "abc" for walk in made_up(name, 120, rng)]
    scores = fit_scores(walks)
    assert scores.fit["answerable"] == scores.fit["unanswerable"] == 180
    assert set(scores.fit["left_out"]) == set("abc")
    for figures in scores.fit["left_out"].values():
        assert figures["needed_error"] < 0.08
        assert figures["answerable_auroc"] > 0.85
        assert figures["complete_error_of_all"] < 0.08  # a share of them cannot be answered
    assert judge_scores(scores, made_up("d", 120, rng))["needed_error"] < 0.08


def test_a_weight_against_its_direction_is_none() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=400)
    true = rng.random(400) < 1 / (1 + np.exp(-2 * x))
    forwards = fit_logistic([({"x": x}, true, 1.0)], {"x": 1})
    assert forwards.weights["x"] == pytest.approx(2.0, rel=0.25)
    assert fit_logistic([({"x": x}, true, 1.0)], {"x": -1}).weights["x"] == 0.0


def test_what_nothing_can_be_learned_from_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="none is needed"):
        fit_logistic([({"x": np.zeros(3)}, np.zeros(3, bool), 1.0)], {"x": 1})
    with pytest.raises(InputError, match="at least one corpus"):
        calibrate_scores(tmp_path, [], encoder=HashEncoder())


def test_calibrating_changes_what_a_policy_states_and_not_what_it_decides(
    tmp_path, random_policy
) -> None:
    folder = tmp_path / "policy"
    policy = random_policy(2)
    policy.save(folder, readme=None)
    assert Policy.load(folder).scores is None
    corpus, questions = DEMO / "corpus.jsonl", DEMO / "questions.jsonl"
    fit = calibrate_scores(
        folder, [TrainingSet(corpus, questions)], encoder=HashEncoder(), questions=12, effort="fast"
    )
    # Half as many are asked of small memories again.
    whole, small = min(12, len(read_questions(questions))), 6
    assert fit["answerable"] == fit["unanswerable"] == whole + small
    loaded = Policy.load(folder)
    assert loaded.scores is not None
    assert loaded.fingerprint == policy.fingerprint == fit["policy"]
    assert f"calibrated on {whole + small} questions" in (folder / "README.md").read_text(
        encoding="utf-8"
    )
