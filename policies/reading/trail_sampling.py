"""The trails that a reader is trained on: complete or not, with passages beside the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.learning.answering.answer_network import NO_ANSWER, AnswerTarget
from hoptrail.learning.answering.trail_windows import PassageTokens
from hoptrail.policies.reading.reading_data import ReadingCorpus, ReadingQuestion

EVIDENCE_ALONE, PARTIAL, WITHOUT = 0.35, 0.10, 0.15
"""Shares of the trails that hold the evidence and nothing else, that lack a part of it and still
say the answer, and that do not say it. The others hold the evidence and more."""
JUDGED = 512
"""Questions of those held out by which a pass of training is judged, at most."""
RETURNED = 5
"""Passages of a trail as a recall gives it, where a reader is measured."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingTrail:
    """A question, the passages that it is read with, and what is right."""

    question: NDArray[np.int64]
    """The ids of its tokens."""
    passages: tuple[PassageTokens, ...]
    target: AnswerTarget


def sample_trail(
    corpus: ReadingCorpus, question: ReadingQuestion, most_beside: int, rng: np.random.Generator
) -> TrainingTrail:
    """A trail of a question, drawn anew at each pass.

    Args:
        corpus: The question's.
        question: With its evidence and passages beside it.
        most_beside: Of these passages, at most; at least 1.
        rng: What is drawn with.
    """
    draw = rng.random()
    beside = list(question.distractors)
    rng.shuffle(beside)
    extra = beside[: int(rng.integers(1, most_beside + 1))]
    gold = list(question.gold)
    if draw < EVIDENCE_ALONE:
        places = gold
    elif draw < EVIDENCE_ALONE + PARTIAL:
        dropped = gold[int(rng.integers(len(gold)))]
        places = [place for place in gold if place != dropped] + extra
    elif draw < EVIDENCE_ALONE + PARTIAL + WITHOUT:
        places = without_answer(corpus, question, gold) + without_answer(corpus, question, extra)
    else:
        places = gold + extra
    if draw >= EVIDENCE_ALONE or rng.random() < 0.5:
        rng.shuffle(places)
    return trail_of(corpus, question, places)


def without_answer(
    corpus: ReadingCorpus, question: ReadingQuestion, places: Sequence[int]
) -> list[int]:
    """Those of some passages that do not say the answer; of yes and no, those but for one of gold.

    Args:
        corpus: The question's.
        question: Whose answer.
        places: Of passages.
    """
    if question.classes:
        return [place for place in places if place != question.gold[-1]]
    return [place for place in places if not corpus.spans(question, place)]


def fixed_trails(
    corpora: Sequence[ReadingCorpus], most_beside: int, seed: int
) -> list[TrainingTrail]:
    """A trail of each of so many drawn questions of corpora, the same every time.

    Args:
        corpora: With questions that are not learned from; steps of others are passed over.
        most_beside: As `sample_trail` takes it.
        seed: Of what is drawn.
    """
    rng = np.random.default_rng(seed)
    questions = [(corpus, question) for corpus in corpora for question in corpus.questions]
    whole = [(corpus, question) for corpus, question in questions if not question.part_of]
    order = rng.permutation(len(whole)).tolist()[:JUDGED]
    trails = [
        sample_trail(corpus, one, most_beside, rng) for corpus, one in (whole[i] for i in order)
    ]
    return sorted(trails, key=lambda trail: sum(len(passage.ids) for passage in trail.passages))


def trail_of(
    corpus: ReadingCorpus, question: ReadingQuestion, places: Sequence[int]
) -> TrainingTrail:
    """The trail of some passages, with what is right of it.

    Where no passage says the answer, that is right; yes and no need all of the evidence. Where
    nobody has named the evidence, nothing is said of it, and any trail may say yes or no.

    Args:
        corpus: The question's.
        question: It is read for.
        places: Of the passages, in order.
    """
    spans = tuple(
        (at, span) for at, place in enumerate(places) for span in corpus.spans(question, place)
    )
    complete = set(question.gold) <= set(places)
    classes = question.classes if complete else ()
    if not spans and not classes:
        classes = (NO_ANSWER,)
    evidence = tuple(place in question.gold for place in places) if question.gold else None
    target = AnswerTarget(() if question.classes else spans, classes, evidence)
    return TrainingTrail(
        corpus.question_ids(question.text),
        tuple(corpus.tokens[place] for place in places),
        target,
    )
