"""Learned weights of terms: an inverted index that grows with the memory, alone and fused."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail import Passage
from hoptrail.errors import InputError
from hoptrail.memory.content_hash import cache_key
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.learned_sparse.impact_index import STEP, ImpactIndex, impacts_of
from hoptrail.memory.search.learned_sparse.sparse_encoder import SparseEncoder
from hoptrail.memory.search.learned_sparse.stage import LearnedSparse
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.store import Store

TEXTS = {
    "a": "the old bridge",
    "b": "a river under the city",
    "c": "the city built it when the river",
    "d": "who and when",
}


@pytest.fixture
def base(tiny_bert) -> TransformerEncoder:
    return TransformerEncoder(tiny_bert, device="cpu")


@pytest.fixture
def encoder(base) -> SparseEncoder:
    """Weights by chance: about half of all terms stand in each passage."""
    rng = np.random.default_rng(0)
    terms = len(base.model.network.get_input_embeddings().weight)
    head = {
        "dense": rng.normal(size=(16, 16)).astype(np.float32),
        "bias": np.zeros(terms, dtype=np.float32),
        "query": rng.uniform(0.5, 2, size=terms).astype(np.float32),
    }
    return SparseEncoder(base, {}, head)


@pytest.fixture
def store(tmp_path, base):
    with Store(tmp_path / "s.db", encoder=base) as store:
        store.add([Passage(id, text) for id, text in TEXTS.items()])
        yield store


def expected_scores(encoder: SparseEncoder, question: str, texts: list[str]) -> list[float]:
    query = dict(zip(*encoder.query_terms(question), strict=True))
    return [
        sum(
            query.get(term, 0.0) * impact * STEP
            for term, impact in zip(terms, impacts_of(weights), strict=True)
        )
        for terms, weights in encoder.passage_terms(texts)
    ]


def test_a_score_is_the_sum_over_shared_terms_of_both_weights(store, encoder, tmp_path) -> None:
    stage = LearnedSparse(encoder, keep=4, folder=tmp_path / "cache")
    question = "who built the bridge over the river"
    expected = dict(
        zip(TEXTS, expected_scores(encoder, question, list(TEXTS.values())), strict=True)
    )
    hits = Pipeline([stage]).search(store, question, 4).hits
    assert {hit.passage.id: hit.score for hit in hits} == pytest.approx(
        {id: score for id, score in expected.items() if score > 0}, abs=1e-4
    )
    second = Pipeline([Search("dense", keep=4), stage]).search(store, question, 2).hits
    assert [hit.passage.id for hit in second] == [hit.passage.id for hit in hits[:2]]


def test_the_index_grows_with_the_memory_and_the_cache_spares_the_network(
    store, encoder, tmp_path
) -> None:
    stage = LearnedSparse(encoder, keep=9, folder=tmp_path / "cache")
    pipeline = Pipeline([stage])
    pipeline.search(store, "the river", 9)
    store.add([Passage("e", "the river the river")])
    store.delete(["b"])
    ids = {hit.passage.id for hit in pipeline.search(store, "the river", 9).hits}
    assert "b" not in ids
    stage.close()
    again = LearnedSparse(encoder, keep=9, folder=tmp_path / "cache")
    other = Pipeline([again]).search(store, "the river", 9).hits
    assert {hit.passage.id for hit in other} == ids
    assert again.cached == 4
    disk_cache_rows = again._file.get([cache_key(TEXTS["a"])])
    assert len(disk_cache_rows) == 1


def test_a_hybrid_is_the_sum_of_z_scores(store, encoder, base, tmp_path) -> None:
    stage = LearnedSparse(encoder, keep=4, mode="hybrid", folder=tmp_path / "cache")
    question, texts = "when was the bridge built", list(TEXTS.values())
    sparse = np.asarray(expected_scores(encoder, question, texts))
    dense = base.encode(texts) @ base.encode([question])[0]
    sums = sum((one - one.mean()) / one.std() for one in (sparse, dense))
    hits = Pipeline([stage]).search(store, question, 4).hits
    assert {hit.passage.id: hit.score for hit in hits} == pytest.approx(
        dict(zip(TEXTS, sums.tolist(), strict=True)), abs=1e-3
    )
    with pytest.raises(InputError, match="mode must be one of"):
        LearnedSparse(encoder, keep=4, mode="dense")


def test_segments_are_joined_without_the_dead() -> None:
    index = ImpactIndex()
    alive = np.ones(12, dtype=np.bool_)
    alive[3] = False
    for slot in range(12):
        terms = np.asarray([1, 2 + slot % 2], dtype=np.int32)
        slots = [slot] if alive[slot] else []
        weights = np.asarray([1.0, 0.5], dtype=np.float32)
        index.add(slot + 1, slots, [(terms, weights)] * len(slots))
    query = np.asarray([1, 3], dtype=np.int32), np.asarray([2.0, 1.0], dtype=np.float32)
    before = index.scores(query, 12)
    index.join(alive)
    np.testing.assert_array_equal(index.scores(query, 12), before)
    assert before[3] == 0
    assert before[1] == pytest.approx(2.5)
    assert len(index) == 22
