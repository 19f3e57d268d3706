"""What a passage leaves open of a question, asked again of each name that it brings.

"How many people work at the school that holds the Kanter Archive?", once a passage has said that
the archive is at the University of Oklahoma, is "How many people work at the school that holds the
University of Oklahoma": the words that the passage holds are taken out of the question, and one of
its names is put behind what is left. It is not English, but an index reads it as the question that
the next hop has to answer. No model writes it; decompositions of this kind are asked of an LLM
elsewhere (Press et al. 2022, arXiv:2210.03350).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hoptrail.graph.extraction.entities import EntityMention, find_entities
from hoptrail.graph.extraction.names import words
from hoptrail.memory.index.bm25 import SparseIndex
from hoptrail.types import Passage

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class SubQuestion:
    """A question that a passage leaves open, of one of its names."""

    read: int
    """Slot of the passage that left it open."""
    name: str
    """The name, folded."""
    text: str
    """In words."""


def subquestions(
    question: str, read: int, passage: Passage, sparse: SparseIndex, most: int
) -> list[SubQuestion]:
    """The questions that a passage leaves open, those of the names that it repeats most first.

    Args:
        question: In words.
        read: The passage's slot.
        passage: The passage.
        sparse: Says which words are the same term.
        most: How many at most.
    """
    left = open_part(question, passage, sparse)
    names = names_brought(question, passage)[:most]
    return [SubQuestion(read, name, f"{left} {surface}".strip()) for name, surface in names]


def open_part(question: str, passage: Passage, sparse: SparseIndex) -> str:
    """The question without the words that the passage holds; function words stay.

    Args:
        question: In words.
        passage: What was read for it.
        sparse: Says which words are the same term.
    """
    passage_terms = set(sparse.terms(passage.content))
    left = [
        word
        for word in _WORD.findall(question)
        if not (terms := sparse.terms(word)) or not passage_terms.issuperset(terms)
    ]
    return " ".join(left)


def names_brought(question: str, passage: Passage) -> list[tuple[str, str]]:
    """The names in a passage that the question does not hold: folded, and as first written.

    Those that the passage repeats come first, then those that stand first.

    Args:
        question: In words.
        passage: What was read for it.
    """
    question_words = set(words(question).folded)
    count: dict[str, int] = {}
    written: dict[str, str] = {}
    for mention in find_entities(words(passage.text), passage.title):
        if not question_words.issuperset(mention.name.split()):
            count[mention.name] = count.get(mention.name, 0) + 1
            written.setdefault(mention.name, _as_written(mention, passage))
    return [(name, written[name]) for name in sorted(count, key=lambda name: -count[name])]


def _as_written(mention: EntityMention, passage: Passage) -> str:
    if mention.start < 0:
        return passage.title or mention.name
    return passage.text[mention.start : mention.end]
