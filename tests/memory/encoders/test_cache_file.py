"""A vector cache that does not serve costs time, never a write."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoptrail import Memory
from hoptrail.errors import StoreUnavailable
from hoptrail.memory import forks
from hoptrail.memory.content_hash import cache_key
from hoptrail.memory.encoders import cache_file, disk_cache
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.testing.hash_encoder import HashEncoder

TEXTS = [f"text {i}" for i in range(300)]
NAME = "vectors-hash-32.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache that holds the texts."""
    fill(tmp_path / "cache")
    return tmp_path / "cache"


def fill(folder: Path) -> int:
    """Encode the texts by way of a cache; how many the encoder was asked for."""
    with closing(CachedEncoder(HashEncoder(), folder)) as cached:
        assert np.array_equal(cached.encode(TEXTS), HashEncoder().encode(TEXTS))
        return cached.inner.texts_encoded


def overwrite(start: int, data: bytes) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        whole = bytearray(file.read_bytes())
        whole[start : start + len(data)] = data
        file.write_bytes(whole)

    return damage


def statement(sql: str) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        with closing(sqlite3.connect(file)) as db, db:
            db.execute(sql)

    return damage


DAMAGED: dict[str, Callable[[Path], None]] = {
    "no header": overwrite(0, b"no database"),
    "not a page whole": overwrite(4096, os.urandom(30_000)),
    "half of it": lambda file: file.write_bytes(file.read_bytes()[:20_000]),
    "something else": lambda file: file.write_text("my notes " * 1000) and None,
}
WITHOUT: dict[str, Callable[[Path], None]] = {
    "empty": lambda file: file.write_bytes(b"") and None,
    "without its table": statement("DROP TABLE vectors"),
}


@pytest.mark.parametrize("damage", (DAMAGED | WITHOUT).values(), ids=DAMAGED | WITHOUT)
def test_a_damaged_file_is_begun_anew(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder / NAME)
    assert fill(folder) > 0
    assert fill(folder) == 0


