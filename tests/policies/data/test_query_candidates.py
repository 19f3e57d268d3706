"""Lists of candidates: the hardest of now, and none that says what a right passage says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError
from hoptrail.memory.search.hybrid_search import hybrid_scores
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.data.query_candidates import (
    HARD,
    check_objective,
    hybrid_teacher,
    list_columns,
    list_loss,
)
from hoptrail.types import Passage

VECTORS = torch.nn.functional.normalize(
    torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), dim=1
)
QUERIES = VECTORS[:3] + 0.1
POSITIVES = torch.zeros(3, 40, dtype=torch.bool)
POSITIVES[[0, 1, 2], [0, 1, 2]] = True
MASK = torch.ones_like(POSITIVES)


def test_mined_lists_hold_the_wrong_passages_that_score_highest() -> None:
    scores = QUERIES @ VECTORS.T
    columns, mask = list_columns(scores, POSITIVES, MASK, VECTORS, "mined", 1.1)
    for row, gold in enumerate(range(3)):
        wrong = [i for i in scores[row].argsort(descending=True).tolist() if i != gold]
        assert set(wrong[:HARD]) <= set(columns.tolist())
    assert set(range(3)) <= set(columns.tolist())
    assert bool(mask.all())


def test_lists_of_the_batch_hold_what_it_needs() -> None:
    scores = QUERIES @ VECTORS.T
    assert list_columns(scores, POSITIVES, MASK, VECTORS, "batch", 1.1)[0].tolist() == [0, 1, 2]


def test_what_says_the_same_as_a_right_passage_is_no_negative() -> None:
    vectors = VECTORS.clone()
    vectors[30] = vectors[0]
    _, mask = list_columns(QUERIES @ vectors.T, POSITIVES, MASK, vectors, "mined", 0.99)
    assert mask[:, 30].tolist() == [False, True, True]
    assert bool(mask[POSITIVES].all())


def test_gradients_reach_the_scores_of_the_list_alone() -> None:
    scores = (QUERIES @ VECTORS.T).double().requires_grad_()
    loss = list_loss(
        "contrastive",
        scores,
        POSITIVES,
        MASK,
        vectors=VECTORS,
        negatives="batch",
        temperature=0.5,
        same=1.1,
    )
    (gradient,) = torch.autograd.grad(loss, scores)
    assert bool((gradient[:, :3] != 0).all())
    assert gradient[:, 3:].abs().sum() == 0


def test_the_teacher_ranks_as_hybrid_search_does(tmp_path) -> None:
    texts = ["the old mill", "the old bridge", "a river", "the mill by the river"]
    encoder = HashEncoder()
    with Store(tmp_path / "a.db", encoder=encoder) as store:
        store.add([Passage(id=text, text=text) for text in texts])
        view, vectors, slots = store.view(), encoder.encode(["old mill"]), np.arange(4)
        (taught,) = hybrid_teacher(view, ["old mill"], vectors, slots)
        hybrid = hybrid_scores(view, "old mill", vectors[0], slots)
        spread = view.dense.moments(vectors)[1][0]
    assert taught.tolist() == pytest.approx((hybrid * spread / 2).tolist(), rel=1e-4)


def test_a_bank_holds_every_passage_and_no_loss_of_pairs() -> None:
    scores = QUERIES @ VECTORS.T
    assert list_columns(scores, POSITIVES, MASK, VECTORS, "bank", 1.1)[0].tolist() == [*range(40)]
    with pytest.raises(ConfigError, match="too many in a bank"):
        check_objective("lambda", "bank")
