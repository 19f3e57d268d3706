"""Questions that ask for what is like a passage that is not there.

Of a passage that is left out of the memory some words of one to three sentences are the question;
the passages that hybrid search finds for the whole of it are the answer. Whoever answers has to
guess from a part what the whole is about, and what was read tells more of that: the queries of
somebody who looks for papers on a subject, of which there are more than two or four.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hoptrail.memory.search import hybrid_search
from hoptrail.memory.views.view import View
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.types import Link, Passage, Question

ALIKE = 4
"""Passages that are to be found for each."""
MOST_WORDS = 60
"""The most that a question has."""
LEAST_WORDS = 6
"""Words below which nothing is asked."""
SHORT = 40
"""Characters below which a sentence joins the one before."""
DROPPED = 0.6
"""How often words are left out of the question: somebody who asks does not quote."""

_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])|(?<=[。！？])")
_ABBREVIATED = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Dr|St|Jr|No|vs|c|ca|Inc|Ltd|Co)\.$")


def inverse_cloze_questions(
    corpus: OpenCorpus, everything: Sequence[Passage], count: int, seed: int
) -> tuple[list[Passage], list[Question]]:
    """The passages that stay, with what they name as links, and up to `count` questions.

    Args:
        corpus: Where the passages are.
        everything: Its passages, in the order of their contents.
        count: How many to leave out, a tenth of them at the most.
        seed: Decides which.
    """
    rng = np.random.default_rng([seed, 1])
    drawn = rng.permutation(len(everything))[: min(count, len(everything) // 10)].tolist()
    out = {(everything[i].namespace, everything[i].id) for i in drawn}
    questions: list[Question] = []
    for i in sorted(drawn):
        left = everything[i]
        words = _query_words(left, rng)
        view = corpus.scope(left.namespace).view
        gold = _most_alike(view, left, out) if len(words) >= LEAST_WORDS else []
        if gold:
            questions.append(
                Question(
                    id=f"cloze-{len(questions)}",
                    text=" ".join(words),
                    supporting_ids=tuple(gold),
                    kind="inverse-cloze",
                    namespace=left.namespace,
                )
            )
    stay = [_linked(corpus, p, out) for p in everything if (p.namespace, p.id) not in out]
    return stay, questions


def with_cloze_questions(corpora: Sequence[OpenCorpus], count: int, seed: int) -> list[OpenCorpus]:
    """The corpora with questions that are words of a passage and ask for that passage.

    What a query encoder can learn from where nobody has asked yet: the inverse cloze task of Lee et
    al. 2019 (arXiv:1906.00300), but that the passage keeps the words, since its vector stays.

    Args:
        corpora: Open ones.
        count: How many questions in all; fewer where there are fewer passages of enough words.
        seed: Decides of which passages, and which words.
    """
    rng = np.random.default_rng([seed, 2])
    with_questions = []
    for place, corpus in enumerate(corpora):
        share = count // len(corpora) + (place < count % len(corpora))
        view = corpus.scope(()).view
        slots = rng.permutation(np.flatnonzero(view.alive))[:share]
        made_of = [(passage, _query_words(passage, rng)) for passage in view.passages(slots)]
        questions = [
            Question(
                id=f"cloze-{number}",
                text=" ".join(words),
                supporting_ids=(passage.id,),
                kind="inverse-cloze",
                namespace=passage.namespace,
            )
            for number, (passage, words) in enumerate(made_of)
            if len(words) >= LEAST_WORDS
        ]
        with_questions.append(corpus.with_questions(questions))
    return with_questions


def _query_words(left: Passage, rng: np.random.Generator) -> list[str]:
    """Words of one to three sentences in a row of a passage."""
    said = sentences(left.content)
    size = int(rng.integers(1, 4))
    start = int(rng.integers(max(1, len(said) - size + 1)))
    words = re.sub(r"\s+", " ", " ".join(said[start : start + size])).split()[:MOST_WORDS]
    return _picked(words, rng)


def sentences(text: str) -> list[str]:
    """A text's sentences, none of them very short but where the whole text is.

    Args:
        text: White space in it counts as a space.
    """
    out: list[list[str]] = []  # pieces are joined once: to add one to a long string copies it
    length = 0  # of the last
    for piece in _END.split(re.sub(r"\s+", " ", text).strip()):
        if out and (length < SHORT or len(piece) < SHORT or _ABBREVIATED.search(out[-1][-1])):
            out[-1].append(piece)
            length += 1 + len(piece)
        else:
            out.append([piece])
            length = len(piece)
    return [" ".join(pieces) for pieces in out]


def _picked(words: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The words, or some of them, in their order."""
    if rng.random() >= DROPPED:
        return list(words)
    count = max(LEAST_WORDS, int(len(words) * rng.uniform(0.4, 0.9)))
    return [words[i] for i in sorted(rng.permutation(len(words))[:count])]


def _most_alike(view: View, left: Passage, out: set[tuple[tuple[str, ...], str]]) -> list[str]:
    """Ids of the passages of the same namespace that are most like one, of those that stay."""
    slot = view.slot_of(left.id, left.namespace)
    assert slot is not None  # it came from this scope
    vector = view.dense.vectors(np.asarray([slot]))[0]
    _, hits = hybrid_search.search(view, left.content, vector, ALIKE + len(out) + 1)
    near = [p for p in view.passages(hits.tolist()) if p.namespace == left.namespace]
    return [p.id for p in near if (p.namespace, p.id) not in out][:ALIKE]


def _linked(corpus: OpenCorpus, passage: Passage, out: set[tuple[tuple[str, ...], str]]) -> Passage:
    """A passage linked with those whose titles it says, besides its own links."""
    scope = corpus.scope(passage.namespace)
    slot = scope.view.slot_of(passage.id, passage.namespace)
    assert slot is not None
    targets = dict.fromkeys(mention.target for mention in scope.graph.out_mentions(slot))
    named = scope.view.passages([target for target in targets if target != slot])
    links = {link.target: link for link in passage.links}
    links |= {p.id: Link(p.id) for p in named if p.namespace == passage.namespace}
    staying = [link for link in links.values() if (passage.namespace, link.target) not in out]
    return replace(passage, links=tuple(staying))
