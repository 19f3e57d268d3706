"""Generated ids as the first stage of a pipeline, over a live store."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoptrail.errors import FormatError
from hoptrail.learning.indexes.id_training import IdDecoder, SemanticIdsConfig, residual_codes
from hoptrail.memory.index.learned.semantic_ids import SemanticIds
from hoptrail.memory.search.generated_ids import GeneratedIds
from hoptrail.memory.search.learned_search import learned_pipeline, load_learned_index
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

WORDS = "bridge mill tower wall gate well road".split()
TEXTS = [f"{one} {other}" for one in WORDS for other in WORDS]


@pytest.fixture
def index() -> SemanticIds:
    vectors = HashEncoder().encode(TEXTS)
    torch.manual_seed(0)
    centres, offsets = residual_codes(vectors, SemanticIdsConfig(levels=2, codes=4, rounds=5))
    return IdDecoder(torch.tensor(centres), 8, 2).serving(offsets, {"by": "chance"})


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        store.add([Passage(id=text, text=text) for text in TEXTS])
        yield store


def test_a_file_gives_back_the_ids(tmp_path, index) -> None:
    loaded = load_learned_index(index.save(tmp_path / "ids.safetensors"))
    assert isinstance(loaded, SemanticIds)
    assert (loaded.fingerprint, loaded.made_of) == (index.fingerprint, {"by": "chance"})


def test_hits_are_the_passages_of_the_likeliest_ids_by_the_ranking_layer(store, index) -> None:
    hits = Pipeline([GeneratedIds(index, keep=50, beam=2)]).search(store, "mill gate", 50).hits
    query, vectors = HashEncoder().encode(["mill gate"])[0], HashEncoder().encode(TEXTS)
    ids = index.ids(vectors)
    leaves, log_probs = index.leaves(ids), index.log_probabilities(query, ids)
    likeliest = sorted({(-p, leaf) for p, leaf in zip(log_probs, leaves, strict=True)})[:2]
    inside = np.isin(leaves, [leaf for _, leaf in likeliest])
    scores = index.scores(query, vectors[inside], log_probs[inside])
    assert {hit.passage.text for hit in hits} == {TEXTS[i] for i in np.flatnonzero(inside)}
    np.testing.assert_allclose([h.score for h in hits], np.sort(scores)[::-1], atol=1e-3)


def test_new_passages_are_proposed_and_deleted_ones_are_not(store, index) -> None:
    pipeline = learned_pipeline(index, 60)
    store.add([Passage(id="new", text="windmill harbour")])
    store.delete(["mill mill"])
    hits = Pipeline([GeneratedIds(index, keep=60, beam=16)]).search(store, "windmill", 60).hits
    assert {hit.passage.id for hit in hits} == {*TEXTS, "new"} - {"mill mill"}
    assert len(pipeline.search(store, "windmill", 60).hits) == len(hits)


def test_arrays_of_other_shapes_and_vectors_of_other_widths_are_refused(index) -> None:
    with pytest.raises(FormatError, match="vectors of 32 dimensions, got 8"):
        index.ids(np.ones((1, 8), dtype=np.float32))
    with pytest.raises(FormatError, match="up of semantic ids should have the shape dr"):
        SemanticIds(replace(index.weights, up=index.weights.up.T))
