"""What a run showed, as JSON, as rows of tables, and as a picture.

The JSON is a contract that scripts read: under `retrievers`, for each, the means in `MEASURES`,
`ms_median` and `hops_mean`, and `ANSWER_MEASURES` where a reader was asked; under `questions`, for
each, its id, its gold ids, what every retriever ranked first, and what that is worth. Beside these
stand the intervals, the differences between the reference and every other retriever, and what is
needed to run it again.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import Any

from hoptrail.errors import FormatError, InputError
from hoptrail.evaluation.answers.reading_curve import reading_curves
from hoptrail.evaluation.benchmark import DEPTH, Result
from hoptrail.evaluation.measures import split_measures
from hoptrail.evaluation.plots import new_figure, save_figure
from hoptrail.evaluation.question_rows import Titles, question_row
from hoptrail.formats.jsonl import sha256_of, write_json
from hoptrail.metrics.bootstrap import RESAMPLES
from hoptrail.metrics.ranking import recall_at

Report = dict[str, Any]

SHOWN = ("recall@2", "recall@5", "recall@10", "all_gold@5", "mrr")
"""What tables have room for."""

REFERENCE = "policy"
"""The retriever that the others are compared with, where it took part."""

_PACKAGES = ("hoptrail", "numpy", "torch", "transformers", "faiss-cpu", "torch-geometric")


def build_report(
    results: Sequence[Result],
    *,
    corpus: str | Path,
    questions: str | Path,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    reference: str = REFERENCE,
    resamples: int = RESAMPLES,
    titles: Titles | None = None,
) -> Report:
    """Everything that a run showed, as JSON values.

    Args:
        results: What `run` gave.
        corpus: The corpus's file; its hash goes into the report.
        questions: The questions' file, likewise.
        seed: Of the bootstrap's draws.
        settings: What else the run depended on: effort, policy, encoder.
        reference: The retriever whose lead over each other one is stated.
        resamples: Draws of the bootstrap.
        titles: Of the passages, for who reads the report.

    Returns:
        `retrievers` (means), `splits` (means, intervals and comparisons), `kinds`, `questions`
        (as `question_row` makes them), and what is needed to run it again: `files`, `settings`,
        `versions`, `machine`.

    Raises:
        InputError: There are no results.
        FormatError: A file cannot be read.
    """
    if not results:
        raise InputError("a report needs results, got none")
    parts = {"all": list(results)}
    unbiased = [result for result in results if result.question.selection == "unbiased"]
    if unbiased:
        parts["unbiased"] = unbiased
    splits = {
        name: split_measures(part, seed=seed, resamples=resamples, reference=reference)
        for name, part in parts.items()
    }
    curves = reading_curves(results, seed=seed, resamples=resamples)
    return {
        "retrievers": splits["all"]["retrievers"],
        "splits": splits,
        "kinds": {
            kind: split_measures(part, seed=seed, resamples=resamples, reference=reference)
            for kind, part in _by_kind(results).items()
        },
        "files": {
            "corpus": {"name": Path(corpus).name, "sha256": sha256_of(corpus)},
            "questions": {"name": Path(questions).name, "sha256": sha256_of(questions)},
        },
        "settings": {"seed": seed, "resamples": resamples, **(settings or {})},
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        },
        "questions": [question_row(result, titles or {}) for result in results],
        **({"reading": curves} if curves else {}),
    }


def save_report(report: Report, path: str | Path) -> None:
    """Write a report as JSON; the file appears whole or not at all.

    Args:
        report: What `build_report` gave.
        path: The file; an existing one is replaced.

    Raises:
        FormatError: It cannot be written.
    """
    write_json(path, report)


def load_report(path: str | Path) -> Report:
    """A report as `save_report` wrote it.

    Args:
        path: The file.

    Raises:
        FormatError: The file cannot be read, or is no report.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} cannot be read as a report: {error}") from error
    if not isinstance(report, dict) or not isinstance(report.get("questions"), list):
        raise FormatError(f"{path} is not a report of hoptrail evaluate --json")
    return report


def summary_rows(report: Report, split: str = "all") -> list[list[str]]:
    """A table of means: a heading row, then one row a retriever; fractions as percentages.

    Args:
        report: What `build_report` gave.
        split: "all" or "unbiased".
    """
    part = _part(report, split)
    rows = [["retriever", *SHOWN, "ms", "passages read"]]
    for name, means in part["retrievers"].items():
        percentages = [f"{100 * means[measure]:.1f}" for measure in SHOWN]
        rows.append([name, *percentages, f"{means['ms_median']:.0f}", f"{means['hops_mean']:.1f}"])
    return rows


