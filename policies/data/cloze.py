"""What a passage offers to somebody who makes questions of it: names at places, words around them.

A clue is what a passage says of a name without saying the name: a few words near one of its
places, from the same sentence, other names and numbers left out. "discovered by" is what Triton's
passage says of William Lassell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.extraction.entities import find_entities
from hoptrail.graph.extraction.names import (
    STOP_WORDS,
    WordSpans,
    name_in_texts,
    without_tail,
    words,
)
from hoptrail.graph.view import GraphView
from hoptrail.types import Passage

NEAR = 10
"""Words on either side of a name that may say something of it."""
BESIDE = 4
"""Words that are right beside a name."""
REACH = 4.0
"""Words of distance over which the chance to be taken falls by a factor e."""
PHRASES = 0.4
"""How often a clue is a piece of the sentence as it stands, rather than words picked from it."""

_SENTENCE_END = re.compile(r"[.!?]\s+(?=[\"“'(]?[^\W\d_a-zß-ÿ])|\n")


@dataclass(frozen=True, slots=True)
class NameOccurrence:
    """Where a passage says a name; for its own title, nowhere in the text."""

    name: str
    """Folded."""
    said: str
    """As the passage has it."""
    first: int
    """Its first word in the text; -1 for the passage's title."""
    last: int


class AnnotatedPassage:
    """One passage, read for making questions."""

    def __init__(self, slot: int, passage: Passage, graph: GraphView) -> None:
        self.slot, self.passage = slot, passage
        self.words: WordSpans = words(passage.text)
        self.title = name_in_texts(passage.title)
        self.places = self._places(graph)
        self.targets = self._targets(graph)
        """Slots of the passages whose titles it says, by the place where it does."""
        inside = np.zeros(len(self.words), dtype=bool)
        for place in self.places:
            if place.first >= 0:
                inside[place.first : place.last + 1] = True
        own = set(self.title.split()) if self.title else set()
        self._open = np.asarray(
            [
                not inside[i] and self._says(word) and word not in own
                for i, word in enumerate(self.words.folded)
            ],
            dtype=bool,
        )
        self._named = inside
        self.sentence = self._sentences()
        """Number of the sentence that each word stands in."""

    @property
    def heading(self) -> str | None:
        """Its title as a person would say it; None where nothing is called by that."""
        return plain_title(self.passage.title) if self.passage.title and self.title else None

    def places_of(self, name: str) -> list[NameOccurrence]:
        """Where it says a name.

        Args:
            name: Folded.
        """
        return [place for place in self.places if place.name == name]

    def answers(self, hidden: set[str], near: NameOccurrence | None) -> list[NameOccurrence]:
        """What a question may ask for: names and years in the text, beside those hidden.

        Args:
            hidden: Names that the answer must not be.
            near: Where the sentence has to be that holds the answer; anywhere by default.
        """
        answers = [p for p in self.places if p.first >= 0 and p.name not in hidden]
        answers += [
            NameOccurrence(word, word, i, i)
            for i, word in enumerate(self.words.folded)
            if len(word) == 4 and word.isdigit() and not self._named[i]
        ]
        if near is not None and near.first >= 0:
            here = self.sentence[near.first]
            answers = [p for p in answers if self.sentence[p.first] == here]
        return answers

    def clue(self, place: NameOccurrence, rng: np.random.Generator, most: int = 4) -> list[str]:
        """Up to `most` words that say something of what stands at a place; none where none do.

        Words are drawn with probability falling as exp(-distance / `REACH`).

        Args:
            place: Where the passage says a name.
            rng: Of how many words there are, and which.
            most: How many at most.
        """
        if place.first < 0 or not len(self.words):
            return []
        at = np.arange(len(self.words))
        distance = np.maximum(place.first - at, at - place.last)
        near = (distance <= NEAR) & (self.sentence == self.sentence[place.first]) & (distance > 0)
        candidates = np.flatnonzero(near & self._open)
        if not len(candidates):
            return []
        count = int(rng.integers(1, most + 1))
        if rng.random() < PHRASES:
            return self._phrase(candidates, distance, count)
        weight = np.exp(-distance[candidates] / REACH)
        size = min(count, len(candidates))
        chosen = rng.choice(candidates, size=size, replace=False, p=weight / weight.sum())
        return [self._word(i) for i in sorted(chosen.tolist())]

    def around(self, place: NameOccurrence) -> set[str]:
        """The words right beside a place that are neither names nor function words.

        Args:
            place: Where the passage says a name.
        """
        first, last = max(0, place.first - BESIDE), place.last + 1 + BESIDE
        return {
            self.words.folded[i] for i in range(first, min(last, len(self.words))) if self._open[i]
        }

    def open_words(self) -> set[str]:
        """Its different words that are neither names nor function words."""
        return {self.words.folded[i] for i in np.flatnonzero(self._open)}

    def _phrase(
        self, candidates: NDArray[np.int64], distance: NDArray[np.int64], count: int
    ) -> list[str]:
        """The words next to the place as they stand, function words among them."""
        nearest = candidates[np.argsort(distance[candidates], kind="stable")[:count]]
        first, last = int(nearest.min()), int(nearest.max())
        said = [i for i in range(first, last + 1) if not self._named[i]]
        return [self._word(i) for i in said if not self.words.folded[i].isdigit()]

    def _word(self, i: int) -> str:
        start, end = self.words.spans[i]
        return self.words.text[start:end].lower()

    def _says(self, word: str) -> bool:
        return len(word) > 2 and word not in STOP_WORDS and not any(c.isdigit() for c in word)

    def _places(self, graph: GraphView) -> list[NameOccurrence]:
        """The names that it says, its title first, then in reading order; each place once."""
        text = self.words.text
        start_of = {start: i for i, (start, _) in enumerate(self.words.spans)}
        end_of = {end: i for i, (_, end) in enumerate(self.words.spans)}
        spans = {(m.start, m.end) for m in graph.out_mentions(self.slot)}
        named = {
            (e.start, e.end): e.name
            for e in find_entities(self.words, self.passage.title)
            if e.start >= 0
        }
        places = []
        for start, end in sorted(spans | set(named)):
            first, last = start_of.get(start), end_of.get(end)
            if first is not None and last is not None:
                folded = " ".join(self.words.folded[first : last + 1])
                name = named.get((start, end), folded)
                places.append(NameOccurrence(name, text[start:end], first, last))
        if self.title and self.passage.title:
            places.insert(0, NameOccurrence(self.title, self.passage.title, -1, -1))
        return places

    def _targets(self, graph: GraphView) -> dict[NameOccurrence, list[int]]:
        by_span: dict[tuple[int, int], list[int]] = {}
        for mention in graph.out_mentions(self.slot):
            by_span.setdefault((mention.start, mention.end), []).append(mention.target)
        out = {}
        for place in self.places:
            if place.first >= 0:
                span = self.words.spans[place.first][0], self.words.spans[place.last][1]
                if span in by_span:
                    out[place] = by_span[span]
        return out

    def _sentences(self) -> NDArray[np.int64]:
        ends = [match.start() for match in _SENTENCE_END.finditer(self.words.text)]
        starts = [start for start, _ in self.words.spans]
        return np.searchsorted(np.asarray(ends, dtype=np.int64), np.asarray(starts), side="left")


def plain_title(title: str) -> str:
    """A title as a person would say it: without what only tells like-named ones apart.

    Args:
        title: As the passage has it.

    Examples:
        >>> plain_title("Custody (2007 film)")
        'Custody'
    """
    return without_tail(title)
