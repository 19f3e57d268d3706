"""Where the accepted answers of a question stand in a text, as pairs of tokens.

Two strings are the same answer when they are equal after casefolding, dropping punctuation, and
dropping articles. A span of tokens matches when the text from its first character to its last is
the same answer and it does not cut a word in two. Every such span is returned, so `Beatles`, `the
Beatles` and `Beatles,` are three spans of one occurrence: a reader that sums over them scores the
answer and not its trimmings.

Source: the normalisation of SQuAD's evaluation (Rajpurkar et al. 2016). We differ in dropping all
Unicode punctuation, and in that a string of nothing but articles or punctuation is kept as it is.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError

ARTICLES = frozenset({"a", "an", "the"})


class _PunctuationTable(dict[int, str | None]):
    """For `str.translate`: drops punctuation, looking each character up once in a process."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        drop = character in string.punctuation or unicodedata.category(character)[0] == "P"
        self[code] = None if drop else character
        return self[code]


_WITHOUT_PUNCTUATION = _PunctuationTable()


def normalize_answer(text: str) -> str:
    """The text casefolded, without punctuation and articles, with single spaces.

    Source: Rajpurkar et al. 2016 (SQuAD), the normalisation of its evaluation.

    Args:
        text: An answer; casefolded rather than lowered, and articles of English only.

    Returns:
        The normal form; never empty unless the text is blank: "The The" stays.

    Examples:
        >>> normalize_answer("The Beatles, U.K.")
        'beatles uk'
    """
    folded = text.casefold()
    words = folded.translate(_WITHOUT_PUNCTUATION).split()
    without_articles = [word for word in words if word not in ARTICLES]
    return " ".join(without_articles or words or folded.split())


def match_spans(
    text: str, characters: NDArray[np.int64], answers: Sequence[str], *, max_span: int
) -> list[tuple[int, int]]:
    """All spans of at most `max_span` tokens that are an accepted answer, in order.

    Args:
        text: What the tokens were cut from.
        characters: Each token's first character and the one past its last, `(t, 2)`, ascending.
        answers: The accepted answers; one that is blank never matches.
        max_span: Tokens a span may have, at least 1.

    Returns:
        (first token, last token) pairs, both inclusive.

    Raises:
        InputError: `max_span` is below 1.
    """
    if max_span < 1:
        raise InputError(f"max_span should be at least 1, got {max_span}")
    accepted = {normalize_answer(answer) for answer in answers} - {""}
    if not accepted:
        return []
    longest = max(len(answer) for answer in accepted)
    first_letters = {answer[0] for answer in accepted}
    bounds = [(int(start), int(end)) for start, end in characters]
    pieces = [text[start:end].casefold() for start, end in bounds]
    matches: list[tuple[int, int]] = []
    for i, (start, _) in enumerate(bounds):
        if inside_word(text, start) or not _may_begin(pieces[i : i + max_span], first_letters):
            continue
        for j, (_, end) in enumerate(bounds[i : i + max_span], start=i):
            span = normalize_answer(text[start:end])
            if span in accepted and not inside_word(text, end):
                matches.append((i, j))
            # Letters stay once they are in, but for an unfinished article ("th" of "the").
            if sum(map(str.isalnum, span)) > longest + len("the"):
                break
    return matches


def inside_word(text: str, place: int) -> bool:
    """Whether a cut before this character would part two letters or digits.

    Args:
        text: The text.
        place: Index of the character after the cut; 0 and the length cut nothing.
    """
    return 0 < place < len(text) and text[place - 1].isalnum() and text[place].isalnum()


def _may_begin(pieces: Sequence[str], first_letters: set[str]) -> bool:
    """Whether a span of these tokens can begin an answer; what may be dropped is looked past."""
    for piece in pieces:
        if piece[:1] in first_letters:
            return True
        letters = piece.translate(_WITHOUT_PUNCTUATION).strip()
        if letters[:1] in first_letters:
            return True
        if letters and letters not in ARTICLES:
            return False
    return False
