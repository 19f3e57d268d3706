from __future__ import annotations

import hashlib
import json
import math
import sys
from dataclasses import replace

import pytest

from hoptrail.errors import FormatError, InputError, MissingExtra
from hoptrail.evaluation.benchmark import Ranking, Result
from hoptrail.evaluation.report import (
    build_report,
    comparison_rows,
    kind_rows,
    plot_recall,
    recall_curves,
    save_report,
    summary_rows,
)
from hoptrail.types import Question


def ranking(ids: str, ms: float, hops: int = 0) -> Ranking:
    scores = tuple(float(len(ids) - place) for place in range(len(ids)))
    return Ranking(tuple(ids), scores, hops, ms)


@pytest.fixture
def files(tmp_path):
    corpus, questions = tmp_path / "corpus.jsonl", tmp_path / "dev.jsonl"
    corpus.write_text('{"id": "a", "text": "t"}\n')
    questions.write_text('{"id": "1", "question": "?"}\n')
    return {"corpus": corpus, "questions": questions}


@pytest.fixture
def results() -> list[Result]:
    def result(name, gold, selection, bm25, policy) -> Result:
        question = Question(name, "?", supporting_ids=tuple(gold), selection=selection)
        return Result(question, {"bm25": bm25, "policy": policy})

    return [
        result("1", "ab", "unbiased", ranking("axxb".replace("xx", "yz"), 1), ranking("ab", 30, 2)),
        result("2", "cd", "retrieved", ranking("cyzwvd", 2), ranking("cyd", 40, 3)),
        result("3", "e", "retrieved", ranking("yzwvutsrqpe", 9), ranking("ye", 50, 4)),
    ]


def test_the_contract_of_the_json(results, files) -> None:
    report = build_report(results, **files, seed=7, settings={"effort": "fast"})
    json.dumps(report, allow_nan=False)
    recalls = ["recall@2", "recall@5", "recall@10", "recall@20"]
    keys = [*recalls, "ndcg@10", "all_gold@5", "mrr", "ms_median", "hops_mean"]
    assert {name: list(found) for name, found in report["retrievers"].items()} == {
        "bm25": keys,
        "policy": keys,
    }
    ideal = 1 + 1 / math.log2(3)
    assert report["retrievers"]["bm25"] == pytest.approx(
        {
            "recall@2": 1 / 3,
            "recall@5": (1 + 0.5 + 0) / 3,
            "recall@10": (1 + 1 + 0) / 3,
            "recall@20": 1,
            "ndcg@10": ((1 + 1 / math.log2(5)) / ideal + (1 + 1 / math.log2(7)) / ideal) / 3,
            "all_gold@5": 1 / 3,
            "mrr": (1 + 1 + 1 / 11) / 3,
            "ms_median": 2,
            "hops_mean": 0,
        }
    )
    assert report["retrievers"]["policy"]["ms_median"] == 40
    assert report["retrievers"]["policy"]["hops_mean"] == 3
    first = report["questions"][0]
    assert (first["id"], first["gold_ids"]) == ("1", ["a", "b"])
    assert first["ranked"]["policy"] == [{"id": "a", "score": 2.0}, {"id": "b", "score": 1.0}]
    assert first["cost"]["policy"] == {"ms": 30, "hops": 2}
    for name, file in files.items():
        assert report["files"][name]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert report["settings"] == {"seed": 7, "resamples": 10_000, "effort": "fast"}
    assert report["versions"]["hoptrail"]


def test_unbiased_questions_are_also_reported_alone(results, files) -> None:
    report = build_report(results, **files)
    assert {name: part["questions"] for name, part in report["splits"].items()} == {
        "all": 3,
        "unbiased": 1,
    }
    assert report["splits"]["all"]["clusters"] == 3
    assert report["splits"]["all"]["retrievers"] == report["retrievers"]
    assert report["splits"]["unbiased"]["retrievers"]["policy"]["recall@2"] == 1.0
    only = [result for result in results if result.question.selection != "unbiased"]
    assert list(build_report(only, **files)["splits"]) == ["all"]


