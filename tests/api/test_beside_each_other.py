"""Threads, processes, forks and interrupts beside each other: no deadlock, no broken state."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from hoptrail import AsyncMemory, Memory, Passage
from hoptrail.errors import EncoderMismatch, HoptrailError, StoreError, StoreUnavailable
from hoptrail.memory.encoders import transformer
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.search.rerankers.judge import Judge
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy

_numbers = count()


def beside(memory: Memory, ending: str) -> Path:
    """A new file's path beside the memory's."""
    return memory.store.path.with_name(f"{next(_numbers)}{ending}")


CALLS: dict[str, Callable[[Memory], object]] = {
    "add": lambda memory: memory.add("another river"),
    "update": lambda memory: memory.update("a", text="a changed river"),
    "search": lambda memory: memory.search("river"),
    "recall": lambda memory: memory.recall("Which river?", effort="fast"),
    "get": lambda memory: memory.get("a"),
    "count": lambda memory: memory.count(),
    "audit": lambda memory: memory.audit(),
    "verify": lambda memory: memory.verify(),
    "feedback": lambda memory: memory.feedback_given(),
    "export": lambda memory: memory.export(beside(memory, ".jsonl")),
    "backup": lambda memory: memory.backup(beside(memory, ".backup")),
    "change_encoder": lambda memory: memory.change_encoder(HashEncoder(16)),
}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy([PolicyNetwork(NetworkConfig())])


@pytest.fixture
def memory(tmp_path: Path, policy) -> Iterator[Memory]:
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=policy) as memory:
        memory.add([Passage("a", "the old river"), Passage("b", "a bridge of the river")])
        yield memory


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_memory_may_be_closed_beside_a_thread_in_a_transaction(memory: Memory) -> None:
    entered, close, written = threading.Event(), threading.Event(), []

    def several() -> None:
        with memory.store.transaction():
            memory.add(Passage("c", "before it is closed"))
            entered.set()
            close.wait(5)
            time.sleep(0.1)
        written.append("c")

    writing = in_thread(several)
    assert entered.wait(5)
    closing_ = in_thread(lambda: (close.set(), memory.close()))
    for thread in (writing, closing_):
        thread.join(20)
        assert not thread.is_alive()
    with pytest.raises(StoreError, match="closed"):
        memory.count()
    with Memory(memory.store.path, encoder=HashEncoder(), policy=None) as again:
        assert [passage.id for passage in again.store.passages()] == ["a", "b", *written]
        assert again.verify() == []


@pytest.mark.parametrize("name", CALLS)
def test_a_call_beside_a_thread_in_a_transaction_ends(memory: Memory, name: str) -> None:
    entered, errors = threading.Event(), []

    def several() -> None:
        with memory.store.transaction():
            entered.set()
            time.sleep(0.1)
            memory.add("in the transaction")

    def other() -> None:
        try:
            CALLS[name](memory)
        except HoptrailError as error:
            errors.append(error)

    threads = [in_thread(several)]
    entered.wait(5)
    threads.append(in_thread(other))
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not errors
    assert memory.count() >= 3


def test_a_progress_callback_may_write_search_and_recall(memory: Memory) -> None:
    def progress(done: int, total: int) -> None:
        memory.add(f"noted {done} of {total}")
        memory.search("river")
        memory.recall("Which river?", effort="fast")

    memory.add("one more river", progress=progress)
    assert memory.count() == 5


def test_while_a_write_is_encoded_the_store_has_its_own_encoder(memory: Memory) -> None:
    before, seen = memory.store.encoder, []
    memory.add("one more", progress=lambda *_: seen.append(memory.store.encoder))
    assert seen
    assert all(encoder is before for encoder in seen)


class Slow:
    """Whatever is slow in a call: it waits until it is let go."""

    def __init__(self) -> None:
        self.waiting, self.go_on = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.waiting.set()
        self.go_on.wait(60)

    def fuse(self, evidence) -> np.ndarray:
        """As a fusion."""
        self.wait()
        return np.asarray(evidence.dense)

    def judge(self, question: str, passages: Sequence[Passage]) -> list[float]:
        """As a reranker."""
        self.wait()
        return [1.0] * len(passages)


class SlowEncoder(HashEncoder):
    """Waits where a text says that it is slow."""

    def __init__(self, slow: Slow) -> None:
        super().__init__()
        self.slow = slow

    def encode(self, texts):
        if any("slow" in text for text in texts):
            self.slow.wait()
        return super().encode(texts)


SLOW_CALLS: dict[str, Callable[[Memory, Slow], object]] = {
    "recall by a slow encoder": lambda memory, slow: memory.recall("slow one?", effort="fast"),
    "search by a slow encoder": lambda memory, slow: memory.search("slow one?"),
    "write by a slow encoder": lambda memory, slow: memory.add("a slow river"),
    "search by a slow reranker": lambda memory, slow: memory.search(
        "river", pipeline=Pipeline([Search(keep=5), Judge(slow.judge)])
    ),
    "search by a slow fusion": lambda memory, slow: memory.search("river", fusion=slow),
}


@pytest.mark.parametrize("name", SLOW_CALLS)
def test_eight_threads_recall_and_search_beside_a_slow_call(
    tmp_path: Path, policy, name: str
) -> None:
    slow = Slow()
    with Memory(tmp_path / "a.db", encoder=SlowEncoder(slow), policy=policy) as memory:
        memory.add([f"river {i}" for i in range(5)])
        waiting = in_thread(lambda: SLOW_CALLS[name](memory, slow))
        assert slow.waiting.wait(30)
        answers: list[int] = []

        def answer() -> None:
            recall = memory.recall("Which river?", 5, effort="fast")
            answers.append(len(recall.hits) + len(memory.search("river", 5)))

        others = [in_thread(answer) for _ in range(8)]
        latest = time.monotonic() + 30
        for thread in others:
            thread.join(max(0.0, latest - time.monotonic()))
        answered_beside_it, still_waiting = len(answers), waiting.is_alive()
        slow.go_on.set()
        for thread in (waiting, *others):
            thread.join(30)
            assert not thread.is_alive()
        assert still_waiting
        assert answered_beside_it == 8
        assert answers == [10] * 8


# One that comes while Python runs a finaliser is printed and swallowed by Python itself.
@pytest.mark.filterwarnings(
    "ignore:(?s)Exception ignored.*KeyboardInterrupt:pytest.PytestUnraisableExceptionWarning"
)
def test_an_interrupt_at_any_moment_leaves_a_memory_that_works(tmp_path: Path) -> None:
    armed = False

    def interrupt(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=None) as memory:
            memory.add([f"river {i}" for i in range(5)])
            until, n = time.monotonic() + 3, 0
            while time.monotonic() < until:
                n += 1
                with suppress(KeyboardInterrupt):  # between the end of a call and the next line
                    with suppress(KeyboardInterrupt, HoptrailError):
                        armed = True
                        signal.setitimer(signal.ITIMER_REAL, 0.00005 * (1 + n % 40))
                        memory.delete(memory.add(f"text {n}")) if n % 2 else memory.search("river")
                    armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                memory.add(Passage(f"after-{n}", "after"))
                assert memory.delete(f"after-{n}") == 1
                assert len(memory.search("river", 5)) == 5
            assert memory.verify() == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def child(work: Callable[[], object], seconds: int = 20) -> int:
    """What a forked child that does some work ends with: 0 if it was done."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def test_a_child_of_a_fork_is_refused_at_once_and_may_open_its_own(memory: Memory, policy) -> None:
    stop = threading.Event()

    def busy() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            memory.add(f"busy {n}")
            memory.search("river")

    def refused() -> None:
        for call in (*CALLS.values(), Memory.close):
            with pytest.raises(StoreError, match="before a fork"):
                call(memory)

    def own() -> None:
        with Memory(memory.store.path, encoder=HashEncoder(), policy=policy) as mine:
            assert mine.recall("Which river?", effort="fast").hits
            mine.add("written by the child")

    thread = in_thread(busy)
    try:
        for _ in range(4):
            time.sleep(0.02)
            assert child(refused) == 0
            assert child(own) == 0
    finally:
        stop.set()
        thread.join(20)
    memory.close()
    with Memory(memory.store.path, encoder=HashEncoder(), policy=None) as again:
        texts = [passage.text for passage in again.store.passages()]
        assert texts.count("written by the child") == 1
        assert again.verify() == []


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for something that another thread does."""
    latest = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.005)


@pytest.fixture
def slow_default(monkeypatch) -> tuple[threading.Event, threading.Event]:
    """A default encoder that is loaded for as long as a test likes: has it begun, may it end."""
    begun, go_on = threading.Event(), threading.Event()

    def load(**_: object) -> HashEncoder:
        begun.set()
        go_on.wait(20)
        return HashEncoder()

    monkeypatch.setattr(transformer, "minilm", load)
    return begun, go_on


def test_a_change_of_encoder_may_end_while_the_first_one_is_still_loading(
    tmp_path: Path, monkeypatch, policy, slow_default
) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    loading, loaded = slow_default
    encode, answers, path = threading.Event(), [], tmp_path / "a.db"

    class Next(HashEncoder):
        def encode(self, texts):
            encode.wait(20)
            return super().encode(texts)

    with Memory(path, encoder=HashEncoder(), policy=None) as first:
        first.add([Passage("a", "the old river"), Passage("b", "a bridge")])
    with Memory(path, policy=policy) as memory:
        change = memory.change_encoder(Next(16), background=True)
        until(lambda: memory.encoder_change() is not None)
        waiting = [
            in_thread(lambda: answers.append(memory.search("river", 2))),
            in_thread(lambda: answers.append(memory.recall("Which river?", 2, effort="fast"))),
            in_thread(lambda: answers.append(memory.add(Passage("c", "a new river")))),
        ]
        assert loading.wait(5)
        encode.set()
        until(lambda: memory.encoder_change() is None)
        loaded.set()
        for thread in waiting:
            thread.join(20)
            assert not thread.is_alive()
        assert change.wait(10)
        assert len(answers) == 3
        assert memory.verify() == []


def test_an_encoder_that_did_not_make_the_vectors_is_refused_though_it_was_slow(
    tmp_path: Path, slow_default
) -> None:
    slow_default[1].set()
    with Memory(tmp_path / "a.db", encoder=HashEncoder(16), policy=None) as first:
        first.add("the old river")
    with Memory(tmp_path / "a.db", policy=None) as memory:
        for _ in range(2):
            with pytest.raises(EncoderMismatch):
                memory.search("river")


def test_a_fork_waits_for_an_encoder_that_is_being_loaded(tmp_path: Path, slow_default) -> None:
    loading, loaded = slow_default
    path = tmp_path / "a.db"

    def own() -> None:
        with Memory(path, policy=None) as mine:
            assert mine.search("river", 1)[0].passage.id == "a"

    with Memory(path, encoder=HashEncoder(), policy=None) as first:
        first.add(Passage("a", "the old river"))
    with Memory(path, policy=None) as memory:
        searching = in_thread(lambda: memory.search("river"))
        assert loading.wait(5)
        letting = in_thread(lambda: (time.sleep(0.2), loaded.set()))
        assert child(own) == 0
        assert loaded.is_set()  # the fork was not before
        for thread in (searching, letting):
            thread.join(10)
            assert not thread.is_alive()


OPENING = """
import sys, time
from pathlib import Path
from hoptrail import Memory
from hoptrail.memory.testing.hash_encoder import HashEncoder

