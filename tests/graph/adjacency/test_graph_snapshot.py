"""A graph on disk is read in place of the tables where it is whole and of the same slots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoptrail.graph.adjacency import graph_snapshot, graph_tables
from hoptrail.graph.adjacency.adjacency import Adjacency
from hoptrail.graph.graph import Graph
from hoptrail.graph.view import GraphView
from hoptrail.memory.index import mapped_arrays, snapshot
from hoptrail.memory.maintenance import checks
from hoptrail.memory.storage.namespaces import Scope
from hoptrail.memory.storage.validity import Moment
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage

QUESTION = "Did Ada Lind see Varn or the Ister Beck?"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MINIMUM", 8)


@pytest.fixture
def path(tmp_path: Path, twelve: list[Passage]) -> Path:
    """A store whose graph was read once, so that it lies on disk."""
    with opened(tmp_path / "a.db") as store:
        store.add(twelve)
        seen(store)
    return tmp_path / "a.db"


def opened(path: Path, **options: Any) -> Store:
    return Store(path, encoder=HashEncoder(8), **options)


def graph_of(store: Store, namespace: tuple[str, ...] = ()) -> GraphView:
    return Graph(store).view(store.view(namespace))


def seen(store: Store, namespace: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a new graph answers, with ids in place of slots."""
    view = graph_of(store, namespace)
    living = np.flatnonzero(view.view.alive).tolist()
    passages = view.view.passages(living)
    key = {slot: (p.namespace, p.id) for slot, p in zip(living, passages, strict=True)}
    living.sort(key=key.__getitem__)
    out = [(slot, mention) for slot in living for mention in view.out_mentions(slot)]
    into = [(slot, mention) for slot in living for mention in view.in_mentions(slot)]
    shared = [group for slot in living for group in view.shared_entities(slot, 9)]
    ranks = view.pagerank({living[0]: 1.0, living[-1]: 2.0}, iterations=8)
    return {
        "named": [key[slot] for slot in view.named(QUESTION)],
        "mentions": [(key[slot], key[mention.target], mention.start) for slot, mention in out],
        "in": [(key[slot], key[mention.source], mention.start) for slot, mention in into],
        "links": [(key[s], key[t], kind, w) for s in living for t, kind, w in view.links(s)],
        "entities": [(key[slot], view.entities(slot)) for slot in living],
        "shared": [sorted(key[slot] for slot in group) for group in shared],
        "with": [key[slot] for slot in view.slots_of_entity("varn")],
        "pagerank": [(key[slot], round(float(ranks[slot]), 5)) for slot in living],
    }


def from_the_tables(path: Path, namespace: tuple[str, ...] = ()) -> dict[str, Any]:
    """What is answered by a copy of the store that has no file of its graph."""
    copy = path.with_name("copy.db")
    copy.unlink(missing_ok=True)
    with opened(path) as store:
        checks.backup(store, copy)
    with opened(copy) as store:
        answers = seen(store, namespace)
        snapshot.drop_all(store.database)
    return answers


