"""A rotation as a file, and as the first stage of a pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import FormatError
from hoptrail.memory.index.learned.rotation import Rotation
from hoptrail.memory.search.first_stages import Full, Prefix
from hoptrail.memory.search.learned_search import learned_pipeline, load_learned_index
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

TEXTS = [f"the {word} of the old town" for word in "bridge mill tower wall gate well".split()]


@pytest.fixture
def rotation() -> Rotation:
    matrix = np.linalg.qr(np.random.default_rng(0).normal(size=(32, 32)))[0]
    return Rotation(matrix.astype(np.float32), {"by": "chance"})


def test_a_file_gives_back_the_rotation_and_what_it_was_made_of(tmp_path, rotation) -> None:
    path = rotation.save(tmp_path / "rotation.safetensors")
    loaded = load_learned_index(path)
    assert isinstance(loaded, Rotation)
    assert (loaded.fingerprint, loaded.made_of) == (rotation.fingerprint, {"by": "chance"})


def test_all_dimensions_of_a_rotated_prefix_rank_as_dense_search_does(tmp_path, rotation) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        store.add([Passage(id=text, text=text) for text in TEXTS])
        rotated = Pipeline([Prefix(32, keep=6, rotation=rotation)])
        plain = Pipeline([Full(keep=6)])
        one, other = (p.search(store, "the mill", 6).hits for p in (rotated, plain))
        assert [hit.passage.text for hit in one] == [hit.passage.text for hit in other]


def test_a_prefix_serves_the_first_rotated_dimensions(tmp_path, rotation) -> None:
    encoder = HashEncoder()
    with Store(tmp_path / "a.db", encoder=encoder) as store:
        store.add([Passage(id=text, text=text) for text in TEXTS])
        hits = Pipeline([Prefix(4, keep=6, rotation=rotation)]).search(store, "the mill", 6).hits
    for hit in hits:
        q, v = rotation.apply(encoder.encode(["the mill", hit.passage.content]))[:, :4]
        assert hit.score == pytest.approx(
            float(q @ v) / np.linalg.norm(q) / np.linalg.norm(v), abs=1e-5
        )


def test_the_learned_pipeline_orders_by_whole_vectors(tmp_path, rotation) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        store.add([Passage(id=text, text=text) for text in TEXTS])
        hits = learned_pipeline(rotation, 3, dims=4).search(store, "the mill", 3).hits
        dense = store.search("the mill", 3, mode="dense")
    assert [hit.passage.id for hit in hits] == [hit.passage.id for hit in dense]


def test_what_is_no_rotation_is_refused(tmp_path, rotation) -> None:
    with pytest.raises(FormatError, match="must be orthogonal"):
        Rotation(np.ones((4, 4), dtype=np.float32))
    with pytest.raises(FormatError, match=r"vectors of 32 dimensions, got 8"):
        rotation.apply(np.ones((1, 8), dtype=np.float32))
    other = tmp_path / "notes.txt"
    other.write_text("hello")
    with pytest.raises(FormatError, match="is no learned index"):
        load_learned_index(other)
    with pytest.raises(FormatError, match="is there already"):
        rotation.save(other)
    assert other.read_text() == "hello"
