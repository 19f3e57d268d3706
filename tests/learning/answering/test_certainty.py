"""How sure an answer is, fitted on what was so."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.learning.answering.certainty import Certainty, logit


def test_a_fit_says_how_often_answers_like_this_one_were_right() -> None:
    rng = np.random.default_rng(0)
    shares, nones = rng.uniform(0.05, 1, 4000), rng.uniform(0, 0.9, 4000)
    answerable = rng.random(4000) < 1 - nones
    right = answerable & (rng.random(4000) < shares)
    fit = Certainty.fit(shares, nones, answerable, right)
    for low in (0.1, 0.4, 0.7):
        part = (nones >= low) & (nones < low + 0.2)
        predicted = np.mean([fit.answerable(none) for none in nones[part]])
        assert predicted == pytest.approx(answerable[part].mean(), abs=0.06)
        part = (shares >= low) & (shares < low + 0.2)
        predicted = np.mean(
            [fit.right(s, n) for s, n in zip(shares[part], nones[part], strict=True)]
        )
        assert predicted == pytest.approx(right[part].mean(), abs=0.06)


def test_comparisons_are_as_sure_as_they_were_right() -> None:
    few = Certainty.fit([0.5, 0.9], [0.1, 0.8], [True, False], [True, False], [True] * 8)
    assert few.of_comparison == pytest.approx(0.9)


def test_a_card_keeps_it_and_another_s_is_refused() -> None:
    certainty = Certainty((0.5, 1.5), (0.1, 0.2, 0.3), 0.95, 0.4)
    assert Certainty.from_json(certainty.as_json()) == certainty
    with pytest.raises(ValueError, match="2 and 3 weights"):
        Certainty.from_json(certainty.as_json() | {"of_right": [1]})


def test_log_odds_are_finite() -> None:
    assert logit(0.5) == 0
    assert logit(0.0) == pytest.approx(-12)
    assert logit(1.0) == pytest.approx(12)