path, number = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
with Memory(path, encoder=HashEncoder(), policy=None) as memory:
    for turn in range(5):
        memory.add(f"river {number} of turn {turn}")
    assert memory.search(f"river {number}", 1)
"""


def test_several_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING, str(path), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    for one in children:
        assert one.stdout
        assert one.stdout.readline() == "ready\n"
    for one in children:
        assert one.stdin
        one.stdin.write("go\n")
        one.stdin.flush()
    assert [one.communicate(timeout=60)[1] for one in children] == [""] * 4
    with Memory(path, encoder=HashEncoder(), policy=None) as memory:
        assert memory.count() == 20
        assert memory.verify() == []


def test_opening_and_recalling_wait_for_no_other_process(memory: Memory, policy) -> None:
    memory.recall("Which river?", effort="fast")
    memory.add("a fresh river")
    with closing(sqlite3.connect(memory.store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert len(memory.recall("Which river?", effort="fast").hits) == 3
        assert memory.search("fresh", 1, mode="sparse")[0].passage.text == "a fresh river"
        with Memory(memory.store.path, encoder=HashEncoder(), policy=policy) as second:
            assert second.count() == 3
        # The last statistics are given a moment when it is closed.
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("effort", ["fast", "balanced"])
def test_beside_one_who_replaces_passages_there_are_always_hits(
    tmp_path: Path, policy, effort: str
) -> None:
    path, n = tmp_path / "a.db", 0
    with Memory(path, encoder=HashEncoder(), policy=None) as other:
        other.add(Passage("p0", "Ada Lind of Varn 0"))

        class Busy(HashEncoder):
            def encode(self, texts):
                nonlocal n
                n += 1
                with other.store.transaction():
                    other.store.forget(None)
                    other.store.add([Passage(f"p{n}", f"Ada Lind of Varn {n}")])
                return super().encode(texts)

        with Memory(path, encoder=Busy(), policy=policy, queries_kept=0) as memory:
            for _ in range(3):
                assert len(memory.recall("Who is Ada Lind?", 1, effort=effort).hits) == 1
                assert [hit.passage.id for hit in memory.search("Ada Lind", 1)] == [f"p{n}"]


def test_closing_in_a_transaction_or_a_callback_is_an_error_or_done(memory: Memory) -> None:
    with (
        pytest.raises(StoreError, match="cannot be closed in a transaction"),
        memory.store.transaction(),
    ):
        memory.close()
    assert memory.count() == 2
    with pytest.raises(StoreError, match="closed"):
        memory.add("never", progress=lambda *_: memory.close())
    memory.close()
    for call in CALLS.values():
        with pytest.raises(StoreError, match="closed"):
            call(memory)


def test_a_memory_is_neither_copied_nor_pickled(memory: Memory) -> None:
    for thing in (memory, memory.store, AsyncMemory(memory)):
        for make in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(StoreError, match="cannot be copied or pickled"):
                make(thing)


@pytest.mark.parametrize("path", [":memory:", "file::memory:", "file:a.db?mode=memory"])
def test_what_sqlite_would_not_take_for_a_file_is_refused(
    tmp_path: Path, monkeypatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreUnavailable, match="a store is one file"):
        Memory(path, encoder=HashEncoder(), policy=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a b.db", "a%20b.db", "a?b=1.db", "a#b.db", "büch er.db"])
def test_a_relative_path_stays_the_same_file_in_another_folder(
    tmp_path: Path, monkeypatch, name: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with Memory(name, encoder=HashEncoder(), policy=None) as memory:
        memory.add("a river")
        monkeypatch.chdir(tmp_path / "elsewhere")
        memory.add("a bridge")
        assert memory.search("bridge", 1)[0].passage.text == "a bridge"
        memory.backup(tmp_path / "backup.db")
        memory.purge()
        assert memory.store.path == tmp_path / name
    assert not list((tmp_path / "elsewhere").iterdir())
    with Memory(tmp_path / "backup.db", encoder=HashEncoder(), policy=None) as again:
        assert again.count() == 2


def as_nobody(work: Callable[[], object]) -> int:
    def drop() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        work()

    return child(drop)


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A folder that others may read but not write."""
    if not hasattr(os, "geteuid") or os.geteuid():
        pytest.skip("needs root, to become nobody")
    import tempfile

    import faiss  # noqa: F401  # nobody may not read where it lies
    import Stemmer  # noqa: F401

    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_read_only_sees_the_log_beside_the_file_or_is_refused(public: Path) -> None:
    made, copied = public / "made", public / "copied"
    made.mkdir()
    copied.mkdir()
    with Memory(made / "a.db", encoder=HashEncoder(), policy=None) as memory:
        memory.add("first")
        with closing(sqlite3.connect(made / "a.db")) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        memory.add("second, in the log")
        for end in ("", "-wal"):
            (copied / f"a.db{end}").write_bytes((made / f"a.db{end}").read_bytes())
            (copied / f"a.db{end}").chmod(0o644)

    def read() -> None:
        with Memory(copied / "a.db", encoder=HashEncoder(), policy=None, read_only=True) as reader:
            assert reader.count() == 2
            assert len(reader.search("second", 2, mode="sparse")) == 1

    assert as_nobody(read) == 0


