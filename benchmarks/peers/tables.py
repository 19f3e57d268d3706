"""The report as tables in Markdown."""

from __future__ import annotations

from typing import Any

MEASURED = {
    "musique": "recall@5",
    "2wikimultihopqa": "recall@5",
    "hotpotqa": "recall@5",
    "locomo": "recall@10",
    "beam": "recall@10",
}
"""What of each set goes into the first table."""


def print_tables(report: dict[str, Any]) -> None:
    """Recall of all sets side by side, then each set by itself, then kills."""
    sets = report.get("sets", {})
    if sets:
        names = list(dict.fromkeys(name for one in sets.values() for name in one["rows"]))
        print_row(["", *(f"{name}, {MEASURED[name]}" for name in sets)])
        for name in names:
            cells = [recall(one["rows"].get(name), MEASURED[key]) for key, one in sets.items()]
            print_row([name, *cells])
    for key, one in sets.items():
        print(f"\n{key}: {one['passages']} passages, {one['questions']} questions")
        print_row(["", "recall", "balanced less this", "ms", "processor, ms", "x raw", "s", "MB"])
        for name, row in one["rows"].items():
            difference = row.get(f"hoptrail balanced less this, {MEASURED[key]}")
            print_row(
                [
                    name,
                    recall(row, MEASURED[key]),
                    points(difference) if difference else "",
                    f"{row['ms_median']:.0f}",
                    f"{row['cpu_ms_median']:.1f}",
                    f"{row['cpu_times_raw_vectors']:.1f}",
                    f"{row['index_cpu_seconds']:.1f}",
                    f"{row['index_bytes'] / 1e6:.1f}",
                ]
            )
    if "kills" in report:
        print_row(["", "keeps", "opens again", "whole", "acknowledged passages lost"])
    for name, row in report.get("kills", {}).get("rows", {}).items():
        counts = [f"{row[key]} of {row['kills']}" for key in ("opened", "whole")]
        print_row([name, row["persists"], *counts, f"{row['lost']} of {row['acknowledged']}"])


def recall(row: dict[str, Any] | None, measure: str) -> str:
    """A share in %, or nothing."""
    return "" if row is None else f"{100 * row[measure]:.1f}"


def points(difference: list[float]) -> str:
    """A difference in points with its interval."""
    mean, low, high = (100 * value for value in difference)
    return f"{mean:+.1f} [{low:.1f}, {high:.1f}]"


def print_row(cells: list[str]) -> None:
    """One row of a table."""
    print("| " + " | ".join(cells) + " |")
