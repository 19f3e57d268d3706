"""Whether two texts say the same: the same words in the same order, however they are written.

A cosine cannot tell: "30 days" and "90 days" are as near as two spellings of one sentence, and all
texts of a script that an encoder does not know have the same vector. So what two near texts may
differ in is listed here, and everything else tells them apart, each number, name, date,
identifier, negation and sign, in any script:

- blanks, quotation marks, commas between words, stops at the end; not a question mark;
- capitals at the start of a sentence, and anywhere if one of the two has none (or nothing else);
- "the" and "please", "n't" for "not";
- forms of a character that Unicode calls the same, full width, marks that nobody sees.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufe0f\ufeff]")
_WIDE = re.compile("[\u3000\uff01-\uffee]")
_SPELLED = str.maketrans(
    {**dict.fromkeys("‘’\u02bc", "'"), **dict.fromkeys("“”„«»", '"'), **dict.fromkeys("–—―−", "-")}
)
_STOPS = ".!;…。．！；"  # noqa: RUF001
_COMMAS = ",:，、：؛،"  # noqa: RUF001
_QUESTIONS = "?？؟"
_QUOTES = "\"'"
_CLOSERS = {")": "(", "]": "[", "}": "{"}
_OPENERS = set(_CLOSERS.values())
_TRAILING = {*_STOPS, *_COMMAS, *_QUESTIONS, *_QUOTES, *_CLOSERS}
_AFTER_A_NUMBER = {*".;…。．；", *_COMMAS, *_QUESTIONS}  # noqa: RUF001
_NEGATIONS = frozenset({"no", "not", "yes", "never", "none"})
_FILLERS = frozenset({"the", "please"})
_COUNTED = frozenset({"few", "little", "less", "least", "more", "most", "only"})
"""Words before which "the" changes what is said: "few survived", "the few survived"."""
_SHORT = {"can't": ["can", "not"], "cannot": ["can", "not"], "won't": ["will", "not"]}
_ABBREVIATION = 4
"""Letters up to which a word in capitals is another than one in small letters: US, AIDS."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is the same for texts that say the same; 64 bits of a hash stand for each."""

    folded: int
    """With capitals folded."""
    cased: int
    """With the capitals inside of sentences."""
    even: bool
    """Whether all of its letters are small, or all are capitals."""

    def same(self, other: Form) -> bool:
        """Whether two texts say the same.

        Args:
            other: Of another text.
        """
        return self.folded == other.folded and (
            self.cased == other.cased or self.even or other.even
        )


@dataclass(slots=True)
class _Token:
    """What stands between two blanks."""

    text: str
    starts: bool
    """Whether a sentence begins with it."""
    word: bool
    """Whether it is of letters only."""
    filler: bool = False


def form(text: str) -> Form:
    """The form of a text: equal for texts that say the same. Takes time in proportion to it.

    Args:
        text: Of any length.
    """
    unified = _unified(text)
    tokens = _tokens(unified)
    for i, token in enumerate(tokens):
        after = tokens[i + 1] if i + 1 < len(tokens) else None
        token.filler = _is_filler(token, after)
        if token.filler and token.starts and after is not None:
            after.starts = True
    said = [token for token in tokens if not token.filler]
    folded = [part for token in said for part in _spelled(token, everywhere=True)]
    cased = [part for token in said for part in _spelled(token, everywhere=False)]
    if not folded:  # of marks alone, each of which says something
        folded = cased = ["", *unified.split()]
    even = unified == unified.lower() or unified == unified.upper()
    return Form(_hash(folded), _hash(cased), even)


def _unified(text: str) -> str:
    """The text in the one form of its characters; compatible ones, as ², stay what they are."""
    whole = unicodedata.normalize("NFC", text)
    whole = _WIDE.sub(lambda mark: unicodedata.normalize("NFKC", mark.group()), whole)
    return _INVISIBLE.sub("", whole).translate(_SPELLED)


def _tokens(text: str) -> list[_Token]:
    """The words and signs of a text, stops inside of it among them as "."."""
    tokens: list[_Token] = []
    starts = True
    for part in text.split():
        bare, trailing = _stripped(part)
        if bare:
            word = _is_word(bare)
            tokens.append(_Token(bare, starts, word))
            starts = False
            if any(mark in _COMMAS for mark in trailing) and (
                not word or bare.lower() in _NEGATIONS
            ):
                tokens.append(_Token(",", starts=False, word=False))
        if any(mark in _QUESTIONS for mark in trailing):
            tokens.append(_Token("?", starts=False, word=False))
            starts = True
        elif tokens and any(mark in _STOPS for mark in trailing):
            tokens.append(_Token(".", starts=False, word=False))
            starts = True
    while tokens and tokens[-1].text in (".", ","):
        tokens.pop()
    return tokens


def _stripped(part: str) -> tuple[str, str]:
    """A part without the marks around it, and those after it. A number keeps most of them."""
    marks = set(part)
    if marks <= _TRAILING | _OPENERS:
        sign = len(part) > 1 and marks & (_OPENERS | _CLOSERS.keys())
        return (part, "") if sign else ("", part)  # ":)" is not ":("
    start, end = 0, len(part)
    if any(mark.isnumeric() for mark in marks):
        while part[end - 1] in _AFTER_A_NUMBER:
            end -= 1
        return part[:end], part[end:]
    opened = part[0] in _OPENERS or part[0] in _QUOTES
    # A bracket that was opened inside is closed inside: f(x).
    inner = set() if opened else {close for close, first in _CLOSERS.items() if first in marks}
    while part[start] in _OPENERS or part[start] in _QUOTES:
        start += 1
    while end > start and part[end - 1] in _TRAILING and part[end - 1] not in inner:
        end -= 1
    return part[start:end], part[end:]


def _is_word(text: str) -> bool:
    return all(mark in "'-" or unicodedata.category(mark)[0] in "LM" for mark in text)


def _is_filler(token: _Token, after: _Token | None) -> bool:
    """Whether a sentence says the same without it."""
    low = token.text.lower()
    if low not in _FILLERS or after is None or not after.word:
        return False
    if token.text != low and not (token.starts and token.text == low.title()):
        return False  # a name: The Who
    return after.text.lower() not in _COUNTED


def _spelled(token: _Token, *, everywhere: bool) -> list[str]:
    """A token with its capitals folded where they say nothing, in words of its own."""
    text = token.text
    if not token.word:
        return [text]
    low = text.lower()
    titled = text[0] != low[0] and text[1:] == low[1:] and (len(text) > 1 or token.starts)
    capitals = text == text.upper() and len(text) > _ABBREVIATION
    says_nothing = titled and (everywhere or token.starts)
    says_nothing |= everywhere and (capitals or text == "I")
    if text != low and not says_nothing:
        return [text]
    if low in _SHORT:
        return _SHORT[low]
    return [low[:-3], "not"] if low.endswith("n't") else [low]


def _hash(parts: list[str]) -> int:
    whole = "\n".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(whole, digest_size=8).digest(), "big")
