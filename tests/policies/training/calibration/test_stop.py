"""Calibrating STOP: what is left out, the fit, and a network that was surer than it should be."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.policies.data.examples import Example, PoolFeatures, gold_clusters
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.training.calibration.stop import (
    calibrate_stop,
    fit_platt,
    left_out,
    log_loss,
)
from hoptrail.types import Question


def questions(*gold: tuple[str, ...], corpus: str = "a") -> list[Example]:
    return [
        Example(Question(str(i), "?", supporting_ids=ids), PoolFeatures(None), (), corpus=corpus)
        for i, ids in enumerate(gold)
    ]


def test_a_tenth_is_left_out_and_no_cluster_is_torn() -> None:
    part = left_out(questions(*((f"p{i // 2}",) for i in range(400))))
    assert part.sum() == 40
    assert (part[::2] == part[1::2]).all()


def test_a_large_cluster_is_learned_from() -> None:
    part = left_out(questions(*[("hub",)] * 300, *((f"p{i}",) for i in range(700))))
    assert 70 <= part.sum() <= 80
    assert not part[:300].any()


def test_one_id_in_two_corpora_is_two_passages() -> None:
    """Were each pair one cluster, a tenth would hold both questions of an id or none."""
    golds = [(f"p{i}",) for i in range(305)]
    examples = questions(*golds, corpus="a") + questions(*golds, corpus="b")
    assert len(set(gold_clusters(examples))) == 610
    chosen = left_out(examples)
    assert chosen.sum() == 61
    assert (chosen[:305] != chosen[305:]).any()


def test_sets_over_one_corpus_share_its_passages() -> None:
    examples = questions(("p",), ("q",)) + questions(("q", "r"), ("p",))
    assert gold_clusters(examples).tolist() == [0, 1, 1, 0]


def test_few_questions_are_all_learned_from() -> None:
    assert not left_out(questions(*((f"p{i}",) for i in range(100)))).any()


def test_the_fit_finds_what_made_the_outcomes() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 4, 20_000)
    true = (rng.random(20_000) < 1 / (1 + np.exp(-(0.4 * odds - 1.5)))).astype(float)
    scale, shift = fit_platt(odds, true)
    assert scale == pytest.approx(0.4, abs=0.03)
    assert shift == pytest.approx(-1.5, abs=0.08)
    assert log_loss(scale * odds + shift, true) < log_loss(odds, true)


def test_the_fit_holds_where_everything_came_true() -> None:
    scale, shift = fit_platt(np.asarray([3.0, 5.0]), np.asarray([1.0, 1.0]))
    assert np.isfinite([scale, shift]).all()
    assert scale >= 0.1


def test_a_network_is_judged_by_what_it_does(demo, demo_questions, random_policy) -> None:
    [network] = random_policy().members
    asked = demo_questions[:8]
    examples = [demo.example(q.text, demo.slots(*q.supporting_ids)) for q in asked]
    reformulator = Reformulator(demo.encoder, reencode=True)
    widths = [len(example.pool.slots) for example in examples]
    figures = calibrate_stop(network, examples, reformulator, seed=1)
    assert figures["log loss"] < figures["log loss before"]
    assert figures["decisions"] >= 3 * len(examples)
    assert [len(example.pool.slots) for example in examples] == widths
    assert calibrate_stop(network, examples, reformulator, seed=1) == figures
    network.calibrate(figures["scale"], figures["shift"])
    after = calibrate_stop(network, examples, reformulator, seed=1)
    assert after["log loss before"] < figures["log loss before"]
