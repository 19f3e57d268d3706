"""Qdrant proposes and the store decides, in a folder and on a server; it follows the store."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.errors import ConfigError, MissingExtra, StoreError
from hoptrail.memory.index import dense
from hoptrail.memory.index.engines import points, qdrant
from hoptrail.memory.index.engines.qdrant import QdrantIndex
from hoptrail.memory.store import Store
from hoptrail.types import Passage

edge = pytest.importorskip("qdrant_edge", reason="needs the extra hoptrail[qdrant]")
client = pytest.importorskip("qdrant_client", reason="needs the extra hoptrail[qdrant]")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]

DIM, COUNT = 16, 1500


class TextVectors:
    """Unit vectors that the text alone decides."""

    def __init__(self, seed: int = 0) -> None:
        self.dim, self.fingerprint, self._seed = DIM, f"text-{seed}", seed

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), DIM), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            rng = np.random.default_rng([self._seed, zlib.crc32(text.encode())])
            row[:] = rng.standard_normal(DIM)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


QUERIES = TextVectors().encode([f"question {i}" for i in range(20)])


def passages(first: int, last: int) -> list[Passage]:
    names = ("ann", "bob")
    return [
        Passage(f"p{i}", f"text {i}", metadata={"odd": i % 2}, namespace=("team", names[i % 3 > 0]))
        for i in range(first, last)
    ]


@pytest.fixture(params=["folder", "server"])
def index(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> Iterator[QdrantIndex]:
    """Where Qdrant is; the server is what its client has in a process for tests."""
    if request.param == "folder":
        yield QdrantIndex(tmp_path / "qdrant")
        return
    local = client.QdrantClient(":memory:")
    monkeypatch.setattr(local, "close", lambda: None)  # it is to outlive each store that asks it
    monkeypatch.setattr(qdrant, "server_client", lambda url, key: local)
    yield QdrantIndex("http://127.0.0.1:6333")


def opened(path: Path, index: Any, encoder: TextVectors | None = None) -> Store:
    return Store(path, encoder=encoder or TextVectors(), index=index)


def recall(store: Store, scope: tuple[str, ...] = (), allowed: np.ndarray | None = None) -> float:
    """Of the ten nearest by a scan, how many are found; what is found is held to be right."""
    view = store.view(scope)
    assert repr(view).endswith(f"qdrant, version {store.version}>")
    scores, slots = view.dense.search(QUERIES, 10, allowed=allowed)
    living = view.alive if allowed is None else view.alive & allowed
    everything = np.flatnonzero(living)
    exact = view.dense.scores_of(QUERIES, everything)
    hits = 0
    for row in range(len(QUERIES)):
        assert living[slots[row]].all()
        same = view.dense.scores_of(QUERIES[[row]], slots[row])[0]
        assert np.array_equal(scores[row], same)
        hits += len(np.intersect1d(everything[np.argsort(-exact[row])[:10]], slots[row]))
    return hits / (10 * len(QUERIES))


def test_it_finds_what_a_scan_finds_in_every_scope_and_behind_a_filter(
    index: QdrantIndex, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(dense, "EXACT_AMONG", 0)
    with opened(tmp_path / "m.db", index) as store:
        store.add(passages(0, 2 * COUNT))
        assert recall(store) >= 0.98
        assert recall(store, ("team", "bob")) >= 0.98
        view = store.view()
        odd = np.array([int(p.id[1:]) % 2 == 1 for p in view.passages(np.arange(view.capacity))])
        assert recall(store, allowed=odd) >= 0.98
        assert view.dense.search(QUERIES, 10, allowed=odd & False)[1].shape == (len(QUERIES), 0)
        assert len(store.view(("team", "ann"))) == COUNT * 2 // 3
        assert "qdrant" not in repr(store.view(("team", "ann")))  # few: each is compared


def test_candidates_are_asked_of_it_and_not_of_a_scan(index, tmp_path, monkeypatch) -> None:
    asked_for: list[tuple[int, str]] = []
    with opened(tmp_path / "m.db", index) as store:
        store.add(passages(0, COUNT + 600))
        store.view(("team", "bob"))
        place = store.engine._points
        nearest = place.nearest
        monkeypatch.setattr(
            place,
            "nearest",
            lambda q, n, scope: asked_for.append((n, scope)) or nearest(q, n, scope),
        )
        store.search("question", 5, mode="dense", namespace=("team", "bob"))
    assert asked_for == [(42, "team\x1fbob\x1f")]


def test_what_is_deleted_or_written_over_never_comes_back(index, tmp_path) -> None:
    with opened(tmp_path / "m.db", index) as store:
        store.add(passages(0, COUNT))
        assert recall(store) >= 0.98
        best = [hit.passage for hit in store.search("text 7", 3, mode="dense")]
        assert best[0].text == "text 7"
        store.delete([best[0].id], best[0].namespace)
        store.add([Passage("new", "question 3")])
        store.update(best[1].id, text="something else", namespace=best[1].namespace)
        assert recall(store) >= 0.98
        texts = [hit.passage.text for hit in store.search("text 7", 10, mode="dense")]
        assert "text 7" not in texts
        assert best[1].text not in texts
        assert store.search("question 3", 1, mode="dense")[0].passage.id == "new"
        assert store.search("something else", 1, mode="dense")[0].passage.id == best[1].id
        numbers = {rowid for [(rowid, _)] in _nearest_of_all(store)}
        assert numbers <= set(store.view().rowids[store.view().alive].tolist())


def _nearest_of_all(store: Store) -> list[list[tuple[int, float]]]:
    """What the engine itself has nearest to each of the first texts."""
    texts = TextVectors().encode([f"text {i}" for i in range(100)])
    result: list[list[tuple[int, float]]] = store.engine.nearest(texts, 1, "")  # type: ignore[union-attr]
    return result


def _writes(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rowids that are put into the engine from now on."""
    rowids: list[int] = []
    place = store.engine._points  # type: ignore[union-attr]
    upsert = place.upsert  # type: ignore[union-attr]

    def noted(rows: Sequence[int], *others: Any) -> None:
        rowids.extend(rows)
        upsert(rows, *others)

    monkeypatch.setattr(place, "upsert", noted)
    return rowids


