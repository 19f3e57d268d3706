"""What asks in training: by whom, and whether its vectors are kept."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.environment.reformulation import CrossFittedReformulator, Reformulator
from hoptrail.policies.reformulation.cross_fit import CrossFit, question_key
from hoptrail.policies.training.next_queries import NextQueries

BRIDGE, CITY, RIVER = "who built the old bridge", "when . the city", "a river under it"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def cross_fit(random_reformulator) -> CrossFit:
    whole, *parts = (random_reformulator(seed) for seed in range(3))
    return CrossFit(whole, parts, {question_key(BRIDGE): 0, question_key(CITY): 1}, {})


def test_without_anything_learned_the_fixed_rule_asks() -> None:
    queries = NextQueries(CachedEncoder(HashEncoder()))
    assert queries.shipped is None
    for reencode in (False, True):
        reformulator = queries.reformulator(reencode=reencode)
        assert isinstance(reformulator, Reformulator)
        assert reformulator.learned is None
        assert reformulator.reencode is reencode


def test_a_policy_s_own_asks_where_nothing_was_trained_here(
    transformer, random_reformulator
) -> None:
    learned = random_reformulator()
    queries = NextQueries(CachedEncoder(transformer), learned)
    assert queries.shipped is learned
    assert queries.reformulator(reencode=True).learned is learned


@pytest.mark.parametrize("reencode", [True, False])
def test_a_question_is_asked_by_the_part_that_left_it_out(
    words, transformer, cross_fit, random_reformulator, reencode
) -> None:
    queries = NextQueries(CachedEncoder(transformer), random_reformulator(9), cross_fit)
    assert queries.shipped is cross_fit.whole
    reformulator = queries.reformulator(reencode=reencode)
    assert isinstance(reformulator, CrossFittedReformulator)
    expected = {BRIDGE: cross_fit.parts[0], CITY: cross_fit.parts[1], RIVER: cross_fit.whole}
    for question, learned in expected.items():
        words.learned = learned
        ours, theirs = words.pool(question), words.pool(question)
        evidence = tuple(ours.slots[:2])
        reformulator.enter([(ours, evidence)])
        words.enter(theirs, evidence, reencode=reencode)
        np.testing.assert_allclose(
            ours.query(evidence).vector, theirs.query(evidence).vector, atol=1e-3
        )
        for other in expected.values():
            if other is not learned:
                words.learned = other
                strange = words.pool(question)
                words.enter(strange, evidence, reencode=reencode)
                difference = strange.query(evidence).vector - ours.query(evidence).vector
                assert np.abs(difference).max() > 2e-2


def test_queries_are_encoded_once_for_all_runs(words, transformer, cross_fit, monkeypatch) -> None:
    def entered() -> np.ndarray:
        reformulator = NextQueries(CachedEncoder(transformer), None, cross_fit).reformulator(
            reencode=True
        )
        pool = words.pool(BRIDGE)
        evidence = words.slots("old-bridge", "river-city")
        assert reformulator.enter([(pool, evidence)]) == [1]
        return pool.query(evidence).vector

    words.encoder = HashEncoder(dim=transformer.dim)  # a pool of its own encodes nothing else
    first = entered()

    def fail(*_) -> None:
        raise AssertionError("it is encoded again")

    part = cross_fit.parts[0].query_encoder(transformer)
    monkeypatch.setattr(type(part), "encode", fail)
    monkeypatch.setattr("hoptrail.memory.encoders.onnx_encoder.OnnxEncoder.encode", fail)
    np.testing.assert_array_equal(entered(), first)
