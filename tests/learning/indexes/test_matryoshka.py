"""A rotation learned on questions: prefixes find more, and whole vectors rank as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.learning.indexes.matryoshka import (
    MatryoshkaConfig,
    learn_rotation,
    matryoshka_loss,
    orthonormal_rows,
    principal_rotation,
)
from hoptrail.memory.encoders.vectors import Vectors, unit
from hoptrail.memory.index.learned.rotation import Rotation

WIDTH, QUICK = 24, MatryoshkaConfig(dims=(4, 8), steps=150, batch=64, learning_rate=2e-2)


def hidden_subspace() -> tuple[Vectors, LabelledQueries]:
    """Passages that vary most where queries say nothing, and queries that agree on eight axes."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
    scales = np.concatenate([np.full(8, 0.7), np.full(WIDTH - 8, 1.0)]).astype(np.float32)
    passages = unit((rng.normal(size=(300, WIDTH)) * scales).astype(np.float32) @ basis)
    gold = rng.integers(300, size=200)
    inside = np.r_[np.ones(8), np.zeros(WIDTH - 8)].astype(np.float32)
    noise = rng.normal(size=(200, WIDTH)) * (1 - inside) * 0.2
    queries = unit(
        ((passages[gold] @ basis.T) * (inside + 0.3 * (1 - inside)) + noise).astype(np.float32)
        @ basis
    )
    labelled = LabelledQueries(queries, [[int(i)] for i in gold], np.zeros(200, dtype=np.int64))
    return passages, labelled


def found_first(passages: Vectors, queries: LabelledQueries, rotation: Rotation, m: int) -> float:
    cosines = unit(rotation.apply(queries.vectors)[:, :m]) @ unit(rotation.apply(passages)[:, :m]).T
    return float((cosines.argmax(1) == np.asarray(queries.gold)[:, 0]).mean())


def test_prefixes_find_what_principal_components_miss() -> None:
    passages, queries = hidden_subspace()
    learned = learn_rotation(passages, queries, QUICK)
    principal = principal_rotation(passages)
    assert found_first(passages, queries, learned, 8) > 0.8
    assert found_first(passages, queries, principal, 8) < 0.4


def test_whole_vectors_have_the_products_that_they_had() -> None:
    passages, queries = hidden_subspace()
    learned = learn_rotation(passages, queries, replace(QUICK, steps=5))
    before = queries.vectors @ passages.T
    after = learned.apply(queries.vectors) @ learned.apply(passages).T
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_the_loss_and_the_orthonormal_rows_have_the_gradients_of_differences() -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    queries, passages = torch.randn(2, 5).double(), torch.randn(4, 5).double()
    positives = torch.tensor([[True, False, False, True], [False, True, False, False]])

    def loss(weight: torch.Tensor) -> torch.Tensor:
        rows = orthonormal_rows(weight)
        return matryoshka_loss(
            queries @ rows.T, passages @ rows.T, positives, dims=(1, 3), temperature=0.5
        )

    assert torch.autograd.gradcheck(loss, (weight,))


def test_the_first_rows_span_what_the_first_rows_of_the_matrix_span() -> None:
    weight = torch.randn(4, 6, dtype=torch.float64)
    rows = orthonormal_rows(weight)
    torch.testing.assert_close(rows @ rows.T, torch.eye(4).double())
    for m in range(1, 5):
        inside = weight[:m] @ rows[:m].T @ rows[:m]
        torch.testing.assert_close(inside, weight[:m])


def test_the_loss_of_several_prefixes_is_the_sum_of_each() -> None:
    queries, passages, positives = torch.randn(2, 6), torch.randn(5, 6), torch.eye(2, 5).bool()
    both = matryoshka_loss(queries, passages, positives, dims=(2, 4))
    each = [matryoshka_loss(queries, passages, positives, dims=(m,)) for m in (2, 4)]
    assert both.item() == pytest.approx(sum(one.item() for one in each), rel=1e-5)


def test_kinds_of_queries_are_drawn_equally_often() -> None:
    kinds = np.asarray([0] * 10 + [1] * 990)
    queries = LabelledQueries(np.eye(1000, 4, dtype=np.float32), [[0]] * 1000, kinds)
    drawn = queries.draw(4000, np.random.default_rng(0))
    assert 0.45 < (drawn < 10).mean() < 0.55


def test_what_cannot_be_learned_is_refused() -> None:
    passages, queries = hidden_subspace()
    with pytest.raises(ConfigError, match="at most 24"):
        learn_rotation(passages, queries, MatryoshkaConfig(dims=(4, 48)))
    with pytest.raises(ConfigError, match="ascending"):
        MatryoshkaConfig(dims=(8, 4))
    with pytest.raises(ConfigError, match="two by two"):
        MatryoshkaConfig(loss="triplet")
    with pytest.raises(InputError, match="1 to 24"):
        matryoshka_loss(torch.ones(1, 24), torch.ones(1, 24), torch.ones(1, 1).bool(), dims=(0,))
    with pytest.raises(InputError, match="nothing to learn from"):
        LabelledQueries(passages[:0], [], np.zeros(0, dtype=np.int64))
