"""Stopping, judged: what is read and what is returned, and whether what is stated of it is right.

The set is what the likeliest trail had read when it ended. It is compared with fixed budgets, the
first k of the same ranking: a policy that knows when it has enough reads few passages where few
are needed, and more where the question takes more. Beside it stands the set that
`until="complete"` returns, and beside π(STOP) the calibrated probabilities of the ranking, where
the policy states any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.api.hit_selection import expected_best
from hoptrail.errors import FormatError, HoptrailError, InputError
from hoptrail.evaluation.plots import new_figure, save_figure
from hoptrail.metrics.bootstrap import clusters_of
from hoptrail.metrics.reliability import calibration_interval, reliability
from hoptrail.types import Question

BUDGETS = (1, 2, 3, 4, 5)
"""Passages that a fixed budget reads."""
JUDGED = 10
"""Passages and prefixes of a ranking whose probabilities are judged."""

Report = Mapping[str, Any]


def set_measures(read: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """What a set of passages is worth as evidence: recall, precision, F1, completeness, size.

    Args:
        read: Ids of the passages that were read.
        gold: Ids of those that are needed; at least one.

    Returns:
        `recall`, `precision`, `f1` and `all_gold` in [0, 1], and `passages`, their number.
    """
    read_ids, gold_ids = set(read), set(gold)
    hits = len(read_ids & gold_ids)
    return {
        "recall": hits / len(gold_ids),
        "precision": hits / len(read_ids) if read_ids else 0.0,
        "f1": 2 * hits / (len(read_ids) + len(gold_ids)),
        "all_gold": float(hits == len(gold_ids)),
        "passages": float(len(read_ids)),
    }


def stopping(reports: Sequence[Report], retriever: str, *, seed: int = 0) -> dict[str, Any]:
    """How a retriever stops, over all questions of some reports together.

    Args:
        reports: As `hoptrail evaluate --json` writes them.
        retriever: One that decides when to stop.
        seed: Of the bootstrap's draws.

    Returns:
        Under `sets`, the means of `set_measures` for what was read until STOP and for each fixed
        budget; under `calibration`, the error of π(STOP) as a probability that the evidence is
        complete, its interval, the number of decisions and the bins of the reliability diagram.
        Under `scores`, the errors of `needed` and of `complete` over the first ten passages and
        prefixes, with their intervals; None where a question has none.

    Raises:
        InputError: A report has no decisions of this retriever, or is damaged.
    """
    try:
        return _stopping(reports, retriever, seed)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, HoptrailError):
            raise
        raise FormatError(
            f"a report does not hold what hoptrail evaluate --json writes ({error!r}): "
            "write it again"
        ) from error


def _stopping(reports: Sequence[Report], retriever: str, seed: int) -> dict[str, Any]:
    numbered = [
        (number, question) for number, r in enumerate(reports) for question in r["questions"]
    ]
    if not numbered or any(
        not question.get("decisions", {}).get(retriever) for _, question in numbered
    ):
        raise InputError(
            f"the reports hold no decisions of {retriever!r}: write them with this version's "
            "hoptrail evaluate --json, the policy taking part"
        )
    sets = {"until STOP": _means(_last(q, retriever) for _, q in numbered)}
    for k in BUDGETS:
        sets[f"first {k}"] = _means(
            ([hit["id"] for hit in q["ranked"][retriever][:k]], q["gold_ids"]) for _, q in numbered
        )
    stated = all(question.get("stated", {}).get(retriever) for _, question in numbered)
    if stated:
        sets["until complete"] = _means(_needed(q, retriever) for _, q in numbered)
    return {
        "questions": len(numbered),
        "sets": sets,
        "calibration": _calibration(numbered, retriever, seed),
        "scores": _scores(numbered, retriever, seed) if stated else None,
    }


def stopping_rows(judgement: Mapping[str, Any]) -> list[list[str]]:
    """A table of the sets: a heading row, then a row for STOP and for each budget.

    Args:
        judgement: What `stopping` gave.
    """
    rows = [["what is read", "recall", "precision", "F1", "all gold", "passages"]]
    for name, means in judgement["sets"].items():
        shares = [f"{100 * means[m]:.1f}" for m in ("recall", "precision", "f1", "all_gold")]
        rows.append([name, *shares, f"{means['passages']:.1f}"])
    return rows


def calibration_rows(judgement: Mapping[str, Any]) -> list[list[str]]:
    """The reliability diagram as a table: a heading row, then a row a bin.

    Args:
        judgement: What `stopping` gave.
    """
    bins = judgement["calibration"]["bins"]
    return [
        ["decisions", "stated π(STOP)", "evidence was complete"],
        *(
            [str(part["count"]), f"{100 * part['stated']:.1f}", f"{100 * part['true']:.1f}"]
            for part in bins
        ),
    ]


def plot_calibration(judgement: Mapping[str, Any], path: str | Path) -> None:
    """Write a picture of the reliability diagram.

    Args:
        judgement: What `stopping` gave.
        path: The picture's file; its suffix says the format, such as `.png` or `.svg`.

    Raises:
        MissingExtra: matplotlib is not installed.
        FormatError: The file cannot be written.
    """
    figure = new_figure(4.5, 4.5)
    axes = figure.subplots()
    bins = judgement["calibration"]["bins"]
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.plot([b["stated"] for b in bins], [b["true"] for b in bins], marker="o")
    axes.set(xlabel="stated π(STOP)", ylabel="share whose evidence was complete")
    axes.set_title(
        f"{judgement['calibration']['decisions']} decisions, {judgement['questions']} questions"
    )
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def score_rows(judgement: Mapping[str, Any]) -> list[list[str]]:
    """The errors of the calibrated probabilities as a table; empty where none are stated.

    Args:
        judgement: What `stopping` gave.
    """
    scores = judgement["scores"]
    if scores is None:
        return []
    return [
        ["probability", "stated", "error", "interval"],
        *(
            [name, str(one["stated"]), *_error_cells(one["error"], one["interval"])]
            for name, one in scores.items()
        ),
    ]


def _error_cells(error: float, interval: Sequence[float]) -> list[str]:
    low, high = interval
    return [f"{100 * error:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"]


def _needed(question: Mapping[str, Any], retriever: str) -> tuple[list[str], list[str]]:
    """What `until="complete"` returns of a ranking, and what should have been."""
    count = expected_best(question["stated"][retriever]["needed"])
    return [hit["id"] for hit in question["ranked"][retriever][:count]], question["gold_ids"]


def _scores(numbered: Sequence[tuple[int, Any]], retriever: str, seed: int) -> dict[str, Any]:
    """How true the probabilities of the first passages and prefixes of each ranking are."""
    groups = _clusters(numbered)
    stated: dict[str, list[float]] = {"needed": [], "complete": []}
    true: dict[str, list[bool]] = {"needed": [], "complete": []}
    clusters: list[int] = []
    for (_, question), cluster in zip(numbered, groups, strict=True):
        ids = [hit["id"] for hit in question["ranked"][retriever][:JUDGED]]
        gold = set(question["gold_ids"])
        for name, values in stated.items():
            values += question["stated"][retriever][name][: len(ids)]
        true["needed"] += [id_ in gold for id_ in ids]
        true["complete"] += [gold <= set(ids[: rank + 1]) for rank in range(len(ids))]
        clusters += [int(cluster)] * len(ids)
    judged = {}
    for name, values in stated.items():
        interval = calibration_interval(values, true[name], np.asarray(clusters), seed=seed)
        judged[name] = {
            "stated": len(values),
            "error": interval.mean,
            "interval": [interval.low, interval.high],
        }
    return judged


def _clusters(numbered: Sequence[tuple[int, Any]]) -> NDArray[np.int64]:
    """The cluster of each question, those of different reports apart."""
    return clusters_of(
        [
            Question(q["id"], "", supporting_ids=tuple(q["gold_ids"]), namespace=(str(number),))
            for number, q in numbered
        ]
    )


def _calibration(numbered: Sequence[tuple[int, Any]], retriever: str, seed: int) -> dict[str, Any]:
    groups = _clusters(numbered)
    stated, true, clusters = [], [], []
    for (_, question), cluster in zip(numbered, groups, strict=True):
        for decision in question["decisions"][retriever]:
            stated.append(min(1.0, decision["stop"]))
            true.append(set(question["gold_ids"]) <= set(decision["read"]))
            clusters.append(cluster)
    interval = calibration_interval(stated, true, np.asarray(clusters), seed=seed)
    return {
        "decisions": len(stated),
        "error": interval.mean,
        "interval": [interval.low, interval.high],
        "bins": [asdict(part) for part in reliability(stated, true)],
    }


def _last(question: Mapping[str, Any], retriever: str) -> tuple[list[str], list[str]]:
    """What was read when it stopped, and what should have been."""
    return question["decisions"][retriever][-1]["read"], question["gold_ids"]


def _means(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[str, float]:
    measured = [set_measures(read, gold) for read, gold in pairs]
    return {name: fmean(m[name] for m in measured) for name in measured[0]}
