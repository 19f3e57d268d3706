"""What is counted of passages: rightly, in batches, in nobody's way, and gone with them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoptrail.errors import FormatError, UnknownId
from hoptrail.memory.maintenance import checks, export, near_duplicates
from hoptrail.memory.passages import usage
from hoptrail.memory.passages.usage import Counts
from hoptrail.memory.storage import schema
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import Clock, HashEncoder
from hoptrail.types import Link, Passage


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(path: Path, clock: Clock, **options) -> Store:
    return Store(path, encoder=HashEncoder(), clock=clock, **options)


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    with opened(tmp_path / "a.db", clock) as found:
        found.add([Passage(f"p{i}", f"river {i}") for i in range(4)])
        yield found


def written(store: Store) -> dict[int, tuple[int, float | None]]:
    """What the file itself says."""
    with store.reading() as connection:
        rows = connection.execute("SELECT passage, recalls, recalled_at FROM statistics")
        return {row: (recalls, at) for row, recalls, at in rows}


def counts(store: Store, id_: str) -> Counts:
    return usage.history(store, id_).counts


def test_what_a_search_returns_is_counted_and_nothing_else(store: Store, clock: Clock) -> None:
    store.search("river 1", 2)
    clock.now = 1005.0
    [hit] = store.search("river 1", 1)
    store.search("zebra", mode="sparse")
    assert hit.passage.id == "p1"
    assert counts(store, "p1") == Counts(1000.0, 0, 2, 1005.0)
    assert sorted(counts(store, f"p{i}").recalls for i in range(4)) == [0, 0, 1, 2]
    with store.recorder.paused():
        store.search("river 1", 2)
    assert counts(store, "p1").recalls == 2
    usage.note(store, [hit.passage, Passage("none", "x")])
    assert counts(store, "p1").recalls == 3


def test_counts_wait_in_memory_and_move_no_version(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "RECALLS_KEPT", 3)
    store.recorder.flush()
    before, view = store.version, store.view()
    for _ in range(2):
        store.search("river 1", 1)
    assert set(written(store).values()) == {(0, None)}
    store.search("river 1", 1)
    assert written(store)[2] == (3, 1000.0)
    store.search("river 2", 1)
    clock.now += usage.SECONDS_KEPT - 1
    store.search("river 2", 1)
    assert written(store)[3] == (0, None)
    clock.now += 1
    store.search("river 2", 1)
    assert written(store)[3] == (3, clock.now)
    assert (store.version, view.refresh()) == (before, False)


def test_closing_writes_what_is_left(store: Store, clock: Clock) -> None:
    store.search("river 1", 1)
    store.close()
    with opened(store.path, clock, read_only=True) as reader:
        assert counts(reader, "p1").recalls == 1
        reader.search("river 1", 1)
        assert counts(reader, "p1").recalls == 1
    with opened(store.path, clock, track_usage=False) as silent:
        silent.search("river 1", 1)
        assert counts(silent, "p1").recalls == 1


def test_a_recall_waits_for_no_writer_and_its_counts_are_kept(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "RECALLS_KEPT", 1)
    store.recorder.flush()
    with opened(store.path, clock) as other, other.transaction():
        started = time.monotonic()
        store.search("river 1", 1)
        store.search("river 1", 1)
        assert time.monotonic() - started < 10  # a writer is waited for thirty seconds
        assert written(store)[2] == (0, None)
        assert counts(store, "p1").recalls == 2
    with store.reading():  # nor is anything written inside of a reading
        assert not store.recorder.flush()
    store.search("river 1", 1)
    assert written(store)[2] == (3, 1000.0)


def test_closing_does_not_hang_behind_a_long_write(store: Store, clock: Clock) -> None:
    store.search("river 1", 1)
    with opened(store.path, clock) as other, other.transaction():
        started = time.monotonic()
        store.close()
        assert time.monotonic() - started < 10  # a writer is waited for thirty seconds
    with opened(store.path, clock) as again:
        assert counts(again, "p1").recalls == 0
        assert again.count() == 4


def test_two_processes_add_up(store: Store, clock: Clock) -> None:
    with opened(store.path, clock) as other:
        store.search("river 1", 1)
        clock.now += 5
        other.search("river 1", 1)
        other.recorder.flush()
        store.recorder.flush()
    assert written(store)[2] == (2, 1005.0)


def test_changes_are_told_from_links_and_what_is_the_same(store: Store, clock: Clock) -> None:
    clock.now += 7
    store.upsert([Passage("p0", "river 0")])
    store.link("p0", Link("p1"))
    assert counts(store, "p0").updates == 0
    store.update("p0", text="a lake")
    store.update("p0", expires_at=2000.0)
    store.add([Passage("p0", "a pond")], on_duplicate="replace")
    found = usage.history(store, "p0")
    assert found.counts == Counts(1000.0, 3, 0, None)
    assert (found.written_at, found.used_at) == (1007.0, 1007.0)


def test_provenance_is_told(store: Store) -> None:
    store.add([Passage("d", "Dues are paid in May.", metadata={"source": "notes/dues.md"})])
    near_duplicates.add_distinct(store, [Passage("e", "Dues are paid in May.")], then="merge")
    found = usage.history(store, "d")
    assert (found.source, found.merged_from) == ("notes/dues.md", ("e",))
    store.update("d", metadata={"source": 7, "merged_from": "x"})
    found = usage.history(store, "d")
    assert (found.source, found.merged_from) == (None, ("e",))
    with pytest.raises(UnknownId):
        usage.history(store, "none")


def test_a_delete_takes_the_counts_and_nobody_inherits_them(store: Store, clock: Clock) -> None:
    store.search("river 1", 1)
    store.recorder.flush()
    store.search("river 1", 1)  # in memory still, when it goes
    store.delete(["p1"])
    assert store.recorder.flush()
    assert 2 not in written(store)
    store.add([Passage("p1", "river 1")])
    assert counts(store, "p1") == Counts(1000.0, 0, 0, None)
    store.add([Passage("soon", "brook", expires_at=1001.0)])
    clock.now = 1001.0
    assert [h.id for h in usage.histories(store)] == ["p0", "p1", "p2", "p3"]
    store.forget(None)
    assert written(store) == {}
    assert checks.verify(store) == []


def test_export_and_import_lose_no_count(store: Store, clock: Clock, tmp_path: Path) -> None:
    store.search("river 1", 2)
    store.update("p2", text="a lake")
    before = list(usage.histories(store))
    export.export(store, tmp_path / "all.jsonl")
    clock.now += 100
    with opened(tmp_path / "b.db", clock) as other:
        export.import_file(other, tmp_path / "all.jsonl")
        assert list(usage.histories(other)) == before
    checks.backup(store, tmp_path / "c.db")
    with opened(tmp_path / "c.db", clock) as other:
        assert list(usage.histories(other)) == before
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    for wrong in ({"recalls": -1}, {"recalls": True}, {"recalled_at": "now"}, {"likes": 1}, [1]):
        record = {**json.loads(lines[1]), "counts": wrong}
        (tmp_path / "bad.jsonl").write_text(lines[0] + "\n" + json.dumps(record) + "\n")
        with opened(tmp_path / "d.db", clock) as other:
            with pytest.raises(FormatError, match=r"line 2: .*counts"):
                export.import_file(other, tmp_path / "bad.jsonl")
            assert other.count() == 0


def test_a_store_without_the_tables_is_read_and_brought_up(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "old.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "LISTS", schema.LISTS[:1])
        with opened(path, clock) as old:
            old.add([Passage("a", "river")])
    with opened(path, clock, read_only=True) as reader:
        assert counts(reader, "a") == Counts()
        export.export(reader, tmp_path / "old.jsonl")
    with opened(path, clock) as store:
        store.search("river", 1)
        store.recorder.flush()
        assert counts(store, "a") == Counts(None, 0, 1, 1000.0)


ids = st.sampled_from(["p0", "p1", "p2", "p3"])
steps = st.one_of(
    st.tuples(st.sampled_from(["add", "upsert", "delete", "search"]), ids),
    st.tuples(st.sampled_from(["flush", "reopen", "forget"]), st.just("")),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(did=st.lists(steps, max_size=25))
def test_whatever_is_done_the_counts_are_those_of_the_passages_that_live(
    tmp_path_factory, did: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("counts") / "a.db"
    clock, model = Clock(), {}  # by id: changes and recalls
    store = opened(path, clock)
    for number, (what, id_) in enumerate(did):
        if what in ("add", "upsert"):
            if what == "add":
                store.add([Passage(id_, f"river {number}")], on_duplicate="replace")
            else:
                store.upsert([Passage(id_, f"river {number}")])
            model[id_] = (model[id_][0] + 1, model[id_][1]) if id_ in model else (0, 0)
        elif what == "delete" and id_ in model:
            store.delete([id_])
            del model[id_]
        elif what == "search":
            for hit in store.search(id_, 2):
                updates, recalls = model[hit.passage.id]
                model[hit.passage.id] = updates, recalls + 1
        elif what == "flush":
            store.recorder.flush()
        elif what == "reopen":
            store.close()
            store = opened(path, clock)
        elif what == "forget":
            store.forget({"$id": {"$gte": "p2"}})
            model = {key: counts for key, counts in model.items() if key < "p2"}
    found = {h.id: (h.counts.updates, h.counts.recalls) for h in usage.histories(store)}
    assert found == model
    store.close()


CHILD = """
import sys
from hoptrail.memory.passages import usage
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder

usage.RECALLS_KEPT = 10
store = Store(sys.argv[1], encoder=HashEncoder())
print("open", flush=True)
for n in range(100_000):
    store.search("river 1", 1)
    print(n + 1, flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_loses_at_most_what_it_kept_in_memory(store: Store) -> None:
    total = 0
    for round_ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(store.path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout
        assert child.stdout.readline() == "open\n"
        for _ in range(25 + 7 * round_):
            done = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        rest = child.communicate()[0].split()
        done = int(rest[-1]) if rest else done
        found = counts(store, "p1").recalls - total
        assert done - 10 <= found <= done + 1
        total += found
    assert checks.verify(store) == []