def test_it_follows_what_others_wrote_and_puts_in_no_more_than_that(
    index, tmp_path, monkeypatch
) -> None:
    path = tmp_path / "m.db"
    with opened(path, index) as store:
        store.add(passages(0, COUNT))
        assert recall(store) >= 0.98
    with opened(path, "auto") as store:  # without Qdrant
        store.add(passages(COUNT, COUNT + 50))
        store.delete([f"p{i}" for i in range(0, 30, 3)], ("team", "ann"))
    with opened(path, index) as store:
        rowids = _writes(store, monkeypatch)
        assert recall(store) >= 0.98
        assert len(rowids) == 50
        assert {rowid for [(rowid, _)] in _nearest_of_all(store)} & set(range(1, 30, 3)) == set()
        recall(store)
        assert len(rowids) == 50


KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
from test_qdrant import TextVectors, passages
from hoptrail.memory.index.engines import points, qdrant
from hoptrail.memory.store import Store
qdrant.ROWS_AT_ONCE = 400
put, count = points.EdgePoints.put_mark, iter(range(9))
def put_mark(self, *args):
    if next(count) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    put(self, *args)
points.EdgePoints.put_mark = put_mark
with Store({path!r}, encoder=TextVectors(), index={index!r}) as store:
    store.add(passages(0, 1500))
    store.view()
