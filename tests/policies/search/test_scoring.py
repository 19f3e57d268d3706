"""Scores are what their formulas say, and no step changes what it is given."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hoptrail.policies.search.scoring import (
    FEWEST_PASSAGES,
    FLOOR,
    LENGTH_WEIGHTS,
    SEARCH_WEIGHT,
    SIMILARITY_WEIGHT,
    add_read_mass,
    blend_by_length,
    blend_with_search,
    log_lengths,
    rank_first,
    rerank,
    round_score,
    search_fit,
)


def test_every_prefix_adds_its_share_of_the_read_mass() -> None:
    before = {1: 0.5}
    after = add_read_mass(
        before, np.asarray([1, 2, 3]), math.log(0.5), np.log([0.2, 0.8, 1.0]) - [0, 0, np.inf]
    )
    assert after == pytest.approx({1: 0.6, 2: 0.4, 3: 0.0})
    assert before == {1: 0.5}


def test_what_is_sure_stays_and_search_moves_the_rest() -> None:
    mass = {1: 1.5, 2: 0.2, 3: 0.2, 4: 0.0}
    fit = np.asarray([-3.0, 1.0, 0.0, 5.0])
    scores = blend_with_search(mass, fit)
    assert scores[1] == 1.5  # certain: whatever search says
    assert scores[2] == pytest.approx(0.2 * math.exp(SEARCH_WEIGHT * 0.8 * (1.0 - 5.0)))
    assert scores[2] > scores[3] > scores[4] == 0.0
    assert blend_with_search({}, np.zeros(0)) == {}


def test_more_like_what_was_read_fits_better() -> None:
    hybrid = np.asarray([1.0, 2.0])
    cosines = np.asarray([[0.5, 0.0], [0.1, 0.2]], dtype=np.float32)
    fit = search_fit(hybrid, cosines, np.asarray([3.0, 0.5]))  # counts as 1 at the most
    expected = [1 + SIMILARITY_WEIGHT * (0.5 + 0.05) / 1.5, 2 + SIMILARITY_WEIGHT * 0.1 / 1.5]
    assert fit == pytest.approx(expected, rel=1e-6)
    assert (search_fit(hybrid, cosines[:0], np.zeros(0)) == hybrid).all()
    assert (search_fit(hybrid, cosines, np.zeros(2)) == hybrid).all()


def test_reranking_keeps_the_total_and_the_others_behind() -> None:
    before = {1: 0.5, 2: 0.4, 3: 0.1}
    after = rerank(before, (1, 2), np.asarray([-1.0, 1.0]), 1.0)
    assert sum(after.values()) == pytest.approx(1.0)
    assert after[2] / after[1] == pytest.approx(0.8 * math.exp(2.0))
    assert after[3] / after[1] == pytest.approx(0.2)
    assert before == {1: 0.5, 2: 0.4, 3: 0.1}
    assert rerank({1: 0.0}, (1,), np.zeros(1), 1.0) == {1: 0.0}


def test_what_was_drawn_comes_first_in_the_order_of_the_draw() -> None:
    scores = rank_first({1: 0.9, 2: 0.5, 3: 0.1}, [3, 2, 3])
    assert sorted(scores, key=lambda slot: -scores[slot]) == [3, 2, 1]
    assert rank_first({}, []) == {}


def test_a_score_has_five_digits() -> None:
    assert round_score(0.123456) == 0.12346
    assert round_score(1.23456e-9) == 1.2346e-9


def test_lengths_count_where_they_differ_much_and_there_are_enough_to_tell() -> None:
    mixed = np.tile([20, 600], FEWEST_PASSAGES // 2)
    logarithms = log_lengths(mixed)
    assert logarithms is not None
    assert logarithms == pytest.approx(np.log(mixed + 5.0))
    assert log_lengths(mixed[:-1]) is None
    assert log_lengths(np.tile([100, 200], FEWEST_PASSAGES)) is None
    assert log_lengths(np.zeros(0, dtype=np.int64)) is None


def test_of_two_alike_the_shorter_comes_first_and_the_total_stays() -> None:
    mass = np.asarray([0.5, 0.5, 0.0])
    sparse, dense = np.asarray([1.0, 1.0, 2.0]), np.asarray([0.5, 0.5, -1.0])
    lengths = np.log([605.0, 25.0, 25.0])
    scores = blend_by_length(mass, sparse, dense, lengths)
    assert scores[1] > scores[0]
    assert scores.sum() == pytest.approx(mass.sum())
    logs = [
        float(LENGTH_WEIGHTS @ [math.log(m + FLOOR), s, d, length])
        for m, s, d, length in zip(mass, sparse, dense, lengths, strict=True)
    ]
    ratios = np.log(scores[1:] / scores[0])
    assert ratios == pytest.approx([logs[1] - logs[0], logs[2] - logs[0]])
    assert len(blend_by_length(*[np.zeros(0)] * 4)) == 0
