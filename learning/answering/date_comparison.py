"""Which of two comes first: the dates of a comparison are read off the passages and compared.

"Who was born later, A or B?" asks for no span that says so: two dates stand in two passages, and a
small network compares them little better than by chance. The question says what is compared and
which way; each side is found by its title and, where it is the director of a film that matters, by
the passage whose title the film's passage names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

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

_NAME_WORDS = 4
"""Words of a director's name, at most."""

_KINDS = (
    ("life", re.compile(r"\blived longer\b")),
    ("birth", re.compile(r"\bborn\b|\bolder\b|\byounger\b")),
    ("death", re.compile(r"\bdied\b|\bdie\b")),
    ("release", re.compile(r"\b(?:released|came out|come out|published|issued)\b")),
    ("start", re.compile(r"\b(?:founded|established|formed|started|created|opened)\b")),
)
_LATER = re.compile(r"\b(?:later|last|younger|more recent(?:ly)?|newer|longer)\b")
_EARLIER = re.compile(r"\b(?:earlier|first|older|before)\b")


@dataclass(frozen=True, slots=True)
class DateComparison:
    """The side of a comparison that its dates speak for."""

    text: str
    """As the question names it."""
    dates: tuple[tuple[int, int, int], ...]
    """Where the dates stand: a passage's place, the first character in its text and the one past
    the last."""


def compare_dates(question: str, passages: Sequence[Passage]) -> DateComparison | None:
    """The answer to a question that compares two dates; None where it does not, or they lack.

    Args:
        question: In words.
        passages: What was read; passages without titles name neither side.
    """
    lowered = question.lower()
    kind = next((name for name, pattern in _KINDS if pattern.search(lowered)), None)
    later, earlier = bool(_LATER.search(lowered)), bool(_EARLIER.search(lowered))
    if kind is None or later == earlier or " or " not in question:
        return None
    titles = {_plain(passage.title): i for i, passage in enumerate(passages) if passage.title}
    sides = _sides(question, titles)
    if sides is None:
        return None
    values: list[tuple[float, ...]] = []
    places: list[tuple[int, int, int]] = []
    for _, place in sides:
        subject = place
        if "director" in lowered:
            other = _named_in(passages[place], titles, [side for _, side in sides])
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
    return DateComparison(sides[best][0], tuple(places))


def _plain(title: str | None) -> str:
    """A title without what stands in parentheses behind it, in small letters and digits."""
    short = re.sub(r"\s*\([^)]*\)\s*$", "", title or "")
    return " ".join(re.findall(r"\w+", short.lower()))


def _sides(question: str, titles: dict[str, int]) -> list[tuple[str, int]] | None:
    """The two sides by which a question compares, with the places of the passages about them."""
    before, _, behind = question.rstrip("? ").rpartition(" or ")
    right = _prefix(behind, titles)
    left = _suffix(before, titles)
    if right is None or left is None or left[1] == right[1]:
        return None
    return [left, right]


def _suffix(text: str, titles: dict[str, int]) -> tuple[str, int] | None:
    """The longest end of a text that is a title."""
    for match in re.finditer(r"(?:^|[\s,:])(?=\S)", text):
        part = text[match.end() :]
        if (place := titles.get(_plain(part))) is not None:
            return part.strip(" ,"), place
    return None


def _prefix(text: str, titles: dict[str, int]) -> tuple[str, int] | None:
    """The longest beginning of a text that is a title."""
    ends = [match.start() for match in re.finditer(r"[\s,]|$", text)]
    for end in reversed(ends):
        if end and (place := titles.get(_plain(text[:end]))) is not None:
            return text[:end].strip(" ,"), place
    return None


def _named_in(passage: Passage, titles: dict[str, int], sides: Collection[int]) -> int | None:
    """The passage about whom a film's passage names as its director.

    By the whole name, or by the last part of one right behind the word.
    """
    words = f" {_plain(passage.text)} "
    after = max(words.find(" directed by "), words.find(" director "), 0)
    behind = words[after:].split()[: _NAME_WORDS + 2]
    others = [(title, place) for title, place in titles.items() if title and place not in sides]
    whole = [
        (words.find(f" {title} ", after), place)
        for title, place in others
        if f" {title} " in words[after:]
    ]
    parts = [place for title, place in others if title.split()[-1] in behind]
    return min(whole)[1] if whole else parts[0] if len(parts) == 1 else None


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
