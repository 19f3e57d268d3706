"""Up to which price each passage of a ranking is read."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.policies.networks.stopping_policy import (
    NEXT,
    PRICE_FEATURES,
    PRICED,
    SUFFICES,
    StoppingPolicy,
    price_columns,
)
from hoptrail.policies.policy import Policy

PROBABILITIES = np.asarray([0.9, 0.8, 0.2, 0.1])
COMPLETE = np.asarray([0.1, 0.5, 0.6, 0.7])
RULE = StoppingPolicy({}, 0.0, 1.0)


def test_without_weights_a_passage_is_read_up_to_the_share_that_it_is_expected_to_bring() -> None:
    assert RULE.prices(PROBABILITIES, COMPLETE) == pytest.approx([np.inf, 0.4, 0.1, 0.05])
    assert not len(RULE.prices(np.zeros(0), np.zeros(0)))


def test_weights_and_the_intercept_move_the_prices() -> None:
    dearer = StoppingPolicy({}, np.log(2), 1.0)
    assert dearer.prices(PROBABILITIES, COMPLETE)[1:] == pytest.approx([0.8, 0.2, 0.1])
    surer = StoppingPolicy({SUFFICES: -1.0}, 0.0, 1.0)
    # Odds of 1/9, 1 and 3/2 that what was read suffices.
    assert surer.prices(PROBABILITIES, COMPLETE)[1:] == pytest.approx([3.6, 0.1, 0.1 / 3])


def test_whoever_pays_less_never_reads_less() -> None:
    rising = StoppingPolicy({NEXT: -3.0}, 0.0, 1.0)
    prices = rising.prices(PROBABILITIES, COMPLETE)
    assert (np.diff(prices[1:]) <= 0).all()
    assert prices[0] == np.inf


def test_what_lies_behind_the_first_passages_does_not_change_their_prices() -> None:
    long = np.linspace(0.9, 0.01, 2 * PRICED)
    complete = np.linspace(0.1, 0.9, 2 * PRICED)
    near = RULE.prices(long[:PRICED], complete[:PRICED])
    assert RULE.prices(long, complete)[:PRICED] == pytest.approx(near)
    assert set(price_columns(long, complete)) == set(PRICE_FEATURES)


def test_it_is_read_as_it_was_written_and_nothing_else_is() -> None:
    learned = StoppingPolicy({NEXT: 0.5}, -0.25, 3.0)
    assert StoppingPolicy.parse(learned.describe()) == learned
    good = learned.describe()
    for wrong, complaint in (
        ("x", "version"),
        ({**good, "version": 2}, "version"),
        ({**good, "weights": [1]}, "by name"),
        ({**good, "weights": {"unheard of": 1.0}}, "'unheard of'"),
        ({**good, "intercept": None}, "intercept"),
        ({**good, "slope": 0.0}, "slope"),
    ):
        with pytest.raises(ValueError, match=complaint):
            StoppingPolicy.parse(wrong)


def test_the_shipped_policy_has_learned_when_to_stop() -> None:
    scores = Policy.shipped().scores
    assert scores is not None
    assert scores.stopping is not None
    assert set(scores.stopping.weights) == set(PRICE_FEATURES)
