"""A store changes its encoder: right before, right after, and never between the two."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from hoptrail.errors import ConfigError, EncoderMismatch, StoreError, StoreUnavailable
from hoptrail.memory.encoders import disk_cache
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.index import snapshot
from hoptrail.memory.maintenance import checks, reencoding
from hoptrail.memory.maintenance.export import export, import_file
from hoptrail.memory.maintenance.near_duplicates import add_distinct
from hoptrail.memory.maintenance.reencoding import Reencoding
from hoptrail.memory.search.codecs import Scalar
from hoptrail.memory.search.compressed import Clustered, Compressed
from hoptrail.memory.search.first_stages import Full
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.storage import next_vectors, store_info
from hoptrail.memory.storage.file_change import FileChange
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

QUERIES = ["river bridge", "an old stone boat", "king of the north", "Delft canal museum"]
MODES = ("hybrid", "dense", "sparse")


class Meddling(HashEncoder):
    """Does something each time before it encodes."""

    def __init__(self, dim: int, meddle: Callable[[], object]) -> None:
        super().__init__(dim)
        self.meddle = meddle

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.meddle()
        return super().encode(texts)


def answers(store: Store, **options) -> list[list[tuple[str, float]]]:
    """What searches find, by content: ids and the order of writing do not matter."""
    return [
        [(h.passage.content, round(h.score, 5)) for h in store.search(q, 20, mode=m, **options)]
        for q in QUERIES
        for m in MODES
    ]


def built(folder: Path, passages: Iterable[Passage], encoder: Encoder) -> list:
    """What they find in a store that was never anything else."""
    folder.mkdir()
    with Store(folder / "fresh.db", encoder=encoder) as store:
        store.add(passages)
        return answers(store)


def stored(store: Store, table: str = "vectors") -> dict[int, bytes]:
    with store.reading() as connection:
        return dict(connection.execute(f"SELECT passage, vector FROM {table}").fetchall())


def check_vectors(store: Store, encoder: Encoder) -> None:
    """Every vector is the encoder's, of the content that the passage now has."""
    rows = stored(store)
    passages = store.read_rows(list(rows))
    assert len(rows) == len(passages) == store.count()
    for rowid, passage in passages.items():
        assert rows[rowid] == encoder.encode([passage.content])[0].tobytes()


def stopped_after(store: Store, encoder: Encoder, batches: int, batch: int = 7) -> Reencoding:
    """A change that has been stopped after so many batches."""
    left = [batches + 1]  # the first report is of what there was before

    def count(done: int, total: int) -> None:
        left[0] -= 1
        if not left[0]:
            change.stop()

    change = Reencoding(store, encoder, batch=batch, progress=count)
    assert not change.run()
    return change


def test_all_is_as_in_a_store_built_with_the_new_encoder(
    store: Store, corpus: list[Passage], tmp_path: Path
) -> None:
    store.add(corpus)
    reports: list[tuple[int, int]] = []
    change = Reencoding(store, HashEncoder(48), batch=25, progress=lambda *r: reports.append(r))
    assert change.run()
    assert reports == [(0, 60), (25, 60), (50, 60), (60, 60)]
    assert repr(change) == "<Reencoding to hash-48 (48 dim): 60 of 60, finished>"
    assert (change.done, change.total, change.encoded) == (60, 60, 60)
    check_vectors(store, HashEncoder(48))
    assert answers(store) == built(tmp_path / "f", corpus, HashEncoder(48))
    assert checks.verify(store) == []
    assert reencoding.status(store) is None
    with Store(store.path, encoder=HashEncoder(48)) as again:
        assert answers(again) == answers(store)
    with pytest.raises(EncoderMismatch, match="made by encoder hash-48"):
        Store(store.path, encoder=HashEncoder(32))
    store.add([Passage("new", "a river")])
    check_vectors(store, HashEncoder(48))


