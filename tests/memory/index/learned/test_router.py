"""A router as a file, and as the dense index of a store."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import EncoderMismatch, FormatError
from hoptrail.memory.index import ann_types
from hoptrail.memory.index.learned.router import Router, kmeans_router
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

WORDS = "bridge mill tower wall gate well road church market river".split()
TEXTS = [f"{one} {other} {number}" for number, one in enumerate(WORDS) for other in WORDS]


@pytest.fixture(autouse=True)
def _small_stores_too(monkeypatch) -> None:
    monkeypatch.setattr(ann_types, "LEAST", 10)


@pytest.fixture
def router() -> Router:
    return kmeans_router(HashEncoder().encode(TEXTS), 8, probes=3)


def passages(texts: list[str]) -> list[Passage]:
    return [Passage(id=text, text=text) for text in texts]


def test_a_file_gives_back_the_router(tmp_path, router) -> None:
    loaded = Router.load(router.save(tmp_path / "router.safetensors"))
    assert (loaded.fingerprint, loaded.probes) == (router.fingerprint, 3)
    assert loaded.made_of == {"by": "k-means"}


def test_a_store_finds_the_best_of_the_shards_that_its_router_names(tmp_path, router) -> None:
    encoder = HashEncoder()
    with Store(tmp_path / "a.db", encoder=encoder, index=router) as store:
        store.add(passages(TEXTS))
        hits = store.search("mill gate", 3, mode="dense")
        assert "ivf-routed" in repr(store.view())
    query = encoder.encode(["mill gate"])
    vectors = encoder.encode([hit.passage.content for hit in hits])
    every = encoder.encode(TEXTS)
    inside = np.isin(router.assign(every), router.route(query)[0])
    expected = np.sort(query @ every[inside].T)[0, ::-1][:3]
    np.testing.assert_allclose((query @ vectors.T)[0], expected, atol=1e-5)


def test_a_new_passage_lies_in_the_shard_that_it_is_assigned_to(tmp_path, router) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder(), index=router) as store:
        store.add(passages(TEXTS))
        store.search("mill", 1, mode="dense")
        store.add(passages(["a windmill by the sea"]))
        (hit,) = store.search("a windmill by the sea", 1, mode="dense")
        assert hit.passage.text == "a windmill by the sea"
        store.delete(["a windmill by the sea"])
        (hit,) = store.search("a windmill by the sea", 1, mode="dense")
        assert hit.passage.text != "a windmill by the sea"


def test_the_state_of_a_routed_index_is_restored_by_its_router_alone(tmp_path, router) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder(), index=router) as store:
        store.add(passages(TEXTS))
        store.search("mill", 1, mode="dense")
        dense = store.view().dense
        state = dense.state()
        kind = dense.approximate.kind  # type: ignore[union-attr]
    from hoptrail.memory.index.ann import Approximate

    assert Approximate.restore(state, 32) is None
    restored = Approximate.restore(state, 32, [kind])
    assert restored is not None
    assert restored.kind.name == f"ivf-routed-{router.fingerprint}"


def test_a_router_for_another_width_is_refused(tmp_path) -> None:
    narrow = kmeans_router(np.eye(8, dtype=np.float32), 4)
    with Store(tmp_path / "a.db", encoder=HashEncoder(), index=narrow) as store:
        store.add(passages(TEXTS))
        with pytest.raises(EncoderMismatch, match="8 dimensions, the memory's have 32"):
            store.search("mill", 1, mode="dense")


def test_what_is_no_router_is_refused(tmp_path, router) -> None:
    with pytest.raises(FormatError, match="cannot probe 9"):
        Router(router.routing, router.partition, 9)
    with pytest.raises(FormatError, match=r"have the shape"):
        Router(router.routing, router.partition[:3], 1)
