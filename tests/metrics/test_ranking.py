from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.errors import InputError
from hoptrail.metrics.ranking import all_gold_at, ndcg_at, precision_at, recall_at, reciprocal_rank

IDS = st.sampled_from([f"p{i}" for i in range(12)])
RANKINGS = st.lists(IDS, unique=True)
GOLD = st.sets(IDS, min_size=1)
KS = st.integers(min_value=1, max_value=15)


def test_a_worked_example() -> None:
    ranked, gold = ["a", "x", "b", "y", "c"], {"a", "b", "c", "z"}
    assert recall_at(ranked, gold, 3) == 0.5
    assert recall_at(ranked, gold, 100) == 0.75
    assert precision_at(ranked, gold, 3) == 2 / 3
    assert all_gold_at(ranked, {"a", "b"}, 3) == 1.0
    assert all_gold_at(ranked, {"a", "b"}, 2) == 0.0
    assert reciprocal_rank(ranked, {"b", "c"}) == 1 / 3
    assert reciprocal_rank(ranked, {"z"}) == 0.0
    dcg, ideal = 1 + 1 / math.log2(4), 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at(ranked, gold, 3) == pytest.approx(dcg / ideal)


def test_a_repeated_id_is_one_hit() -> None:
    assert ndcg_at(["a", "a", "a"], {"a", "b"}, 3) < 1.0
    assert recall_at(["a", "a", "b"], {"a", "b"}, 2) == 0.5
    assert precision_at(["a", "a"], {"a"}, 2) == 0.5


def test_a_short_ranking_is_short_of_hits() -> None:
    assert precision_at(["a"], {"a"}, 10) == 0.1
    assert recall_at([], {"a"}, 10) == 0.0


@pytest.mark.parametrize("measure", [recall_at, all_gold_at, precision_at, ndcg_at])
def test_what_is_not_defined_is_refused(measure) -> None:
    with pytest.raises(InputError, match="gold is empty"):
        measure(["a"], set(), 5)
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        measure(["a"], {"a"}, 0)
    with pytest.raises(InputError, match="got the string 'ab'"):
        measure(["a"], "ab", 5)


@given(RANKINGS, GOLD, KS)
def test_every_measure_is_a_fraction(ranked, gold, k) -> None:
    for measure in (recall_at, all_gold_at, precision_at, ndcg_at):
        assert 0.0 <= measure(ranked, gold, k) <= 1.0 + 1e-12
    assert 0.0 <= reciprocal_rank(ranked, gold) <= 1.0


@given(RANKINGS, GOLD, KS)
def test_more_places_never_lose_gold(ranked, gold, k) -> None:
    assert recall_at(ranked, gold, k) <= recall_at(ranked, gold, k + 1)
    assert all_gold_at(ranked, gold, k) <= all_gold_at(ranked, gold, k + 1)


@given(RANKINGS, GOLD, KS)
def test_the_measures_agree_with_each_other(ranked, gold, k) -> None:
    recall = recall_at(ranked, gold, k)
    assert (recall == 1.0) == (all_gold_at(ranked, gold, k) == 1.0)
    assert recall * len(gold) == pytest.approx(precision_at(ranked, gold, k) * k)
    assert (recall == 0.0) == (ndcg_at(ranked, gold, k) == 0.0)
    assert (reciprocal_rank(ranked[:k], gold) == 0.0) == (recall == 0.0)


@given(GOLD, RANKINGS)
def test_gold_first_is_best(gold, rest) -> None:
    ranked = [*sorted(gold), *(item for item in rest if item not in gold)]
    assert reciprocal_rank(ranked, gold) == 1.0
    assert ndcg_at(ranked, gold, len(gold)) == pytest.approx(1.0)
    assert all_gold_at(ranked, gold, len(gold)) == 1.0