def test_the_same_width_is_no_less_another_encoder(
    store: Store, corpus: list[Passage], tmp_path: Path
) -> None:
    class Turned(HashEncoder):
        fingerprint = "turned"

        def encode(self, texts):
            return super().encode(texts)[:, ::-1].copy()

    store.add(corpus)
    before = answers(store)
    assert Reencoding(store, Turned()).run()
    check_vectors(store, Turned())
    assert answers(store) == built(tmp_path / "f", corpus, Turned())
    assert Reencoding(store, HashEncoder()).run()
    assert answers(store) == before


def test_until_the_switch_the_old_encoder_answers_on_its_own_vectors(
    store: Store, corpus: list[Passage], tmp_path: Path
) -> None:
    store.add(corpus[:50])
    stopped_after(store, HashEncoder(48), 3)
    assert reencoding.status(store) == next_vectors.ReencodingProgress("hash-48 (48 dim)", 21, 50)
    store.add(corpus[50:])
    store.update("p3", text="a king of the north")
    store.delete(["p4", "p5"])
    held = list(store.passages())
    assert answers(store) == built(tmp_path / "old", held, HashEncoder())
    check_vectors(store, HashEncoder())
    assert checks.verify(store) == []
    change = Reencoding(store, HashEncoder(48), batch=7)
    assert change.run()
    assert change.encoded >= 58 - 21
    assert answers(store) == built(tmp_path / "new", held, HashEncoder(48))
    check_vectors(store, HashEncoder(48))


def test_what_is_done_is_not_done_again(store: Store, corpus: list[Passage]) -> None:
    store.add(corpus)
    stopped_after(store, HashEncoder(48), 4)
    with Store(store.path, encoder=HashEncoder()) as again:
        new = HashEncoder(48)
        assert Reencoding(again, new).run()
        assert new.texts_encoded == 60 - 28


def test_passages_written_while_they_are_encoded_are_encoded_again(
    store: Store, corpus: list[Passage]
) -> None:
    store.add(corpus)
    meddling = iter(
        [
            lambda: store.update("p1", text="written while it was encoded"),
            lambda: store.delete(["p2"]),
            lambda: store.update("p3", title="only a title"),
            lambda: store.update("p6", metadata={"speaker": "Ann"}, title=None),
            lambda: store.link("p7", (), namespace=()),
            lambda: store.add([Passage("late", "a late boat")]),
        ]
    )
    assert Reencoding(store, Meddling(48, lambda: next(meddling, int)()), batch=60).run()
    assert next(meddling, None) is not None or store.has("late")
    check_vectors(store, HashEncoder(48))


def test_deleted_forgotten_and_expired_passages_leave_both(tmp_path: Path) -> None:
    now = [1000.0]
    with Store(tmp_path / "a.db", encoder=HashEncoder(), clock=lambda: now[0]) as store:
        store.add([Passage(f"{i}", f"river {i}", namespace=("a",)) for i in range(10)])
        store.add([Passage(f"{i}", f"bridge {i}", namespace=("b",)) for i in range(10)])
        store.add([Passage("brief", "boat")], ttl=5)
        stopped_after(store, HashEncoder(48), 4, batch=4)
        for gone in (
            lambda: store.delete(["0", "1"], ("a",)),
            lambda: store.forget(None, namespace=("b",)),
            lambda: now.__setitem__(0, 1010.0) or store.sweep(),
        ):
            gone()
            with store.reading() as connection:
                known = {row[0] for row in connection.execute("SELECT rowid FROM passages")}
                left = {row[0] for row in connection.execute("SELECT passage FROM unencoded")}
            assert stored(store, "next_vectors").keys() | left == known
        assert Reencoding(store, HashEncoder(48)).run()
        assert store.count() == 8
        check_vectors(store, HashEncoder(48))