def test_kinds_of_questions_are_reported_apart(results, files) -> None:
    assert build_report(results, **files)["kinds"] == {}
    kinds = ("bridge", "comparison", "bridge")
    sorted_out = [
        replace(result, question=replace(result.question, kind=kind))
        for result, kind in zip(results, kinds, strict=True)
    ]
    report = build_report(sorted_out, **files)
    assert {kind: part["questions"] for kind, part in report["kinds"].items()} == {
        "bridge": 2,
        "comparison": 1,
    }
    assert kind_rows(report) == [
        ["kind", "questions", "bm25 @5 / @10", "policy @5 / @10"],
        ["bridge", "2", "50.0 / 50.0", "100.0 / 100.0"],
        ["comparison", "1", "50.0 / 100.0", "100.0 / 100.0"],
    ]


def test_the_reference_is_compared_with_every_other(results, files) -> None:
    report = build_report(results, **files, seed=1)
    found = report["splits"]["all"]["comparisons"]
    assert [(row["retriever"], row["against"]) for row in found] == [("policy", "bm25")] * 7
    recall = next(row for row in found if row["measure"] == "recall@5")
    assert recall["difference"] == pytest.approx(0.5)
    assert recall["low"] <= recall["difference"] <= recall["high"]
    assert recall["excludes_zero"] is False  # one question in three shows no difference
    low, high = report["splits"]["all"]["intervals"]["bm25"]["recall@5"]
    assert low <= 0.5 <= high
    assert build_report(results, **files, reference="none")["splits"]["all"]["comparisons"] == []


def test_the_same_seed_gives_the_same_report(results, files) -> None:
    first, again = (build_report(results, **files, seed=3) for _ in range(2))
    assert first == again


def test_the_rows_of_the_tables(results, files) -> None:
    report = build_report(results, **files)
    heading, bm25, policy = summary_rows(report)
    assert heading[:3] == ["retriever", "recall@2", "recall@5"]
    assert bm25 == ["bm25", "33.3", "50.0", "66.7", "33.3", "69.7", "2", "0.0"]
    assert policy == ["policy", "83.3", "100.0", "100.0", "100.0", "83.3", "40", "3.0"]
    rows = comparison_rows(report)
    assert rows[2][:3] == ["policy - bm25", "recall@5", "+50.0"]
    assert len({len(row) for row in rows}) == 1
    assert summary_rows(report, "unbiased")[1][0] == "bm25"
    with pytest.raises(InputError, match="no split 'dev', only all, unbiased"):
        summary_rows(report, "dev")


def test_a_report_is_saved_as_json(results, files, tmp_path) -> None:
    report = build_report(results, **files)
    save_report(report, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == report
    with pytest.raises(FormatError, match="cannot be written"):
        save_report(report, tmp_path / "none" / "out.json")


def test_the_curves_rise_to_what_was_found(results, files) -> None:
    curves = recall_curves(build_report(results, **files))
    assert len(curves["bm25"]) == 11
    assert curves["bm25"][-1] == 1.0
    assert curves["bm25"] == sorted(curves["bm25"])
    assert curves["policy"][1] == pytest.approx(2.5 / 3)


def test_a_picture_is_drawn(results, files, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    report = build_report(results, **files)
    plot_recall(report, tmp_path / "recall.png")
    assert (tmp_path / "recall.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FormatError, match="cannot be written"):
        plot_recall(report, tmp_path / "none" / "recall.png")


def test_a_picture_without_matplotlib_names_the_extra(
    results, files, tmp_path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"hoptrail\[plots\]"):
        plot_recall(build_report(results, **files), tmp_path / "recall.png")


def test_no_results_are_no_report(files) -> None:
    with pytest.raises(InputError, match="needs results"):
        build_report([], **files)
