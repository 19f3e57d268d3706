"""Calibrating STOP: what is left out, the fit, and a network that was surer than it should be."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.policies.calibrate import calibrate_stop, fit, left_out, log_loss
from hoptrail.policies.examples import Example
from hoptrail.types import Question


def questions(*gold: tuple[str, ...]) -> list[Example]:
    return [
        Example(Question(str(i), "?", supporting_ids=ids), None, ()) for i, ids in enumerate(gold)
    ]


def test_networks_leave_out_different_tenths_and_no_cluster_is_torn() -> None:
    asked = questions(*((f"p{i // 2}",) for i in range(400)))
    parts = [left_out(asked, number) for number in range(10)]
    assert (np.sum(parts, axis=0) == 1).all()
    for part in parts:
        assert part.sum() == 40
        assert (part[::2] == part[1::2]).all()
    assert (left_out(asked, 10) == parts[0]).all()


def test_a_cluster_that_fills_a_part_is_left_out_last() -> None:
    asked = questions(*[("hub",)] * 300, *((f"p{i}",) for i in range(700)))
    for number in range(9):
        assert 70 <= left_out(asked, number).sum() <= 80
    assert left_out(asked, 9)[:300].all()


def test_few_questions_are_all_learned_from() -> None:
    assert not left_out(questions(*((f"p{i}",) for i in range(100))), 0).any()


def test_the_fit_finds_what_made_the_outcomes() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 4, 20_000)
    true = (rng.random(20_000) < 1 / (1 + np.exp(-(0.4 * odds - 1.5)))).astype(float)
    scale, shift = fit(odds, true)
    assert scale == pytest.approx(0.4, abs=0.03)
    assert shift == pytest.approx(-1.5, abs=0.08)
    assert log_loss(scale * odds + shift, true) < log_loss(odds, true)


def test_the_fit_holds_where_everything_came_true() -> None:
    scale, shift = fit(np.asarray([3.0, 5.0]), np.asarray([1.0, 1.0]))
    assert np.isfinite([scale, shift]).all()
    assert scale >= 0.1


def test_a_network_is_calibrated_on_what_it_does(demo, demo_questions, random_policy) -> None:
    policy = random_policy()
    [network] = policy.members
    asked = demo_questions[:8]
    examples = [demo.example(q.text, demo.slots(*q.supporting_ids)) for q in asked]
    widths = [len(example.pool.slots) for example in examples]
    figures = calibrate_stop(network, examples, demo.encoder, seed=1)
    assert figures["log loss"] < figures["log loss before"]
    assert float(network.stop_scale) == pytest.approx(figures["scale"])
    assert [len(example.pool.slots) for example in examples] == widths
    network.calibrate(1.0, 0.0)
    assert calibrate_stop(network, examples, demo.encoder, seed=1) == figures
