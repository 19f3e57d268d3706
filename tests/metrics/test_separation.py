"""How well scores tell two kinds apart, against trying every pair."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import InputError
from hoptrail.metrics import auroc


def test_it_is_the_share_of_pairs_in_the_right_order_and_half_of_those_that_tie() -> None:
    rng = np.random.default_rng(0)
    scores, kind = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in scores[kind] for b in scores[~kind]]
    assert auroc(scores, kind) == pytest.approx(np.mean(pairs))
    assert auroc(-scores, kind) == pytest.approx(1 - np.mean(pairs))


@pytest.mark.parametrize(
    ("scores", "kind"), [([1.0, 2.0], [True, True]), ([1.0], [True, False]), ([np.nan, 1], [1, 0])]
)
def test_what_cannot_be_told_apart_is_refused(scores, kind) -> None:
    with pytest.raises(InputError):
        auroc(scores, kind)
