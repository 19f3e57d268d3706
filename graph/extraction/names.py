"""Names in text: folding words, what a title is called by, and the longest known name at a place.

A name is a short sequence of folded words joined by single blanks: "Anna van Egmont" is
`anna van egmont`, and "東京", of a script without spaces, is `東 京`. Text is cut into the same
folded words, each with its character span, and read from the left; at every word the longest known
name that starts there is taken and reading goes on behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from functools import cache, lru_cache
from html import unescape
from itertools import pairwise

from hoptrail.memory.analysis.folding import (
    BEYOND,
    IDEOGRAPHIC,
    MARKS,
    SYLLABIC,
    UNSEGMENTED,
    one_spelling,
    without_accents,
)

MAX_WORDS = 8
"""Longer titles name nothing: nobody writes them out."""

LETTERS_A_WORD = 3
"""Letters of a script without spaces that count as one of these words."""

_INSIDE = rf"\w{MARKS}\u00ad\u200c\u200d"  # marks, and joiners that fold away
_SPACED = rf"\w[{_INSIDE}]*"
_WITHOUT_SPACES = f"[{SYLLABIC}{IDEOGRAPHIC}]"
_CUT = (
    rf"{_WITHOUT_SPACES}[{MARKS}]*"
    rf"|(?!{_WITHOUT_SPACES})\w(?:(?!{_WITHOUT_SPACES})[{_INSIDE}])*"
)
_HANGUL = re.compile("[\u1100-\u11ff\uac00-\ud7fb]")

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
class WordSpans:
    """A text cut into words."""

    text: str
    folded: list[str]
    spans: list[tuple[int, int]]
    """Where each word stands in the text."""
    capital: list[bool]
    """Whether each has upper case in it; none has in a script without case."""

    def __len__(self) -> int:
        return len(self.folded)

    def joined(self, first: int, last: int) -> bool:
        """Whether words first to last stand in one breath: no blank line, no sentence's end.

        A full stop behind a short word is taken as an abbreviation's ("St. Louis").

        Args:
            first: Number of the first word.
            last: Number of the last.
        """
        for i in range(first, last):
            end, start = self.spans[i][1], self.spans[i + 1][0]
            if start - end <= 1:
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


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern, compiled when a text first needs it: those of rare scripts take long.

    Args:
        pattern: Few there are, so that all are kept.
    """
    return re.compile(pattern)


@lru_cache(maxsize=1 << 17)
def fold(word: str) -> str:
    """The word without case and diacritics.

    Args:
        word: As it is written.

    Examples:
        >>> fold("Murúa"), fold("Łódź"), fold("STRASSE") == fold("Straße")
        ('murua', 'lodz', True)
    """
    if word.isascii():
        return word.lower()
    bare = without_accents(one_spelling(word).casefold())
    return "".join(bare.split()) or word


@lru_cache(maxsize=1 << 17)
def is_capitalised(word: str) -> bool:
    """Whether a word as written holds a capital; a number with a letter does not count.

    Args:
        word: As it is written.
    """
    return not (word.islower() or word[0].isdigit()) and word != word.lower()


def words(text: str) -> WordSpans:
    """The text's words, folded, with their character spans.

    Scripts that put no spaces between words give a word for each letter: a name in them is a
    sequence of letters, and stands where these letters do. So does Korean, whose particles stand
    at the noun.

    Args:
        text: Any.

    Examples:
        >>> words("Schindler’s List").folded, words("東京は").folded
        (['schindler', 's', 'list'], ['東', '京', 'は'])
    """
    word = r"\w+"
    if not text.isascii() and BEYOND.search(text):
        word = _CUT if UNSEGMENTED.search(text) else _SPACED
    if "&" in text and ";" in text:
        not_escape = _compiled(rf"&(?:\w+|#\w+);|({word})")
        spans = [m.span(1) for m in not_escape.finditer(text) if m[1]]
        raw = [text[start:end] for start, end in spans]
    else:
        spans = [m.span() for m in _compiled(word).finditer(text)]
        raw = _compiled(word).findall(text)
        if text.isascii():  # as below, in half the time
            folded = _compiled(word).findall(text.lower())
            capital = [a != b and not a[0].isdigit() for a, b in zip(raw, folded, strict=True)]
            return WordSpans(text, folded, spans, capital)
    return WordSpans(text, list(map(fold, raw)), spans, list(map(is_capitalised, raw)))


