"""Semantic ids: what is trained is what serves, and proposals come to hold what is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError
from hoptrail.learning.indexes.id_training import (
    IdDecoder,
    SemanticIdsConfig,
    learn_semantic_ids,
    residual_codes,
)
from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.memory.encoders.vectors import Vectors, unit
from hoptrail.memory.index.learned.semantic_ids import SemanticIds

QUICK = SemanticIdsConfig(
    levels=2, codes=6, hidden=48, rank=4, steps=100, beam=4, batch=48, learning_rate=1e-2
)


def corpus() -> tuple[Vectors, LabelledQueries]:
    """Passages by chance, and queries near to what they ask for, but turned."""
    rng = np.random.default_rng(0)
    passages = unit(rng.normal(size=(200, 12)).astype(np.float32))
    gold = rng.integers(200, size=200)
    turned = np.roll(passages[gold], 5, axis=1) + 0.05 * rng.normal(size=(200, 12))
    queries = unit(turned.astype(np.float32))
    labelled = LabelledQueries(queries, [[int(i)] for i in gold], np.zeros(200, dtype=np.int64))
    return passages, labelled


def proposed(index: SemanticIds, passages: Vectors, queries: LabelledQueries) -> float:
    leaves = index.leaves(index.ids(passages))
    pairs = zip(queries.vectors, queries.gold, strict=True)
    return float(np.mean([leaves[rows[0]] in index.propose(q, leaves, 4)[0] for q, rows in pairs]))


def test_training_proposes_what_is_asked_for_and_its_centres_alone_do_not() -> None:
    passages, queries = corpus()
    trained = learn_semantic_ids(passages, queries, QUICK)
    untrained = learn_semantic_ids(passages, queries, replace(QUICK, steps=1, learning_rate=1e-9))
    share = proposed(trained, passages, queries)
    assert share > proposed(untrained, passages, queries) + 0.2


def test_serving_gives_the_probabilities_and_scores_of_training() -> None:
    torch.manual_seed(0)
    decoder = IdDecoder(torch.randn(2, 3, 5), 7, 2)
    for weight in decoder.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    served = decoder.serving(np.zeros((2, 3), dtype=np.float32), {})
    query, passages = torch.randn(5), torch.randn(9, 5)
    ids = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    expected = decoder(query.expand(9, -1), ids).detach().numpy()
    log_probs = served.log_probabilities(query.numpy(), ids.numpy())
    np.testing.assert_allclose(log_probs, expected, atol=1e-4)
    assert np.exp(log_probs).sum() == pytest.approx(1, abs=1e-5)
    ranked = decoder.rank(query[None], passages[None], ids[None])[0].detach().numpy()
    scores = served.scores(query.numpy(), passages.numpy(), log_probs)
    np.testing.assert_allclose(scores, ranked, rtol=1e-4, atol=1e-3)


def test_gradients_of_decoder_and_ranking_layer_are_those_of_differences() -> None:
    torch.manual_seed(0)
    decoder = IdDecoder(torch.randn(2, 3, 4), 5, 2).double()
    queries = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    passages = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    ids = torch.randint(3, (2, 3, 2))
    decoder.up.data += 0.1
    assert torch.autograd.gradcheck(
        lambda q, v: decoder.rank(q, v, ids).log_softmax(-1), (queries, passages)
    )
    decoder.rank(queries, passages, ids).log_softmax(-1)[:, 0].sum().backward()
    for name, weight in decoder.named_parameters():
        assert weight.grad is not None, name


def test_balanced_codes_stand_for_more_like_numbers_of_passages() -> None:
    rng = np.random.default_rng(0)
    sizes = np.r_[np.full(150, 0), np.arange(50)]
    passages = unit((np.eye(51)[sizes] + 0.3 * rng.normal(size=(200, 51))).astype(np.float32))

    def largest(balanced: bool) -> int:
        config = replace(QUICK, levels=1, balanced=balanced)
        centres, offsets = residual_codes(passages, config)
        index = IdDecoder(torch.tensor(centres), 4, 1).serving(offsets, {})
        return int(np.bincount(index.ids(passages)[:, 0]).max())

    assert largest(True) < largest(False)


def test_more_codes_than_passages_are_refused() -> None:
    passages, queries = corpus()
    with pytest.raises(ConfigError, match="more passages than codes, got 6 and 6"):
        learn_semantic_ids(passages[:6], queries, QUICK)
    with pytest.raises(ConfigError, match="take fewer"):
        SemanticIdsConfig(levels=6, codes=64)
