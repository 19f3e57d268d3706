"""Lists of passages that the queries of a batch are compared with, and their losses by name.

Beside the likelihood over a whole scope there are losses of a list: the passages that the batch
needs, and for each query the wrong ones that score highest *now*, so that they are as hard as the
encoder is good. A wrong passage that says what a right one says (its vector is nearly that) is no
negative.

Source: in-batch negatives, Karpukhin et al. 2020 (arXiv:2004.04906); negatives mined anew as the
encoder moves, Xiong et al. 2021, ANCE (arXiv:2007.00808), which here costs nothing, since passage
vectors stay; false negatives, Qu et al. 2021, RocketQA (arXiv:2010.08191).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hoptrail.errors import ConfigError
from hoptrail.learning.losses import listwise_loss
from hoptrail.learning.ranking_losses import (
    OF_PAIRS,
    LossName,
    ScoredCandidates,
    candidate_loss,
)
from hoptrail.learning.retrieval.soft_ranking import soft_ndcg, soft_recall
from hoptrail.memory.search.hybrid_search import hybrid_scores
from hoptrail.memory.views.view import View

QueryObjective = Literal[
    "likelihood",
    "recall",
    "ndcg",
    "contrastive",
    "triplet",
    "pairwise",
    "listnet",
    "lambda",
    "margin",
]
"""What a query is trained for: the likelihood of its evidence, a measure of the ranking, or a loss
of a list of candidates."""

NegativesName = Literal["mined", "batch", "bank"]
"""What a list holds beside what its query needs: what the others of the batch need, with the wrong
passages that score highest, or without; or all passages, by the vectors that there are of them."""

AIM = 5
"""Of soft recall@k and nDCG@k: k."""

HARD = 8
"""Wrong passages that are mined for each query."""
SAME = 0.9
"""Cosine of two passages' vectors from which one is no negative where the other is right."""


def check_objective(objective: QueryObjective, negatives: NegativesName) -> None:
    """Refuse what is no objective, no kind of negatives, or too much together.

    Raises:
        ConfigError: It is.
    """
    for value, choices, what in (
        (objective, get_args(QueryObjective), "objective"),
        (negatives, get_args(NegativesName), "negatives"),
    ):
        if value not in choices:
            raise ConfigError(f"{what} must be one of {', '.join(choices)}, got {value!r}")
    if negatives == "bank" and objective in OF_PAIRS:
        raise ConfigError(
            f"the objective {objective!r} compares passages two by two, too many in a bank: take "
            "negatives 'mined' or 'batch'"
        )


def objective_loss(
    objective: QueryObjective,
    scores: Tensor,
    positives: Tensor,
    mask: Tensor,
    *,
    vectors: Tensor,
    negatives: NegativesName,
    temperature: float,
    same: float = SAME,
    teacher: Tensor | None = None,
) -> Tensor:
    """The loss of a batch's queries: of a measure over their scope, or of a list.

    Args:
        objective: Its name.
        scores: As `list_loss`.
        positives: As `list_loss`.
        mask: As `list_loss`.
        vectors: As `list_loss`.
        negatives: As `list_loss`.
        temperature: As `list_loss`.
        same: As `list_loss`.
        teacher: As `list_loss`.
    """
    if objective == "likelihood" or objective == "recall" or objective == "ndcg":
        return scope_loss(objective, scores / temperature, positives, mask)
    return list_loss(
        objective,
        scores,
        positives,
        mask,
        vectors=vectors,
        negatives=negatives,
        temperature=temperature,
        same=same,
        teacher=teacher,
    )


def scope_loss(
    objective: Literal["likelihood", "recall", "ndcg"],
    logits: Tensor,
    positives: Tensor,
    mask: Tensor,
) -> Tensor:
    """The loss of queries over all passages of their scope.

    Args:
        objective: "likelihood" asks for any and for each of the positives; "recall" is 1 -
            recall@5 and "ndcg" is 1 - nDCG, of soft ranks (`hoptrail.learning.retrieval`).
        logits: `(b, n)`.
        positives: Bool `(b, n)`: which each query misses.
        mask: Bool `(b, n)`: which may be compared at all.
    """
    if objective == "recall":
        return 1 - soft_recall(logits, positives, AIM, temperature=1.0, mask=mask).mean()
    if objective == "ndcg":
        return 1 - soft_ndcg(logits, positives, temperature=1.0, mask=mask).mean()
    some = listwise_loss(logits, positives, mask=mask, combine="sum")
    each = listwise_loss(logits, positives, mask=mask, combine="mean")
    return (some + each) / 2


def list_loss(
    name: LossName,
    scores: Tensor,
    positives: Tensor,
    mask: Tensor,
    *,
    vectors: Tensor,
    negatives: NegativesName,
    temperature: float,
    same: float = SAME,
    teacher: Tensor | None = None,
) -> Tensor:
    """The loss of a batch's queries over lists of the passages of their scope.

    Args:
        name: Of the loss.
        scores: `(b, n)` of all n passages, with gradients.
        positives: Bool `(b, n)`: which each query misses.
        mask: Bool `(b, n)`: which may be compared at all.
        vectors: `(n, d)` of the passages.
        negatives: What the lists hold.
        temperature: Of the scores.
        same: Cosine of two passages from which one is no negative where the other is right.
        teacher: `(b, n)`: for losses that have one.
    """
    columns, mask = list_columns(scores, positives, mask, vectors, negatives, same)
    batch = ScoredCandidates(
        scores[:, columns],
        positives[:, columns],
        mask[:, columns],
        None if teacher is None else teacher[:, columns],
    )
    return candidate_loss(name, batch, temperature=temperature)


@torch.no_grad()
def list_columns(
    scores: Tensor,
    positives: Tensor,
    mask: Tensor,
    vectors: Tensor,
    negatives: NegativesName,
    same: float,
    hard: int = HARD,
) -> tuple[Tensor, Tensor]:
    """The passages `(m,)` of a batch's lists, ascending, and the mask without false negatives.

    Args:
        scores: As `list_loss`.
        positives: As `list_loss`.
        mask: As `list_loss`.
        vectors: As `list_loss`.
        negatives: As `list_loss`.
        same: As `list_loss`.
        hard: Wrong passages that are mined for each query.
    """
    chosen, mask = positives.any(0), mask.clone()
    if negatives == "bank":
        chosen = torch.ones_like(chosen)
    for i in range(len(scores)):
        right = vectors[positives[i]]
        mask[i] &= ((vectors @ right.T).amax(1) < same) | positives[i]
        if negatives == "mined":
            wrong = scores[i].masked_fill(positives[i] | ~mask[i], -torch.inf)
            chosen[wrong.topk(min(hard, len(wrong))).indices] = True
    return chosen.nonzero()[:, 0], mask


def hybrid_teacher(
    view: View, texts: Sequence[str], vectors: NDArray[np.float32], slots: NDArray[np.int64]
) -> Tensor:
    """Scores of hybrid search in the unit of cosines, `(b, n)`: a teacher that reads words too.

    Half the sum of two z-scores, times the spread of the query's cosines: where words and meaning
    agree, that is the cosine less its mean.

    Args:
        view: The scope.
        texts: b queries.
        vectors: `(b, d)` theirs, as they were before training.
        slots: `(n,)` of the passages.
    """
    spreads = view.dense.moments(vectors)[1]
    rows = [
        hybrid_scores(view, text, vector, slots) * np.float32(spread / 2)
        for text, vector, spread in zip(texts, vectors, spreads.tolist(), strict=True)
    ]
    return torch.tensor(np.stack(rows))
