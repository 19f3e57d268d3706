"""Every question of an evaluation, to be opened and filtered without a script.

A filter is a radio button, and a rule of the style hides what it does not let through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hoptrail.evaluation.report_page.outcomes import (
    COMPLETE,
    OUTCOMES,
    outcome_of,
    read_ids,
    where_it_broke,
)
from hoptrail.outputs.pages.frame import section, table
from hoptrail.outputs.pages.markup import Markup, element, together

Row = Mapping[str, Any]
Filters = dict[str, dict[str, set[int]]]
"""By group and by name, the positions of the questions that a filter lets through."""
BROWSER_STYLE = """
.hoptrail .filters { border: 1px solid var(--line); border-radius: .5rem; margin: 0 0 .5rem; }
.hoptrail .filters label { margin-inline-end: 1rem; white-space: nowrap; }
.hoptrail .question > summary { font-weight: 600; }
.hoptrail .question { border-bottom: 1px solid var(--line); padding: .3rem 0; }
.hoptrail .outcome { color: var(--red); font-weight: 400; font-size: .875rem; }
.hoptrail .outcome.good { color: var(--green); }
.hoptrail .gold { color: var(--green); }
"""


class FailureBrowser:
    """The questions of a report, each with what became of it under one retriever.

    Args:
        report: As `hoptrail evaluate --json` writes it.
        name: The retriever whose failures are shown.
    """

    def __init__(self, report: Mapping[str, Any], name: str) -> None:
        self._rows: Sequence[Row] = report["questions"]
        self._name = name
        self._others = [other for other in report["retrievers"] if other not in (name, "gold")]
        kinds = sorted({row["kind"] for row in self._rows if row["kind"]})
        fared = {
            f"{sign} {other}": {
                at for at in range(len(self._rows)) if self._lead(at, other) * factor > 0
            }
            for other in self._others
            for sign, factor in (("better than", 1), ("worse than", -1))
        }
        outcomes = [outcome_of(row, name) for row in self._rows]
        kind_of = [row["kind"] for row in self._rows]
        self._filters = self._useful(
            {
                "outcome": {one: _places(outcomes, one) for one in OUTCOMES},
                "kind": {kind: _places(kind_of, kind) for kind in kinds},
                "beside": fared,
            }
        )

    def style(self) -> str:
        """The rules that hide what a chosen filter does not let through."""
        rules = [BROWSER_STYLE]
        for group, choices in self._filters.items():
            for at, _ in enumerate(choices):
                mark = f"{group}-{at}"
                rules.append(
                    f".hoptrail .browser:has(#{mark}:checked) .question:not(.{mark}) "
                    "{ display: none; }\n"
                )
        return "".join(rules)

    def section(self) -> Markup:
        """The filters, and below them the questions."""
        order = sorted(
            range(len(self._rows)),
            key=lambda at: (OUTCOMES.index(outcome_of(self._rows[at], self._name)), at),
        )
        return section(
            f"Questions, as {self._name} fared",
            element(
                "div",
                *(self._filter(group, choices) for group, choices in self._filters.items()),
                *(self._question(at) for at in order),
                class_="browser",
            ),
        )

    def _useful(self, groups: Mapping[str, Mapping[str, set[int]]]) -> Filters:
        """The filters that let through some questions and not all."""
        useful = {
            group: {
                name: places
                for name, places in choices.items()
                if 0 < len(places) < len(self._rows)
            }
            for group, choices in groups.items()
        }
        return {group: choices for group, choices in useful.items() if choices}

    def _filter(self, group: str, choices: Mapping[str, set[int]]) -> Markup:
        def choice(mark: str, name: str, count: int, *, checked: bool = False) -> Markup:
            button = element("input", type="radio", name=group, id=mark, checked=checked)
            return element("label", button, f" {name} ({count})")

        return element(
            "fieldset",
            element("legend", group),
            choice(f"{group}-all", "all", len(self._rows), checked=True),
            *(
                choice(f"{group}-{at}", name, len(places))
                for at, (name, places) in enumerate(choices.items())
            ),
            class_="filters",
        )

    def _question(self, at: int) -> Markup:
        row, outcome = self._rows[at], outcome_of(self._rows[at], self._name)
        marks = [
            f"{group}-{number}"
            for group, choices in self._filters.items()
            for number, places in enumerate(choices.values())
            if at in places
        ]
        good = " good" if outcome == COMPLETE else ""
        broken = [element("li", line) for line in where_it_broke(row, self._name)]
        return element(
            "details",
            element(
                "summary",
                element("bdi", row["text"] or row["id"]),
                " ",
                element("span", outcome, class_=f"outcome{good}"),
            ),
            element("p", f"{row['id']}{' · ' + row['kind'] if row['kind'] else ''}", class_="dim"),
            _answers_line(row),
            element("ul", *broken) if broken else None,
            self._gold_table(row),
            self._trail(row),
            self._answer_table(row) if row["answered"] else None,
            class_=" ".join(["question", *marks]),
        )

    def _gold_table(self, row: Row) -> Markup:
        """Where each ranking has what is needed."""
        names = [self._name, *self._others]
        places = {
            name: {hit["id"]: place for place, hit in enumerate(row["ranked"][name], 1)}
            for name in names
        }
        return table(
            ["needed", *names],
            [
                [_title(row, id_), *(str(places[name].get(id_, "-")) for name in names)]
                for id_ in row["gold_ids"]
            ],
        )

    def _trail(self, row: Row) -> Markup:
        """What was read, in order, and how it was come to."""
        trail = row["trails"].get(self._name)
        steps = (
            [(hop["id"], _hop_line(hop)) for hop in trail["hops"]]
            if trail
            else [(id_, "") for id_ in read_ids(row, self._name)]
        )
        items = [
            element(
                "li",
                element("bdi", _title(row, id_), class_="gold" if id_ in row["gold_ids"] else None),
                element("span", line, class_="dim") if line else None,
            )
            for id_, line in steps
        ]
        return together(element("p", "read:", class_="dim"), element("ol", *items))

    def _answer_table(self, row: Row) -> Markup:
        """What the reader said from each retriever's passages."""
        lines = []
        for name, answer in row["answered"].items():
            metrics = row["metrics"][name]
            values = [
                f"{100 * metrics[one]:.0f}" if one in metrics else ""
                for one in ("answer_f1", "support_f1", "joint_f1")
            ]
            text = answer["text"] if answer["text"] is not None else "(no answer)"
            sure = answer["probability"]
            lines.append([name, text, "" if sure is None else f"{sure:.0%}", *values])
        heads = ["evidence", "answer", "sure", "answer F1", "support F1", "joint F1"]
        return table(heads, lines, names=2)

    def _lead(self, at: int, other: str) -> float:
        """How much better the answer was than with another or, without answers, the recall at 5."""
        metrics = self._rows[at]["metrics"]
        measure = "answer_f1" if "answer_f1" in metrics[self._name] else "recall@5"
        lead: float = metrics[self._name][measure] - metrics[other][measure]
        return lead


def _places(values: Sequence[object], value: object) -> set[int]:
    return {at for at, one in enumerate(values) if one == value}


def _answers_line(row: Row) -> Markup:
    if not row["answerable"]:
        return element("p", "the memory does not hold the answer", class_="dim")
    names = " / ".join(row["answers"]) or "not in the file"
    return element("p", "accepted: ", element("bdi", names))


def _hop_line(hop: Mapping[str, Any]) -> str:
    way = f"over a link: {hop['link']}" if hop["link"] else "found by the query"
    return f"  {way}, π {hop['probability']:.0%}, stop {hop['stop_probability']:.0%}"


def _title(row: Row, id_: str) -> str:
    title: str = row["titles"].get(id_, id_)
    return title