def comparison_rows(report: Report, split: str = "all") -> list[list[str]]:
    """A table of the reference's lead: a heading row, then a row for each retriever and measure.

    Differences are in points, with their interval.

    Args:
        report: What `build_report` gave.
        split: "all" or "unbiased".
    """
    rows = [["comparison", "measure", "difference", "95 % interval", "excludes 0"]]
    for comparison in _part(report, split)["comparisons"]:
        if comparison["measure"] not in SHOWN:
            continue
        low, high = 100 * comparison["low"], 100 * comparison["high"]
        rows.append(
            [
                f"{comparison['retriever']} - {comparison['against']}",
                comparison["measure"],
                f"{100 * comparison['difference']:+.1f}",
                f"{low:+.1f} to {high:+.1f}",
                "yes" if comparison["excludes_zero"] else "no",
            ]
        )
    return rows


def answer_rows(report: Report, split: str = "all") -> list[list[str]]:
    """A table of what a reader makes of each retriever's passages: a heading row, then a row each.

    Args:
        report: What `build_report` gave; without answers the table is its heading alone.
        split: "all" or "unbiased".
    """
    measures = ("answer_em", "answer_f1", "support_f1", "joint_f1", "answerability")
    rows = [
        ["evidence", "answer EM", "answer F1", "support F1", "joint F1", "answerable", "tokens"]
    ]
    for name, means in _part(report, split)["retrievers"].items():
        if "answerability" not in means:
            continue
        values = [f"{100 * means[one]:.1f}" if one in means else "" for one in measures]
        rows.append([name, *values, f"{means['tokens_mean']:.0f}"])
    return rows


def kind_rows(report: Report) -> list[list[str]]:
    """A table of recall at 5 and at 10 by kind of question: a heading row, then a row a kind.

    Args:
        report: What `build_report` gave.
    """
    names = list(report["retrievers"])
    rows = [["kind", "questions", *(f"{name} @5 / @10" for name in names)]]
    for kind, part in report["kinds"].items():
        means = (part["retrievers"][name] for name in names)
        shares = [f"{100 * m['recall@5']:.1f} / {100 * m['recall@10']:.1f}" for m in means]
        rows.append([kind, str(part["questions"]), *shares])
    return rows


def plot_recall(report: Report, path: str | Path, split: str = "all") -> None:
    """Write a picture of recall over the number of passages, one curve a retriever.

    Args:
        report: What `build_report` gave.
        path: The picture's file; its suffix says the format, such as `.png` or `.svg`.
        split: "all" or "unbiased".

    Raises:
        MissingExtra: matplotlib is not installed.
        FormatError: The file cannot be written.
    """
    figure = new_figure(7, 4.5)
    axes = figure.subplots()
    for name, curve in recall_curves(report, split).items():
        axes.plot(range(1, len(curve) + 1), [100 * value for value in curve], label=name)
    axes.set(xlabel="passages", ylabel="recall, %", xscale="log", ylim=(0, 100))
    ticks = [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= DEPTH]
    axes.set_xticks(ticks, [str(k) for k in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)
    axes.legend()
    count = _part(report, split)["questions"]
    axes.set_title(f"{report['files']['questions']['name']}, {count} questions ({split})")
    save_figure(figure, path)


def recall_curves(report: Report, split: str = "all") -> dict[str, list[float]]:
    """Mean recall at 1, 2, ... up to the length of the rankings, for each retriever.

    Args:
        report: What `build_report` gave.
        split: "all" or "unbiased".
    """
    questions = [
        question
        for question in report["questions"]
        if split == "all" or question["selection"] == split
    ]
    curves: dict[str, list[float]] = {}
    for name in _part(report, split)["retrievers"]:
        length = max(len(question["ranked"][name]) for question in questions)
        ranked = [[hit["id"] for hit in question["ranked"][name]] for question in questions]
        gold = [question["gold_ids"] for question in questions]
        curves[name] = [
            fmean(recall_at(ids, gold_ids, k) for ids, gold_ids in zip(ranked, gold, strict=True))
            for k in range(1, length + 1)
        ]
    return curves


def _by_kind(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results by kind of question, in the order of the alphabet; none where all are alike."""
    kinds = sorted({result.question.kind for result in results if result.question.kind})
    by_kind = {k: [result for result in results if result.question.kind == k] for k in kinds}
    return by_kind if len(by_kind) > 1 else {}


def _part(report: Report, split: str) -> dict[str, Any]:
    if split not in report["splits"]:
        raise InputError(f"the report has no split {split!r}, only {', '.join(report['splits'])}")
    part: dict[str, Any] = report["splits"][split]
    return part


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # faiss-gpu in place of faiss-cpu, say
            continue
    return versions
