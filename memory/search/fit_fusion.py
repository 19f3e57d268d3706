"""Fitting the weights of a fusion to questions whose passages are known.

For a question with the gold passages G among the fused pool P, the loss is

    -1/|G| sum over i in G of log softmax_P(t (α z_d + (1 - α) z_s))_i,   α = sigmoid(w · f + b)

with a common scale t > 0 and a ridge on w; with w = 0 it fits one weight for all questions. Gold
outside the pool is no weight's fault, and left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.index.slots import Floats
from hoptrail.memory.search.fusion import (
    FEATURES,
    FusionInputs,
    LinearFusion,
    QueryAdaptiveFusion,
)
from hoptrail.memory.search.hybrid_search import fusion_inputs
from hoptrail.memory.search.searchable import Searchable
from hoptrail.types import Question

RIDGE = 0.02
"""Weight of w's squares beside the mean loss of a question."""
AT_ONCE = 256
"""Questions encoded together."""


@dataclass(frozen=True, slots=True)
class FusionExample:
    """What both sides say of a question's pool, and which of the pool is gold."""

    inputs: FusionInputs
    gold: NDArray[np.bool_]
    """`(m,)`."""


def judge(
    store: Searchable, questions: Iterable[Question], *, encoder: Encoder | None = None
) -> list[FusionExample | None]:
    """Each question's pool and gold; None where no gold passage is in the pool.

    Args:
        store: Holds the passages.
        questions: With their `supporting_ids`.
        encoder: Of the questions, such as a `CachedEncoder`; the store's own by default.

    Raises:
        EncoderMissing: The store has no encoder.
    """
    examples: list[FusionExample | None] = []
    all_questions = list(questions)
    for start in range(0, len(all_questions), AT_ONCE):
        part = all_questions[start : start + AT_ONCE]
        texts = [question.text for question in part]
        vectors = query_side(encoder).encode(texts) if encoder else store.encode_queries(texts)
        for question, vector in zip(part, vectors, strict=True):
            view = store.view(question.namespace)
            with view.lock:
                pool, inputs = fusion_inputs(view, question.text, vector)
                slots = [view.slot_of(id_, question.namespace) for id_ in question.supporting_ids]
                _ = inputs.features  # worked out while the view stays as it is
            gold = np.isin(pool, [slot for slot in slots if slot is not None])
            examples.append(FusionExample(inputs, gold) if gold.any() else None)
    return examples


def fit_weighted(judged: Sequence[FusionExample | None]) -> LinearFusion:
    """One weight for all questions; α and β add up to 1.

    Args:
        judged: As `judge` gives it; None is passed over.

    Raises:
        InputError: No question has a gold passage in its pool.
    """
    examples = _usable(judged)
    features = np.zeros((len(examples), 1))
    bias = _minimise(examples, features)[1]
    alpha = round(float(1 / (1 + np.exp(-bias))), 6)
    return LinearFusion(alpha, 1 - alpha)


def fit_per_query(judged: Sequence[FusionExample | None]) -> QueryAdaptiveFusion:
    """A weight that each question's features decide.

    Args:
        judged: As `judge` gives it; None is passed over.

    Raises:
        InputError: No question has a gold passage in its pool.
    """
    examples = _usable(judged)
    raw = np.stack([one.inputs.features for one in examples])
    mean, std = raw.mean(0), raw.std(0)
    std = np.where(std < 1e-9, 1.0, std)
    fitted = _minimise(examples, (raw - mean) / std)
    weights = tuple(float(v) for v in fitted[2:].round(6))
    assert len(weights) == len(FEATURES)
    return QueryAdaptiveFusion(
        weights, round(float(fitted[1]), 6), tuple(mean.tolist()), tuple(std.tolist())
    )


def _usable(judged: Sequence[FusionExample | None]) -> list[FusionExample]:
    examples = [one for one in judged if one is not None]
    if not examples:
        raise InputError("no question has a gold passage among what either side finds")
    return examples


def _minimise(examples: Sequence[FusionExample], features: Floats) -> Floats:
    """(log t, b, w...) of the least loss."""
    from scipy.optimize import minimize

    start = np.zeros(2 + features.shape[1])
    solution = minimize(_loss, start, (examples, features), jac=True, method="L-BFGS-B")
    parameters: Floats = solution.x
    return parameters


def _loss(
    parameters: Floats, examples: Sequence[FusionExample], features: Floats
) -> tuple[float, Floats]:
    """The mean loss with its ridge, and its gradient."""
    scale, bias, weights = np.exp(parameters[0]), parameters[1], parameters[2:]
    alphas = 1 / (1 + np.exp(-(features @ weights + bias)))
    total = RIDGE * float(weights @ weights)
    gradient = np.concatenate([[0.0, 0.0], 2 * RIDGE * weights])
    for one, row, alpha in zip(examples, features, alphas, strict=True):
        dense, sparse = one.inputs.dense, one.inputs.sparse
        fused = alpha * dense + (1 - alpha) * sparse
        logits = scale * fused
        logits = logits - logits.max()
        log_p = logits - np.log(np.exp(logits).sum())
        total -= float(log_p[one.gold].mean()) / len(examples)
        # d loss / d logit: what softmax gives, less what gold should have.
        slope = (np.exp(log_p) - one.gold / one.gold.sum()) / len(examples)
        by_alpha = scale * float(slope @ (dense - sparse)) * alpha * (1 - alpha)
        gradient[0] += scale * float(slope @ fused)
        gradient[1] += by_alpha
        gradient[2:] += by_alpha * row
    return total, gradient
