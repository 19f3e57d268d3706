"""Questions with the passages that are ranked for them: what the models of a list learn from.

A cross-encoder, a sparse encoder and a late interaction learn to order what search brings. So each
question has a list: its supporting passages, and the wrong ones among the best of the memory's own
hybrid search. A wrong passage whose vector is nearly a right one's says the same, and is left out
(Qu et al. 2021, RocketQA, arXiv:2010.08191). Of the others some are drawn anew in every pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.search import hybrid_search
from hoptrail.policies.data.corpora import OpenCorpus

MOST_RIGHT = 4
"""Supporting passages of a question that are in a list, at most."""


@dataclass(frozen=True, slots=True)
class RankedQuestion:
    """A question and its candidates, as rows of `RankingLists.passages`."""

    text: str
    right: tuple[int, ...]
    """At least one."""
    wrong: tuple[int, ...]
    """Those that search ranks highest, best first; perhaps none."""


@dataclass(frozen=True, slots=True)
class RankingLists:
    """Questions with their candidates, and the passages of all."""

    questions: list[RankedQuestion]
    passages: list[str]
    """Contents."""
    vectors: NDArray[np.float32]
    """`(p, d)` of the passages, by the memory's encoder: they tell what says the same."""


@dataclass(frozen=True, slots=True)
class ListBatch:
    """Some questions, the passages of their lists, and which belong together."""

    questions: list[str]
    passages: list[str]
    """Each once."""
    positives: Tensor
    """Bool `(questions, passages)`: what is right."""
    own: Tensor
    """Bool `(questions, passages)`: what is on a question's own list."""
    comparable: Tensor
    """Bool `(questions, passages)`: all but what says the same as a right passage."""


def mine_lists(
    corpora: Sequence[OpenCorpus], encoder: Encoder, *, depth: int, same: float
) -> RankingLists:
    """The questions of corpora with what hybrid search finds for them.

    Args:
        corpora: Opened corpora with their questions; those without supporting passages are passed
            over.
        encoder: Whose query side asks.
        depth: How many passages search brings for each.
        same: Cosine of two passages from which one is no negative where the other is right.

    Raises:
        FormatError: A supporting passage is not in its corpus.
        InputError: No question names one.
    """
    asking = query_side(encoder)
    rows: dict[tuple[int, tuple[str, ...], int], int] = {}
    questions: list[RankedQuestion] = []
    passages: list[str] = []
    vectors: list[NDArray[np.float32]] = []
    for corpus_number, corpus in enumerate(corpora):
        labelled = [question for question in corpus.questions if question.supporting_ids]
        asked_vectors = asking.encode([question.text for question in labelled])
        for question, vector in zip(labelled, asked_vectors, strict=True):
            gold, view = corpus.gold(question), corpus.scope_of(question).view
            hits = hybrid_search.search(view, question.text, vector, depth + len(gold))[1].tolist()
            slots = list(dict.fromkeys([*gold, *hits]))
            slot_vectors = view.dense.vectors(np.asarray(slots))
            alike = (slot_vectors @ slot_vectors[: len(gold)].T).max(1)
            new = [
                i
                for i, slot in enumerate(slots)
                if (corpus_number, question.namespace, slot) not in rows
            ]
            contents = [one.content for one in view.passages([slots[i] for i in new])]
            for i, content in zip(new, contents, strict=True):
                rows[corpus_number, question.namespace, slots[i]] = len(passages)
                passages.append(content)
                vectors.append(slot_vectors[i])
            row_of = [rows[corpus_number, question.namespace, slot] for slot in slots]
            wrong = [row_of[i] for i in range(len(gold), len(slots)) if alike[i] < same]
            questions.append(
                RankedQuestion(question.text, tuple(row_of[: len(gold)]), tuple(wrong[:depth]))
            )
    if not questions:
        raise InputError(
            "there is nothing to learn from: no question names its supporting passages"
        )
    return RankingLists(questions, passages, np.stack(vectors))


def list_batches(
    lists: RankingLists, *, size: int, wrong: int, same: float, seed: Sequence[int]
) -> list[ListBatch]:
    """The batches of one pass: every question once, with some of its wrong passages.

    Args:
        lists: Questions with their candidates.
        size: Questions of a batch.
        wrong: Wrong passages of a question, at most.
        same: As `mine_lists`.
        seed: Decides the order and what is drawn.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lists.questions)).tolist()
    batches = []
    for start in range(0, len(order), size):
        questions = [lists.questions[i] for i in order[start : start + size]]
        right = [rng.permutation(question.right)[:MOST_RIGHT].tolist() for question in questions]
        drawn = [rng.permutation(question.wrong)[:wrong].tolist() for question in questions]
        batches.append(_batch(lists, questions, right, drawn, same))
    return batches


def _batch(
    lists: RankingLists,
    questions: Sequence[RankedQuestion],
    right: Sequence[Sequence[int]],
    wrong: Sequence[Sequence[int]],
    same: float,
) -> ListBatch:
    """The questions with what was drawn for them."""
    rows = list(dict.fromkeys(row for part in (*right, *wrong) for row in part))
    column = {row: i for i, row in enumerate(rows)}
    vectors = lists.vectors[rows]
    shape = len(questions), len(rows)
    positives, own = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    comparable = np.ones(shape, dtype=bool)
    for i, question in enumerate(questions):
        all_right = lists.vectors[list(question.right)]
        comparable[i] = (vectors @ all_right.T).max(1) < same
        positives[i, [column[row] for row in right[i]]] = True
        own[i, [column[row] for row in (*right[i], *wrong[i])]] = True
    return ListBatch(
        [question.text for question in questions],
        [lists.passages[row] for row in rows],
        torch.from_numpy(positives),
        torch.from_numpy(own),
        torch.from_numpy(comparable | positives),
    )
