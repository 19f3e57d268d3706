"""The questions of a corpus, asked again over other kinds of memory that are made from it.

The questions that people wrote come with articles: these have titles, and they name each other by
them. An agent's memory has notes, and turns of conversations, and papers that cite without naming.
A policy that learned from articles alone takes titles and names for what makes evidence. So a share
of its questions is made of these:

    untitled        the same questions; passages without titles and links
    inverse cloze   for some sentences of a passage that is left out, what is most like it

Of the inverse cloze task (Lee et al. 2019, arXiv:1906.00300) the answer would be the passage
itself. What comes out depends on the seed, on contents and on the order of the questions, not on
ids or the order of writing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hoptrail.formats.jsonl import passage_record, write_jsonl
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.inverse_cloze import inverse_cloze_questions
from hoptrail.types import Link, Passage, Question

INVERSE_CLOZE = 0.6
"""Questions of the inverse cloze task for each one over untitled passages."""


@dataclass(frozen=True, slots=True)
class AugmentedCorpus:
    """A corpus made from another, and what is asked of it."""

    name: str
    passages: Sequence[Passage]
    questions: Sequence[Question]

    def open(
        self, encoder: Encoder, progress: Callable[[int, int], None] | None = None
    ) -> OpenCorpus:
        """As a corpus with its questions; its store is kept in the cache like any other.

        Args:
            encoder: For passages.
            progress: Called with (done, total) while they are encoded.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self.name}.jsonl"
            write_jsonl(path, (passage_record(passage) for passage in self.passages))
            corpus = OpenCorpus(path, None, encoder, progress=progress)
        return corpus.with_questions(self.questions)


def augmented_corpora(corpus: OpenCorpus, *, share: float, seed: int) -> Iterator[AugmentedCorpus]:
    """The corpora that are made from one with questions, each with something to ask.

    Args:
        corpus: With questions whose supporting passages are known; others are passed over.
        share: Questions over untitled passages, as a share of all.
        seed: Decides which.
    """
    questions = [question for question in corpus.questions if question.supporting_ids]
    order = np.random.default_rng(seed).permutation(len(questions))
    chosen = [questions[i] for i in order[: round(share * len(questions))]]
    if not chosen:
        return
    everything = [
        passage
        for namespace in dict.fromkeys(question.namespace for question in questions)
        for passage in _passages(corpus, namespace)
    ]
    everything = list({(p.namespace, p.id): p for p in everything}.values())
    if any(passage.title or passage.links for passage in everything):
        plain = [untitled(passage) for passage in everything]
        yield AugmentedCorpus("untitled", plain, chosen)
    count = round(INVERSE_CLOZE * share * len(questions))
    passages, cloze = inverse_cloze_questions(corpus, everything, count, seed)
    if cloze:
        plain = [untitled(passage, passage.links) for passage in passages]
        yield AugmentedCorpus("inverse-cloze", plain, cloze)


def untitled(passage: Passage, links: tuple[Link, ...] = ()) -> Passage:
    """A passage as a note: its title begins its text, and it has these links alone.

    Args:
        passage: Any.
        links: Its links from now on.
    """
    text = passage.content if passage.title else passage.text
    return replace(passage, text=text, title=None, links=links)


def _passages(corpus: OpenCorpus, namespace: tuple[str, ...]) -> list[Passage]:
    """The passages of a scope, in the order of their contents."""
    view = corpus.scope(namespace).view
    slots = sorted(np.flatnonzero(view.alive).tolist(), key=view.content_key)
    return view.passages(slots)