@lru_cache(maxsize=1 << 15)
def name_in_texts(title: str | None) -> str | None:
    """What a passage with this title is called by in other texts; None if by nothing.

    A tail in parentheses only tells like-named titles apart and is dropped. Titles of more than
    `MAX_WORDS` words, of stop words only, or of a single letter or number name nothing; nor do
    those of two letters of Thai or its like, which stand inside of other words.

    Args:
        title: A passage's.

    Examples:
        >>> titles = ["Custody (2007 film)", "Procter &amp; Gamble", "The Who"]
        >>> [name_in_texts(title) for title in titles]
        ['custody', 'procter gamble', None]
    """
    if not title:
        return None
    title = unescape(title)
    folded = words(without_tail(title)).folded
    letters = [word for word in folded if UNSEGMENTED.match(word)]
    size = len(folded) - len(letters) + -(-len(letters) // LETTERS_A_WORD)
    if not 1 <= size <= MAX_WORDS or all(word in STOP_WORDS for word in folded):
        return None
    if len(folded) == 1 and (letters or len(folded[0]) < 2 or folded[0].isdigit()):
        return None
    if len(folded) == len(letters) == 2:
        syllable = _compiled(f"[{SYLLABIC}]")
        if all(map(syllable.match, letters)):
            return None
    return " ".join(folded)


def without_tail(title: str) -> str:
    """A title without a last part in parentheses, unless it is nothing else.

    Args:
        title: A passage's.

    Examples:
        >>> without_tail("Custody (2007 film)"), without_tail("(1984)")
        ('Custody', '(1984)')
    """
    whole = title.rstrip()
    if whole.endswith(")"):
        start = whole.rfind("(")
        if start >= 0 and ")" not in whole[start:-1]:
            return whole[:start].rstrip() or title
    return title


def head(name: str) -> str:
    """The first two words of a name: what it is looked up by.

    Args:
        name: Folded words with spaces between them.
    """
    return " ".join(name.split(" ", 2)[:2])


def heads(text: WordSpans) -> set[str]:
    """Every `head` that a name which this text mentions could have.

    Args:
        text: Cut into words.
    """
    folded = text.folded
    lone = {word for i, word in enumerate(folded) if may_name(text, i)}
    return {*lone, *(f"{a} {b}" for a, b in pairwise(folded))}


class NameMatcher:
    """Finds known names in texts, the longest at each place.

    Args:
        names: Names as `name_in_texts` gives them.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._lengths: dict[str, tuple[int, ...]] = {}  # by head, longest first
        for name in names:
            self.add(name)

    @classmethod
    def resumed(
        cls, names: Iterable[str], heads: Iterable[str], lengths: Iterable[int]
    ) -> NameMatcher:
        """One that knows what another knew, at a fraction of the cost of adding name by name.

        Args:
            names: That are known.
            heads: As `heads_and_lengths` gave them.
            lengths: Likewise.
        """
        matcher = cls()
        matcher._names = set(names)
        matcher._lengths = dict(zip(heads, map(_lengths_of, lengths), strict=True))
        return matcher

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    @property
    def names(self) -> Set[str]:
        """The names known; not to be changed."""
        return self._names

    def heads_and_lengths(self) -> tuple[list[str], list[int]]:
        """Where names can begin, and for each a number whose bit i is set if one has i words."""
        bits = [sum(1 << length for length in lengths) for lengths in self._lengths.values()]
        return list(self._lengths), bits

    def add(self, name: str) -> None:
        """Know a name.

        Args:
            name: Folded words with spaces between them.
        """
        if name in self._names:
            return
        self._names.add(name)
        length = name.count(" ") + 1
        first = name if length < 3 else head(name)
        lengths = self._lengths.get(first, ())
        if length not in lengths:
            self._lengths[first] = tuple(sorted({*lengths, length}, reverse=True))

    def discard(self, name: str) -> None:
        """Forget a name; the lengths of names stay, since they only say where to look.

        Args:
            name: Folded words with spaces between them.
        """
        self._names.discard(name)

    def matches(self, text: WordSpans, *, question: bool = False) -> Iterator[Match]:
        """The names in a text, from the left, without overlap.

        A name must hold a capitalised word, since "the voice" in running text is no title.

        Args:
            text: Where to look.
            question: Whether it is a question, whose writer may spell a title in any case: then
                only a name of one word needs a capital, or to stand in quotes.
        """
        folded, lengths = text.folded, self._lengths
        pairs = [f"{a} {b}" for a, b in pairwise(folded)]
        if folded:
            pairs.append("")
        behind = 0
        starts = [
            i
            for i, (word, pair) in enumerate(zip(folded, pairs, strict=True))
            if word in lengths or pair in lengths
        ]
        for i in starts:
            if i < behind:
                continue
            for length in (*lengths.get(pairs[i], ()), *lengths.get(folded[i], ())):
                name = " ".join(folded[i : i + length])
                if name in self._names and _names(text, i, i + length - 1, question):
                    yield Match(name, i, i + length - 1)
                    behind = i + length
                    break


@cache
def _lengths_of(bits: int) -> tuple[int, ...]:
    """The places of the bits of a number that are set, the highest first."""
    return tuple(i for i in range(bits.bit_length(), -1, -1) if bits >> i & 1)


def _names(text: WordSpans, first: int, last: int, question: bool) -> bool:
    """Whether these words, which spell a name, are meant as one."""
    if first < last and (last >= len(text) or not text.joined(first, last)):
        return False
    if _inside_word(text, first):
        return False
    if question:
        return first < last or text.capital[first] or _caseless(text, first) or _quoted(text, first)
    return any(
        may_name(text, i) and (first == last or text.folded[i] not in STOP_WORDS)
        for i in range(first, last + 1)
    )


def may_name(text: WordSpans, i: int) -> bool:
    """Whether a word is written as the words of names are.

    Args:
        text: Cut into words.
        i: The word's number.
    """
    return text.capital[i] or _caseless(text, i)


def _caseless(text: WordSpans, i: int) -> bool:
    """Whether a word is of a script without case, where any word may be a name."""
    word = text.folded[i]
    if word.isascii() or word[0].isdigit():
        return False
    return word.upper() == word.lower() or "\u10d0" <= word[0] <= "\u10ff"  # Georgian's are rare


def _inside_word(text: WordSpans, i: int) -> bool:
    """Whether letter i of a Korean word has one before it: names stand first in a word."""
    start = text.spans[i][0]
    return start > 0 and all(map(_HANGUL.match, text.text[start - 1 : start + 1]))


def _quoted(text: WordSpans, i: int) -> bool:
    """Whether one word stands in quotation marks."""
    start, end = text.spans[i]
    before, behind = text.text[start - 1 : start], text.text[end : end + 1]
    return before != "" and behind != "" and before in "\"'“‘«„" and behind in "\"'”’»“"
