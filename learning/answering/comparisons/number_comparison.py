"""Which of two has more: numbers of one kind are read off the passages and compared.

"Which opera has more acts, A or B?" and "Which mountain is higher, A or B?" ask for no span that
says so. What is counted is what the question names behind "more"; a size is a number with a unit of
length, or of area, and metres are compared with feet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from hoptrail.learning.answering.comparisons.sides import (
    ComputedAnswer,
    as_choice,
    places_by_title,
    sides_of_choice,
)
from hoptrail.types import Passage

Quantity = tuple[float, int, int]
"""A number in the kind's unit, and its characters in a passage's text."""

_NUMERALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_NUMBER = (
    rf"(?P<number>\d+(?:,\d{{3}})*(?:\.\d+)?|\b(?:{'|'.join(_NUMERALS)}))"
    rf"(?:[ -](?P<scale>{'|'.join(_SCALES)}))?"
)
_HEIGHTS = {
    "m": 1.0,
    "metre": 1.0,
    "meter": 1.0,
    "ft": 0.3048,
    "foot": 0.3048,
    "feet": 0.3048,
}
_LENGTHS = {
    **_HEIGHTS,
    "km": 1e3,
    "kilometre": 1e3,
    "kilometer": 1e3,
    "mi": 1609.344,
    "mile": 1609.344,
}
_AREAS = {
    "acre": 4046.86,
    "ha": 1e4,
    "hectare": 1e4,
    "km2": 1e6,
    "km²": 1e6,
    "sq km": 1e6,
    "square kilometre": 1e6,
    "square kilometer": 1e6,
    "sq mi": 2.59e6,
    "square mile": 2.59e6,
}
_FEWER = re.compile(r"\b(?:fewer|less|smaller|shorter|lower)\b")
_COUNTED = re.compile(
    r"\b(?:more|fewer|less|(?:larger|greater|higher|smaller|lower) number of)\s+(?P<noun>[a-z' -]+)"
)
_POPULATION = re.compile(r"\b(?:larger|greater|higher|bigger|more|smaller|lower)\b.*\bpopulat")
_HEIGHT = re.compile(r"\b(?:taller|higher|deeper|lower)\b")
_LENGTH = re.compile(r"\b(?:longer|shorter)\b")
_AREA = re.compile(r"\b(?:larger|bigger|smaller)\b")
_NO_YEAR = r"(?!(?:1[6-9]\d\d|20\d\d)\b)"
_WORDS_BETWEEN = 2
"""Words between a number and what it counts, at most: "four full-length studio albums"."""
_FAR = 60
"""Characters between "population" and its number, at most."""


def compare_numbers(question: str, passages: Sequence[Passage]) -> ComputedAnswer | None:
    """The answer to a question that compares two numbers; None where it does not, or they lack.

    Args:
        question: In words.
        passages: What was read; passages without titles name neither side.
    """
    question = as_choice(question)
    read_quantity = _reading_of(question.lower())
    if read_quantity is None or " or " not in question:
        return None
    sides = sides_of_choice(question, places_by_title(passages))
    if sides is None:
        return None
    quantities = [read_quantity(passages[place].text) for _, place in sides]
    first, second = quantities
    if first is None or second is None or first[0] == second[0]:
        return None
    second_is_more = second[0] > first[0]
    best = int(second_is_more != bool(_FEWER.search(question.lower())))
    places = [
        (place, start, end)
        for (_, place), (_, start, end) in zip(sides, (first, second), strict=True)
    ]
    return ComputedAnswer(sides[best][0], tuple(places))


def _reading_of(question: str) -> Callable[[str], Quantity | None] | None:
    """How the number that a question compares is read off a passage; None where it compares none.

    Args:
        question: In small letters.
    """
    if _POPULATION.search(question):
        return _population
    if counted := _COUNTED.search(question):
        noun = re.split(r"\b(?:than|between|of|in|as|for|,)\b", counted["noun"])[0].split()
        return (lambda text: _count(noun, text)) if noun else None
    if _HEIGHT.search(question):
        return lambda text: _size(_HEIGHTS, text)
    if _LENGTH.search(question):
        return lambda text: _size(_LENGTHS, text)
    if _AREA.search(question):
        return lambda text: _size(_AREAS, text)
    return None


def _count(noun: Sequence[str], text: str) -> Quantity | None:
    """The first number of what is named; of two words the second may stand alone."""
    forms = [noun, noun[1:]] if len(noun) == 2 else [noun]
    for words in forms:
        stem = r"[ -]".join(re.escape(re.sub(r"(?:ies|y|s)$", "", word)) + r"\w*" for word in words)
        between = rf"(?:\s+[\w'-]+){{0,{_WORDS_BETWEEN}}}?"
        pattern = rf"(?<![\w.,]){_NO_YEAR}{_NUMBER}{between}[\s-]+{stem}"
        if match := re.search(pattern, text, re.IGNORECASE):
            return _number(match), match.start(), match.end()
    return None


def _population(text: str) -> Quantity | None:
    """The number behind the word; years are passed over."""
    for word in re.finditer(r"\bpopulation\b", text, re.IGNORECASE):
        behind = text[word.end() : word.end() + _FAR]
        if match := re.search(rf"(?<!\d){_NO_YEAR}{_NUMBER}", behind, re.IGNORECASE):
            return _number(match), word.end() + match.start(), word.end() + match.end()
    return None


def _size(units: Mapping[str, float], text: str) -> Quantity | None:
    """The first number with one of the units; its plural too."""
    names = "|".join(re.escape(unit) for unit in sorted(units, key=len, reverse=True))
    match = re.search(rf"(?<![\w.,]){_NUMBER}[\s-]?(?P<unit>{names})s?(?![\w²])", text)
    if match is None:
        return None
    return _number(match) * units[match["unit"]], match.start(), match.end()


def _number(match: re.Match[str]) -> float:
    digits = match["number"].replace(",", "").lower()
    value = float(_NUMERALS.index(digits)) if digits in _NUMERALS else float(digits)
    return value * _SCALES.get((match["scale"] or "").lower(), 1.0)
