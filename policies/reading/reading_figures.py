"""How well a reader does on questions that it was not trained on, and how sure it may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoptrail.learning.answering.certainty import Certainty
from hoptrail.learning.answering.extractive_reader import ExtractiveReader, TrailReading
from hoptrail.learning.reader.answers import normalize_answer
from hoptrail.policies.data.training_data import TrainingSet
from hoptrail.policies.reading.reading_data import ReadingCorpus, ReadingQuestion
from hoptrail.policies.reading.trail_sampling import RETURNED, without_answer
from hoptrail.types import Passage


@dataclass(frozen=True, slots=True)
class ReadTrail:
    """A question, what the network made of a trail for it, and what is so."""

    question: ReadingQuestion
    reading: TrailReading
    answerable: bool

    @property
    def right(self) -> bool:
        """Whether the likeliest answer is an accepted one."""
        said = normalize_answer(self.reading.text)
        return any(said == normalize_answer(answer) for answer in self.question.answers)

    @property
    def overlap(self) -> float:
        """The best F1 of its words against an accepted answer's, in [0, 1]."""
        said = Counter(normalize_answer(self.reading.text).split())
        best = 0.0
        for answer in self.question.answers:
            words = Counter(normalize_answer(answer).split())
            common = sum((said & words).values())
            if common:
                best = max(best, 2 * common / (sum(said.values()) + sum(words.values())))
        return best


def read_held_out(
    reader: ExtractiveReader, corpora: Sequence[ReadingCorpus], kind: str, seed: int
) -> list[ReadTrail]:
    """What a reader makes of the questions of corpora.

    Args:
        reader: The reader.
        corpora: With their questions; steps of others are passed over.
        kind: `gold`: with the evidence alone; `beside`: with other passages too, in any order;
            `removed`: with others alone.
        seed: Of the order.
    """
    rng = np.random.default_rng(seed)
    cases: list[tuple[ReadingQuestion, list[Passage]]] = []
    for corpus in corpora:
        for question in corpus.questions:
            if question.part_of:
                continue
            places = list(question.gold)
            if kind == "removed":
                rest = [place for place in question.distractors if place not in places]
                places = without_answer(corpus, question, rest)[:RETURNED]
            elif kind == "beside":
                more = max(RETURNED, len(places) + 1) - len(places)
                places += question.distractors[:more]
                rng.shuffle(places)
            cases.append((question, [corpus.passages[place] for place in places]))
    readings = reader.readings([(question.text, passages) for question, passages in cases])
    return [
        ReadTrail(question, reading, kind != "removed")
        for (question, _), reading in zip(cases, readings, strict=True)
    ]


def fit_certainty(trails: Sequence[ReadTrail]) -> Certainty:
    """How sure answers may be, by trails with the evidence and trails without it.

    Args:
        trails: Of questions that the reader was not trained on.
    """
    by_network = [one for one in trails if one.reading.comparison is None]
    if not by_network:
        return Certainty()
    return Certainty.fit(
        [one.reading.share for one in by_network],
        [one.reading.none for one in by_network],
        [one.answerable for one in by_network],
        [one.answerable and one.right for one in by_network],
        [one.right for one in trails if one.reading.comparison],
    )


def held_out_certainty(
    reader: ExtractiveReader, corpora: Sequence[ReadingCorpus], seed: int
) -> Certainty | None:
    """How sure answers may be, by what was held out; None where nothing was.

    Args:
        reader: The reader.
        corpora: With questions that it was not trained on.
        seed: Of the order of passages.
    """
    trails = [
        trail
        for kind in ("beside", "removed")
        for trail in read_held_out(reader, corpora, kind, seed)
    ]
    return fit_certainty(trails) if trails else None


def reading_figures(
    reader: ExtractiveReader, corpora: Sequence[ReadingCorpus], seed: int
) -> dict[str, float]:
    """Exact match and F1 with the evidence, and with other passages beside it, in percent.

    The best answer counts, whether or not the reader is sure enough to give it. `auroc` is how
    well the probability of there being no answer parts trails with the evidence from those without.

    Args:
        reader: The reader.
        corpora: With questions that it was not trained on.
        seed: Of the order of passages.
    """
    figures: dict[str, float] = {}
    nones: dict[str, list[float]] = {}
    for kind in ("gold", "beside", "removed"):
        trails = read_held_out(reader, corpora, kind, seed)
        nones[kind] = [one.reading.none for one in trails]
        if kind != "removed" and trails:
            figures[f"{kind}_em"] = 100 * float(np.mean([one.right for one in trails]))
            figures[f"{kind}_f1"] = 100 * float(np.mean([one.overlap for one in trails]))
    if nones["beside"]:
        high, low = np.array(nones["removed"]), np.array(nones["beside"])
        wins = (high[:, None] > low).mean() + (high[:, None] == low).mean() / 2
        figures["auroc"] = 100 * float(wins)
        figures["count"] = len(low)
    return {name: round(value, 1) for name, value in figures.items()}


def figures_by_set(
    reader: ExtractiveReader,
    corpora: Sequence[ReadingCorpus],
    sets: Sequence[TrainingSet],
    seed: int,
) -> list[dict[str, Any]]:
    """`reading_figures` of each set, with its files' names, as a card has them.

    Args:
        reader: The reader.
        corpora: With their questions.
        sets: Where these come from, one for each corpus.
        seed: Of the order of passages.
    """
    return [
        {**one.describe(), **reading_figures(reader, [corpus], seed)}
        for one, corpus in zip(sets, corpora, strict=True)
    ]
