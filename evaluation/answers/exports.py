"""A report for other programs: predictions for its benchmark, runs and judgements for trec_eval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hoptrail.errors import InputError
from hoptrail.formats.benchmarks.prediction_files import (
    prediction_of,
    write_predictions,
    write_trec_qrels,
    write_trec_run,
)
from hoptrail.formats.benchmarks.question_sets import QuestionSet
from hoptrail.types import Evidence, Question

Report = Mapping[str, Any]


def export_predictions(report: Report, questions: QuestionSet, folder: Path) -> list[Path]:
    """Write the answers from each retriever's passages as the benchmark's evaluation reads them.

    Args:
        report: With answers, of an evaluation on these questions.
        questions: The benchmark.
        folder: Where; it is made.

    Returns:
        The files, `dense.json` and so on.

    Raises:
        InputError: The report has no answers, or is of other questions.
        FormatError: A file cannot be written.
    """
    rows = {(tuple(row["namespace"]), row["id"]): row for row in report["questions"]}
    names = list(next(iter(rows.values()))["answered"])
    if not names:
        raise InputError("the report holds no answers to predict with: evaluate with --answers")
    if set(rows) != set(questions.by_id):
        raise InputError("the report is of other questions than the benchmark's file")
    folder.mkdir(parents=True, exist_ok=True)
    suffix = ".jsonl" if questions.rules == "musique" else ".json"
    files = []
    for name in names:
        predictions = {}
        for key, item in questions.by_id.items():
            answer = rows[key]["answered"][name]
            evidence = [Evidence(**one) for one in answer["evidence"]]
            predictions[key] = prediction_of(item, answer["text"], evidence)
        files.append(folder / f"{name}{suffix}")
        write_predictions(files[-1], questions, predictions)
    return files


def export_runs(report: Report, folder: Path) -> list[Path]:
    """Write each retriever's rankings, and what the questions need, as trec_eval reads them.

    Args:
        report: Of an evaluation.
        folder: Where; it is made.

    Returns:
        The files: `qrels.txt`, and `dense.run` and so on.

    Raises:
        InputError: An id holds white space, which the format cannot.
        FormatError: A file cannot be written.
    """
    questions = [
        Question(row["id"], "", (), tuple(row["gold_ids"]), namespace=tuple(row["namespace"]))
        for row in report["questions"]
    ]
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "qrels.txt"]
    write_trec_qrels(files[0], questions)
    for name in report["retrievers"]:
        rankings = [[hit["id"] for hit in row["ranked"][name]] for row in report["questions"]]
        files.append(folder / f"{name}.run")
        write_trec_run(files[-1], zip(questions, rankings, strict=True), name)
    return files