"""


def test_who_is_killed_while_it_is_written_leaves_an_older_mark(tmp_path, monkeypatch) -> None:
    path, index = tmp_path / "m.db", f"qdrant:{tmp_path / 'qdrant'}"
    code = KILLED.format(folder=str(Path(__file__).parent), path=str(path), index=index)
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    with opened(path, index) as store:
        rowids = _writes(store, monkeypatch)
        assert recall(store) >= 0.98
        assert rowids == list(range(401, 1501))


def test_other_vectors_and_another_history_are_put_in_anew(
    index, tmp_path, monkeypatch, caplog
) -> None:
    path, backup = tmp_path / "m.db", tmp_path / "backup.db"
    caplog.set_level(logging.INFO)
    with opened(path, index) as store:
        store.add(passages(0, COUNT))
        assert recall(store) >= 0.98
    shutil.copy(path, backup)
    with opened(path, index) as store:
        store.add(passages(COUNT, COUNT + 100))
        assert recall(store) >= 0.98
    os.replace(backup, path)
    with opened(path, index) as store:  # the points are ahead of it
        assert "qdrant" not in repr(store.view())
        assert store.search("text 5", 1, mode="dense")[0].passage.text == "text 5"
        monkeypatch.setattr(qdrant, "GONE_BACK", 0.0)
        caplog.clear()
        assert recall(store) >= 0.98
        assert "all of them" in caplog.text
    shutil.copy(path, backup)
    with opened(path, index) as store:
        store.add(passages(COUNT, COUNT + 100))
        recall(store)
    os.replace(backup, path)
    with opened(path, "auto") as store:  # it goes on in another way, past where the mark is
        store.delete(["p1"], ("team", "bob"))
        store.add(passages(COUNT + 100, COUNT + 300))
    with opened(path, index) as store:
        caplog.clear()
        assert recall(store) >= 0.98
        assert "all of them" in caplog.text
    with Store(path) as store:
        Memory(store, encoder=None).change_encoder(TextVectors(1))
    with opened(path, index, TextVectors(1)) as store:
        caplog.clear()
        assert recall(store) >= 0.98
        assert "all of them" in caplog.text


def test_where_it_cannot_be_used_each_vector_is_compared(tmp_path, caplog) -> None:
    path, index = tmp_path / "m.db", f"qdrant:{tmp_path / 'qdrant'}"
    with opened(path, index) as store, opened(path, index) as second:
        store.add(passages(0, COUNT))
        assert recall(store) >= 0.98
        assert second.search("text 5", 1, mode="dense")[0].passage.text == "text 5"
        assert "compared one by one" in caplog.text
        assert "qdrant" not in repr(second.view())
    with opened(tmp_path / "m.db", "qdrant:http://127.0.0.1:1") as store:
        caplog.clear()
        assert store.search("text 5", 1, mode="dense")[0].passage.text == "text 5"
        assert "http://127.0.0.1:1" in caplog.text
        with pytest.raises(StoreError, match="must go"):
            Memory(store).purge()
    assert list((tmp_path / "qdrant").iterdir()) == []  # one obstacle keeps nothing else


def test_an_engine_that_fails_between_two_searches_is_done_without(
    index, tmp_path, monkeypatch, caplog
) -> None:
    with opened(tmp_path / "m.db", index) as store:
        store.add(passages(0, COUNT))
        assert recall(store) >= 0.98
        with store.pinned() as view:
            store.engine._points.drop()
            slots = view.dense.search(QUERIES, 10)[1]
            exact = view.dense.scores_of(QUERIES, np.arange(view.capacity))
            assert np.array_equal(slots, np.argsort(-exact, axis=1)[:, :10])
        assert "compared one by one" in caplog.text
        monkeypatch.setattr(store.engine, "_down_until", 0.0)
        assert recall(store) >= 0.98


def test_a_purge_erases_what_it_has_and_it_is_filled_again(index, tmp_path) -> None:
    with opened(tmp_path / "m.db", index) as store:
        store.add(passages(0, COUNT))
        assert recall(store) >= 0.98
        memory = Memory(store)
        memory.delete(["p0"], namespace=("team", "ann"))
        memory.purge()
        assert store.engine._points.mark() is None
        assert recall(store) >= 0.98
    with opened(tmp_path / "m.db", "auto") as store:  # which is opened without it
        Memory(store).purge()
    with opened(tmp_path / "m.db", index) as store:
        assert store.engine._points.mark() is None


def test_another_store_under_the_same_path_has_points_of_its_own(index, tmp_path) -> None:
    names = []
    for text in ("one", "two"):
        with opened(tmp_path / "m.db", index) as store:
            store.add([Passage(str(i), f"{text} {i}") for i in range(COUNT)])
            assert store.search(f"{text} 9", 1, mode="dense")[0].passage.text == f"{text} 9"
            with store.reading() as connection:
                names.append(qdrant.store_info.collections(connection))
        for file in tmp_path.glob("m.db*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert names[0] != names[1]


def test_a_read_only_store_asks_what_another_filled(index, tmp_path, caplog) -> None:
    path = tmp_path / "m.db"
    with opened(path, "auto") as store:
        store.add(passages(0, COUNT))
    with Store(path, encoder=TextVectors(), index=index, read_only=True) as store:
        assert store.search("text 5", 1, mode="dense")[0].passage.text == "text 5"
        assert "read-only" in caplog.text
    with opened(path, index) as store:
        store.view()
    with Store(path, encoder=TextVectors(), index=index, read_only=True) as store:
        assert recall(store) >= 0.98


def test_a_memory_takes_it_by_name_and_what_is_no_place_is_refused(tmp_path, monkeypatch) -> None:
    with Memory(
        tmp_path / "m.db", encoder=TextVectors(), index=f"qdrant:{tmp_path / 'q'}"
    ) as memory:
        memory.add(passages(0, COUNT))
        assert memory.search("text 5", k=1, mode="dense")[0].passage.text == "text 5"
        assert "qdrant" in repr(memory.store.view())
    for wrong in ("qdrant:", QdrantIndex):
        with pytest.raises(ConfigError, match="qdrant"):
            Store(tmp_path / "m.db", index=wrong)
    assert "secret" not in repr(QdrantIndex("http://host", api_key="secret"))
    for module in ("qdrant_edge", "qdrant_client"):
        monkeypatch.setitem(sys.modules, module, None)
    for place in ("folder", "http://host:6333"):
        with pytest.raises(MissingExtra, match=r"hoptrail\[qdrant\]"):
            Store(tmp_path / "other.db", index=f"qdrant:{place}")
    assert points.EXTRA == "qdrant"
