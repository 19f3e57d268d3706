"""What a run showed, as JSON, as rows of tables, and as a picture.

The JSON is a contract that scripts read: under `retrievers`, for each, the means in `MEASURES`,
`ms_median` and `hops_mean`; under `questions`, for each, its id, its gold ids and what every
retriever ranked first. Beside these stand the intervals, the differences between the reference
and every other retriever, and what is needed to run it again.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean, median
from typing import Any

from hoptrail.errors import FormatError, InputError
from hoptrail.evaluation.benchmark import DEPTH, Result
from hoptrail.evaluation.plots import new_figure, save_figure
from hoptrail.formats.jsonl import sha256_of, write_json
from hoptrail.metrics.bootstrap import RESAMPLES, Bootstrap, Interval, clusters_of
from hoptrail.metrics.ranking import all_gold_at, ndcg_at, recall_at, reciprocal_rank

Report = dict[str, Any]
Measure = Callable[[Sequence[str], Sequence[str]], float]

MEASURES: Mapping[str, Measure] = {
    "recall@2": lambda ranked, gold: recall_at(ranked, gold, 2),
    "recall@5": lambda ranked, gold: recall_at(ranked, gold, 5),
    "recall@10": lambda ranked, gold: recall_at(ranked, gold, 10),
    "recall@20": lambda ranked, gold: recall_at(ranked, gold, 20),
    "ndcg@10": lambda ranked, gold: ndcg_at(ranked, gold, 10),
    "all_gold@5": lambda ranked, gold: all_gold_at(ranked, gold, 5),
    "mrr": reciprocal_rank,
}
"""What is measured on every question; a report has the means."""

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

    Returns:
        `retrievers` (means), `splits` (means, intervals and comparisons), `kinds`, `questions`
        (gold and rankings), and what is needed to run it again: `files`, `settings`, `versions`,
        `machine`.

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
        name: _split(part, seed=seed, resamples=resamples, reference=reference)
        for name, part in parts.items()
    }
    return {
        "retrievers": splits["all"]["retrievers"],
        "splits": splits,
        "kinds": {
            kind: _split(part, seed=seed, resamples=resamples, reference=reference)
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
        "questions": [_question(result) for result in results],
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


def _split(
    results: Sequence[Result], *, seed: int, resamples: int, reference: str
) -> dict[str, Any]:
    """The means, intervals and comparisons over some of the questions."""
    clusters = clusters_of([result.question for result in results])
    bootstrap = Bootstrap(clusters, seed=seed, resamples=resamples)
    names = list(results[0].rankings)
    values = {name: _values(results, name) for name in names}
    return {
        "questions": len(results),
        "clusters": bootstrap.count,
        "retrievers": {name: _means(results, name, values[name]) for name in names},
        "intervals": {
            name: {
                measure: [interval.low, interval.high]
                for measure, column in values[name].items()
                for interval in [bootstrap.interval(column)]
            }
            for name in names
        },
        "comparisons": [
            _comparison(reference, other, measure, bootstrap.paired(column, values[other][measure]))
            for other in names
            if reference in values and other != reference
            for measure, column in values[reference].items()
        ],
    }


def _values(results: Sequence[Result], name: str) -> dict[str, list[float]]:
    """Each measure of a retriever, question by question."""
    return {
        measure: [
            score(result.rankings[name].ids, result.question.supporting_ids) for result in results
        ]
        for measure, score in MEASURES.items()
    }


def _means(
    results: Sequence[Result], name: str, values: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    rankings = [result.rankings[name] for result in results]
    return {
        **{measure: fmean(column) for measure, column in values.items()},
        "ms_median": median(ranking.milliseconds for ranking in rankings),
        "hops_mean": fmean(ranking.hops for ranking in rankings),
    }


def _comparison(
    retriever: str, against: str, measure: str, interval: Interval
) -> dict[str, str | float | bool]:
    return {
        "retriever": retriever,
        "against": against,
        "measure": measure,
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "excludes_zero": interval.excludes_zero,
    }


def _question(result: Result) -> dict[str, Any]:
    """One question with what every retriever answered."""
    question = result.question
    return {
        "id": question.id,
        "gold_ids": list(question.supporting_ids),
        "kind": question.kind,
        "selection": question.selection,
        "namespace": list(question.namespace),
        "ranked": {
            name: [
                {"id": id_, "score": score}
                for id_, score in zip(ranking.ids, ranking.scores, strict=True)
            ]
            for name, ranking in result.rankings.items()
        },
        "decisions": {
            name: [{"read": list(d.read), "stop": d.stop} for d in ranking.decisions]
            for name, ranking in result.rankings.items()
            if ranking.decisions
        },
        "cost": {
            name: {"ms": ranking.milliseconds, "hops": ranking.hops}
            for name, ranking in result.rankings.items()
        },
    }


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