def test_a_reader_that_may_not_write_sees_what_a_writer_does_later(public: Path) -> None:
    path, ready = public / "a.db", os.pipe()
    with Memory(path, encoder=HashEncoder(), policy=None) as memory:
        memory.add([f"first {i}" for i in range(3)])
    path.chmod(0o644)

    def write() -> None:
        os.read(ready[0], 1)
        with Memory(path, encoder=HashEncoder(), policy=None) as memory:
            memory.store.forget(None)
            memory.add([f"third {i}" for i in range(7)])
            memory.purge()

    def read() -> None:
        with Memory(path, encoder=HashEncoder(), policy=None, read_only=True) as reader:
            assert reader.count() == 3
            os.write(ready[1], b"x")
            until = time.monotonic() + 10
            while reader.count() != 7:
                assert time.monotonic() < until
                time.sleep(0.05)
            assert len(reader.search("third", 9, mode="sparse")) == 7
            assert reader.verify() == []

    writer = in_thread(write)
    assert as_nobody(read) == 0
    writer.join(10)


def test_what_had_expired_is_there_again_when_the_clock_is_set_back(tmp_path: Path) -> None:
    from hoptrail.memory.store import Store
    from hoptrail.memory.testing.hash_encoder import Clock

    clock = Clock()
    with Store(tmp_path / "a.db", encoder=HashEncoder(), clock=clock) as store:
        store.add([Passage("a", "a river", expires_at=clock() + 10), Passage("b", "a bridge")])
    with Store(tmp_path / "a.db", encoder=HashEncoder(), clock=clock, read_only=True) as store:
        assert len(store.search("river", 5)) == 2
        clock.now += 20
        assert len(store.search("river", 5)) == 1
        clock.now -= 20
        assert store.count() == len(store.search("river", 5)) == 2
