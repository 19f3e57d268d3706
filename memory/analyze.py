"""Text to terms, for the sparse index: words, folded and stemmed, stop words left out."""

from __future__ import annotations

import re
import unicodedata

import Stemmer

# Single characters are left out: most are what an apostrophe leaves behind.
WORD = re.compile(r"\w\w+")

# Lucene's English list.
STOP_WORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with".split()
)


class Analyzer:
    """Text to terms. Not locked: the index that owns it is."""

    def __init__(self) -> None:
        # Without the stemmer's own cache: who asks often keeps the answers.
        self._stemmer = Stemmer.Stemmer("english", 0)

    def words(self, text: str) -> list[str]:
        """The words of a text, folded, in order; accents stay."""
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)  # an accent apart would split its word
        return WORD.findall(text.casefold())

    def term(self, word: str) -> str | None:
        """The term that a folded word stands for; None for a stop word."""
        if word in STOP_WORDS:
            return None
        term: str = self._stemmer.stemWord(word)
        return term
