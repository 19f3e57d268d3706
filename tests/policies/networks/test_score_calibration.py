"""Calibrated scores: probabilities that never rise along a ranking, and survive their file."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from hoptrail.errors import PolicyError
from hoptrail.policies.networks.score_calibration import (
    COMPLETE_FEATURES,
    PASSAGE_FEATURES,
    PREFIX_FEATURES,
    LogisticModel,
    ScoreCalibration,
    WalkFeatures,
    not_rising,
)
from hoptrail.policies.policy import Policy

CALIBRATION = ScoreCalibration(
    LogisticModel({name: float(sign) for name, sign in PASSAGE_FEATURES.items()}, 1.0),
    LogisticModel({name: float(sign) for name, sign in COMPLETE_FEATURES.items()}, -1.0),
)


def ranking(count: int, seed: int = 0) -> WalkFeatures:
    rng = np.random.default_rng(seed)
    return WalkFeatures(
        {name: rng.normal(size=count) for name in PASSAGE_FEATURES},
        {name: np.sort(rng.normal(size=count)) for name in PREFIX_FEATURES},
    )


def test_along_a_ranking_needed_never_rises_and_complete_never_falls() -> None:
    for seed in range(5):
        features = ranking(30, seed)
        needed = CALIBRATION.probabilities(features)
        complete = CALIBRATION.completeness(features, needed)
        assert (np.diff(needed) <= 1e-12).all()
        assert (np.diff(complete) >= 0).all()
        assert ((needed > 0) & (needed < 1) & (complete > 0) & (complete < 1)).all()


def test_as_many_are_needed_after_pooling_as_before() -> None:
    values = np.asarray([0.2, 0.6, 0.1, 0.3, 0.05])
    np.testing.assert_allclose(not_rising(values), [0.4, 0.4, 0.2, 0.2, 0.05])
    assert not_rising(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("name", PASSAGE_FEATURES)
def test_a_feature_speaks_in_its_direction_alone(name) -> None:
    features = ranking(8)
    more = {**features.passages, name: features.passages[name] + PASSAGE_FEATURES[name]}
    rise = CALIBRATION.needed.probability(more) - CALIBRATION.needed.probability(features.passages)
    assert (rise > 0).all()


def test_a_policy_keeps_its_calibration_and_decides_as_before(tmp_path, random_policy) -> None:
    policy = random_policy(1)
    policy.scores = CALIBRATION
    policy.save(tmp_path / "p")
    loaded = Policy.load(tmp_path / "p")
    assert loaded.scores == CALIBRATION
    assert loaded.first(1).scores == CALIBRATION
    assert loaded.fingerprint == random_policy(1).fingerprint


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (("version",), 2, "version"),
        (("needed", "weights", "log read mass"), "much", "finite"),
        (("complete", "weights", "the weather"), 1.0, "the weather"),
        (("needed",), None, "weights by name"),
    ],
)
def test_a_calibration_that_is_none_is_refused(
    tmp_path, random_policy, place, value, complaint
) -> None:
    policy = random_policy(1)
    policy.scores = CALIBRATION
    policy.save(tmp_path)
    settings = json.loads((tmp_path / "policy.json").read_text())
    inner = settings["scores"]
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = copy.copy(value)
    (tmp_path / "policy.json").write_text(json.dumps(settings))
    with pytest.raises(PolicyError, match=complaint):
        Policy.load(tmp_path)
