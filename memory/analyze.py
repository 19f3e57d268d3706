"""Text to terms, for the sparse index: words, folded and stemmed, stop words left out."""

from __future__ import annotations

import re

import Stemmer

WORD = re.compile(r"\w+")

STOP_WORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with".split()
)
"""English words that say nothing of what a text is about."""


class Analyzer:
    """Stems each different word once. Not locked: the index that owns it is."""

    def __init__(self) -> None:
        # Our own dictionary of words is the cache: the stemmer's would only repeat it.
        self._stemmer = Stemmer.Stemmer("english", 0)

    def words(self, text: str) -> list[str]:
        """The words of a text, folded, in order."""
        return WORD.findall(text.casefold())

    def term(self, word: str) -> str | None:
        """The term that a folded word stands for; None for a stop word."""
        if word in STOP_WORDS:
            return None
        term: str = self._stemmer.stemWord(word)
        return term
