"""Learning when to stop: on walks whose best stopping time is known."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import InputError
from hoptrail.policies.networks.score_calibration import (
    PASSAGE_FEATURES,
    PREFIX_FEATURES,
    LogisticModel,
    ScoreCalibration,
    WalkFeatures,
)
from hoptrail.policies.networks.stopping_policy import StoppingPolicy
from hoptrail.policies.training.calibration import price
from hoptrail.policies.training.calibration.price import fit_stopping, reading_gain
from hoptrail.policies.training.calibration.walks import JudgedWalk

MASS = "log read mass"
RULE = StoppingPolicy({}, 0.0, 1.0)


def walks(count: int, rng: np.random.Generator, *, stated: float = 1.0) -> list[JudgedWalk]:
    """Rankings of eight, of which the first few are needed: the read mass says how many."""
    out = []
    for _ in range(count):
        needed = np.arange(8) < rng.integers(1, 6)
        passages = {one: np.zeros(8) for one in PASSAGE_FEATURES}
        passages[MASS] = stated * np.where(needed, 3.0, -5.0)
        prefixes = {one: np.zeros(8) for one in PREFIX_FEATURES}
        suffices = np.cumsum(needed) == needed.sum()
        features = WalkFeatures(passages, prefixes)
        out.append(JudgedWalk("a", features, needed, suffices, True, int(needed.sum())))
    return out


@pytest.fixture
def scores() -> ScoreCalibration:
    return ScoreCalibration(LogisticModel({MASS: 1.0}, 0.0), LogisticModel({}, 0.0))


def test_it_reads_more_of_the_evidence_than_a_fixed_number(monkeypatch, scores) -> None:
    monkeypatch.setattr(price, "STEPS", 50)
    rng = np.random.default_rng(0)
    learned = fit_stopping(walks(60, rng), scores, seed=0)
    unseen = walks(60, rng)
    assert reading_gain(unseen, scores, learned) > 0.1
    backwards = StoppingPolicy({"log probability of the next passage": -3.0}, 0.0, 1.0)
    assert reading_gain(unseen, scores, backwards) < reading_gain(unseen, scores, learned)


def test_it_learns_how_far_probabilities_can_be_trusted(monkeypatch, scores) -> None:
    """Stated three in four times too low, they are worth more than they say."""
    monkeypatch.setattr(price, "STEPS", 150)
    rng = np.random.default_rng(1)
    shy = walks(60, rng, stated=0.2)
    learned = fit_stopping(shy, scores, seed=0)

    def earned(policy: StoppingPolicy) -> float:
        total = 0.0
        for walk in shy:
            probabilities = scores.probabilities(walk.features)
            complete = scores.completeness(walk.features, probabilities)
            count = int((policy.prices(probabilities, complete) * 10 >= 1).sum())
            total += walk.needed[:count].sum() / walk.evidence - count / 10
        return total / len(shy)

    assert earned(learned) > earned(RULE) + 0.02


def test_the_seed_decides_what_is_learned(monkeypatch, scores) -> None:
    monkeypatch.setattr(price, "STEPS", 20)
    some = walks(20, np.random.default_rng(2))
    assert fit_stopping(some, scores, seed=3) == fit_stopping(some, scores, seed=3)
    assert fit_stopping(some, scores, seed=3) != fit_stopping(some, scores, seed=4)


def test_walks_that_say_nothing_are_refused(scores) -> None:
    with pytest.raises(InputError, match="two passages or more"):
        fit_stopping([], scores, seed=0)
    with pytest.raises(InputError, match="can be answered"):
        reading_gain([], scores, RULE)
