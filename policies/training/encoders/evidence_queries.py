"""Questions with evidence and the queries of their states: what sides of an encoder learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hoptrail.errors import InputError
from hoptrail.learning.execution.early_stopping import at_rest, require_judges
from hoptrail.learning.ranking_losses import TAUGHT
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.views.view import View
from hoptrail.metrics.clusters import connected_components, held_out_items
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.query_candidates import QueryObjective, hybrid_teacher
from hoptrail.policies.reformulation.query_text import query_text
from hoptrail.types import Namespace

if TYPE_CHECKING:
    from hoptrail.policies.training.encoders.query_encoder import QueryEncoderConfig

MOST_EVIDENCE = 4
"""Supporting passages of a question that count, and passages that a query is given at most: as many
as a trail has hops."""
WRONG, WRONG_TURNS = 4, 0.25
"""Passages of a question that a query may be given by mistake, and the share of queries that one is
given: a walk has to go on from there too."""


class PassageScores:
    """The dense scores of all passages of a scope, with gradients to the queries.

    The same as the memory's own search gives: a passage as a whole, and what its best window adds.

    Args:
        view: The scope.
        device: Where to put its vectors.
    """

    def __init__(self, view: View, device: str) -> None:
        self.view = view
        self.slots = slots = np.flatnonzero(view.alive)
        windows, owners = view.dense.windows()
        self.row: NDArray[np.int64] = np.full(len(view.alive), -1, dtype=np.int64)
        """The column of each slot in the scores."""
        self.row[slots] = np.arange(len(slots))
        self.vectors = torch.tensor(view.dense.vectors(slots), device=device)
        """`(passages, d)` of the passages as a whole."""
        self.windows = torch.tensor(windows, device=device)
        """`(w, d)`, moved towards their wholes."""
        self.owners = torch.tensor(self.row[owners], device=device)
        """`(w,)` the columns of the windows' passages."""

    def __call__(self, queries: Tensor) -> Tensor:
        """The scores `(n, passages)` of queries `(n, d)`."""
        scores = queries @ self.vectors.T
        if not len(self.windows):
            return scores
        owners = self.owners.expand(len(queries), -1)
        return scores.scatter_reduce(1, owners, queries @ self.windows.T, "amax")


@dataclass(frozen=True, slots=True)
class EvidenceQuestion:
    """A question, its supporting passages, and where they are looked for."""

    text: str
    gold: tuple[int, ...]
    """Slots of the supporting passages, at least one."""
    wrong: tuple[int, ...]
    """Slots of the passages nearest to it that are not among them: where a walk may go wrong."""
    contents: Mapping[int, str]
    """Of all these passages, by slot."""
    scores: PassageScores


@dataclass(frozen=True, slots=True)
class TrainingQuery:
    """The query of a state to learn from."""

    question: EvidenceQuestion
    evidence: tuple[int, ...]
    """Slots of the passages that were read; a supporting passage at least is missing."""

    @property
    def text(self) -> str:
        """What the encoder reads."""
        contents = self.question.contents
        return query_text(self.question.text, [contents[slot] for slot in self.evidence])


def evidence_questions(
    corpora: Sequence[OpenCorpus], encoder: Encoder, device: str
) -> list[EvidenceQuestion]:
    """The questions of corpora whose supporting passages are known.

    Args:
        corpora: Opened corpora with their questions.
        encoder: For the questions as they are now.
        device: Where to put the passages' vectors.

    Raises:
        FormatError: A supporting passage is not in its corpus.
        InputError: No question has one.
    """
    questions = []
    asking = query_side(encoder)
    for corpus in corpora:
        scores: dict[Namespace, PassageScores] = {}
        for question in corpus.questions:
            gold = corpus.gold(question)
            if not gold:
                continue
            view = corpus.scope_of(question).view
            if question.namespace not in scores:
                scores[question.namespace] = PassageScores(view, device)
            nearest = view.dense.search(asking.encode([question.text]), WRONG + len(gold))[1][0]
            wrong = [slot for slot in nearest.tolist() if slot >= 0 and slot not in gold][:WRONG]
            slots = [*gold, *wrong]
            contents = {
                slot: passage.content
                for slot, passage in zip(slots, view.passages(slots), strict=True)
            }
            of_scope = scores[question.namespace]
            questions.append(
                EvidenceQuestion(question.text, gold, tuple(wrong), contents, of_scope)
            )
    if not questions:
        raise InputError(
            "there is nothing to learn from: no question names its supporting passages"
        )
    return questions


