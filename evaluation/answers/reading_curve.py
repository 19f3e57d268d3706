"""Long context against retrieval: what answers are worth by how much is read for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from hoptrail.errors import InputError
from hoptrail.evaluation.benchmark import Result
from hoptrail.evaluation.plots import new_figure, save_figure
from hoptrail.metrics.bootstrap import Bootstrap, clusters_of

Curves = dict[str, list[dict[str, float]]]
MEASURE = "answer_f1"
"""What the curves show."""


def reading_curves(results: Sequence[Result], *, seed: int, resamples: int) -> Curves:
    """Answer F1 against tokens read, for each retriever, over the questions that have an answer.

    Args:
        results: With `readings`, as a `ReaderRun` with budgets makes them.
        seed: Of the bootstrap's draws.
        resamples: How many.

    Returns:
        By retriever, a point for each budget: the means of `passages`, `tokens` and `answer_f1`,
        and the `low` and `high` end of its interval.
    """
    answerable = [result for result in results if result.question.answerable]
    if not answerable:
        return {}
    clusters = clusters_of([result.question for result in answerable])
    bootstrap = Bootstrap(clusters, seed=seed, resamples=resamples)
    curves: Curves = {}
    for name, readings in answerable[0].readings.items():
        curves[name] = []
        for at in range(len(readings)):
            column = [result.readings[name][at] for result in answerable]
            interval = bootstrap.interval([one.measures[MEASURE] for one in column])
            curves[name].append(
                {
                    "passages": fmean(len(one.read) for one in column),
                    "tokens": fmean(one.tokens for one in column),
                    MEASURE: interval.mean,
                    "low": interval.low,
                    "high": interval.high,
                }
            )
    return curves


def plot_reading(report: Mapping[str, Any], path: str | Path) -> None:
    """Write a picture of answer F1 over tokens read, a curve and its interval for each retriever.

    Args:
        report: Of an evaluation with budgets.
        path: The picture's file; its suffix says the format, such as `.png` or `.svg`.

    Raises:
        InputError: The report was made without budgets.
        MissingExtra: matplotlib is not installed.
        FormatError: The file cannot be written.
    """
    if not report.get("reading"):
        raise InputError("the report has no curve of reading: evaluate with --answers --budgets")
    figure = new_figure(7, 4.5)
    axes = figure.subplots()
    for name, points in report["reading"].items():
        tokens = [point["tokens"] for point in points]
        axes.plot(tokens, [100 * point[MEASURE] for point in points], marker="o", label=name)
        low, high = ([100 * point[end] for point in points] for end in ("low", "high"))
        axes.fill_between(tokens, low, high, alpha=0.15)
    axes.set(xlabel="tokens read", ylabel="answer F1, %", xscale="log", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title(f"{report['files']['questions']['name']}, 95 % intervals by cluster")
    save_figure(figure, path)
