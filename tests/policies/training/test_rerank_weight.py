"""Fitting what the joint fit counts for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.policy import RERANK_WEIGHT, Policy
from hoptrail.policies.training import rerank_weight
from hoptrail.policies.training.checkpoint import TENSORS
from hoptrail.policies.training.config import RunOptions, TrainConfig
from hoptrail.policies.training.rerank_weight import Case, fit_conditional_logit, split_examples
from hoptrail.policies.training.run import train

DEMO = Path(__file__).resolve().parents[3] / "src" / "hoptrail"
SMALL = TrainConfig(
    networks=1, epochs=1, batch=4, joint=True, network=NetworkConfig(width=8, layers=1, dropout=0.0)
)


def cases(weight: float, count: int = 400) -> list[Case]:
    """Questions whose gold passage is drawn with log-odds log s + weight · z."""
    rng = np.random.default_rng(5)
    out = []
    for _ in range(count):
        log_score, z = np.log(rng.dirichlet(np.ones(8))), rng.normal(size=8)
        odds = np.exp(log_score + weight * z)
        gold = np.zeros(8, dtype=bool)
        gold[rng.choice(8, p=odds / odds.sum())] = True
        out.append(Case(log_score, z, gold))
    return out


@pytest.mark.parametrize("weight", [0.0, 0.7, 1.5])
def test_the_weight_that_made_the_choices_is_found(weight) -> None:
    assert fit_conditional_logit(cases(weight)) == pytest.approx(weight, abs=0.4)


def test_the_weight_stays_within_bounds() -> None:
    sure = Case(np.log([0.5, 0.5]), np.asarray([-1.0, 1.0]), np.asarray([False, True]))
    wrong = Case(sure.log_score, -sure.z, sure.gold)
    assert 0 < fit_conditional_logit([sure] * 50) <= rerank_weight.LARGEST
    assert fit_conditional_logit([wrong] * 50) == rerank_weight.SMALLEST
    assert fit_conditional_logit([]) == RERANK_WEIGHT


def test_what_is_held_back_shares_no_gold_with_the_rest(small) -> None:
    golds = [(0, 1), (1, 2), (3,), (4,), (5, 6), (7,), (8,), (9,), (10,), (11,)]
    examples = [small.example(f"Question {i}?", gold) for i, gold in enumerate(golds)]
    held, rest = split_examples(examples, seed=3)
    assert len(held) + len(rest) == len(examples)
    assert 0 < len(held) < len(rest)
    assert not {s for e in held for s in e.gold} & {s for e in rest for s in e.gold}
    assert [e.question.text for e in split_examples(examples, seed=3)[0]] == [
        e.question.text for e in held
    ]


@pytest.fixture
def some(tmp_path, demo_questions, monkeypatch) -> TrainingData:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    records = [
        {"id": q.id, "question": q.text, "supporting_ids": list(q.supporting_ids)}
        for q in demo_questions[:16]
    ]
    file = tmp_path / "some.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return TrainingData([TrainingSet(DEMO / "demo/corpus.jsonl", file)])


def test_a_run_with_joint_ends_the_same_when_it_was_stopped(some, tmp_path) -> None:
    class Stopped(Exception):
        pass

    def stop(stage, done, total, figures) -> None:
        if stage == "joint: walk":
            raise Stopped

    straight, broken = tmp_path / "straight", tmp_path / "broken"
    encoder = HashEncoder()
    card = train(some, straight, SMALL, encoder=encoder)
    with pytest.raises(Stopped):
        train(some, broken, SMALL, encoder=encoder, options=RunOptions(progress=stop))
    assert (broken / "joint" / TENSORS).is_file()
    again = train(some, broken, SMALL, encoder=encoder, options=RunOptions(resume=True))
    assert again["joint"] == card["joint"]
    assert card["joint"]["held_back"] > 0
    for folder in (straight, broken):
        assert Policy.load(folder).rerank_weight == card["joint"]["weight"]
        assert not (folder / "joint").exists()
        assert "re-rank weight" in (folder / "README.md").read_text(encoding="utf-8")