def taught_scores(
    batch: Sequence[TrainingQuery], objective: QueryObjective, before: Tensor
) -> Tensor | None:
    """What hybrid search gives the passages of a batch's scope, for objectives with a teacher.

    Args:
        batch: n queries of one scope.
        objective: That is trained for.
        before: Of the queries before training, `(n, d)`.
    """
    if objective not in TAUGHT:
        return None
    scores, texts = batch[0].question.scores, [query.text for query in batch]
    return hybrid_teacher(scores.view, texts, before.cpu().numpy(), scores.slots).to(before)


def missing_and_unread(batch: Sequence[TrainingQuery], like: Tensor) -> tuple[Tensor, Tensor]:
    """Which passages each query misses, and which it has not read: bool `(n, passages)`.

    Args:
        batch: n queries of one scope.
        like: `(n, passages)`, where the result is to lie.
    """
    scores = batch[0].question.scores
    missing = np.zeros(tuple(like.shape), dtype=bool)
    unread = np.ones(tuple(like.shape), dtype=bool)
    for i, query in enumerate(batch):
        missing[i, scores.row[list(query.question.gold)]] = True
        read = scores.row[list(query.evidence)]
        missing[i, read] = unread[i, read] = False
    return torch.tensor(missing, device=like.device), torch.tensor(unread, device=like.device)


def learned_and_held_out(
    questions: Sequence[EvidenceQuestion], config: QueryEncoderConfig
) -> tuple[list[EvidenceQuestion], list[EvidenceQuestion]]:
    """What is learned from, and what each pass is judged on where training may end early.

    Args:
        questions: All there are.
        config: Whether anything is held out, and how much.

    Raises:
        ConfigError: There are too few questions to hold any out.
    """
    if config.stop_after is None:
        return list(questions), []
    gold = [[(id(question.scores), slot) for slot in question.gold] for question in questions]
    mask = held_out_items(connected_components(gold), config.held_out, config.seed).tolist()
    require_judges(sum(mask), config.stop_after)
    parts: tuple[list[EvidenceQuestion], list[EvidenceQuestion]] = [], []
    for question, out in zip(questions, mask, strict=True):
        parts[out].append(question)
    return parts


def held_out_loss(
    questions: Sequence[EvidenceQuestion],
    config: QueryEncoderConfig,
    modules: Iterable[nn.Module],
    loss: Callable[[Sequence[TrainingQuery]], Tensor],
) -> float:
    """The mean loss of queries of questions that are held out, with nothing dropped out.

    Of several processes all have the same.

    Args:
        questions: Those held out; the same queries of them are asked after every pass.
        config: How many of each.
        modules: The network.
        loss: Of a batch.
    """
    rng = np.random.default_rng([config.seed, 2])
    batches = list(state_batches(questions, config, rng))
    with at_rest(modules):
        total = sum(float(loss(batch)) * len(batch) for batch in batches)
    return total / sum(map(len, batches))


def state_batches(
    questions: Sequence[EvidenceQuestion],
    config: QueryEncoderConfig,
    rng: np.random.Generator,
    *,
    size: int | None = None,
) -> Iterator[list[TrainingQuery]]:
    """The queries of one pass, in batches of one scope each.

    Args:
        questions: Those to learn from.
        config: How many queries of each, and of a batch.
        rng: Draws the evidence and the order.
        size: Queries of a batch; `config.batch` by default.
    """
    by_scope: dict[int, list[TrainingQuery]] = {}
    for question in questions:
        for _ in range(config.states):
            count = int(rng.integers(min(len(question.gold), MOST_EVIDENCE)))
            evidence = rng.permutation(question.gold)[:count].tolist()
            if question.wrong and rng.random() < WRONG_TURNS:
                evidence.append(question.wrong[int(rng.integers(len(question.wrong)))])
            query = TrainingQuery(question, tuple(rng.permutation(evidence).tolist()))
            by_scope.setdefault(id(question.scores), []).append(query)
    size = size or config.batch
    batches: list[list[TrainingQuery]] = []
    for queries in by_scope.values():
        order = rng.permutation(len(queries))
        batches += [
            [queries[i] for i in order[start : start + size]]
            for start in range(0, len(order), size)
        ]
    for i in rng.permutation(len(batches)):
        yield batches[i]
