"""One store in many threads, one file in many processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hoptrail.errors import DuplicateId, StoreError
from hoptrail.graph import maintenance as graph_upkeep
from hoptrail.memory.maintenance import checks
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage

WRITER = """
import sys
from hoptrail.errors import DuplicateId
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

won = 0
with Store(sys.argv[1], encoder=HashEncoder()) as store:
    for i in range(40):
        store.add([Passage(id=f"{sys.argv[2]}-{i}", text=f"river {i} of writer {sys.argv[2]}")])
        try:
            store.add([Passage(id=f"common-{i}", text="a bridge")])
            won += 1
        except DuplicateId:
            pass
print(won)
"""


TORTURER = """
import sys
from hoptrail.graph.graph import Graph
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage

me = sys.argv[2]
with Store(sys.argv[1], encoder=HashEncoder()) as store:
    graph = Graph(store)
    for i in range(500):
        own = f"{me}-{i}"
        store.add([Passage(own, f"river {i} of writer {me}", metadata={"i": i})])          # 1
        store.upsert([Passage(f"common-{i}", f"a bridge of {me}", metadata={"by": me})])   # 2
        with store.transaction():  # a counter that all move on, each from what it reads  3
            count = store.get("counter").metadata["n"]
            store.upsert([Passage("counter", "It counts.", metadata={"n": count + 1})])
        store.link(own, Link(f"common-{i}"))                                               # 4
        if i % 2:
            store.delete([own])                                                            # 5
        else:
            store.update(own, text=f"changed item{me}x{i}")
        if i % 100 == 0:
            graph.view(store.view())
            assert store.search(f"item{me}x{i}", 1, mode="sparse")[0].passage.id == own
"""


@pytest.mark.slow
def test_four_processes_write_ten_thousand_times(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Store(path, encoder=HashEncoder()) as store:
        store.add([Passage("counter", "It counts.", metadata={"n": 0})])
        store.view()
        children = [
            subprocess.Popen([sys.executable, "-c", TORTURER, str(path), str(n)]) for n in range(4)
        ]
        while any(child.poll() is None for child in children):
            time.sleep(0.2)  # a reader beside them, which sees what they commit
            seen = store.view()
            assert seen.size == len(set(seen.rowids[seen.alive].tolist()))
        assert [child.returncode for child in children] == [0] * 4
        assert store.get("counter").metadata["n"] == 2000
        held = {p.id: p for p in store.passages()}
        own = {f"{n}-{i}" for n in range(4) for i in range(0, 500, 2)}
        assert held.keys() == own | {f"common-{i}" for i in range(500)} | {"counter"}
        for n in range(4):
            for i in range(0, 500, 2):
                passage = held[f"{n}-{i}"]
                assert passage.text == f"changed item{n}x{i}"
                assert passage.links == (Link(f"common-{i}"),)
        assert len(store.view()) == len(held)
        assert checks.verify(store) == []
        assert graph_upkeep.verify_graph(store) == []


def test_threads_write_and_search_at_once(store: Store) -> None:
    def write(worker: int) -> None:
        for i in range(15):
            store.add([Passage(id=f"{worker}-{i}", text=f"river {i} bridge {worker}")])
            if i % 3 == 0:
                store.delete([f"{worker}-{i}"])

    def search(worker: int) -> int:
        found = 0
        for i in range(40):
            hits = store.search(f"river {i} bridge {worker}", 5)
            found += len(hits)
            assert len({hit.passage.id for hit in hits}) == len(hits)
        return found

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, w) for w in range(3)]
        searchers = [pool.submit(search, w) for w in range(3)]
        for each in writers + searchers:
            each.result()
    assert len(store) == len(store.view()) == 30
    assert store.version == 60


def test_one_of_two_adding_the_same_id_at_once_is_told(store: Store) -> None:
    class Meanwhile(HashEncoder):
        """While it encodes, another adds the same id."""

        def encode(self, texts):
            other.add([Passage(id="a", text="the other's")], on_duplicate="skip")
            return super().encode(texts)

    with (
        Store(store.path, encoder=HashEncoder()) as other,
        Store(store.path, encoder=Meanwhile()) as slow,
    ):
        with pytest.raises(DuplicateId):
            slow.add([Passage(id="a", text="mine"), Passage(id="b", text="mine")])
        assert not store.has("b")
        assert slow.add(
            [Passage(id="a", text="mine"), Passage(id="b", text="mine")], on_duplicate="skip"
        ) == ["b"]
        assert store.get("a").text == "the other's"


def test_an_update_starts_from_what_another_wrote_meanwhile(store: Store) -> None:
    store.add([Passage(id="a", text="river", title="one")])

    class Meanwhile(HashEncoder):
        done = False

        def encode(self, texts):
            if not self.done:
                self.done = True
                other.update("a", title="two")
            return super().encode(texts)

    with (
        Store(store.path, encoder=HashEncoder()) as other,
        Store(store.path, encoder=Meanwhile()) as slow,
    ):
        found = slow.update("a", text="canal")
        assert (found.title, found.text) == ("two", "canal")
        assert other.search("two canal", 1, mode="dense")[0].score == pytest.approx(1)


def test_processes_write_at_once_and_all_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(n)], stdout=subprocess.PIPE, text=True
        )
        for n in range(3)
    ]
    won = [int(child.communicate(timeout=120)[0]) for child in children]
    with Store(path, encoder=HashEncoder()) as store:
        assert sum(won) == 40
        assert len(store) == len(store.view()) == 3 * 40 + 40
        assert store.version == 160


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_told_to_open_its_own(store: Store) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            store.count()
            os.write(writer, b"no error")
        except StoreError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert b"opened before a fork" in os.read(reader, 1000)
    os.close(reader)
    os.close(writer)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write to")
def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    from hoptrail.errors import StoreUnavailable

    with pytest.raises(StoreUnavailable, match="cannot be opened as a store"):
        Store("/proc/a.db")


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("fate", ["removed", "moved", "replaced"])
def test_a_file_that_is_no_more_where_it_was_takes_no_write_and_gives_no_answer(
    tmp_path: Path, fate: str, read_only: bool
) -> None:
    path, other = tmp_path / "a.db", tmp_path / "other.db"
    for file in (path, other):
        with Store(file, encoder=HashEncoder()) as store:
            store.add([Passage("a", f"a river of {file.stem}")])
    store = Store(path, encoder=HashEncoder(), read_only=read_only)
    assert store.search("river")
    if fate == "removed":
        path.unlink()
    elif fate == "moved":
        path.rename(tmp_path / "moved.db")
    else:
        other.replace(path)
    calls: list[Callable[[], object]] = [
        lambda: store.search("river"),
        lambda: store.get("a"),
        lambda: store.add([Passage("b", "a bridge")]),
        lambda: store.delete(["a"]),
        lambda: checks.purge(store),
        lambda: checks.backup(store, tmp_path / "backup.db"),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"not there any more|another file|read-only"):
            call()
    store.close()
