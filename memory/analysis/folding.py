"""Unicode, for matching: one spelling for what people write in several ways, in any script.

Compatibility forms become one (full-width letters, half-width kana, an accent as a character of its
own), digits of every script are the same ten, and what readers leave out is left out: vowel marks
of Arabic and Hebrew, soft hyphens, joiners. Case is not touched here.

Source: Unicode Standard Annex 15 (normalisation), and for Arabic what Lucene's normaliser does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_BLOCKS = (
    *range(0x300, 0x370),
    *range(0x483, 0x48A),
    *range(0x591, 0x1D00),
    *range(0x1DC0, 0x1E00),
    *range(0x20D0, 0x2100),
    *range(0x2CEF, 0x2E00),
    *range(0x302A, 0x3030),
    *range(0x3099, 0x309B),
    *range(0xA620, 0xABFA),
    *range(0xFB1E, 0xFB1F),
    *range(0xFE00, 0xFE30),
)
"""Where Unicode has combining marks and digits: to look through all of it would take too long."""


def _ranges(points: Iterable[int]) -> str:
    """Code points, ascending, as the inside of a character class."""
    runs: list[list[int]] = []
    for point in points:
        if runs and point == runs[-1][1] + 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in runs)


_CATEGORY = {point: unicodedata.category(chr(point)) for point in _BLOCKS}

MARKS = (
    _ranges(point for point, kind in _CATEGORY.items() if kind[0] == "M")
    + "\uff9e\uff9f\U00011000-\U00011fff"
)
"""Inside of a character class: what belongs to the letter before it (vowel signs, accents).
Above the first plane one range stands for the Indic scripts: many would be slow to search for."""

_WITHOUT_SPACES = (  # Thai, Lao, Myanmar, Khmer, Tai
    *range(0x0E00, 0x0F00),
    *range(0x1000, 0x10A0),
    *range(0x1780, 0x1800),
    *range(0x1950, 0x19E0),
    *range(0x1A20, 0x1AB0),
    *range(0xA9E0, 0xAA00),
    *range(0xAA60, 0xAAE0),
)
SYLLABIC = _ranges(point for point in _WITHOUT_SPACES if _CATEGORY[point][0] == "L")
"""Inside of a character class: letters of scripts that put no space between words."""

IDEOGRAPHIC = (
    "\u1100-\u11ff\u2e80-\u2fd5\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u303c\u3041-\u3096"
    "\u309d-\u309f\u30a1-\u30fa\u30fc-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\ua48c"
    "\ua960-\ua97f\uac00-\ud7fb\uf900-\ufaff\uff66-\uff9d\uffa0-\uffdc"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
"""The same of Han, kana and Hangul. Korean has spaces, but its particles stand at the noun."""

UNSEGMENTED = re.compile(f"[{SYLLABIC}{IDEOGRAPHIC}]")
"""A letter of a script whose words cannot be told apart by spaces."""

_INVISIBLE = "\u00ad\u061c\u180e\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
_ARABIC = (
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
)
_HEBREW = "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
_DIGITS = {chr(p): str(unicodedata.digit(chr(p))) for p, kind in _CATEGORY.items() if kind == "Nd"}
_ONE_FOR_ANOTHER = {
    **_DIGITS,
    **dict.fromkeys("\u2019\u02bc\u2018\uff07", "'"),
    **dict.fromkeys("\u2014\u2015\u201c\u201d\u201e", " "),  # what is left is often ASCII
    **dict.fromkeys("\u2010\u2011\u2013\u2212", "-"),
    # Turkish has a dotted and a dotless i; whoever writes in capitals elsewhere has one.
    **dict.fromkeys("\u0130", "I"),
    **dict.fromkeys("\u0131", "i"),
    **dict.fromkeys("\u0622\u0623\u0625\u0671", "\u0627"),  # alef with something
    **dict.fromkeys("\u06cc\u0649", "\u064a"),  # Persian yeh, dotless yeh
    "\u06a9": "\u0643",  # Persian kaf
    "\u0451": "\u0435",  # Russian yo, mostly written as ye
    "\u0401": "\u0415",
    "\u200b": " ",  # between words of Thai or Khmer
}
_FEW = (
    "\u2013-\u2015\u201c-\u201e\u00ad\u02bc\u0130\u0131\u0401\u0451\u2010\u2011\u2018\u2019"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2212"
)
_COMMON = re.compile(f"[{_FEW}]")
_RARE = re.compile(f"[{_INVISIBLE}{_ARABIC}{_HEBREW}{''.join(_ONE_FOR_ANOTHER)}]")
_VARIANTS = re.compile("[\U000e0100-\U000e01ef]")  # of an ideograph
BEYOND = re.compile("[\u0300-\u036f\u0483-\u0489\u0590-\u1dff\u2cef-\U0010ffff]")
"""What is not Latin, Greek or Cyrillic with its accents in the letters, nor punctuation. Few
ranges: a large class takes ten times as long to search for."""
_SIGNS = re.compile("[\u2122\u2120]")  # trade marks: normalised they would join the word

_ACCENTED = re.compile("([A-Za-z\u00c0-\u024f\u0370-\u03ff\u1e00-\u1fff])[\u0300-\u036f]+")
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"}
)
"""Letters with a stroke or a ligature, which Unicode does not take apart."""


def one_spelling(text: str) -> str:
    r"""A text in the spelling that is matched; as written in case and accents.

    Examples:
        >>> one_spelling("\uff21\uff22 \uff11\uff12 ﾊﾞﾅﾅ")
        'AB 12 バナナ'
    """
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", _SIGNS.sub(" ", text))
    if not BEYOND.search(text):
        return _COMMON.sub(_other, text)
    return _VARIANTS.sub("", _RARE.sub(_other, text))


def _other(match: re.Match[str]) -> str:
    return _ONE_FOR_ANOTHER.get(match[0], "")


def without_accents(word: str) -> str:
    """A folded word without the accents of Latin and Greek; marks of other scripts are letters.

    Examples:
        >>> without_accents("murúa"), without_accents("łódź"), without_accents("ガ") == "ガ"
        ('murua', 'lodz', True)
    """
    apart = unicodedata.normalize("NFD", word)
    return unicodedata.normalize("NFC", _ACCENTED.sub(r"\1", apart)).translate(_LETTERS)
