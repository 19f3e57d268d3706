"""Views and search over them: fresh, apart by scope, and the same in whatever order one wrote."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hoptrail.errors import StoreError, UnknownId
from hoptrail.memory.search import hybrid_search
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.memory.views.open_views import VIEWS_KEPT
from hoptrail.memory.views.view import View
from hoptrail.types import Passage

QUERIES = ["the old bridge in Delft", "a boat on the river", "painter", "king of the north city"]
MODES = ["hybrid", "dense", "sparse"]


def test_slots_are_stable_and_an_update_takes_a_new_one(store: Store) -> None:
    store.add([Passage(id=i, text=f"passage {i} of the river") for i in "abc"])
    view = store.view()
    a, b = view.slot_of("a"), view.slot_of("b")
    assert (view.size, view.capacity, view.version) == (3, 3, store.version)
    store.delete(["a"])
    store.update("b", text="a bridge")
    assert view.slot_of("b") is None or view.slot_of("b") == b  # not refreshed yet
    assert store.view() is view
    assert (view.size, view.capacity) == (2, 4)
    assert not view.alive[a]
    assert not view.alive[b]
    assert view.slot_of("a") is None
    assert view.slot_of("b") == 3
    assert view.slot_of_rowid(int(view.rowids[3])) == 3
    assert view.slot_of("zzz") is None
    assert view.passages([3, 2, 3])[0].text == "a bridge"
    with pytest.raises(UnknownId, match="slot 0 was deleted"):
        view.passages([a])


def test_refresh_tells_whether_anything_changed(store: Store) -> None:
    store.add([Passage(id="a", text="river")])
    view, other = store.view(), store.view(("other",))
    assert not view.refresh()
    store.add([Passage(id="b", text="river", namespace=("team",))])
    assert view.refresh()
    assert not other.refresh()
    assert other.version == store.version
    store.update("a", metadata={"x": 1})
    assert view.refresh()
    store.delete(["a"])
    assert view.refresh()
    assert not view.refresh()


def test_another_stores_commits_are_seen(tmp_path: Path) -> None:
    with (
        Store(tmp_path / "a.db", encoder=HashEncoder()) as one,
        Store(tmp_path / "a.db", encoder=HashEncoder()) as two,
    ):
        one.add([Passage(id="a", text="a river")])
        assert [h.passage.id for h in two.search("river")] == ["a"]
        two.add([Passage(id="b", text="a river and a bridge")])
        assert {h.passage.id for h in one.search("river")} == {"a", "b"}
        one.delete(["a"])
        assert [h.passage.id for h in two.search("river")] == ["b"]
        two.update("b", text="a canal")
        assert one.search("canal", mode="sparse")[0].passage.text == "a canal"


def test_a_passage_deleted_by_another_after_the_refresh(tmp_path: Path) -> None:
    with (
        Store(tmp_path / "a.db", encoder=HashEncoder()) as one,
        Store(tmp_path / "a.db") as two,
    ):
        one.add([Passage(id="a", text="a river"), Passage(id="b", text="a bridge")])
        view = one.view()
        two.delete(["a"])
        with pytest.raises(UnknownId, match="refresh the view and ask again"):
            view.passages([0, 1])
        assert [h.passage.id for h in one.search("river bridge")] == ["b"]


def test_one_tenants_words_cannot_move_anothers_scores(store: Store, corpus) -> None:
    store.add([replace(p, namespace=("ann",)) for p in corpus])
    before = [
        [(h.passage.id, h.score) for h in store.search(q, namespace=("ann",))] for q in QUERIES
    ]
    store.add([replace(p, namespace=("ben",), text="bridge " * 9) for p in corpus])
    after = [
        [(h.passage.id, h.score) for h in store.search(q, namespace=("ann",))] for q in QUERIES
    ]
    assert before == after
    assert store.search("bridge", namespace=("nobody",)) == []
    assert {h.passage.namespace for h in store.search("bridge", 100)} == {("ann",), ("ben",)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scope", [(), ("ann",), ("nobody",)])
def test_a_scope_without_passages_gives_no_hits(store: Store, mode, scope) -> None:
    assert store.search("bridge", namespace=scope, mode=mode) == []
    store.add([Passage(id="a", text="a bridge", namespace=("ann",))])
    store.search("bridge", namespace=scope, mode=mode)
    store.delete(["a"], namespace=("ann",))
    assert store.search("bridge", namespace=scope, mode=mode) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_shuffled_and_renamed_corpus_ranks_the_same(
    corpus: list[Passage], fresh: Callable[[Iterable[Passage]], View], mode: str
) -> None:
    encoder = HashEncoder()
    renamed = [replace(p, id=f"x{(i * 37) % 60}") for i, p in enumerate(corpus)]
    random.Random(3).shuffle(renamed)
    one, two = fresh(corpus), fresh(renamed)
    for query in QUERIES:
        vector = encoder.encode([query])[0]
        for k in (1, 7, 60):
            (a, at), (b, bt) = (hybrid_search.search(v, query, vector, k, mode) for v in (one, two))
            assert [p.content for p in one.passages(at)] == [p.content for p in two.passages(bt)]
            assert a.tolist() == b.tolist()


def test_a_store_grown_and_pruned_ranks_like_one_built_at_once(
    store: Store, corpus: list[Passage], fresh: Callable[[Iterable[Passage]], View]
) -> None:
    for start in range(0, 60, 7):
        store.add(corpus[start : start + 7])
        store.view()
    store.delete([p.id for p in corpus[::3]])
    store.view()
    for p in corpus[1::6]:
        store.update(p.id, text=p.text + " bridge")
    view, built = store.view(), fresh(list(store.passages()))
    for mode in MODES:
        for query in QUERIES:
            vector = store.encode_queries([query])[0]
            (a, at), (b, bt) = (
                hybrid_search.search(v, query, vector, 25, mode) for v in (view, built)
            )
            assert [p.content for p in view.passages(at)] == [p.content for p in built.passages(bt)]
            assert a.tolist() == b.tolist()


def test_hybrid_is_the_sum_of_z_scores_over_all(store: Store, corpus: list[Passage]) -> None:
    store.add(corpus)
    view, query = store.view(), QUERIES[0]
    vector = store.encode_queries([query])
    dense = view.dense.scores_of(vector, np.arange(60))[0].astype(float)
    sparse = view.sparse.scores(query).astype(float)
    total = (dense - dense.mean()) / dense.std() + (sparse - sparse.mean()) / sparse.std()
    hits = store.search(query, 60)
    assert len(hits) == 60
    for hit in hits:
        assert hit.score == pytest.approx(total[view.slot_of(hit.passage.id)], abs=1e-4)
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_hybrid_without_a_known_word_is_dense(store: Store, corpus: list[Passage]) -> None:
    store.add(corpus)
    assert [h.passage.id for h in store.search("zebra")] == [
        h.passage.id for h in store.search("zebra", mode="dense")
    ]


def test_search_finds_k_wherever_there_are_k(store: Store, corpus: list[Passage]) -> None:
    assert store.search("river") == []
    store.add(corpus[:1])
    assert len(store.search("river", 5)) == 1  # nothing differs from the mean
    store.add(corpus[1:])
    assert len(store.search("zebra", 60)) == 60
    assert len(store.search("zebra", 200)) == 60


def test_a_view_inside_a_write_transaction_is_refused(store: Store) -> None:
    store.add([Passage(id="a", text="a river")])
    with store.transaction():
        store.add([Passage(id="b", text="a bridge")])
        with pytest.raises(StoreError, match="inside a write transaction"):
            store.view()
    assert len(store.view()) == 2
    with store.reading(), pytest.raises(StoreError, match="cannot be written to while it is read"):
        store.add([Passage(id="c", text="a canal")])


def test_only_so_many_views_are_kept_and_the_oldest_goes(store: Store) -> None:
    store.add([Passage(id="a", text="a river", namespace=(str(i),)) for i in range(3)])
    first = store.view(("0",))
    for i in range(VIEWS_KEPT):
        store.view((f"n{i}",))
    assert store.view(("0",)) is not first
    assert first.passages([0])[0].id == "a"  # still whole, only no longer the store's
    assert repr(first) == "<View of 0: 1 passages, version 3>"


def test_read_passages_are_kept_but_not_all(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("hoptrail.memory.views.passages_read.PASSAGES_KEPT", 4)
    store.add([Passage(id=str(i), text=f"river {i}") for i in range(10)])
    view = store.view()
    assert [p.id for p in view.passages(range(10))] == [str(i) for i in range(10)]
    assert view.passages([9])[0] is view.passages([9])[0]
    assert len(view.content_key(0)) == 8
