"""Two reports side by side: any retrievers, policies or readers on the same questions.

Differences are paired question by question, and their intervals are drawn by cluster, as within a
report. A win is a question on which the first is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from hoptrail.errors import FormatError, HoptrailError, InputError
from hoptrail.metrics.bootstrap import RESAMPLES, Bootstrap, clusters_of
from hoptrail.types import Question

ReportData = Mapping[str, Any]
Key = tuple[tuple[str, ...], str]
SIDES = ("first", "second")


@dataclass(frozen=True, slots=True)
class _Pair:
    """One question, and what two retrievers were worth on it."""

    question: Question
    first: Mapping[str, float]
    second: Mapping[str, float]


def compare_reports(
    first: ReportData,
    second: ReportData,
    *,
    retriever: str | None = None,
    against: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """How far what one report measured is ahead of what another did.

    Args:
        first: As `hoptrail evaluate --json` writes it.
        second: Likewise, over the same questions; it may be the same report.
        retriever: One of the first report; every one that both have, each with itself, if None.
        against: One of the second report; the same name if None.
        seed: Of the bootstrap's draws.
        resamples: How many.

    Returns:
        Under `pairs`, for each two retrievers, their `retriever` and `against`, and `measures`: for
        each the means, the difference, its interval, and how many questions were wins, ties and
        losses. `kinds` has `measures` for each kind of question, where there are several.

    Raises:
        InputError: The questions or their gold differ, or there is no such retriever.
        FormatError: A report was not written by this version.
    """
    try:
        rows = _matched(first, second)
        pairs = [
            {
                "retriever": left,
                "against": right,
                **_compare(rows, left, right, seed=seed, resamples=resamples),
            }
            for left, right in _names(first, second, retriever, against)
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, HoptrailError):
            raise
        raise FormatError(
            f"a report does not hold what hoptrail evaluate --json writes ({error!r}): "
            "write it again"
        ) from error
    return {"questions": len(rows), "pairs": pairs}


def paired_rows(measures: Mapping[str, Any]) -> list[list[str]]:
    """A table of one comparison: a heading row, then a row a measure; differences in points.

    Args:
        measures: Of a pair, or of one kind of question.
    """
    rows = [["measure", *SIDES, "difference", "95 % interval", "won / even / lost"]]
    for measure, one in measures.items():
        shares = [f"{100 * one[side]:.1f}" for side in SIDES]
        low, high = 100 * one["low"], 100 * one["high"]
        counts = " / ".join(str(one[count]) for count in ("wins", "ties", "losses"))
        interval = f"{low:+.1f} to {high:+.1f}"
        rows.append([measure, *shares, f"{100 * one['difference']:+.1f}", interval, counts])
    return rows


def _matched(first: ReportData, second: ReportData) -> list[tuple[Mapping[str, Any], ...]]:
    """The questions of both, those of one id together, in the first's order."""
    left, right = (
        {(tuple(row["namespace"]), row["id"]): row for row in report["questions"]}
        for report in (first, second)
    )
    for here, there, which in ((left, right, "first"), (right, left, "second")):
        alone = [key for key in here if key not in there]
        if alone:
            raise InputError(
                f"the reports are of different questions: {len(alone)} are in the {which} only, "
                f"{alone[0][1]!r} among them"
            )
    for key, row in left.items():
        if set(row["gold_ids"]) != set(right[key]["gold_ids"]):
            raise InputError(f"the reports disagree about what question {key[1]!r} needs")
    return [(row, right[key]) for key, row in left.items()]


def _names(
    first: ReportData, second: ReportData, retriever: str | None, against: str | None
) -> list[tuple[str, str]]:
    here, there = list(first["retrievers"]), list(second["retrievers"])
    if retriever is None and against is None:
        both = [(name, name) for name in here if name in there]
        if not both:
            raise InputError(
                f"the reports have no retriever in common ({', '.join(here)}; {', '.join(there)}): "
                "name one of each"
            )
        return both
    left, right = retriever or against or "", against or retriever or ""
    for name, names, which in ((left, here, "first"), (right, there, "second")):
        if name not in names:
            raise InputError(f"the {which} report has no {name!r}, only {', '.join(names)}")
    return [(left, right)]


def _compare(
    rows: Sequence[tuple[Mapping[str, Any], ...]], left: str, right: str, **settings: int
) -> dict[str, Any]:
    pairs = [
        _Pair(
            Question(
                row["id"],
                "",
                supporting_ids=tuple(row["gold_ids"]),
                kind=row["kind"],
                namespace=tuple(row["namespace"]),
            ),
            row["metrics"][left],
            other["metrics"][right],
        )
        for row, other in rows
    ]
    kinds = sorted({pair.question.kind for pair in pairs if pair.question.kind})
    by_kind = {kind: [pair for pair in pairs if pair.question.kind == kind] for kind in kinds}
    return {
        "measures": _measures(pairs, **settings),
        "kinds": {
            kind: {"questions": len(part), "measures": _measures(part, **settings)}
            for kind, part in by_kind.items()
            if len(by_kind) > 1
        },
    }


def _measures(pairs: Sequence[_Pair], *, seed: int, resamples: int) -> dict[str, Any]:
    measures: dict[str, Any] = {}
    draws: dict[tuple[int, ...], Bootstrap] = {}
    names = dict.fromkeys(name for pair in pairs for name in pair.first if name in pair.second)
    for name in names:
        places = tuple(
            at for at, pair in enumerate(pairs) if name in pair.first and name in pair.second
        )
        if places not in draws:
            clusters = clusters_of([pairs[at].question for at in places])
            draws[places] = Bootstrap(clusters, seed=seed, resamples=resamples)
        values = [float(pairs[at].first[name]) for at in places]
        others = [float(pairs[at].second[name]) for at in places]
        interval = draws[places].paired(values, others)
        differences = [value - other for value, other in zip(values, others, strict=True)]
        measures[name] = {
            "questions": len(places),
            "clusters": draws[places].count,
            "first": fmean(values),
            "second": fmean(others),
            "difference": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "excludes_zero": interval.excludes_zero,
            "wins": sum(difference > 0 for difference in differences),
            "ties": sum(difference == 0 for difference in differences),
            "losses": sum(difference < 0 for difference in differences),
        }
    return measures