def graph_files(path: Path) -> list[Path]:
    with opened(path) as store, store.reading() as connection:
        rows = connection.execute("SELECT namespace, file FROM snapshots").fetchall()
    files = [path.with_name("a.db.index") / file for key, file in rows if key[-5:] == "graph"]
    return sorted(file for file in files if file.exists())


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions above which the tables are read from now on."""
    versions: list[int] = []
    read_changes = graph_tables.read_changes

    def counted(connection, bounds, since, words, slots_of):
        versions.append(since)
        return read_changes(connection, bounds, since, words, slots_of)

    monkeypatch.setattr(graph_tables, "read_changes", counted)
    return versions


def test_the_next_to_open_reads_no_tables(path: Path, read: list[int], caplog) -> None:
    expected = from_the_tables(path)
    assert expected["named"]
    assert expected["mentions"]
    assert expected["with"]
    assert expected["shared"]
    before = graph_files(path)
    read.clear()
    with opened(path) as store:
        newest = store.version
        assert seen(store) == expected
    assert read == [newest]
    assert graph_files(path) == before
    assert not caplog.records


def test_what_was_written_since_is_read_and_no_more(path: Path, read: list[int]) -> None:
    with opened(path) as store:
        version = store.version
        store.delete(["p-tolle"])
        store.update("p-varn", text="Varn lies at the Kell. Ada Lind left it.")
        store.add([Passage("p-new", "Ada Lind saw Varn again.", "Kell", links=(Link("p-varn"),))])
        Graph(store).sync()
    expected = from_the_tables(path)
    read.clear()
    with opened(path) as store:
        assert seen(store) == expected
    assert read == [version]


def test_where_much_changed_all_is_read_and_written_anew(path: Path, read: list[int]) -> None:
    before = graph_files(path)
    with opened(path) as store:
        store.add([Passage(f"n{i}", f"Varn has {i} gates.", f"Gate {i}") for i in range(9)])
        Graph(store).sync()
    with opened(path) as store:
        answers = seen(store)
    assert read[-1] == -1
    assert len(graph_files(path)) == 1
    assert graph_files(path) != before
    read.clear()
    with opened(path) as store:
        assert seen(store) == answers
    assert -1 not in read


def test_every_scope_has_its_own(tmp_path: Path, twelve: list[Passage], read: list[int]) -> None:
    path = tmp_path / "a.db"
    with opened(path) as store:
        for space in ("ann", "ben"):
            store.add([Passage(p.id, p.text, p.title, namespace=(space,)) for p in twelve])
        answers = {space: seen(store, space) for space in ((), ("ann",), ("ben",))}
    assert len(graph_files(path)) == 3
    assert len(answers[()]["shared"]) > 2 * len(answers["ann",]["shared"]) > 0
    read.clear()
    with opened(path) as store:
        assert {space: seen(store, space) for space in answers} == answers
    assert -1 not in read


def cut(file: Path) -> None:
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    file.chmod(0o600)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_one_is_named_and_made_anew(
    path: Path, damage: Callable[[Path], None], read: list[int], caplog
) -> None:
    expected = from_the_tables(path)
    [file] = graph_files(path)
    damage(file)
    with opened(path) as store:
        [problem] = checks.verify(store)
        assert str(file) in problem.message
        assert problem.derived
        assert seen(store) == expected
    assert str(file) in caplog.text
    assert "rebuilt from the store" in caplog.text
    assert read[-1] == -1
    assert graph_files(path) != [file]
    caplog.clear()
    with opened(path) as store:
        assert seen(store) == expected
        assert checks.verify(store) == []
    assert read[-1] != -1
    assert not caplog.records


def test_one_of_tables_that_were_built_anew_is_passed_over(path: Path, read: list[int]) -> None:
    with opened(path) as store:
        Graph(store).rebuild()
    expected = from_the_tables(path)
    read.clear()
    with opened(path) as store:
        assert seen(store) == expected
    assert read == [-1]


def test_one_of_other_slots_is_passed_over(path: Path, read: list[int]) -> None:
    with opened(path) as store:
        store.delete(["p-tolle"])
        view = store.view()
        view.save()  # the index file has no slot for it any more
        Graph(store).sync()
    expected = from_the_tables(path)
    read.clear()
    with opened(path) as store:
        assert seen(store) == expected
    assert read == [-1]


def test_one_of_another_layout_is_passed_over(path: Path, read: list[int], monkeypatch) -> None:
    monkeypatch.setattr(graph_snapshot, "FORMAT", graph_snapshot.FORMAT + 1)
    for anew in (True, False):
        with opened(path) as store:
            seen(store)
        assert (read[-1] == -1) == anew


def test_a_passage_that_the_clock_brings_in_is_there(tmp_path: Path, twelve, read) -> None:
    late = Passage("late", "Varn was seen by Ada Lind.", "Late", valid_from=2000.0)
    with opened(tmp_path / "a.db", clock=lambda: 1000.0) as store:
        store.add([*twelve, late])
        assert "late" not in str(seen(store))
    read.clear()
    with opened(tmp_path / "a.db", clock=lambda: 3000.0) as store:
        assert (((), "late"), ((), "p-varn"), 0) in seen(store)["mentions"]
    assert read[-1] == -1


def test_a_passage_that_expired_is_gone_and_nothing_else(tmp_path: Path, twelve) -> None:
    late = Passage("late", "Varn was seen by Ada Lind.", "Late", expires_at=2000.0)
    with opened(tmp_path / "a.db", clock=lambda: 1000.0) as store:
        store.add([*twelve, late])
        assert "late" in str(seen(store))
    with opened(tmp_path / "a.db", clock=lambda: 3000.0, read_only=True) as store:
        answers = seen(store)
        assert "late" not in str(answers)
        assert answers["mentions"]


def test_the_past_has_none(path: Path, read: list[int]) -> None:
    files = graph_files(path)
    with opened(path) as store:
        Graph(store).view(store.view(Scope.parse(()).at(Moment(4e9))))
    assert read == [-1]
    assert graph_files(path) == files


def test_a_read_only_store_reads_one_and_writes_none(path: Path, read: list[int]) -> None:
    expected = from_the_tables(path)
    read.clear()
    with opened(path, read_only=True) as store:
        assert seen(store) == expected
    assert -1 not in read
    [file] = graph_files(path)
    file.unlink()
    with opened(path, read_only=True) as store:
        assert seen(store) == expected
    assert not file.exists()


def test_a_small_graph_is_not_written(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(snapshot, "MINIMUM", 13)
    graph_files(path)[0].unlink()
    with opened(path) as store:
        seen(store)
    assert not graph_files(path)


def test_a_deleted_name_is_in_no_file_after_a_purge(path: Path) -> None:
    [file] = graph_files(path)
    assert b"ister beck" in file.read_bytes()
    with opened(path) as store:
        store.delete(["p-ister-beck"])
        for passage in list(store.passages()):
            if "Ister" in passage.text:
                store.delete([passage.id])
        Graph(store).sync()
        checks.purge(store)
        seen(store)
    assert not [f for f in path.parent.rglob("*") if f.is_file() and b"ister" in f.read_bytes()]


def test_what_lies_in_a_large_file_is_copied(path: Path, monkeypatch) -> None:
    expected = from_the_tables(path)
    monkeypatch.setattr(mapped_arrays, "READ_WHOLE", 0)
    with opened(path) as store:
        arrays: Adjacency = graph_of(store)._arrays
        assert arrays.entities.values.base is None
        assert seen(store) == expected
