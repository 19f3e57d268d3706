"""The two sides of a comparison: which passages a question sets beside each other.

A side is named by the title of its passage; where the director of a film is what matters, by the
passage whose title the film's passage names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hoptrail.types import Passage

_DIRECTS = (" directed by ", " director ", " ")
"""What stands before a director's name, what says most first; without either, anything does."""
_NAME_WORDS = 4
"""Words of a director's name, at most."""
_OF_TWO = re.compile(r"\b((?:out of|between) .*) and ", re.IGNORECASE)

Place = tuple[int, int, int]
"""A passage's place, the first character in its text and the one past the last."""


@dataclass(frozen=True, slots=True)
class ComputedAnswer:
    """An answer that follows from what two passages say."""

    text: str
    """"yes", "no", or a side as the question names it."""
    places: tuple[Place, ...]
    """Where what was compared stands."""


def short_title(title: str | None) -> str:
    """A title without what stands in parentheses behind it, in small letters and digits.

    Args:
        title: Of a passage.
    """
    return words_of(re.sub(r"\s*\([^)]*\)\s*$", "", title or ""))


def words_of(text: str) -> str:
    """The words of a text in small letters, one space between them.

    Args:
        text: Any.
    """
    return " ".join(re.findall(r"\w+", text.lower()))


def places_by_title(passages: Sequence[Passage]) -> dict[str, int]:
    """Where passages are, by their titles without parentheses.

    Args:
        passages: What was read; those without titles name nothing.
    """
    return {short_title(passage.title): i for i, passage in enumerate(passages) if passage.title}


def director_of(passage: Passage, titles: Mapping[str, int], sides: Collection[int]) -> int | None:
    """The passage about whom a film's passage names as its director.

    By the whole name, or by the last part of one right behind the word.

    Args:
        passage: About the film.
        titles: Places of passages by their titles.
        sides: Places of the films themselves.
    """
    words = f" {words_of(passage.text)} "
    others = [(title, place) for title, place in titles.items() if title and place not in sides]
    for mark in _DIRECTS:
        after = words.find(mark)
        if after < 0:
            continue
        whole = [
            (words.find(f" {title} ", after), place)
            for title, place in others
            if f" {title} " in words[after:]
        ]
        behind = words[after:].split()[: _NAME_WORDS + 2]
        parts = [place for title, place in others if title.split()[-1] in behind]
        if whole or len(parts) == 1:
            return min(whole)[1] if whole else parts[0]
    return None


def as_choice(question: str) -> str:
    """A question between two of which one is to be named, with "or" between them.

    Args:
        question: In words; one that names them with "between" and "and" is changed.
    """
    return _OF_TWO.sub(r"\1 or ", question)


def sides_of_choice(question: str, titles: Mapping[str, int]) -> list[tuple[str, int]] | None:
    """The two between which a question chooses, with the places of the passages about them.

    Args:
        question: In words, with "or" between the two.
        titles: Places of passages by their titles.
    """
    before, _, behind = question.rstrip("? ").rpartition(" or ")
    right = _prefix(behind, titles)
    left = _suffix(before, titles)
    if right is None or left is None or left[1] == right[1]:
        return None
    return [left, right]


def _suffix(text: str, titles: Mapping[str, int]) -> tuple[str, int] | None:
    """The longest end of a text that is a title."""
    for match in re.finditer(r"(?:^|[\s,:])(?=\S)", text):
        part = text[match.end() :]
        if (place := titles.get(short_title(part))) is not None:
            return part.strip(" ,"), place
    return None


def _prefix(text: str, titles: Mapping[str, int]) -> tuple[str, int] | None:
    """The longest beginning of a text that is a title."""
    ends = [match.start() for match in re.finditer(r"[\s,]|$", text)]
    for end in reversed(ends):
        if end and (place := titles.get(short_title(text[:end]))) is not None:
            return text[:end].strip(" ,"), place
    return None
