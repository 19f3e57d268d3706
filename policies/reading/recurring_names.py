"""Questions that a corpus asks itself: a sentence without a name, which another passage has.

A name or a number that stands in several passages is taken out of one sentence; the passages are
read for it, the sentence left out. That teaches to find what a question is about before there are
questions, of which there are never many.

Source: Ram et al. 2021, recurring span selection (arXiv:2101.00438). We differ in that the names
recur between passages as well as within one, and in asking by an interrogative.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np

from hoptrail.learning.answering.answer_network import NO_ANSWER, AnswerTarget
from hoptrail.learning.answering.trail_windows import PassageTokens, cut_texts
from hoptrail.policies.reading.reading_data import ReadingCorpus
from hoptrail.policies.reading.trail_sampling import TrainingTrail

_NAME = re.compile(
    r"\b\d{1,2} [A-Z][a-z]+ \d{4}\b|\b[A-Z][a-z]+ \d{1,2}, \d{4}\b|\b\d[\d,.]*\d\b"
    r"|\b[A-Z][\w'’.-]*\w(?: (?:(?:of|the|de|la|van|von|and) )?[A-Z0-9][\w'’.-]*\w){0,5}"
)
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?]+(?=\s|$)|[.!?](?=\S)[^.!?\n]*)*[.!?]*")
_YEAR = re.compile(r"[12]\d{3}$")

MOST_PASSAGES = 8
"""A name that more passages have says little of what is asked."""
LONGEST_QUESTION = 300
"""Characters of a sentence that asks."""
UNANSWERED = 0.1
"""The share of the questions that are read without a passage that has the name."""
ANOTHER, BESIDE, ALIKE = 0.3, 0.5, 0.7
"""Shares of the questions that are read with a second passage that has the name, though the first
has it too, and with one that lacks it; and of the latter, those that share another name. A step
costs what its passages do, and one passage is enough to learn where to look."""


class ClozeQuestions:
    """Draws such questions from a corpus.

    Args:
        corpus: Its passages.
        tokenizer: Cuts the questions into tokens.
        excluded: Places of passages that are not to be learned from.
    """

    def __init__(
        self, corpus: ReadingCorpus, tokenizer: Any, excluded: Collection[int] = ()
    ) -> None:
        self._corpus, self._tokenizer = corpus, tokenizer
        self._names: list[list[tuple[str, int, int]]] = []  # of each passage, with where they stand
        self._passages: dict[str, list[int]] = {}
        left_out = set(excluded)
        for place, text in enumerate(corpus.contents):
            names = [] if place in left_out else _names_of(text)
            self._names.append(names)
            for name in dict.fromkeys(name for name, _, _ in names):
                self._passages.setdefault(name, []).append(place)
        self._asking = [place for place, names in enumerate(self._names) if len(names) > 1]

    def __len__(self) -> int:
        return len(self._asking)

    def draw(self, rng: np.random.Generator) -> TrainingTrail | None:
        """A question with the passages that it is read with; None where the draw gives none.

        Args:
            rng: What is drawn with.
        """
        place = self._asking[int(rng.integers(len(self._asking)))]
        text = self._corpus.contents[place]
        name, start, end = self._names[place][int(rng.integers(len(self._names[place])))]
        sentence = next((m for m in _SENTENCE.finditer(text) if m.start() <= start < m.end()), None)
        if sentence is None or end > sentence.end() or len(sentence[0]) > LONGEST_QUESTION:
            return None
        question = (
            text[sentence.start() : start] + _interrogative(name) + text[end : sentence.end()]
        ).strip()
        if len(question) < 2 * len(name) + 10:
            return None
        having = [other for other in self._passages[name] if other != place]
        if len(having) > MOST_PASSAGES:
            having = []
        again = any(
            its_name == name and not sentence.start() <= first < sentence.end()
            for its_name, first, _ in self._names[place]
        )
        if not having and not again:
            return None
        passages: list[tuple[PassageTokens, int]] = []
        if rng.random() >= UNANSWERED:
            rest = self._corpus.tokens[place].without(sentence.start(), sentence.end())
            passages = [(rest, place)]
            if not again or (having and rng.random() < ANOTHER):
                other = int(rng.choice(having))
                passages.append((self._corpus.tokens[other], other))
        if not passages or rng.random() < BESIDE:
            other = self._beside(place, rng)
            if other != place and other not in having:
                passages.append((self._corpus.tokens[other], other))
        order = rng.permutation(len(passages)).tolist()
        spans = tuple(
            (at, span)
            for at, i in enumerate(order)
            for its_name, first, last in self._names[passages[i][1]]
            if its_name == name and (span := passages[i][0].span_of(first, last)) is not None
        )
        ids = cut_texts(self._tokenizer, [question.rstrip(".") + "?"])[0].ids
        target = AnswerTarget(spans, () if spans else (NO_ANSWER,))
        return TrainingTrail(ids, tuple(passages[i][0] for i in order), target)

    def _beside(self, place: int, rng: np.random.Generator) -> int:
        """A passage that shares another name with a passage, or any."""
        name = self._names[place][int(rng.integers(len(self._names[place])))][0]
        shared = [other for other in self._passages[name] if other != place]
        if shared and rng.random() < ALIKE:
            return int(rng.choice(shared))
        return self._asking[int(rng.integers(len(self._asking)))]


def _names_of(text: str) -> list[tuple[str, int, int]]:
    """Names and numbers with where they stand; a word that merely begins a sentence is left out."""
    names = []
    for match in _NAME.finditer(text):
        single = " " not in match[0] and not match[0][0].isdigit()
        before = text[: match.start()].rstrip()
        if single and (not before or before[-1] in ".!?"):
            continue
        names.append((match[0], match.start(), match.end()))
    return names


def _interrogative(name: str) -> str:
    if _YEAR.match(name):
        return "what year"
    return "what date" if name[-1].isdigit() and " " in name else "what"
