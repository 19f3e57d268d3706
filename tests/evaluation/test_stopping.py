from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from hoptrail.cli.main import main
from hoptrail.errors import FormatError, InputError, MissingExtra
from hoptrail.evaluation.report import load_report
from hoptrail.evaluation.stopping import (
    calibration_rows,
    plot_calibration,
    score_rows,
    set_measures,
    stopping,
    stopping_rows,
)
from hoptrail.metrics.reliability import calibration_error, calibration_interval, reliability


def question(name: str, gold: str, ranked: str, *decisions: tuple[str, float]) -> dict:
    return {
        "id": name,
        "gold_ids": list(gold),
        "ranked": {"policy": [{"id": i, "score": 1.0} for i in ranked]},
        "decisions": {"policy": [{"read": list(read), "stop": stop} for read, stop in decisions]},
    }


@pytest.fixture
def reports() -> list[dict]:
    first = question("1", "ab", "abcde", ("", 0.1), ("a", 0.2), ("ab", 0.9))
    second = question("1", "ac", "abcde", ("", 0.0), ("a", 0.4), ("ab", 0.8))
    return [{"questions": [first]}, {"questions": [second]}]


def test_a_calibrated_statement_has_no_error_and_a_boast_has_its_own() -> None:
    half = np.tile([0.0, 1.0], 50)
    assert calibration_error(np.full(100, 0.5), half) == pytest.approx(0.0)
    assert calibration_error(np.full(100, 0.9), half) == pytest.approx(0.4)
    # In bins of equal width 99 statements of 0.01 would hide one; here each bin counts its own.
    assert calibration_error([0.0, 0.0, 1.0, 1.0], [0, 0, 0, 1], bins=2) == pytest.approx(0.25)


def test_bins_hold_equally_many_by_rising_probability() -> None:
    stated = np.linspace(0, 1, 25)[::-1]
    found = reliability(stated, stated > 0.5, bins=10)
    assert sum(b.count for b in found) == 25
    assert {b.count for b in found} == {2, 3}
    assert [b.stated for b in found] == sorted(b.stated for b in found)
    assert len(reliability([0.3], [1])) == 1


def test_the_interval_holds_the_error_and_narrows_with_more_clusters() -> None:
    rng = np.random.default_rng(0)
    stated = rng.random(600)
    true = rng.random(600) < stated**2
    many = calibration_interval(stated, true, np.arange(600), resamples=300)
    few = calibration_interval(stated, true, np.arange(600) // 60, resamples=300)
    assert many.low <= many.mean <= many.high + 0.03
    assert many.mean == pytest.approx(few.mean)
    assert few.low >= 0
    again = calibration_interval(stated, true, np.arange(600), resamples=300)
    assert many == again


@pytest.mark.parametrize(
    ("stated", "true"), [([], []), ([0.5], [1, 0]), ([1.2], [1]), ([[0.5]], [[1]])]
)
def test_what_is_no_statement_is_refused(stated, true) -> None:
    with pytest.raises(InputError, match="probabilit"):
        calibration_error(stated, true)


def test_a_set_is_judged_as_a_set() -> None:
    assert set_measures("ab", "abc") == pytest.approx(
        {"recall": 2 / 3, "precision": 1.0, "f1": 0.8, "all_gold": 0.0, "passages": 2.0}
    )
    assert set_measures("", "a")["precision"] == 0.0


def test_what_was_read_stands_beside_fixed_budgets(reports) -> None:
    found = stopping(reports, "policy")
    assert found["sets"]["until STOP"]["recall"] == pytest.approx(0.75)
    assert found["sets"]["until STOP"]["passages"] == 2.0
    assert found["sets"]["first 3"]["all_gold"] == 1.0
    assert found["sets"]["first 3"]["precision"] == pytest.approx(2 / 3)
    assert [row[0] for row in stopping_rows(found)][1:3] == ["until STOP", "first 1"]
    calibration = found["calibration"]
    assert calibration["decisions"] == 6
    # Six statements, a bin each: only 0.9 came true.
    expected = (0.1 + 0.2 + 0.1 + 0.0 + 0.4 + 0.8) / 6
    assert calibration["error"] == pytest.approx(expected)
    assert len(calibration_rows(found)) == 7


def test_reports_without_decisions_are_refused(reports) -> None:
    del reports[1]["questions"][0]["decisions"]
    with pytest.raises(InputError, match="hold no decisions of 'policy'"):
        stopping(reports, "policy")
    with pytest.raises(InputError, match="hold no decisions"):
        stopping([], "policy")


def test_the_diagram_is_drawn(reports, tmp_path) -> None:
    plot_calibration(stopping(reports, "policy"), tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")


def test_drawing_names_the_extra(reports, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match="plots"):
        plot_calibration(stopping(reports, "policy"), tmp_path / "no.png")


def test_the_command_pools_reports(reports, tmp_path, capsys) -> None:
    files = []
    for number, report in enumerate(reports):
        files.append(str(tmp_path / f"{number}.json"))
        (tmp_path / f"{number}.json").write_text(json.dumps(report))
    out = tmp_path / "stopping.json"
    assert main(["stopping", *files, "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "2 questions" in printed
    assert "expected calibration error" in printed
    assert json.loads(out.read_text())["calibration"]["decisions"] == 6


def test_what_is_no_report_is_refused(tmp_path) -> None:
    file = tmp_path / "list.json"
    file.write_text("[1]")
    with pytest.raises(FormatError, match="is not a report"):
        load_report(file)
    with pytest.raises(FormatError, match="cannot be read"):
        load_report(tmp_path / "absent.json")


def test_what_the_scores_state_is_judged_where_they_state_anything(reports) -> None:
    silent = stopping(reports, "policy")
    assert silent["scores"] is None
    assert "until complete" not in silent["sets"]
    assert score_rows(silent) == []
    stated = {"needed": [0.9, 0.8, 0.1, 0.0, 0.0], "complete": [0.0, 0.8, 0.9, 1.0, 1.0]}
    for report in reports:
        report["questions"][0]["stated"] = {"policy": stated}
    judged = stopping(reports, "policy")
    assert judged["sets"]["until complete"] == judged["sets"]["first 2"]
    assert judged["scores"]["needed"]["stated"] == 10
    # Ten statements, a bin each: needed are a, b of the one and a, c of the other.
    needed = (0.1 + 0.1 + 0.2 + 0.8 + 0.1 + 0.9) / 10
    assert judged["scores"]["needed"]["error"] == pytest.approx(needed)
    assert [row[0] for row in score_rows(judged)] == ["probability", "needed", "complete"]
    del reports[1]["questions"][0]["stated"]
    assert stopping(reports, "policy")["scores"] is None
