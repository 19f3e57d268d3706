"""A model's likelihood equals enumeration by hand; a folder holds it, and fits its encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hoptrail import Memory
from hoptrail.errors import FormatError, InputError
from hoptrail.learning.generation.generator import Generator
from hoptrail.learning.generation.query_tower import QueryTower
from hoptrail.learning.generation.rag_model import RagMode, RagModel, TrailContext
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUESTIONS, ANSWERS = ["what is the house", "the boat"], ["red", "blue boat"]


def model_of(memory: Memory, generator: Generator, mode: RagMode = "sequence") -> RagModel:
    tower = QueryTower(HashEncoder(), 4)
    return RagModel(memory.store, tower, generator, mode=mode, contexts=3, temperature=0.5)


def enumerated(
    model: RagModel, question: str, answer: str, contexts: list[tuple[str, float]]
) -> float:
    """p(y | x) by the model's own forward pass, a prefix and a context at a time."""
    generator = model.generator
    tokens = [*generator.tokenizer(answer)["input_ids"], generator.eos]
    steps = np.zeros((len(contexts), len(tokens)))
    for row, (text, _) in enumerate(contexts):
        for place, token in enumerate(tokens):
            prefix = torch.tensor([tokens[:place]]).long()
            prompt = generator.prompts(question, [text])
            steps[row, place] = generator.next_log_probs(prompt, prefix)[0, token].exp()
    prior = np.asarray([share for _, share in contexts])
    if model.mode == "token":
        return float(np.prod(prior @ steps))
    return float(prior @ np.prod(steps, axis=1))


@pytest.mark.parametrize("mode", ["sequence", "token"])
@torch.no_grad()
def test_likelihoods_over_passages_equal_enumeration(
    memory: Memory, generator: Generator, mode: RagMode
) -> None:
    model = model_of(memory, generator, mode)
    got = model(QUESTIONS, ANSWERS).exp()
    for row, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
        hits = memory.search(question, 3, mode="dense")
        scores = np.exp(np.asarray([hit.score for hit in hits]) / 0.5)
        shares = scores / scores.sum()
        contexts = [(hit.passage.content, s) for hit, s in zip(hits, shares, strict=True)]
        expected = enumerated(model, question, answer, contexts)
        assert got[row].item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("mode", ["sequence", "token"])
@torch.no_grad()
def test_likelihoods_over_trails_equal_enumeration(
    memory: Memory, generator: Generator, mode: RagMode
) -> None:
    model = model_of(memory, generator, mode)
    trails = [[TrailContext((0, 1), -0.3), TrailContext((2,), -1.5)], [TrailContext((3,), -0.1)]]
    got = model(QUESTIONS, ANSWERS, model.read_trails(QUESTIONS, trails)).exp()
    view = memory.store.view()
    for row, question in enumerate(QUESTIONS):
        query = HashEncoder().encode([question])[0]
        weights, texts = [], []
        for trail in trails[row]:
            vector = view.dense.vectors(np.asarray(trail.slots)).sum(0)
            fit = float(query @ vector / np.linalg.norm(vector))
            weights.append(np.exp(trail.log_prob + fit / 0.5))
            texts.append("\n".join(p.content for p in view.passages(trail.slots)))
        shares = np.asarray(weights) / sum(weights)
        contexts = list(zip(texts, shares.tolist(), strict=True))
        expected = enumerated(model, question, ANSWERS[row], contexts)
        assert got[row].item() == pytest.approx(expected, rel=1e-3)


def test_gradients_reach_generator_query_side_and_temperature(
    memory: Memory, generator: Generator
) -> None:
    model = model_of(memory, generator)
    model(QUESTIONS, ANSWERS).sum().backward()
    weights = [model.tower.b, model.retrieval.log_temperature, *generator.parameters()]
    assert sum(w.grad is not None and bool(w.grad.abs().sum() > 0) for w in weights) > 5
    assert model.tower.b.grad is not None
    assert bool(model.tower.b.grad.abs().sum() > 0)


def test_a_folder_holds_all_of_it(memory: Memory, generator: Generator, tmp_path: Path) -> None:
    model = model_of(memory, generator, "token")
    with torch.no_grad():
        model.tower.b.normal_()
    model.save(tmp_path / "rag", {"why": "a test"})
    other = RagModel.load(tmp_path / "rag", memory.store)
    with torch.no_grad():
        torch.testing.assert_close(other(QUESTIONS, ANSWERS), model(QUESTIONS, ANSWERS))
    assert other.answer("what is the house") == model.answer("what is the house")
    assert json.loads((tmp_path / "rag" / "rag.json").read_text())["made_of"] == {"why": "a test"}
    with (
        Memory(tmp_path / "b.db", encoder=HashEncoder(16)) as stranger,
        pytest.raises(FormatError, match="belongs to the encoder hash-32"),
    ):
        RagModel.load(tmp_path / "rag", stranger.store)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "rag.json").write_text("{}")
    with pytest.raises(FormatError, match="is there already"):
        model.save(tmp_path / "theirs")
    with pytest.raises(FormatError, match="no model can be read"):
        RagModel.load(tmp_path, memory.store)


def test_a_question_without_a_trail_is_refused(memory: Memory, generator: Generator) -> None:
    with pytest.raises(InputError, match="every question needs a trail"):
        model_of(memory, generator).read_trails(["what"], [[]])