def in_the_way(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder.write_text("a file")


def folder_for_a_file(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    (folder / NAME).mkdir()


UNUSABLE: dict[str, Callable[[Path], None]] = {
    "a file in the folder's place": in_the_way,
    "a folder in the file's place": folder_for_a_file,
    "another schema": lambda folder: statement("ALTER TABLE vectors RENAME COLUMN v TO w")(
        folder / NAME
    ),
    "a newer version": lambda folder: statement("PRAGMA user_version = 99")(folder / NAME),
}


@pytest.mark.parametrize("damage", UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_is_named_once_and_done_without(
    folder: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(folder)
    with caplog.at_level(logging.WARNING):
        assert fill(folder) == len(TEXTS)
    assert [NAME in record.getMessage() for record in caplog.records] == [True]


def test_the_file_of_a_newer_version_stays_as_it_is(folder: Path) -> None:
    statement("PRAGMA user_version = 99")(folder / NAME)
    before = (folder / NAME).read_bytes()
    assert fill(folder) == len(TEXTS)
    assert (folder / NAME).read_bytes() == before


def test_a_write_goes_on_without_a_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOPTRAIL_CACHE")
    monkeypatch.setattr(Path, "home", homeless)
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=None) as memory:
        memory.add(TEXTS[:3])
        memory.delete([memory.search("text 1", 1)[0].passage.id])
        assert memory.purge().cached_vectors == 0
    with pytest.raises(StoreUnavailable, match="set HOPTRAIL_CACHE"):
        cache_file.cache_folder()


def test_a_file_that_may_only_be_read_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connected = cache_file._connected

    def for_reading(where: str, *, writing: bool) -> sqlite3.Connection:
        if writing:
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return connected(where, writing=writing)

    monkeypatch.setattr(cache_file, "_connected", for_reading)
    with closing(CachedEncoder(HashEncoder(), folder)) as cached:
        for _ in range(2):
            assert cached.encode(["new", *TEXTS]).shape == (301, 32)
        assert cached.inner.texts_encoded == 2
    assert len(caplog.records) == 1


def test_a_file_locked_by_another_is_not_waited_for_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache_file, "WAIT_SECONDS", 0.01)
    with closing(sqlite3.connect(folder / NAME)) as other:
        other.execute("BEGIN IMMEDIATE")
        with closing(CachedEncoder(HashEncoder(), folder)) as cached:
            assert cached.encode(["new", *TEXTS]).shape == (301, 32)
            assert cached.encode(["newer", *TEXTS]).shape == (302 - 1, 32)
            assert cached.inner.texts_encoded <= 2 + len(TEXTS)
    assert sum("locked" in record.getMessage() for record in caplog.records) == 1


def test_a_full_disk_leaves_what_is_cached_readable(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(CachedEncoder(HashEncoder(), folder)) as cached:
        cached.encode(TEXTS[:1])
        pages = cached._file._db.execute("PRAGMA page_count").fetchone()[0]
        cached._file._db.execute(f"PRAGMA max_page_count={pages}")
        more = [f"more {i}" for i in range(500)]
        assert np.array_equal(cached.encode(more), HashEncoder().encode(more))
        assert cached.inner.texts_encoded == 500
        cached.encode(TEXTS)
        assert cached.inner.texts_encoded == 500
    assert sum("full" in record.getMessage() for record in caplog.records) == 1


def test_a_file_that_is_removed_meanwhile_comes_again(folder: Path) -> None:
    with closing(CachedEncoder(HashEncoder(), folder)) as cached:
        cached.encode(TEXTS[:1])
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        assert cached.encode(["new"]).shape == (1, 32)
    assert fill(folder) >= len(TEXTS) - 1
    assert fill(folder) == 0


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)
@given(
    entry=st.one_of(
        st.binary(max_size=300),
        st.binary(min_size=128, max_size=128),
        st.text(max_size=200),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.none(),
        st.floats(width=32).map(lambda x: np.full(32, x, "<f4").tobytes()),
        st.just(np.ones(64, "<f4").tobytes()),
    )
)
def test_an_entry_that_is_no_unit_vector_counts_as_missing_and_is_written_over(
    folder: Path, entry: object
) -> None:
    with closing(sqlite3.connect(folder / NAME)) as db, db:
        db.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?)", (cache_key(TEXTS[7]), entry))
    assert fill(folder) == 1
    assert fill(folder) == 0


def forked(work: Callable[[], bool]) -> bool:
    """Whether some work is done, and well, in a forked child."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_fork_waits_for_statements_of_other_threads(folder: Path) -> None:
    stop = threading.Event()

    def work(encoder: CachedEncoder) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            encoder.encode([f"busy {n}", TEXTS[0]])

    def in_child() -> bool:
        with closing(CachedEncoder(HashEncoder(), folder)) as own:
            own.encode([TEXTS[0], f"child {os.getpid()}"])
            return own.inner.texts_encoded == 1 and own._file._db is not None

    with closing(CachedEncoder(HashEncoder(), folder)) as cached:
        threads = [threading.Thread(target=work, args=(cached,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            assert all(forked(in_child) for _ in range(6))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    with closing(sqlite3.connect(folder / NAME)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_child_does_without_a_file_that_was_in_use_for_long(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 0.05)
    began, go_on = threading.Event(), threading.Event()

    def slow(db: sqlite3.Connection) -> None:
        began.set()
        go_on.wait(20)

    def in_child() -> bool:
        cached.encode(["of the child"])
        with closing(CachedEncoder(HashEncoder(), folder)) as own:
            own.encode([TEXTS[0]])
            return cached._file._db is None and own._file._db is None

    with closing(CachedEncoder(HashEncoder(), folder)) as cached:
        cached.encode([TEXTS[0]])
        thread = threading.Thread(target=cached._file._tried, args=("read", slow))
        thread.start()
        assert began.wait(5)
        try:
            assert forked(in_child)
        finally:
            go_on.set()
            thread.join()
        cached.encode(["of the parent"])
        assert cached._file._db is not None


def test_a_forked_process_opens_the_file_for_itself(folder: Path) -> None:
    with closing(CachedEncoder(HashEncoder(), folder)) as cached:
        cached.encode(TEXTS[:5])
        mine = cached._file._db
        with cached._file._lock:  # as another thread of the parent may hold it

            def in_child() -> bool:
                closed = cached._file._db is None
                with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                    mine.execute("SELECT 1")
                cached.encode(["of the child"])
                return closed and cached._file._db is not None

            assert forked(in_child)
        cached.encode(["of the child"])
        assert cached.inner.texts_encoded == 0
        assert cached._file._db is mine


def test_threads_may_share_one(folder: Path) -> None:
    with closing(CachedEncoder(HashEncoder(), folder)) as cached:
        wrong: list[int] = []

        def work(number: int) -> None:
            for turn in range(20):
                texts = [f"{number} {turn}", f"common {turn}", TEXTS[turn]]
                if not np.array_equal(cached.encode(texts), HashEncoder().encode(texts)):
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_the_cache_is_for_its_owner_alone(tmp_path: Path) -> None:
    fill(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / "new").iterdir())


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_purge_removes_a_damaged_file_whole(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder / NAME)
    disk_cache.erase_vectors([cache_key(text) for text in TEXTS], folder)
    left = b"".join(file.read_bytes() for file in folder.glob("*"))
    assert HashEncoder().encode(TEXTS[:1]).tobytes() not in left


def test_a_purge_passes_by_what_holds_no_vectors(folder: Path) -> None:
    (folder / "vectors-folder.db").mkdir()
    (folder / "vectors-empty.db").touch()
    assert disk_cache.erase_vectors([cache_key(TEXTS[0])], folder) == 1
