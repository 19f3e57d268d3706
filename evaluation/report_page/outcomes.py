"""What became of one question: whether the evidence was there, and where the way broke off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
"""A question of a report."""

COMPLETE, INCOMPLETE = "evidence complete", "evidence incomplete"
WRONG, LUCKY = "answer wrong on complete evidence", "answer right without all evidence"
ABSENT = "nothing to be found"
OUTCOMES = (INCOMPLETE, WRONG, LUCKY, COMPLETE, ABSENT)
"""What a question can have come to, the worst first; `COMPLETE` is with a right answer, where one
was asked for."""
DEPTH = 5
"""Passages of a ranking that count as read where no trail says what was."""


def read_ids(row: Row, name: str) -> list[str]:
    """What was read for a question: by the reader, along the trail, or the first of the ranking.

    Args:
        row: A question of a report.
        name: Of the retriever.
    """
    if name in row["answered"]:
        return list(row["answered"][name]["read"])
    if row["decisions"].get(name):
        return list(row["decisions"][name][-1]["read"])
    return [hit["id"] for hit in row["ranked"][name][:DEPTH]]


def outcome_of(row: Row, name: str) -> str:
    """One of `OUTCOMES`.

    Args:
        row: A question of a report.
        name: Of the retriever.
    """
    if not row["answerable"]:
        return ABSENT
    whole = set(row["gold_ids"]) <= set(read_ids(row, name))
    right = row["metrics"][name].get("answer_em")
    if right is None:
        return COMPLETE if whole else INCOMPLETE
    if whole:
        return COMPLETE if right else WRONG
    return LUCKY if right else INCOMPLETE


def where_it_broke(row: Row, name: str) -> list[str]:
    """Sentences that say what was missed, and at which step.

    Args:
        row: A question of a report.
        name: Of the retriever.
    """
    read = read_ids(row, name)
    places = {hit["id"]: place for place, hit in enumerate(row["ranked"][name], 1)}
    missing = [id_ for id_ in row["gold_ids"] if id_ not in read]
    lines = []
    for id_ in missing:
        place = places.get(id_)
        rank = f"place {place} of the ranking" if place else "nowhere in the ranking"
        lines.append(f"not read: {row['titles'].get(id_, id_)} ({rank})")
    trail = row["trails"].get(name)
    if trail and missing:
        hops = len(trail["hops"])
        ends = {
            "policy": f"it stopped, {trail['stop_probability']:.0%} sure to have enough",
            "budget": "its hops were used up",
            "exhausted": "nothing was left to read",
        }
        why = ends.get(trail["stop_reason"], trail["stop_reason"])
        lines.append(f"after {hops} passage{'' if hops == 1 else 's'} {why}")
        wrong = next((hop for hop in trail["hops"] if hop["id"] not in row["gold_ids"]), None)
        if wrong:
            title = row["titles"].get(wrong["id"], wrong["id"])
            lines.append(f"the first passage off the way was {title}")
    answer = row["answered"].get(name)
    if answer and not missing and not row["metrics"][name].get("answer_em", 1.0):
        lines.append("all evidence was read, and the reader answered otherwise")
    return lines