def test_it_may_begin_with_no_encoder_and_with_no_passages(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db") as store:
        assert Reencoding(store, HashEncoder(48)).run()
        store.add([Passage("a", "river")])
    with Store(tmp_path / "a.db") as store:
        new = HashEncoder(16)
        assert Reencoding(store, new).run()
        assert store.encoder is new
        assert store.search("river", 1, mode="dense")
        again = Reencoding(store, new)
        assert again.run()
        assert (again.encoded, again.done, again.total) == (0, 1, 1)


def test_another_change_must_be_gone_on_with_or_dropped(
    store: Store, corpus: list[Passage]
) -> None:
    store.add(corpus)
    stopped_after(store, HashEncoder(48), 2)
    with pytest.raises(StoreError, match=r"changing to encoder hash-48 .* \(14 of 60 passages\)"):
        Reencoding(store, HashEncoder(16)).run()
    with pytest.raises(EncoderMismatch, match=r"which has begun: .* hoptrail encoder reencode"):
        Store(store.path, encoder=HashEncoder(48))
    with pytest.raises(
        EncoderMismatch, match=r"change_encoder\(encoder\) or hoptrail encoder reencode"
    ):
        Store(store.path, encoder=HashEncoder(16))
    before = answers(store)
    assert reencoding.cancel_reencoding(store) == next_vectors.ReencodingProgress(
        "hash-48 (48 dim)", 14, 60
    )
    assert reencoding.cancel_reencoding(store) is None
    assert reencoding.status(store) is None
    with store.reading() as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type != 'index'")
        assert not {"next_vectors", "unencoded", "vectors_written"} & {n for (n,) in names}
    assert answers(store) == before
    store.add([Passage("new", "a river")])
    check_vectors(store, HashEncoder())
    assert Reencoding(store, HashEncoder(16)).run()
    check_vectors(store, HashEncoder(16))


def test_what_it_cannot_do_it_says(store: Store, corpus: list[Passage]) -> None:
    store.add(corpus[:3])
    with pytest.raises(ConfigError, match="batch must be a whole number of at least 1, got 0"):
        Reencoding(store, HashEncoder(48), batch=0)
    with (
        Store(store.path, read_only=True) as reader,
        pytest.raises(StoreError, match="open read-only"),
    ):
        Reencoding(reader, HashEncoder(48))
    with store.transaction(), pytest.raises(StoreError, match="is in a transaction"):
        Reencoding(store, HashEncoder(48)).run()

    def drop() -> None:
        with Store(store.path) as other:
            reencoding.cancel_reencoding(other)

    with pytest.raises(StoreError, match=r"to encoder hash-48 .* was dropped"):
        Reencoding(store, Meddling(48, drop)).run()
    check_vectors(store, HashEncoder())


def test_a_newer_version_s_change_is_left_alone(store: Store, corpus: list[Passage]) -> None:
    store.add(corpus)
    stopped_after(store, HashEncoder(48), 1)
    with store.transaction() as connection:
        connection.execute("UPDATE migrations SET steps = 9 WHERE owner = 'reencoding'")
    with pytest.raises(StoreError, match="newer version"):
        Reencoding(store, HashEncoder(48)).run()


def test_a_thread_does_it_beside_searches(
    store: Store, corpus: list[Passage], tmp_path: Path
) -> None:
    store.add(corpus)
    old = answers(store)
    new = built(tmp_path / "f", corpus, HashEncoder(48))
    change = Reencoding(store, Meddling(48, lambda: time.sleep(0.01)), batch=1).start()
    assert change.running
    seen = []
    while change.running:
        seen.append([(h.passage.content, round(h.score, 5)) for h in store.search(QUERIES[0], 20)])
    assert change.wait()
    assert seen[0] == old[0]
    assert all(found in (old[0], new[0]) for found in seen)
    assert answers(store) == new


def test_a_thread_that_fails_says_why(
    store: Store, corpus: list[Passage], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("no such weights")

    store.add(corpus)
    change = Reencoding(store, Meddling(48, fail)).start()
    with pytest.raises(OSError, match="no such weights"):
        change.wait()
    assert "no such weights" in caplog.text
    assert repr(change).endswith("0 of 60, failed>")
    check_vectors(store, HashEncoder())


def test_a_stopped_thread_leaves_what_it_has_done(store: Store, corpus: list[Passage]) -> None:
    store.add(corpus)
    change = Reencoding(store, Meddling(48, lambda: time.sleep(0.01)), batch=1).start()
    while not change.done:
        time.sleep(0.001)
    change.stop()
    assert not change.wait()
    assert repr(change).endswith("stopped>")
    found = reencoding.status(store)
    assert found is not None
    assert 0 < found.done == change.done < 60


def test_writers_that_come_with_every_batch_cannot_keep_it_from_ending(store: Store) -> None:
    store.add([Passage(f"p{i}", f"river {i}") for i in range(100)])
    done = threading.Event()

    def write() -> None:
        with Store(store.path, encoder=HashEncoder()) as other:
            for i in range(100_000):
                if done.is_set():
                    return
                try:
                    other.add([Passage(f"w{i}", f"bridge {i}")])
                except EncoderMismatch:
                    return
                time.sleep(0.004)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert Reencoding(store, Meddling(48, lambda: time.sleep(0.02))).run()
    finally:
        done.set()
        writer.join()
    check_vectors(store, HashEncoder(48))


def test_an_open_store_with_the_old_encoder_says_so(
    store: Store, corpus: list[Passage], tmp_path: Path
) -> None:
    store.add(corpus)
    with Store(store.path, encoder=HashEncoder()) as other:
        view = other.view()
        assert answers(other)
        assert Reencoding(store, HashEncoder(48)).run()
        for call in (
            lambda: other.search("river"),
            lambda: other.search("river", mode="dense"),
            lambda: other.search("river", pipeline=Pipeline([Full(keep=5)])),
            lambda: other.add([Passage("new", "a river")]),
            lambda: other.upsert([Passage("new", "a river")]),
            lambda: other.update("p1", text="a river"),
            lambda: add_distinct(other, [Passage("new", "a river")]),
            lambda: other.view_of(other.encoder),
            lambda: other.encode_queries(["a river"]),
        ):
            with pytest.raises(EncoderMismatch, match="made by encoder hash-48"):
                call()
        with pytest.raises(EncoderMismatch, match="ask the store for its view again"):
            view.refresh()
        assert other.count() == 60
        assert other.delete(["p0"]) == 1
        assert not other.update("p1", links=()).links
        words = other.search("river", 5, mode="sparse")
        other.encoder = HashEncoder(48)
        assert answers(other) == built(tmp_path / "f", other.passages(), HashEncoder(48))
        assert words == other.search("river", 5, mode="sparse")


def test_a_query_encoded_before_the_switch_is_not_asked_after_it(
    store: Store, corpus: list[Passage], tmp_path: Path
) -> None:
    store.add(corpus)
    new = built(tmp_path / "f", corpus, HashEncoder(48))
    for pipeline in (None, Pipeline([Full(keep=60)])):
        first = iter([lambda: Reencoding(store, HashEncoder(48)).run()])
        store.encoder = Meddling(32, lambda first=first: next(first, int)())
        options = {"mode": "dense"} if pipeline is None else {"pipeline": pipeline}
        found = store.search(QUERIES[0], 20, **options)
        assert [h.passage.content for h in found] == [content for content, _ in new[1]]
        assert Reencoding(store, HashEncoder()).run()
    # Another process's switch.
    with Store(store.path, encoder=HashEncoder(32)) as other:
        store.encoder = Meddling(32, lambda: Reencoding(other, HashEncoder(48)).run())
        with pytest.raises(EncoderMismatch):
            store.search(QUERIES[0])


def test_what_was_encoded_before_the_switch_is_not_written_after_it(
    store: Store, corpus: list[Passage]
) -> None:
    store.add(corpus)
    other = HashEncoder(48)
    for call in (
        lambda: store.add([Passage("new", "a river")]),
        lambda: store.upsert([Passage("new", "a river")]),
        lambda: store.update("p1", text="a river"),
        lambda: add_distinct(store, [Passage("new", "a river")]),
    ):
        store.encoder = Meddling(32, lambda: Reencoding(store, other).run())
        with pytest.raises(EncoderMismatch):
            call()
        check_vectors(store, other)
        assert Reencoding(store, HashEncoder()).run()


def test_stages_that_keep_something_of_every_vector_follow(
    store: Store, corpus: list[Passage], tmp_path: Path
) -> None:
    store.add(corpus)
    pipelines = [
        Pipeline([Compressed(Scalar(8), keep=30), Full(keep=20)]),
        Pipeline([Clustered(keep=20, probe=60)]),
    ]
    for pipeline in pipelines:
        store.search("river", pipeline=pipeline)
    assert Reencoding(store, HashEncoder(48)).run()
    with Store(tmp_path / "f.db", encoder=HashEncoder(48)) as fresh:
        fresh.add(corpus)
        for pipeline in pipelines:
            found, expected = (
                [(h.passage.content, h.score) for h in s.search("river", 10, pipeline=pipeline)]
                for s in (store, fresh)
            )
            assert found == expected


@pytest.mark.parametrize("index", ["sq8", "hnsw", "ivf"])
def test_an_approximate_index_is_made_anew(tmp_path: Path, index: str) -> None:
    passages = [Passage(f"p{i}", f"river {i} of the {i % 37} bridge {i % 11}") for i in range(1200)]
    with Store(tmp_path / "a.db", encoder=HashEncoder(), index=index) as store:
        store.add(passages)
        store.search("river 7", mode="dense")
        assert Reencoding(store, HashEncoder(48)).run()
        found = [store.search(f"river {i}", 1, mode="dense")[0] for i in range(0, 1200, 100)]
        assert store.view().dense.approximate is not None
        assert store.view().dense.dim == 48
    with Store(tmp_path / "b.db", encoder=HashEncoder(48), index="flat") as fresh:
        fresh.add(passages)
        best = [fresh.search(f"river {i}", 1, mode="dense")[0] for i in range(0, 1200, 100)]
    same = [a.passage.id == b.passage.id for a, b in zip(found, best, strict=True)]
    assert sum(same) >= 10
    assert all(
        a.score == pytest.approx(b.score) for a, b, s in zip(found, best, same, strict=True) if s
    )


@pytest.mark.parametrize("sparse", ["own", "tantivy"])
def test_a_snapshot_gives_its_words_and_not_its_vectors(
    tmp_path: Path, corpus: list[Passage], monkeypatch: pytest.MonkeyPatch, sparse: str
) -> None:
    if sparse == "tantivy":
        pytest.importorskip("tantivy")
    monkeypatch.setattr(snapshot, "MINIMUM", 10)
    path = tmp_path / "a.db"
    with Store(path, encoder=HashEncoder(), sparse=sparse) as store:
        store.add(corpus[:55])
        old = store.view()
    with Store(path, encoder=HashEncoder(), sparse=sparse) as store:
        store.add(corpus[55:])
        store.delete(["p1"])
        store.update("p2", text="a river of the north")
        held = list(store.passages())
        assert Reencoding(store, HashEncoder(48)).run()
        indexed: list[int] = []
        add = type(old.sparse).add
        monkeypatch.setattr(
            type(old.sparse),
            "add",
            lambda self, texts: (indexed.append(len(texts)), add(self, texts)),
        )
        new = built(tmp_path / "f", held, HashEncoder(48))
        indexed.clear()
        assert answers(store) == new
        assert sum(indexed) == 6  # what was written after the snapshot
    with Store(path, encoder=HashEncoder(48), sparse=sparse) as store:
        indexed.clear()
        assert answers(store) == new
        assert indexed == []  # from a snapshot with the new vectors


def test_a_late_snapshot_of_the_old_vectors_is_not_believed(
    tmp_path: Path, corpus: list[Passage]
) -> None:
    path = tmp_path / "a.db"
    with Store(path, encoder=HashEncoder()) as store, Store(path, encoder=HashEncoder()) as other:
        store.add(corpus)
        late = other.view()
        assert Reencoding(store, HashEncoder(48)).run()
        assert late.save()
    with Store(path, encoder=HashEncoder(48)) as store:
        assert answers(store) == built(tmp_path / "f", corpus, HashEncoder(48))


def test_filters_namespaces_and_remembered_queries_hold_across_it(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder(), queries_kept=50) as store:
        for space in (("a",), ("b",)):
            store.add(
                [
                    Passage(f"{i}", f"river {i}", metadata={"n": i}, namespace=space)
                    for i in range(9)
                ]
            )
        wanted = {"namespace": ("a",), "filter": {"n": {"$gte": 5}}}
        assert {h.passage.metadata["n"] for h in store.search("river 2", 9, **wanted)} == {
            5,
            6,
            7,
            8,
        }
        assert Reencoding(store, HashEncoder(48)).run()
        found = store.search("river 2", 9, **wanted)
        assert {h.passage.metadata["n"] for h in found} == {5, 6, 7, 8}
        assert {h.passage.namespace for h in found} == {("a",)}
        misses = store.cache_info().queries.misses
        store.search("river 2", 9, **wanted)
        assert store.cache_info().queries.misses == misses


def test_a_purge_leaves_no_byte_of_the_old_vectors_nor_of_dropped_ones(
    store: Store, corpus: list[Passage], tmp_path: Path
) -> None:
    store.add(corpus)

    def kept(vectors: Iterable[bytes]) -> int:
        files = [store.path, store.path.with_name(store.path.name + "-wal")]
        content = b"".join(file.read_bytes() for file in files if file.exists())
        return sum(vector in content for vector in vectors)

    old = list(stored(store).values())
    stopped_after(store, HashEncoder(16), 3)
    dropped = list(stored(store, "next_vectors").values())
    reencoding.cancel_reencoding(store)
    checks.purge(store, cache=tmp_path)
    assert (kept(old), kept(dropped)) == (len(old), 0)
    stopped_after(store, HashEncoder(48), 3)
    gone = [v for row, v in stored(store, "next_vectors").items() if store.read_rows([row])]
    store.forget({"$id": {"$in": [p.id for p in corpus if p.id != "p30"]}})
    checks.purge(store, cache=tmp_path)
    assert kept(gone) <= 1
    assert Reencoding(store, HashEncoder(48)).run()
    checks.purge(store, cache=tmp_path)
    assert kept(old) == 0
    check_vectors(store, HashEncoder(48))


def test_the_old_vectors_are_put_aside_and_cleared_in_small_transactions(
    store: Store, corpus: list[Passage], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(reencoding, "CLEARED", 7)
    cleared, inner = [], next_vectors.clear

    def clear(connection: sqlite3.Connection, count: int | None = None) -> bool:
        cleared.append(connection.total_changes)
        if len(cleared) == 4:
            raise KeyboardInterrupt  # killed in the middle of it
        return inner(connection, count)

    def left() -> dict[str, int]:
        with store.reading() as connection:
            return {table: len(stored(store, table)) for table in next_vectors.aside(connection)}

    store.add(corpus)
    monkeypatch.setattr(next_vectors, "clear", clear)
    with pytest.raises(KeyboardInterrupt):
        Reencoding(store, HashEncoder(48)).run()
    assert store.encoder.fingerprint == "hash-48"
    assert left() == {"aside_0": 60 - 3 * 7}
    assert answers(store) == built(tmp_path / "f", corpus, HashEncoder(48))
    store.delete(["p30"])  # also from there
    assert left() == {"aside_0": 60 - 3 * 7 - 1}
    assert checks.verify(store) == []
    stopped_after(store, HashEncoder(16), 3)
    del cleared[:]
    with pytest.raises(KeyboardInterrupt):
        reencoding.cancel_reencoding(store)
    assert left() == {"aside_0": 60 - 6 * 7 - 1, "aside_1": 21}
    monkeypatch.setattr(next_vectors, "clear", inner)
    assert Reencoding(store, HashEncoder(48)).run()  # which it has already
    assert left() == {}
    check_vectors(store, HashEncoder(48))
    with store.transaction() as connection:
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_purge_clears_what_could_not_be_cleared_before(
    store: Store, corpus: list[Passage], tmp_path: Path, monkeypatch, caplog
) -> None:
    def full(change: FileChange, count: int) -> bool:
        raise StoreUnavailable("the disk is full")

    store.add(corpus)
    old = list(stored(store).values())
    monkeypatch.setattr(FileChange, "clear", full)
    assert Reencoding(store, HashEncoder(48)).run()
    assert "until a purge: the disk is full" in caplog.text
    with store.reading() as connection:
        assert next_vectors.aside(connection) == ["aside_0"]
    checks.purge(store, cache=tmp_path)
    content = store.path.read_bytes()
    assert not any(vector in content for vector in old)
    with store.reading() as connection:
        assert next_vectors.aside(connection) == []


def test_a_content_that_was_purged_while_it_was_encoded_is_purged_again(
    store: Store, corpus: list[Passage], tmp_path: Path
) -> None:
    store.add(corpus[:5])

    def purge() -> None:
        if store.has("p1"):
            store.delete(["p1"])
            checks.purge(store, cache=tmp_path)

    inner = disk_cache.CachedEncoder(Meddling(48, purge), tmp_path)
    assert Reencoding(store, inner).run()
    assert checks.purge(store, cache=tmp_path).cached_vectors == 1
    inner.close()


def test_verify_finds_what_is_wrong_with_it_and_repair_has_it_done_again(
    store: Store, corpus: list[Passage], caplog: pytest.LogCaptureFixture
) -> None:
    store.add(corpus)
    stopped_after(store, HashEncoder(48), 3)
    rows = list(stored(store, "next_vectors"))
    for repaired in (True, False):
        with store.transaction() as connection:
            connection.execute("DELETE FROM next_vectors WHERE passage = ?", (rows[0],))
            connection.execute(
                "UPDATE next_vectors SET vector = x'00' WHERE passage = ?", (rows[1],)
            )
        [problem] = checks.verify(store)
        assert (problem.what, problem.derived) == ("encoder", True)
        assert "2 passages" in problem.message
        if repaired:
            assert checks.repair(store) == [
                "2 passages are to be encoded again by the next encoder"
            ]
            assert checks.verify(store) == []
            stopped_after(store, HashEncoder(48), 1)
            rows = list(stored(store, "next_vectors"))
    with caplog.at_level(logging.WARNING):
        assert Reencoding(store, HashEncoder(48)).run()
    assert "2 vectors" in caplog.text
    check_vectors(store, HashEncoder(48))


def test_a_backup_goes_on_where_its_original_was(
    store: Store, corpus: list[Passage], tmp_path: Path
) -> None:
    store.add(corpus)
    stopped_after(store, HashEncoder(48), 4)
    file = tmp_path / "export.jsonl"
    export(store, file, vectors=True)
    with Store(checks.backup(store, tmp_path / "b.db"), encoder=HashEncoder()) as copy:
        assert answers(copy) == answers(store)
        new = HashEncoder(48)
        assert Reencoding(copy, new).run()
        assert new.texts_encoded == 32
        check_vectors(copy, HashEncoder(48))
    with Store(tmp_path / "c.db", encoder=HashEncoder()) as copy:
        assert import_file(copy, file).encoded == 0
        assert answers(copy) == answers(store)


CHILD = """
import sys, time
from hoptrail.memory.maintenance.reencoding import Reencoding
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder

class Slow(HashEncoder):
    def encode(self, texts):
        time.sleep(0.002)
        return super().encode(texts)

path, dim, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with Store(path) as store:
    say = lambda *words: print(*words, flush=True)
    say("ready")
    change = Reencoding(store, Slow(dim), batch=batch, progress=lambda done, total: say(done))
    change.run()
    say(change.encoded)
"""


def child(path: Path, dim: int, batch: int) -> subprocess.Popen[str]:
    """A process that changes a store's encoder, and says how far it is after each batch."""
    argv = [sys.executable, "-c", CHILD, str(path), str(dim), str(batch)]
    started = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


@pytest.mark.parametrize("rounds", [6, pytest.param(120, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on_from_there(tmp_path: Path, rounds: int) -> None:
    rng = np.random.default_rng(5)
    path, dim, kills, switches = tmp_path / "a.db", 32, 0, 0
    with Store(path, encoder=HashEncoder(dim)) as store:
        store.add([Passage(f"p{i}", f"river {i} bridge") for i in range(400)])
    while kills < rounds:
        target = 80 - dim  # to and fro between 32 and 48
        running = child(path, target, 5)
        assert running.stdout is not None
        with running.stdout:
            try:
                running.wait(rng.uniform(0, 0.25))
            except subprocess.TimeoutExpired:
                running.kill()
                kills += 1
            said = [line for line in running.stdout.read().splitlines(True) if line[-1] == "\n"]
            running.wait()
        with Store(path) as store:
            found = reencoding.status(store)
            if encoder_of(store) == f"hash-{target} ({target} dim)":
                dim, switches = target, switches + 1
                assert found is None
            elif said:  # killed before it had begun, if it has said nothing
                assert found is not None
                assert found.done >= int(said[-1]), "a batch that was done is lost"
            assert checks.verify(store) == []
            check_vectors(store, HashEncoder(dim))
        with Store(path, encoder=HashEncoder(dim)) as store:
            number = int(rng.integers(400))
            store.update(f"p{number}", text=f"river {number} written in round {kills}")
    with Store(path) as store:
        assert Reencoding(store, HashEncoder(80 - dim)).run()
        check_vectors(store, HashEncoder(80 - dim))
    assert switches or rounds < 20


def encoder_of(store: Store) -> str | None:
    with store.reading() as connection:
        return store_info.get(connection, "encoder")


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    passages = [Passage(f"p{i}", f"river {i} bridge") for i in range(1500)]
    with Store(path, encoder=HashEncoder()) as store:
        store.add(passages)
        children = [child(path, 48, 50) for _ in range(2)]
        written, found = 0, []
        while reencoding.status(store) is None and children[0].poll() is None:
            time.sleep(0.002)
        while reencoding.status(store) is not None:  # a third beside them, with the old encoder
            try:
                store.add([Passage(f"w{written}", f"a boat {written}")])
                written += 1
                found.append(store.search(f"a boat {written - 1}", 1, mode="dense")[0].passage.id)
                time.sleep(0.02)
            except EncoderMismatch:
                break
        done = []
        for one in children:
            with one.stdout as said:  # not communicate, which passes over what is read already
                done.append(int(said.read().split()[-1]))
        assert [one.wait(120) for one in children] == [0, 0]
        assert found == [f"w{i}" for i in range(len(found))]
        assert sum(done) >= 1500
        assert store.count() == 1500 + written
        check_vectors(store, HashEncoder(48))
        with pytest.raises(EncoderMismatch):
            store.search("river")
