"""What a reader learns from: questions with their answers, evidence, and passages beside it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import FormatError
from hoptrail.formats.jsonl import read_corpus, read_objects, read_questions
from hoptrail.learning.answering.answer_network import MAX_SPAN, NO, YES
from hoptrail.learning.answering.trail_windows import (
    PassageTokens,
    Span,
    answer_spans,
    cut_texts,
)
from hoptrail.learning.reader.answers import normalize_answer
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.store import Store
from hoptrail.metrics.clusters import clusters_of, held_out_clusters
from hoptrail.policies.data.corpora import is_store
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.types import Namespace, Passage, Question

NEAREST = 30
"""Passages beside the evidence that a question is read with: those that dense search puts first."""
QUERIES = 256
"""Questions whose scores are computed together."""

_REFERENCE = re.compile(r"#(\d+)")


@dataclass(frozen=True, slots=True)
class ReadingQuestion:
    """A question about a corpus, by places of passages in it."""

    text: str
    answers: tuple[str, ...]
    """Accepted; at least one."""
    gold: tuple[int, ...]
    """The passages that are needed; none where nobody has named them."""
    distractors: tuple[int, ...]
    """Passages like them that are not, the likest first."""
    cluster: int
    """Questions with a gold passage in common have one number."""
    namespace: Namespace = ()
    """Where it is asked."""
    part_of: str = ""
    """The question that this is a step of; empty for one that stands in the file."""

    @property
    def classes(self) -> tuple[int, ...]:
        """The class that is the answer, where it is yes or no."""
        forms = {normalize_answer(answer) for answer in self.answers}
        return tuple(c for c, text in ((YES, "yes"), (NO, "no")) if text in forms)


class ReadingCorpus:
    """Passages with their tokens and vectors, and questions about them.

    Args:
        file: A corpus in JSON lines, or a store.
        tokenizer: Of the network that will read.
        encoder: Finds the passages that are nearest to a question.

    Raises:
        FormatError: The file cannot be read.
    """

    def __init__(self, file: Path, tokenizer: Any, encoder: Encoder) -> None:
        self.file = file
        self.passages = _passages(file)
        self.contents = [passage.content for passage in self.passages]
        self.tokens: list[PassageTokens] = cut_texts(tokenizer, self.contents)
        self.questions: list[ReadingQuestion] = []
        self.place = {(p.namespace, p.id): i for i, p in enumerate(self.passages)}
        self._tokenizer, self._encoder = tokenizer, encoder
        self._vectors = encoder.encode(self.contents)
        self._spans: dict[tuple[tuple[str, ...], int], tuple[Span, ...]] = {}
        self._questions: dict[str, NDArray[np.int64]] = {}

    def spans(self, question: ReadingQuestion, place: int) -> tuple[Span, ...]:
        """Where a passage says a question's answer; nowhere for yes and no.

        Args:
            question: Of this corpus.
            place: The passage's.
        """
        key = question.answers, place
        if key not in self._spans:
            text, tokens = self.contents[place], self.tokens[place]
            self._spans[key] = tuple(
                answer_spans(text, tokens, question.answers, max_span=MAX_SPAN)
            )
        return self._spans[key]

    def question_ids(self, text: str) -> NDArray[np.int64]:
        """The ids of a question's tokens.

        Args:
            text: The question.
        """
        if text not in self._questions:
            self._questions[text] = cut_texts(self._tokenizer, [text])[0].ids
        return self._questions[text]

    def nearest(self, questions: Sequence[Question]) -> list[list[int]]:
        """For each question the places of the passages of its namespace that are nearest to it.

        Args:
            questions: n of them; perhaps none.
        """
        nearest: list[list[int]] = [[] for _ in questions]
        queries = self._encoder.encode([question.text for question in questions])
        by_namespace: dict[Namespace, list[int]] = {}
        for i, question in enumerate(questions):
            by_namespace.setdefault(question.namespace, []).append(i)
        for namespace, rows in by_namespace.items():
            inside = [one.namespace[: len(namespace)] == namespace for one in self.passages]
            scope = np.flatnonzero(inside)
            vectors = self._vectors[scope]
            for start in range(0, len(rows), QUERIES):
                part = rows[start : start + QUERIES]
                order = np.argsort(-(queries[part] @ vectors.T), axis=1, kind="stable")
                for row, columns in zip(part, order[:, :NEAREST], strict=True):
                    nearest[row] = scope[columns].tolist()
        return nearest

    def with_questions(self, questions: Sequence[ReadingQuestion]) -> ReadingCorpus:
        """The same passages with other questions.

        Args:
            questions: In whose stead.
        """
        other = copy(self)
        other.questions = list(questions)
        return other


def answered_questions(
    corpus: ReadingCorpus, file: Path, *, latent: bool = False
) -> list[ReadingQuestion]:
    """The questions of a file that have answers and evidence, each with its nearest passages.

    `steps` and `triples` of a line, where there are any, become questions of their own, of one hop.

    Args:
        corpus: What they are about.
        file: In JSON lines.
        latent: Whether those come as well that name no supporting passage.

    Raises:
        FormatError: The file cannot be read, or a supporting passage is not in the corpus.
    """
    questions = [q for q in read_questions(file) if q.answers and (q.supporting_ids or latent)]
    gold = [_gold(corpus, question, file) for question in questions]
    nearest = corpus.nearest(questions)
    steps = {str(line.get("id")): _steps(line, file) for _, line in read_objects(file)}
    clusters = clusters_of(questions)
    answered: list[ReadingQuestion] = []
    for i, question in enumerate(questions):
        others = tuple(place for place in nearest[i] if place not in gold[i])
        one = ReadingQuestion(
            question.text, question.answers, gold[i], others, int(clusters[i]), question.namespace
        )
        answered.append(one)
        for text, answer in steps.get(question.id, ()):
            part = replace(one, text=text, answers=(answer,), part_of=question.text)
            evidence = tuple(place for place in gold[i] if corpus.spans(part, place))
            if evidence:
                answered.append(replace(part, gold=evidence))
    return answered


def split_questions(
    corpus: ReadingCorpus, held_out: float, seed: int
) -> tuple[ReadingCorpus, ReadingCorpus]:
    """What is learned from and what is held out, by whole clusters of questions.

    A question without evidence is learned from: a reader is measured by what evidence it is given.

    Args:
        corpus: With questions.
        held_out: Their share that is held out, at most.
        seed: Of which.
    """
    counts = Counter(question.cluster for question in corpus.questions)
    clusters = {question.cluster for question in corpus.questions if question.gold}
    sizes = {cluster: counts[cluster] for cluster in clusters}
    chosen = held_out_clusters(sizes, held_out * len(corpus.questions), seed)
    rest = [question for question in corpus.questions if question.cluster not in chosen]
    unseen = [question for question in corpus.questions if question.cluster in chosen]
    return corpus.with_questions(rest), corpus.with_questions(unseen)


def reading_corpora(
    data: TrainingData,
    tokenizer: Any,
    finder: Encoder,
    *,
    held_out: float,
    split_seed: int,
    latent: bool = False,
) -> tuple[list[ReadingCorpus], list[ReadingCorpus], list[ReadingCorpus]]:
    """What is learned from, held out, and measured on, each with its questions.

    Args:
        data: The files; one that comes twice is read once.
        tokenizer: Cuts texts into tokens.
        finder: Finds the passages that questions are read with beside their evidence.
        held_out: The share of the questions to learn from that is held out.
        split_seed: Of what is drawn.
        latent: Whether questions are learned from that name no supporting passage.

    Raises:
        FormatError: A file cannot be read, or a supporting passage is not in its corpus.
    """
    files = dict.fromkeys(one.corpus for one in (*data.train, *data.dev))
    corpora = {file: ReadingCorpus(file, tokenizer, finder) for file in files}

    def with_questions(one: TrainingSet, *, latent: bool = False) -> ReadingCorpus:
        corpus = corpora[one.corpus]
        return corpus.with_questions(answered_questions(corpus, one.questions, latent=latent))

    parts = [
        split_questions(with_questions(one, latent=latent), held_out, split_seed)
        for one in data.train
    ]
    dev = [with_questions(one) for one in data.dev]
    return [part for part, _ in parts], [part for _, part in parts], dev


def _passages(path: Path) -> list[Passage]:
    if not is_store(path):
        return list(read_corpus(path))
    with Store(path, read_only=True) as store:
        return list(store.passages(()))


def _gold(corpus: ReadingCorpus, question: Question, file: Path) -> tuple[int, ...]:
    places = []
    for name in dict.fromkeys(question.supporting_ids):
        place = corpus.place.get((question.namespace, name))
        if place is None:
            raise FormatError(
                f"{file}: question {question.id!r} needs passage {name!r}, which is not in "
                f"{corpus.file}"
            )
        places.append(place)
    return tuple(places)


def _steps(line: Mapping[str, Any], file: Path) -> list[tuple[str, str]]:
    """Questions of one hop with their answers, from a line's `steps` and `triples`."""
    steps: list[tuple[str, str]] = []
    answers: list[str] = []
    try:
        for step in line.get("steps") or ():
            answers.append(str(step["answer"]))
            text = _REFERENCE.sub(lambda match: answers[int(match[1]) - 1], str(step["question"]))
            steps.append((text, answers[-1]))
        for subject, relation, value in line.get("triples") or ():
            steps.append((f"What is the {relation} of {subject}?", str(value)))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FormatError(
            f"{file}: question {line.get('id')!r} has steps or triples that are none: steps hold "
            '"question" and "answer", triples a subject, a relation and an object'
        ) from error
    return steps
