"""Which of two comes first: the dates of a comparison are read off the passages and compared.

"Who was born later, A or B?" asks for no span that says so: two dates stand in two passages, and a
small network compares them little better than by chance. The question says what is compared and
which way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from hoptrail.learning.answering.comparisons.sides import (
    ComputedAnswer,
    as_choice,
    director_of,
    places_by_title,
    sides_of_choice,
)
from hoptrail.types import Passage

Date = tuple[int, int, int]
"""Year, month and day; 0 for what is not said."""
DatePlace = tuple[Date, int, int, int]
"""A date, the place of its passage, and its characters in the passage's text."""

_MONTHS = (
    "january february march april may june july august september october november december".split()
)
_DATE = re.compile(
    rf"(?:(?P<d1>\d{{1,2}}) (?P<m1>{'|'.join(_MONTHS)}),? (?P<y1>\d{{4}}|\d{{3}}\b)"
    rf"|\b(?P<m2>{'|'.join(_MONTHS)}) (?:(?P<d2>\d{{1,2}}), )?(?P<y2>\d{{4}}|\d{{3}}\b)"
    r"|\b(?P<y3>1\d{3}|20\d{2})\b)",
    re.IGNORECASE,
)
_HEAD = 600
"""Characters of a passage in which its dates are looked for."""
_NEAR = 60
"""Characters behind `born` and `died` in which their date stands."""

_KINDS = (
    ("life", re.compile(r"\blived longer\b")),
    ("birth", re.compile(r"\bborn\b|\bolder\b|\byounger\b")),
    ("death", re.compile(r"\bdied\b|\bdie\b")),
    ("release", re.compile(r"\b(?:released|came out|come out|published|issued)\b")),
    ("start", re.compile(r"\b(?:founded|established|formed|started|created|opened)\b")),
)
_LATER = re.compile(r"\b(?:later|last|younger|more recent(?:ly)?|newer|longer)\b")
_EARLIER = re.compile(r"\b(?:earlier|first|older|before)\b")


def compare_dates(question: str, passages: Sequence[Passage]) -> ComputedAnswer | None:
    """The answer to a question that compares two dates; None where it does not, or they lack.

    Args:
        question: In words.
        passages: What was read; passages without titles name neither side.
    """
    question = as_choice(question)
    lowered = question.lower()
    kind = next((name for name, pattern in _KINDS if pattern.search(lowered)), None)
    later, earlier = bool(_LATER.search(lowered)), bool(_EARLIER.search(lowered))
    if kind is None or later == earlier or " or " not in question:
        return None
    titles = places_by_title(passages)
    sides = sides_of_choice(question, titles)
    if sides is None:
        return None
    values: list[tuple[float, ...]] = []
    places: list[tuple[int, int, int]] = []
    for _, place in sides:
        subject = place
        if "director" in lowered:
            other = director_of(passages[place], titles, [side for _, side in sides])
            if other is None:
                return None
            subject = other
        dates = _dates(kind, passages[subject].text, subject)
        if dates is None:
            return None
        values.append(_value(kind, [date for date, _, _, _ in dates]))
        places += [(where, start, end) for _, where, start, end in dates]
    if values[0] == values[1]:
        return None
    best = int((values[1] > values[0]) == later)
    return ComputedAnswer(sides[best][0], tuple(places))


def _dates(kind: str, text: str, place: int) -> list[DatePlace] | None:
    """The dates of a kind in a passage: two of a life, else one."""
    head = text[:_HEAD]
    if kind == "life":
        birth, death = _dates("birth", text, place), _dates("death", text, place)
        return birth + death if birth and death else None
    matches = list(_DATE.finditer(head))
    if kind in ("release", "start"):
        chosen = matches[:1]
    else:
        span = _span_of_life(head, matches)
        word = re.search(r"\bborn\b" if kind == "birth" else r"\bdied\b", head)
        near = [m for m in matches if word and 0 <= m.start() - word.end() <= _NEAR]
        alone = [m for m in matches if kind == "birth" and head[m.start() - 2 : m.start()] == "( "]
        chosen = [span[0 if kind == "birth" else 1]] if span else (near or alone)[:1]
    return [(_date(match), place, match.start(), match.end()) for match in chosen] or None


def _span_of_life(
    head: str, matches: Sequence[re.Match[str]]
) -> tuple[re.Match[str], re.Match[str]] | None:
    """The two dates of the first parenthesis that holds two."""
    for one, other in pairwise(matches):
        opened = head.rfind("(", 0, one.start())
        if opened >= 0 and ")" not in head[opened : other.start()]:
            return one, other
    return None


def _date(match: re.Match[str]) -> Date:
    year = match["y1"] or match["y2"] or match["y3"]
    month = (match["m1"] or match["m2"] or "").lower()
    day = match["d1"] or match["d2"] or 0
    return int(year), _MONTHS.index(month) + 1 if month else 0, int(day)


def _value(kind: str, dates: Sequence[Date]) -> tuple[float, ...]:
    if kind == "life":
        birth, death = dates
        return (sum((d - b) * w for b, d, w in zip(birth, death, (372, 31, 1), strict=True)),)
    return tuple(map(float, dates[0]))
