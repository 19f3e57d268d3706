"""Joint training raises the answers' likelihood, moves the query side, and can leave it frozen."""

from __future__ import annotations

import pytest
import torch

from hoptrail import Memory
from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.generation.generator import Generator
from hoptrail.learning.generation.joint_training import (
    RagConfig,
    RagExample,
    rag_figures,
    train_rag,
)
from hoptrail.learning.generation.query_tower import QueryTower
from hoptrail.learning.generation.rag_model import RagModel, TrailContext
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUICK = {"epochs": 6, "batch": 2, "learning_rate": 1e-2, "query_rate": 1e-2}
PLAIN = [
    RagExample("what is the house", "red", frozenset({0})),
    RagExample("what is the boat", "blue", frozenset({1})),
]
WITH_TRAILS = [
    RagExample("what is the house", "red", frozenset({0}), (TrailContext((0, 2), -0.2),)),
    RagExample("what", "blue", frozenset(), (TrailContext((1,), -0.5), TrailContext((3,), -1.0))),
]


@pytest.fixture
def model(memory: Memory, generator: Generator) -> RagModel:
    tower = QueryTower(HashEncoder(), 4)
    return RagModel(memory.store, tower, generator, contexts=2, temperature=0.2)


@pytest.mark.parametrize("examples", [PLAIN, WITH_TRAILS], ids=["passages", "trails"])
def test_training_makes_answers_likelier_and_moves_the_query_side(
    model: RagModel, examples: list[RagExample]
) -> None:
    before = rag_figures(model, examples)
    steps: list[float] = []
    seen = train_rag(
        model, examples, RagConfig(**QUICK), progress=lambda *step: steps.append(step[3]["loss"])
    )
    after = rag_figures(model, examples)
    assert after["log_likelihood"] > before["log_likelihood"]
    assert len(steps) == 6
    assert steps[-1] < steps[0]
    assert bool(model.tower.b.abs().sum() > 0)
    assert seen["before"]["effective_rank"] > 1
    assert 0 <= after["recall_first"] <= after["recall_contexts"] <= 1


def test_a_frozen_retriever_stays_as_it_is(model: RagModel) -> None:
    temperature = float(model.retrieval.temperature.detach())
    train_rag(model, PLAIN, RagConfig(**QUICK, freeze_retriever=True))
    assert bool((model.tower.b == 0).all())
    assert float(model.retrieval.temperature.detach()) == temperature


def test_uniformity_in_the_loss_drives_queries_apart(model: RagModel) -> None:
    def nearness() -> float:
        with torch.no_grad():
            one, other = model.tower([example.question for example in PLAIN])
        return float(one @ other)

    before = nearness()
    train_rag(model, PLAIN, RagConfig(**QUICK, uniform=10.0))
    assert nearness() < before


def test_what_cannot_be_learned_from_is_refused(model: RagModel) -> None:
    with pytest.raises(InputError, match="no question with an answer"):
        train_rag(model, [])
    with pytest.raises(InputError, match="1 of 2 have"):
        train_rag(model, [PLAIN[0], WITH_TRAILS[0]])
    with pytest.raises(ConfigError, match="uniform must be finite"):
        RagConfig(uniform=-1.0)
