"""Two reports are compared question by question; expected values are by hand."""

from __future__ import annotations

import copy

import pytest

from hoptrail.errors import FormatError, InputError
from hoptrail.evaluation.comparison import compare_reports, paired_rows


def report(**values: list[float]) -> dict:
    """A report of four questions in three clusters, two kinds, one measure."""
    gold = (["a"], ["a", "b"], ["c"], ["d"])
    kinds = ("bridge", "bridge", "comparison", "comparison")
    return {
        "retrievers": {name: {} for name in values},
        "questions": [
            {
                "id": str(at),
                "namespace": [],
                "gold_ids": gold[at],
                "kind": kinds[at],
                "metrics": {name: {"recall@5": column[at]} for name, column in values.items()},
            }
            for at in range(4)
        ],
    }


def test_means_wins_and_losses_are_paired_by_question() -> None:
    first, second = report(policy=[1.0, 0.5, 1.0, 0.0]), report(policy=[0.0, 0.5, 1.0, 0.5])
    second["questions"].reverse()
    (pair,) = compare_reports(first, second)["pairs"]
    measure = pair["measures"]["recall@5"]
    assert (measure["first"], measure["second"]) == (0.625, 0.5)
    assert measure["difference"] == 0.125
    assert (measure["wins"], measure["ties"], measure["losses"]) == (1, 2, 1)
    assert measure["clusters"] == 3
    assert measure["low"] < 0 < measure["high"]
    assert not measure["excludes_zero"]
    assert pair["kinds"]["bridge"]["measures"]["recall@5"]["difference"] == 0.5
    assert pair["kinds"]["comparison"]["measures"]["recall@5"]["losses"] == 1


def test_any_two_retrievers_of_two_reports_are_compared() -> None:
    one = report(policy=[1.0, 1.0, 1.0, 1.0], dense=[0.0, 0.0, 0.0, 0.0])
    (pair,) = compare_reports(one, one, retriever="policy", against="dense")["pairs"]
    assert pair["measures"]["recall@5"]["low"] == 1.0
    assert pair["measures"]["recall@5"]["excludes_zero"]
    both = compare_reports(one, one)["pairs"]
    assert [(pair["retriever"], pair["against"]) for pair in both] == [
        ("policy", "policy"),
        ("dense", "dense"),
    ]
    (same,) = compare_reports(one, one, retriever="dense")["pairs"]
    assert same["against"] == "dense"
    with pytest.raises(InputError, match="the second report has no 'bm25', only policy, dense"):
        compare_reports(one, one, retriever="policy", against="bm25")
    with pytest.raises(InputError, match=r"no retriever in common \(policy, dense; bm25\)"):
        compare_reports(one, report(bm25=[0.0] * 4))


def test_a_measure_that_some_questions_lack_is_compared_on_the_others() -> None:
    one = report(policy=[1.0, 0.5, 1.0, 0.0])
    one["questions"][0]["metrics"]["policy"]["answer_f1"] = 0.25
    (pair,) = compare_reports(one, one)["pairs"]
    assert pair["measures"]["answer_f1"]["questions"] == 1
    assert pair["measures"]["answer_f1"]["ties"] == 1


def test_reports_of_different_questions_are_refused() -> None:
    one, fewer = report(policy=[1.0] * 4), report(policy=[1.0] * 4)
    fewer["questions"].pop()
    with pytest.raises(InputError, match="1 are in the first only, '3' among them"):
        compare_reports(one, fewer)
    with pytest.raises(InputError, match="1 are in the second only"):
        compare_reports(fewer, one)
    other = copy.deepcopy(one)
    other["questions"][2]["gold_ids"] = ["x"]
    with pytest.raises(InputError, match="disagree about what question '2' needs"):
        compare_reports(one, other)
    del other["questions"][2]["gold_ids"]
    with pytest.raises(FormatError, match="write it again"):
        compare_reports(other, one)


def test_a_comparison_is_a_table_in_points() -> None:
    first, second = report(policy=[1.0, 0.5, 1.0, 0.0]), report(policy=[0.0, 0.5, 1.0, 0.5])
    (pair,) = compare_reports(first, second)["pairs"]
    heading, row = paired_rows(pair["measures"])
    assert heading == [
        *("measure", "first", "second", "difference", "95 % interval", "won / even / lost")
    ]
    assert row[:4] == ["recall@5", "62.5", "50.0", "+12.5"]
    assert row[5:] == ["1 / 2 / 1"]
