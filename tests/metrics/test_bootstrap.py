from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import InputError
from hoptrail.metrics.bootstrap import Bootstrap, clusters_of
from hoptrail.types import Question


def question(name, *gold, namespace=()) -> Question:
    return Question(name, "?", supporting_ids=gold, namespace=namespace)


def test_questions_that_share_a_passage_are_one_cluster_also_at_one_remove() -> None:
    questions = [
        question("1", "a", "b"),
        question("2", "c"),
        question("3", "b", "d"),
        question("4", "e", "d"),
        question("5", "c", "f"),
        question("6"),
        question("7", "a", namespace=("n",)),
    ]
    assert clusters_of(questions).tolist() == [0, 1, 0, 0, 1, 2, 3]


def test_a_cluster_of_thousands_in_a_chain_is_found() -> None:
    questions = [question(str(i), f"p{i}", f"p{i + 1}") for i in range(5000)]
    assert set(clusters_of(questions).tolist()) == {0}


def test_every_cluster_is_drawn_as_a_whole() -> None:
    # Two clusters, one all hits and one all misses: a draw has 0, 1 or 2 of the first.
    bootstrap = Bootstrap(np.array([0, 0, 0, 1]), seed=3)
    interval = bootstrap.interval([1, 1, 1, 0])
    assert bootstrap.count == 2
    assert (interval.mean, interval.low, interval.high) == (0.75, 0.0, 1.0)


def test_a_pairing_takes_the_difficulty_of_the_questions_out() -> None:
    generator = np.random.default_rng(0)
    clusters = np.arange(200)
    against = (generator.random(200) < 0.5).astype(float)
    better = np.minimum(1, against + (generator.random(200) < 0.1))
    bootstrap = Bootstrap(clusters, seed=1)
    paired = bootstrap.paired(better, against)
    assert paired.mean == pytest.approx((better - against).mean())
    assert paired.excludes_zero
    assert paired.low > 0
    width = bootstrap.interval(better).high - bootstrap.interval(better).low
    assert paired.high - paired.low < width / 1.5


def test_equal_retrievers_do_not_differ() -> None:
    values = np.arange(30) % 2
    interval = Bootstrap(np.arange(30)).paired(values, values)
    assert (interval.mean, interval.low, interval.high) == (0, 0, 0)
    assert not interval.excludes_zero


def test_the_interval_has_the_width_that_theory_gives_for_independent_questions() -> None:
    values = np.random.default_rng(5).normal(size=400)
    interval = Bootstrap(np.arange(400), seed=2).interval(values)
    expected = 2 * 1.96 * values.std() / np.sqrt(400)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.05)


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(11)
    clusters = np.repeat(np.arange(60), 3)
    covered = 0
    for seed in range(200):
        shared = np.repeat(generator.normal(size=60), 3)  # what makes clusters matter
        values = shared + 0.3 * generator.normal(size=180)
        interval = Bootstrap(clusters, seed=seed, resamples=500).interval(values)
        covered += interval.low <= 0 <= interval.high
    assert 180 <= covered <= 199  # 95 % of 200 is 190, its standard deviation 3


def test_a_seed_fixes_the_draws() -> None:
    clusters, values = np.arange(40), np.arange(40) / 40
    first, again, other = (Bootstrap(clusters, seed=s).interval(values) for s in (0, 0, 1))
    assert first == again
    assert first != other


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="at least one question"):
        Bootstrap(np.zeros(0, dtype=np.int64))
    with pytest.raises(InputError, match="level must lie in"):
        Bootstrap(np.zeros(2, dtype=np.int64), level=1.0)
    with pytest.raises(
        InputError, match=r"one value for each of the 2 questions, got shape \(3,\)"
    ):
        Bootstrap(np.zeros(2, dtype=np.int64)).interval([1, 2, 3])
