"""Whether two are of one country: the country of each is read off its passage.

"Are both X and Y from the same country?" has no span that says so either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hoptrail.learning.answering.comparisons.countries import countries_in
from hoptrail.learning.answering.comparisons.sides import (
    ComputedAnswer,
    Place,
    director_of,
    places_by_title,
    short_title,
    words_of,
)
from hoptrail.types import Passage

_ASKS = re.compile(r"\bsame (?:country|nationality|nation)\b")
_COPULA = re.compile(r"\b(?:is|was|are|were) (?:(?:a|an|the|one of)\b)?")
_HEAD = 500
"""Characters of a passage in which its country is looked for."""
_PHRASE = 60
"""Characters behind "is a" in which what somebody is stands."""


def compare_countries(question: str, passages: Sequence[Passage]) -> ComputedAnswer | None:
    """The answer to whether two are of one country; None where that is not asked, or not said.

    Args:
        question: In words.
        passages: What was read; passages without titles name neither side.
    """
    if not _ASKS.search(question.lower()):
        return None
    sides = _sides(question, passages)
    if len(sides) != 2:
        return None
    if "director" in question.lower():
        titles = places_by_title(passages)
        directors = [director_of(passages[side], titles, sides) for side in sides]
        sides = [place for place in directors if place is not None]
        if len(sides) != 2:
            return None
    of_side: list[set[str]] = []
    places: list[Place] = []
    for side in sides:
        named = _countries(passages[side].text)
        if not named:
            return None
        of_side.append({country for country, _, _ in named})
        places += [(side, start, end) for _, start, end in named]
    return ComputedAnswer("yes" if of_side[0] & of_side[1] else "no", tuple(places))


def _sides(question: str, passages: Sequence[Passage]) -> list[int]:
    """Places of the passages whose titles a question names, in its order, the longest first."""
    words = f" {words_of(question)} "
    titles = []
    for place, passage in enumerate(passages):
        whole = words_of(passage.title or "")
        forms = dict.fromkeys((whole, short_title(passage.title)))
        titles += [(len(title), title, place) for title in forms if title]
    sides: dict[int, int] = {}
    for _, title, place in sorted(titles, key=lambda one: (-one[0], one[2])):
        at = words.find(f" {title} ")
        if at >= 0 and place not in sides.values():
            words = words[:at] + " " + "_" * len(title) + words[at + 1 + len(title) :]
            sides[at] = place
    return [sides[at] for at in sorted(sides)]


def _countries(text: str) -> list[tuple[str, int, int]]:
    """The countries of what a passage is about: those of what it says it is, or the first named."""
    head = text[:_HEAD]
    named = countries_in(head)
    copula = _COPULA.search(head)
    if copula is None:
        return named[:1]
    phrase = [one for one in named if copula.end() <= one[1] <= copula.end() + _PHRASE]
    if not phrase:
        return named[:1]
    if head[: phrase[0][1]].rstrip().endswith((" in", " of", ",")):
        return phrase[-1:]  # a place in another, the widest last
    joined = phrase[:1]
    for one in phrase[1:]:
        if not re.fullmatch(r"\s*-\s*|\s*/\s*| and ", head[joined[-1][2] : one[1]]):
            break
        joined.append(one)
    return joined
