"""How much a recall returns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hoptrail.api.hit_selection import MOST, USUAL, HitSelection, expected_best
from hoptrail.errors import InputError, PolicyError
from hoptrail.types import Hit, Passage


@pytest.mark.parametrize(
    "options",
    [
        {"k": 0},
        {"k": "3"},
        {"until": 3},
        {"until": "enough"},
        {"tokens": 0},
        {"tokens": 2.5},
        {"min_score": 1.2},
        {"min_score": float("nan")},
        {"min_score": "0.5"},
        {"patience": 0},
        {"patience": -3},
        {"patience": "10"},
        {"patience": float("inf")},
        {"patience": 10, "until": "complete"},
    ],
)
def test_what_is_no_limit_is_refused_by_its_name(options) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        HitSelection.parse(**options)


def test_what_decides_says_how_many_come_back_at_most() -> None:
    assert HitSelection.parse().k == HitSelection.parse(min_score=0.1).k == USUAL
    assert HitSelection.parse(until="complete").k == HitSelection.parse(tokens=9).k == MOST
    assert HitSelection.parse(patience=9).k == MOST
    assert HitSelection.parse(2, "complete", 9).k == 2


def test_limits_hold_together() -> None:
    stated = [0.9, 0.8, 0.3, 0.05]
    assert HitSelection.parse(3).reach(4, stated) == 3
    assert HitSelection.parse(until="complete").reach(4, stated) == 2
    assert HitSelection.parse(1, "complete").reach(4, stated) == 1
    assert HitSelection.parse(min_score=0.3).reach(4, stated) == 3
    assert HitSelection.parse(min_score=0.95).reach(4, stated) == 0
    assert HitSelection.parse(until="complete", min_score=0.85).reach(4, stated) == 1


def test_reading_goes_on_while_a_passage_is_worth_its_price() -> None:
    stated, prices = [0.9, 0.8, 0.3, 0.05], [float("inf"), 0.4, 0.15, 0.02]
    lengths = {2.4: 1, 2.5: 2, 7: 3, 49: 3, 50: 4}
    for patience, length in lengths.items():
        assert HitSelection.parse(patience=patience).reach(4, stated, prices) == length
    assert HitSelection.parse(2, patience=50).reach(4, stated, prices) == 2
    assert HitSelection.parse(patience=50, min_score=0.5).reach(4, stated, prices) == 2
    with pytest.raises(PolicyError, match="patience needs a policy that has learned when to stop"):
        HitSelection.parse(patience=5).reach(4, stated)


def test_what_needs_probabilities_is_refused_where_there_are_none() -> None:
    assert HitSelection.parse(3).reach(9, None) == 3
    assert HitSelection.parse(tokens=3).reach(9, None) == 9
    for options in ({"until": "complete"}, {"min_score": 0.5}):
        with pytest.raises(PolicyError, match="calibrat"):
            HitSelection.parse(**options).reach(9, None)
        assert (
            HitSelection.parse(**options).reach(0, None) == 0
        )  # nothing is there to be chosen from


@pytest.mark.parametrize("budget", range(1, 14))
def test_the_budget_is_used_as_far_as_it_goes_and_never_exceeded(budget) -> None:
    texts = ["a b c", "a b", "a b c d e", "a"]
    hits = [Hit(Passage(str(i), text), 1.0) for i, text in enumerate(texts)]
    sizes = [len(text.split()) for text in texts]
    fitting = HitSelection.parse(tokens=budget).fitting(
        hits, lambda ts: [len(t.split()) for t in ts]
    )
    assert list(fitting) == hits[: len(fitting)]
    assert sum(sizes[: len(fitting)]) <= budget
    assert len(fitting) == len(texts) or sum(sizes[: len(fitting) + 1]) > budget


def test_the_set_that_is_needed_is_near_the_best_of_all_by_enumeration() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        stated = np.sort(rng.random(7))[::-1]
        expected = np.zeros(8)
        for needed in itertools.product([0, 1], repeat=7):
            chance = np.prod(np.where(needed, stated, 1 - stated))
            for k in range(1, 8):
                expected[k] += chance * 2 * sum(needed[:k]) / (k + sum(needed))
        assert expected[expected_best(stated.tolist())] >= expected.max() - 0.02
    assert expected_best([]) == 0
    assert expected_best([0.5, 0.0]) == 1
