"""Text to terms, for the sparse index: words of every script, folded and stemmed.

Words are what Unicode calls letters, marks and digits in a row, down to one character. Where more
is meant by a piece of text than its words, both are terms: `1.2.1`, `INV-1042`, `get_user`, `C++`
and `jane@example.org` are found whole and by their parts; emoji are words. Scripts without spaces
between words give every character and every pair of neighbours, as Lucene's CJK analyzer does, so
that any word in them is found without a dictionary; Korean does too, whose particles stand at the
noun.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import filterfalse, pairwise

import Stemmer

from hoptrail.errors import ConfigError
from hoptrail.memory.analysis.folding import (
    IDEOGRAPHIC,
    MARKS,
    SYLLABIC,
    UNSEGMENTED,
    one_spelling,
    without_accents,
)

ENGLISH = "english"
"""The language of a store that was made without one."""

NONE = "none"
"""The language of a store whose words are not stemmed."""

LANGUAGES = (NONE, *Stemmer.algorithms())
"""What a store's language may be: Snowball's names."""

# Lucene's English list, and the letter that is a pronoun.
STOP_WORDS = frozenset(
    "a an and are as at be but by for i if in into is it no not of on or such that the their then "
    "there these they this to was will with".split()
)

# A letter alone next to an apostrophe is what an elision leaves behind ("don't", "l'eau").
_WORD = re.compile(rf"\w(?:[\w{MARKS}]+|(?<!_)(?<![^\W_]'\w)(?!'[^\W\d_])|(?<=\d))")

_SIGN = re.compile("[\U0001f1e6-\U0001f1ff]{2}|[\u2600-\u27bf\u2b50-\u2b55\U0001f000-\U0001faff]")
"""A sign that is a word of its own: emoji, with two letters for a flag. What is joined of several,
or has a colour of skin, is found by its parts."""

# Text is cut at blanks, once what joins no words has become one.
_JOINTS = "_.:/@&+#'-"
_TO_PIECES = str.maketrans(
    {chr(i): chr(i).lower() if chr(i).isalnum() or chr(i) in _JOINTS else " " for i in range(128)}
)

# Where a piece means more than its words.
_SPECIAL = re.compile(
    r"""_|(?<=[^\W\d_])\d|\d(?=[^\W\d_])  # get_user utf8 500mg
    |\d(?=[:/]\d)  # 10:30
    |(?<=\w)[.@&](?=\w)|(?<![\w.])\.(?=[a-z])  # 1.2 example.org AT&T .NET
    |(?<=\w)-(?=\d)|(?<!\S)-(?=\d)|(?<=\d)-(?=\w)  # INV-1042 -5
    |(?<=\w)[+\#]|(?<!\w)[a-z]-(?!\w)  # C++ B-
    """,
    re.VERBOSE,
)
# Vitamin A, plan A, World War I: no article and no pronoun, and a term with the word before it.
_LONE_LETTER = re.compile(r"[AI](?<=\w [AI])(?![\w'])")
_LAST_WORD = re.compile(r"\w+$")

_CASES = b" " * 44 + b",   " + b"0" * 10 + b" " * 7 + b"A" * 26 + b" " * 6 + b"a" * 26 + b" " * 133
"""What shows where the case changes inside of a word, and which numbers have thousands."""
_THOUSANDS = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?!\w|,\d)")
_ACRONYM = re.compile(r"(?<![\w.])(?:[^\W\d_]\.)+[^\W\d_](?!\w)\.?")
_INSTANT = re.compile(r"(?<=\d-\d\d)t(?=\d\d:)")  # 2024-05-01T10:30
_CHAIN = re.compile(
    r"(?:(?<![\w.])\.(?=[a-z])|(?<!\S)-(?=\d))?"
    r"\w+(?:(?:[.\-@&+]|[:/]{1,3})\w+)*(?:\+\+|[+#]|-(?!\w))?"
)
_WHOLE = re.compile(r"\d|[._@&+#]|-$")
_OUTER = re.compile(r"[@/:]+")
_INNER = re.compile(r"[.\-]")
_VERSION = re.compile(r"v(\d[\w.\-]*)")
_HUMP = re.compile(r"[A-Z]+(?=[A-Z][a-z]{2})|[A-Z]?[a-z]+|[A-Z]+|\d+")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th|s)", re.IGNORECASE)
_PREFIXES = frozenset("al da de del di du el fitz jo la le lo ma mac mc o st van von".split())
"""First humps of names that nobody takes apart: McDonald, DiCaprio."""

_ARTICLE = re.compile(
    "(?:\u0627\u0644|[\u0648\u0628\u0643\u0641]\u0627\u0644|\u0644\u0644)(?=\\w{2})"
)
"""Arabic's, with what is written before it, as Lucene's stemmer has them."""

LONGEST = 255
"""Characters of the longest piece that is a term as a whole."""

REMEMBERED = 1 << 16
"""Pieces of text whose words are remembered."""

_SHORT = 64
"""Characters of the longest of them."""


class Analyzer:
    """Text to terms. Not locked: the index that owns it is.

    Args:
        language: Whose stemmer, by Snowball's name; "none" for none. English has stop words.

    Raises:
        ConfigError: There is no such language.
    """

    def __init__(self, language: str = ENGLISH) -> None:
        self.language = checked_language(language)
        # Without the stemmer's own cache: who asks often keeps the answers.
        self._stemmer = None if language == NONE else Stemmer.Stemmer(language, 0)
        self._stop_words = STOP_WORDS if language == ENGLISH else frozenset[str]()

    def words(self, text: str) -> list[str]:
        """The words of a text, folded, with wholes and parts; accents stay.

        What comes out depends on the text alone, not on what else is indexed.
        """
        text = one_spelling(text)
        if text.isascii():
            return _spaced(text)
        signs = _SIGN.findall(text)
        if not UNSEGMENTED.search(text):
            return _spaced(text) + signs
        run, letter = _unsegmented()
        words = _spaced(run.sub(" ", text)) + signs
        for part in run.findall(text):
            letters = letter.findall(part)
            words += letters
            words += map("".join, pairwise(letters))
        return words

    def term(self, word: str) -> str | None:
        """The term that a folded word stands for; None for a stop word."""
        if word in self._stop_words or not word.strip("_"):
            return None
        if " " in word:
            return " ".join(map(self._stem, word.split()))
        if word.isascii():
            return self._stem(word)
        if UNSEGMENTED.match(word):
            return word
        if self.language == ENGLISH:  # whose stemmer knows no accents
            return self._stem(_light_arabic(without_accents(word)))
        stem = self._stem(word)
        return without_accents(stem if self.language == "arabic" else _light_arabic(stem))

    def _stem(self, word: str) -> str:
        if self._stemmer is None:
            return word
        stem: str = self._stemmer.stemWord(word)
        return stem


@cache
def _unsegmented() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Letters of scripts without spaces in a row, and one with its marks; compiled when some come.

    To compile the two takes 10 ms, as much as anything else that a short recall does once.
    """
    letter = f"[{SYLLABIC}{IDEOGRAPHIC}]"
    run = f"{letter}[{SYLLABIC}{IDEOGRAPHIC}{MARKS}]*"
    return re.compile(run), re.compile(f"{letter}[{MARKS}]*")


def checked_language(language: str) -> str:
    """The language, if there is a stemmer for it.

    Raises:
        ConfigError: There is none.
    """
    if not isinstance(language, str) or language not in LANGUAGES:
        raise ConfigError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
    return language


def _spaced(text: str) -> list[str]:
    """The words of a text of scripts that put spaces between them."""
    cases = text.encode("ascii", "replace").translate(_CASES)
    if b"0,0" in cases:
        text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
        cases = text.encode("ascii", "replace").translate(_CASES)
    folded = text if text.isascii() else text.casefold()
    pieces = folded.translate(_TO_PIECES).replace(". ", " ").split()
    # Nearly all are words as they are, and this is what indexing waits for.
    words = list(filter(str.isalpha, pieces))
    if len(words) < len(pieces):
        for piece in filterfalse(str.isalpha, pieces):
            words += _pieces[piece]
    if " A" in text or " I" in text:
        words += _named_letters(text)
    if b"aA" in cases or (b"AA" in cases and b"AAaa" in cases):
        words += _humps_in(text, cases)
    return words


def _named_letters(text: str) -> Iterator[str]:
    """Letters that are function words elsewhere, with the word before them."""
    for match in _LONE_LETTER.finditer(text):
        end = match.start() - 1
        before = _LAST_WORD.search(text, max(0, end - _SHORT), end)
        if before and (before[0][-1].islower() if match[0] == "A" else before[0][0].isupper()):
            yield f"{before[0]} {match[0]}".casefold()


class _Pieces(dict[str, tuple[str, ...]]):
    """The words of pieces that are more than a word, remembered."""

    def __missing__(self, piece: str) -> tuple[str, ...]:
        words = _words_of_piece(piece)
        if len(piece) <= _SHORT:
            if len(self) >= REMEMBERED:
                self.clear()
            self[piece] = words
        return words


_pieces = _Pieces()


def _words_of_piece(piece: str) -> tuple[str, ...]:
    """The words of a folded piece, what they are together, and their parts."""
    if (plain := _plain(piece)) is not None:
        return plain
    if not _SPECIAL.search(piece):
        return tuple(_WORD.findall(piece))
    piece = _INSTANT.sub(" ", piece)
    piece = _ACRONYM.sub(lambda match: match[0].replace(".", "") + " ", piece)
    words: list[str] = _WORD.findall(piece)
    words += [part for word in words for part in _parts(word)]
    for match in _CHAIN.finditer(piece):
        words += _wholes(match[0])
    return tuple(words)


def _plain(piece: str) -> tuple[str, ...] | None:
    """The words of a piece of the common kinds, without looking further: 1997, it's, well-known."""
    bare = piece.strip("'").rstrip(".:/'")
    if bare.isdigit() or bare.isalpha():
        return (bare,)
    bare = bare.removesuffix("'s")
    words = bare.split("-")
    return tuple(words) if all(map(str.isalpha, words)) else None


def _wholes(chain: str) -> list[str]:
    """What a chain of words and signs is as a whole: itself, and its longer parts."""
    if chain[-1] == "-" and len(chain) > 2:
        chain = chain[:-1]
    if chain.isalnum() or not _WHOLE.search(chain):
        return []
    wholes = [chain]
    wholes += [part for part in _OUTER.split(chain) if part != chain and _INNER.search(part)]
    wholes += [match[1] for part in wholes if (match := _VERSION.fullmatch(part))]
    return [whole for whole in wholes if len(whole) <= LONGEST and not _is_word(whole)]


def _is_word(whole: str) -> bool:
    """Whether it is among the plain words already."""
    return _WORD.fullmatch(whole) is not None


def _parts(word: str) -> list[str]:
    """The parts of a folded word that signs or digits divide: get_user, utf8, v2."""
    if word.isalpha() or word.isdigit():
        return []
    pieces = [piece for piece in word.split("_") if piece]
    parts = pieces if pieces != [word] else []
    return parts + [part for piece in pieces for part in _divided(_HUMP.findall(piece), piece)]


def _humps_in(text: str, cases: bytes) -> list[str]:
    """The parts of the words in a text that capitals divide, folded: getUserName, HTTPServer."""
    parts: list[str] = []
    for change in (b"aA", b"AAaa"):
        at, end = cases.find(change), 0
        while at >= 0:
            start = max(end, cases.rfind(b" ", end, at) + 1)
            end = cases.find(b" ", at)
            word = text[start:end] if end >= 0 else text[start:]
            parts += _humps(word)
            at = cases.find(change, end) if end >= 0 else -1
    return parts


@lru_cache(maxsize=1 << 14)
def _humps(word: str) -> tuple[str, ...]:
    humps = [hump for hump in _HUMP.findall(word) if hump.isalpha()]
    return tuple(map(str.lower, _divided(humps, word)))


def _divided(humps: list[str], word: str) -> list[str]:
    """The parts that case or digits make of a word; none where they make no words of it."""
    if len(humps) < 2 or _ORDINAL.fullmatch(word):
        return []
    first = humps[0].lower()
    if first == "v" and len(humps) == 2:
        return humps[1:]
    if len(first) == 1 and humps[1].isalpha():  # iPhone15
        humps = [humps[0] + humps[1], *humps[2:]]
    short = any(len(hump) < 2 and hump.isalpha() for hump in humps)
    named = first in _PREFIXES and humps[-1].isalpha()
    return [] if len(humps) < 2 or short or named else humps


def _light_arabic(word: str) -> str:
    """An Arabic word without its article, and with one spelling of its last letter."""
    if not "\u0600" <= word[0] <= "\u06ff":
        return word
    bare = word[:-1] + "\u0647" if word[-1] == "\u0629" else word  # teh marbuta, often as heh
    match = _ARTICLE.match(bare)
    return bare[match.end() :] if match else bare
