"""Names in text: folding words, what a title is called by, and the longest known name at a place.

A name is a short sequence of folded words joined by single blanks: "Anna van Egmont" is
`anna van egmont`. Text is cut into the same folded words, each with its character span, and read
from the left; at every word the longest known name that starts there is taken and reading goes on
behind it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from itertools import pairwise

MAX_WORDS = 8
"""Longer titles name nothing: nobody writes them out."""

_MARKS = "\u0300-\u036f"
_WORD = re.compile(rf"\w[\w{_MARKS}]*")
_WORD_NOT_ESCAPE = re.compile(rf"&(?:\w+|#\w+);|(\w[\w{_MARKS}]*)")
_TAIL = re.compile(r"\s*\([^()]*\)\s*$")
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"}
)
"""Letters with a stroke or a ligature, which Unicode does not take apart."""

STOP_WORDS = frozenset(
    """
    a about above after again against all also although am among an and any are as at be because
    been before being below between both but by can could did do does doing down during each either
    else even ever every few for from further had has have having he hence her here hers herself
    him himself his how however i if in into is it its itself just let many may me might more most
    much must my myself neither no nor not now of off often on once one only or other others our
    ours ourselves out over own per perhaps rather s same several shall she should since so some
    still such t than that the their theirs them themselves then there therefore these they this
    those though through thus to together too toward towards two under unless until up upon us very
    was we were what when where whereas whether which while who whom whose why will with within
    without would yes yet you your yours yourself yourselves
    """.split()
)


@dataclass(frozen=True, slots=True)
class Words:
    """A text cut into words."""

    text: str
    folded: list[str]
    spans: list[tuple[int, int]]
    """Where each word stands in the text."""
    capital: list[bool]
    """Whether each could be a proper name: upper case in it, or a script without case."""

    def __len__(self) -> int:
        return len(self.folded)

    def joined(self, first: int, last: int) -> bool:
        """Whether words first to last stand in one breath: no blank line, no sentence's end.

        A full stop behind a short word is taken as an abbreviation's ("St. Louis").
        """
        for i in range(first, last):
            end, start = self.spans[i][1], self.spans[i + 1][0]
            if start - end == 1:
                continue
            gap = self.text[end:start]
            if "&" in gap:
                gap = unescape(gap)
            if gap.count("\n") > 1 or len(gap) > 4:
                return False
            if gap[0] in ".?!;" and gap[-1] == " " and end - self.spans[i][0] > 4:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Match:
    """A known name at a place in a text."""

    name: str
    first: int
    """Its first word."""
    last: int
    """Its last word."""


@lru_cache(maxsize=1 << 17)
def fold(word: str) -> str:
    """The word without case and diacritics.

    Examples:
        >>> fold("Murúa"), fold("Łódź"), fold("STRASSE") == fold("Straße")
        ('murua', 'lodz', True)
    """
    if word.isascii():
        return word.lower()
    apart = unicodedata.normalize("NFKD", word.casefold())
    bare = "".join(c for c in apart if not unicodedata.combining(c)).casefold()
    return bare.translate(_LETTERS) or word


@lru_cache(maxsize=1 << 17)
def is_capitalised(word: str) -> bool:
    """Whether a word as written holds a capital, or letters of a script that has none."""
    if word.islower() or word[0].isdigit():
        return False
    return word != word.lower() or word.isalpha()


def words(text: str) -> Words:
    """The text's words, folded, with their character spans.

    Examples:
        >>> words("Schindler’s List").folded
        ['schindler', 's', 'list']
    """
    if "&" in text and ";" in text:
        spans = [m.span(1) for m in _WORD_NOT_ESCAPE.finditer(text) if m[1]]
        raw = [text[start:end] for start, end in spans]
    else:
        spans = [m.span() for m in _WORD.finditer(text)]
        raw = _WORD.findall(text)
    return Words(text, list(map(fold, raw)), spans, list(map(is_capitalised, raw)))


def name_of(title: str | None) -> str | None:
    """What a passage with this title is called by in other texts; None if by nothing.

    A tail in parentheses only tells like-named titles apart and is dropped. Titles of more than
    `MAX_WORDS` words, of stop words only, or of a single letter or number name nothing.

    Examples:
        >>> name_of("Custody (2007 film)"), name_of("Procter &amp; Gamble"), name_of("The Who")
        ('custody', 'procter gamble', None)
    """
    if not title:
        return None
    title = unescape(title)
    folded = words(_TAIL.sub("", title) or title).folded
    if not 1 <= len(folded) <= MAX_WORDS or all(word in STOP_WORDS for word in folded):
        return None
    if len(folded) == 1 and (len(folded[0]) < 2 or folded[0].isdigit()):
        return None
    return " ".join(folded)


def head(name: str) -> str:
    """The first two words of a name: what it is looked up by."""
    return " ".join(name.split(" ", 2)[:2])


def heads(text: Words) -> set[str]:
    """Every `head` that a name in this text could have."""
    folded = text.folded
    return {*folded, *(f"{a} {b}" for a, b in pairwise(folded))}


class NameMatcher:
    """Finds known names in texts, the longest at each place.

    Args:
        names: Names as `name_of` gives them.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._lengths: dict[str, tuple[int, ...]] = {}  # by head, longest first
        for name in names:
            self.add(name)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    @property
    def names(self) -> Set[str]:
        """The names known; not to be changed."""
        return self._names

    def add(self, name: str) -> None:
        """Know a name."""
        if name in self._names:
            return
        self._names.add(name)
        first, length = head(name), name.count(" ") + 1
        known = self._lengths.get(first, ())
        if length not in known:
            self._lengths[first] = tuple(sorted({*known, length}, reverse=True))

    def discard(self, name: str) -> None:
        """Forget a name; the lengths of names stay, since they only say where to look."""
        self._names.discard(name)

    def matches(self, text: Words, *, question: bool = False) -> Iterator[Match]:
        """The names in a text, from the left, without overlap.

        A name must hold a capitalised word, since "the voice" in running text is no title.

        Args:
            text: Where to look.
            question: Whether it is a question, whose writer may spell a title in any case: then
                only a name of one word needs a capital, or to stand in quotes.
        """
        folded, lengths = text.folded, self._lengths
        pairs = [f"{a} {b}" for a, b in pairwise(folded)]
        pairs.append("")
        behind = 0
        for i, (word, pair) in enumerate(zip(folded, pairs, strict=False)):
            if (word in lengths or pair in lengths) and i >= behind:
                for length in (*lengths.get(pair, ()), *lengths.get(word, ())):
                    name = " ".join(folded[i : i + length])
                    if name in self._names and _names(text, i, i + length - 1, question):
                        yield Match(name, i, i + length - 1)
                        behind = i + length
                        break


def _names(text: Words, first: int, last: int, question: bool) -> bool:
    """Whether these words, which spell a name, are meant as one."""
    if first < last and (last >= len(text) or not text.joined(first, last)):
        return False
    if question:
        return first < last or text.capital[first] or _quoted(text, first)
    return any(
        text.capital[i] and (first == last or text.folded[i] not in STOP_WORDS)
        for i in range(first, last + 1)
    )


def _quoted(text: Words, i: int) -> bool:
    """Whether one word stands in quotation marks."""
    start, end = text.spans[i]
    before, behind = text.text[start - 1 : start], text.text[end : end + 1]
    return before != "" and behind != "" and before in "\"'“‘«„" and behind in "\"'”’»“"
