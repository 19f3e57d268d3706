"""What an index of a corpus is trained on: its passages' vectors, and queries that ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.formats.jsonl import read_questions
from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_side import for_questions
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.views.view import View
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.inverse_cloze import with_cloze_questions
from hoptrail.policies.training.preparation import open_corpora, stage_progress
from hoptrail.types import Question
from hoptrail.values.progress import TrainingProgress, silent

ASKED, CLOZE = 0, 1
"""Kinds of queries: questions of a file, and words of a passage that ask for it."""


@dataclass(frozen=True, slots=True, eq=False)
class IndexData:
    """The vectors of a corpus's passages, and queries."""

    passages: Vectors
    """`(n, d)` of the passages as wholes."""
    queries: LabelledQueries


def index_data(
    corpus: Path,
    questions: Sequence[Path],
    *,
    cloze: int,
    seed: int,
    encoder: Encoder,
    progress: TrainingProgress = silent,
) -> IndexData:
    """The vectors of a corpus or store, and of queries that ask for its passages.

    Args:
        corpus: A corpus in JSONL, or a store; all of it is one scope.
        questions: Files of questions that name their supporting passages.
        cloze: How many queries are made of passages besides.
        seed: Of what is drawn.
        encoder: Of passages and queries; vectors are cached.
        progress: Told of what is indexed.

    Raises:
        InputError: There is neither a question with its passages nor one that is made.
        FormatError: A file cannot be read, or a supporting passage is not in the corpus.
    """
    with ExitStack() as stack:
        (opened,) = open_corpora([corpus], encoder, progress, stack)
        view = opened.scope(()).view
        slots = np.flatnonzero(view.alive)
        rows: NDArray[np.int64] = np.full(len(view.alive), -1, dtype=np.int64)
        rows[slots] = np.arange(len(slots))
        parts = [(ASKED, opened.with_questions(read_questions(one), one)) for one in questions]
        if cloze:
            parts.append((CLOZE, with_cloze_questions([opened], cloze, seed)[0]))
        examples: list[tuple[int, Question, list[int]]] = []
        for kind, part in parts:
            gold = [
                [int(rows[slot]) for slot in _slots_in(view, part, question)]
                for question in part.questions
            ]
            examples += [
                (kind, question, one)
                for question, one in zip(part.questions, gold, strict=True)
                if one
            ]
        if not examples:
            raise InputError(
                f"there is nothing to learn from: no question names passages of {corpus}; give "
                "questions that do, or make some of the passages (cloze)"
            )
        cached = CachedEncoder(
            for_questions(encoder), progress=stage_progress(progress, "encode queries")
        )
        stack.callback(cached.close)
        vectors = cached.encode([question.text for _, question, _ in examples])
        kinds = np.asarray([kind for kind, _, _ in examples], dtype=np.int64)
        labelled = LabelledQueries(vectors, [gold for _, _, gold in examples], kinds)
        return IndexData(view.dense.vectors(slots), labelled)


def _slots_in(view: View, corpus: OpenCorpus, question: Question) -> list[int]:
    """A question's supporting passages in the view of all: its own scope has slots of its own."""
    scope = corpus.scope(question.namespace).view
    rowids = scope.rowids[list(corpus.gold(question))].tolist()
    slots = [view.slot_of_rowid(rowid) for rowid in rowids]
    return [slot for slot in slots if slot is not None]
