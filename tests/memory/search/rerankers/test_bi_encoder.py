"""A second encoder as a stage: its cosines, its cache, and what no encoder is."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import ConfigError
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.search.rerankers.bi_encoder import BiEncoder
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

QUERY = "the clock tower of the town of Tolle"


@pytest.fixture
def store(tmp_path, twelve, hash_encoder):
    with Store(tmp_path / "s.db", encoder=hash_encoder) as store:
        store.add(twelve)
        yield store


def test_candidates_are_ordered_by_the_other_encoder_s_cosines(store, twelve, tmp_path) -> None:
    other = HashEncoder(dim=256)
    stage = BiEncoder(other, keep=5, folder=tmp_path / "cache")
    hits = Pipeline([Search(keep=12), stage]).search(store, QUERY, 5).hits
    contents = [passage.content for passage in twelve]
    cosines = np.sort(other.encode(contents) @ other.encode([QUERY])[0])[::-1]
    np.testing.assert_allclose([hit.score for hit in hits], cosines[:5], atol=1e-5)
    assert [hit.score for hit in hits] != [hit.score for hit in store.search(QUERY, 5)]


def test_a_passage_is_encoded_once_and_a_question_leaves_nothing(store, tmp_path) -> None:
    texts: list[str] = []

    class Counting(HashEncoder):
        def encode(self, batch):
            texts.extend(batch)
            return super().encode(batch)

    for _ in range(2):
        stage = BiEncoder(CachedEncoder(Counting(dim=64)), keep=3, folder=tmp_path / "cache")
        Pipeline([Search(keep=12), stage]).search(store, QUERY, 3)
        stage.close()
    assert len(texts) == 12 + 2
    assert texts.count(QUERY) == 2


def test_a_long_passage_counts_by_the_best_of_its_windows(tmp_path, hash_encoder, tiny_bert):
    encoder = TransformerEncoder(tiny_bert, device="cpu")
    long = Passage("long", " . ".join(["the city of it and the river"] * 20 + ["old bridge"]))
    with Store(tmp_path / "long.db", encoder=hash_encoder) as store:
        store.add([long, Passage("short", "the bridge")])
        stage = BiEncoder(encoder, keep=2, folder=tmp_path / "cache")
        hits = Pipeline([Search(keep=2), stage]).search(store, "old bridge", 2).hits
    [score] = [hit.score for hit in hits if hit.passage.id == "long"]
    [vectors] = CachedEncoder(encoder, tmp_path / "cache").encode_passages([long.content])
    cosines = vectors @ query_side(encoder).encode(["old bridge"])[0]
    assert len(cosines) > 2
    assert score == pytest.approx(cosines.max(), abs=1e-5)


def test_what_is_no_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="BiEncoder needs an encoder"):
        BiEncoder("minilm", keep=3)  # type: ignore[arg-type]
