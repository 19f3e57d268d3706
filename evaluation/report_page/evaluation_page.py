"""The page of an evaluation: what `hoptrail evaluate --report` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hoptrail.errors import FormatError, HoptrailError
from hoptrail.evaluation.report import (
    REFERENCE,
    answer_rows,
    comparison_rows,
    kind_rows,
    recall_curves,
    save_report,
    summary_rows,
)
from hoptrail.evaluation.report_page.charts import Axes, chart_style, line_chart
from hoptrail.evaluation.report_page.failure_browser import FailureBrowser
from hoptrail.evaluation.report_page.outcomes import read_ids
from hoptrail.evaluation.stopping import stopping
from hoptrail.metrics.reliability import reliability
from hoptrail.outputs import output_files
from hoptrail.outputs.pages.frame import heading, html_page, section, table
from hoptrail.outputs.pages.markup import Markup, element

PAGE, DATA = "index.html", "report.json"
"""What `write_page` writes."""
DEPTHS = (1, 2, 5, 10, 20, 50, 100)
"""Passages that the axis of a recall curve names."""

ReportData = dict[str, Any]


def write_page(report: ReportData, folder: Path) -> None:
    """Write the page of an evaluation, and the report beside it.

    Args:
        report: As `build_report` makes it.
        folder: Where; it is made.

    Raises:
        FormatError: It cannot be written, or the report is damaged.
    """
    page = evaluation_page(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = output_files.output_path(folder / PAGE)
        with output_files.scratch(target) as part:
            part.write_text(page, encoding="utf-8")
            part.replace(target)
    except OSError as error:
        raise FormatError(f"{folder} cannot be written: {error.strerror or error}") from error
    save_report(report, folder / DATA)


def evaluation_page(report: ReportData) -> str:
    """An evaluation as one page, without a script and without the network.

    Args:
        report: As `build_report` makes it.

    Raises:
        FormatError: It was not written by this version.
    """
    try:
        names = [name for name in report["retrievers"] if name != "gold"]
        name = REFERENCE if REFERENCE in names else names[0]
        browser = FailureBrowser(report, name)
        parts = [part for part in _parts(report, name) if part]
        title = f"Evaluation on {report['files']['questions']['name']}"
        count = len(report["questions"])
        head = heading(title, f"{count} questions; intervals are drawn by cluster, 95 %")
        style = chart_style() + browser.style()
        return html_page(f"hoptrail: {title}", head, *parts, browser.section(), style=style)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, HoptrailError):
            raise
        raise FormatError(
            f"a report does not hold what hoptrail evaluate --json writes ({error!r}): "
            "write it again"
        ) from error


def _parts(report: ReportData, name: str) -> Iterator[Markup | None]:
    for split, part in report["splits"].items():
        which = "all questions" if split == "all" else f"{split} questions"
        title = f"Rankings, {which}: {part['questions']} in {part['clusters']} clusters"
        yield section(title, _table(summary_rows(report, split)))
        answers = answer_rows(report, split)
        yield section(f"Answers, {which}", _table(answers)) if len(answers) > 1 else None
        rows = comparison_rows(report, split)
        yield section(f"{REFERENCE} beside the others", _table(rows)) if len(rows) > 1 else None
    yield (
        section("Recall by kind of question", _table(kind_rows(report)))
        if report["kinds"]
        else None
    )
    yield _recall_section(report)
    yield _cost_section(report)
    yield _stopping_section(report, name)
    yield _sureness_section(report)
    yield _evidence_section(report)
    yield _reading_section(report)
    yield _settings_section(report)


def _table(rows: list[list[str]]) -> Markup:
    return table(rows[0], rows[1:])


def _recall_section(report: ReportData) -> Markup:
    curves = {name: one for name, one in recall_curves(report).items() if name != "gold"}
    longest = max(len(curve) for curve in curves.values())
    ticks = [k for k in DEPTHS if k < longest] + [longest]
    series = {name: list(enumerate(curve, 1)) for name, curve in curves.items()}
    axes = Axes("passages", "recall", ticks, logarithmic=True)
    return section("Recall against the number of passages", line_chart(series, axes))


def _cost_section(report: ReportData) -> Markup:
    """What finding and reading took, and what it was worth."""
    heads = ["retriever", "recall@5", "ms, median", "passages walked", "tokens given to the reader"]
    rows = []
    for name, means in report["retrievers"].items():
        tokens = f"{means['tokens_mean']:.0f}" if "tokens_mean" in means else ""
        cost = (
            ["", ""]
            if name == "gold"
            else [
                f"{means['ms_median']:.0f}",
                f"{means['hops_mean']:.1f}",
            ]
        )
        rows.append([name, f"{100 * means['recall@5']:.1f}", *cost, tokens])
    return section("Cost", table(heads, rows))


def _stopping_section(report: ReportData, name: str) -> Markup | None:
    """Whether the policy had what it needed as often as it was sure of it."""
    if not all(row["decisions"].get(name) for row in report["questions"]):
        return None
    calibration = stopping([report], name)["calibration"]
    low, high = calibration["interval"]
    points = [(one["stated"], one["true"]) for one in calibration["bins"]]
    axes = Axes("stated π(STOP)", "evidence complete", (0, 0.25, 0.5, 0.75, 1))
    return section(
        "Calibration of stopping",
        element(
            "p",
            f"Expected calibration error {100 * calibration['error']:.1f} points, "
            f"{100 * low:.1f} to {100 * high:.1f}, over {calibration['decisions']} decisions.",
        ),
        line_chart({name: points}, axes, diagonal=True),
    )


def _sureness_section(report: ReportData) -> Markup | None:
    """Whether answers are right as often as the reader is sure of them."""
    series = {}
    for name in report["retrievers"]:
        pairs = [
            (row["answered"][name]["probability"], row["metrics"][name]["answer_em"])
            for row in report["questions"]
            if name in row["answered"]
            and row["answered"][name]["text"] is not None
            and row["answered"][name]["probability"] is not None
            and "answer_em" in row["metrics"][name]
        ]
        if pairs:
            stated, right = zip(*pairs, strict=True)
            series[name] = [(one.stated, one.true) for one in reliability(stated, right)]
    if not series:
        return None
    axes = Axes("stated probability", "answer right", (0, 0.25, 0.5, 0.75, 1))
    return section("Calibration of answers", line_chart(series, axes, diagonal=True))


def _evidence_section(report: ReportData) -> Markup | None:
    """How often the answer was right with all of the evidence, and without."""
    rows = []
    for name in report["retrievers"]:
        shares: dict[bool, list[float]] = {True: [], False: []}
        for row in report["questions"]:
            metrics = row["metrics"][name]
            if "answer_f1" in metrics:
                whole = set(row["gold_ids"]) <= set(read_ids(row, name))
                shares[whole].append(metrics["answer_f1"])
        if any(shares.values()):
            rows.append(
                [name, *(cell for whole in (True, False) for cell in _share(shares[whole]))]
            )
    if not rows:
        return None
    heads = ["evidence", "complete for", "answer F1 there", "incomplete for", "answer F1 there"]
    return section("Answers against evidence", table(heads, rows))


def _reading_section(report: ReportData) -> Markup | None:
    """What more reading is worth: long context against retrieval."""
    curves = report.get("reading")
    if not curves:
        return None
    series = {
        name: [(max(one["tokens"], 1.0), one["answer_f1"]) for one in points]
        for name, points in curves.items()
    }
    tokens = [x for points in series.values() for x, _ in points]
    axes = Axes("tokens read", "answer F1", (round(min(tokens)), round(max(tokens))), True)
    return section("Long context against retrieval", line_chart(series, axes))


def _share(values: list[float]) -> list[str]:
    mean = f"{100 * sum(values) / len(values):.1f}" if values else "-"
    return [str(len(values)), mean]


def _settings_section(report: ReportData) -> Markup:
    """What is needed to run it again."""
    pairs = {
        **{f"{key} file": f"{one['name']} {one['sha256']}" for key, one in report["files"].items()},
        **{key: _plain(value) for key, value in report["settings"].items()},
        **report["versions"],
        **report["machine"],
    }
    rows = [[key, str(value)] for key, value in pairs.items() if value not in (None, "")]
    body = table(["setting", "value"], rows, names=2)
    return section("To run it again", element("details", element("summary", "settings"), body))


def _plain(value: object) -> object:
    """A setting without what would fill the page: the card of a policy."""
    return value.get("source", value) if isinstance(value, Mapping) else value
