"""The log of recalls in a store's file: bounded, in batches, and gone with what it names."""

from __future__ import annotations

import sqlite3

import pytest

from hoptrail.errors import InputError, StoreError
from hoptrail.memory.maintenance import recall_log
from hoptrail.memory.maintenance.checks import purge, verify
from hoptrail.memory.maintenance.recall_log import LoggedQuestion, RecallLog
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        store.add([Passage("a", "Ada was born in Varn."), Passage("v", "Varn is a town.")])
        yield store


def logged(store: Store, number: int, *ids: str, namespace=()) -> LoggedQuestion:
    with store.reading() as connection:
        rowids = [
            connection.execute("SELECT rowid FROM passages WHERE id = ?", (id,)).fetchone()[0]
            for id in ids
        ]
    scores = [1.0 - place / 10 for place in range(len(ids))]
    returned = tuple(zip(rowids, scores, strict=True))
    return LoggedQuestion(
        f"r{number}", f"Q{number}?", namespace, "fast", float(number), 5.0, store.version, returned
    )


def questions(log: RecallLog, namespace=()) -> list[str]:
    return [entry.question for entry in log.entries(namespace, last=1000)]


def test_nothing_is_logged_until_a_memory_is_told_how_much(store) -> None:
    log = RecallLog(store)
    log.note(logged(store, 1, "a"))
    assert log.flush()
    assert questions(log) == []
    with store.reading() as connection:
        assert not connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name LIKE 'log_%'"
        ).fetchall()


def test_the_latest_are_kept_and_the_setting_is_the_file_s(store) -> None:
    RecallLog(store).keep(3)
    log = RecallLog(store)
    assert log.kept == 3
    for number in range(5):
        log.note(logged(store, number, "a", "v"))
    assert questions(log) == ["Q4?", "Q3?", "Q2?"]
    entry = log.entries(last=1)[0]
    assert (entry.effort, entry.asked_at, entry.milliseconds) == ("fast", 4.0, 5.0)
    assert [score for _, score in entry.returned] == [1.0, 0.9]
    log.keep(1)
    assert questions(log) == ["Q4?"]
    log.keep(0)
    log.note(logged(store, 9, "a"))
    assert questions(log) == []


def test_entries_wait_in_memory_and_move_no_version(store, monkeypatch) -> None:
    log = RecallLog(store)
    log.keep(100)
    version = store.version
    log.note(logged(store, 1, "a"))
    assert rows(store) == 0
    monkeypatch.setattr(recall_log, "WAITING", 3)
    log.note(logged(store, 2, "a"))
    assert rows(store) == 0
    log.note(logged(store, 3, "a"))
    assert rows(store) == 3
    log.note(logged(store, 4, "a"))
    log.close()
    assert rows(store) == 4
    assert store.version == version


def rows(store: Store) -> int:
    with store.reading() as connection:
        return int(connection.execute("SELECT count(*) FROM log_recalls").fetchone()[0])


def test_another_writer_is_not_waited_for_and_nothing_is_lost(store) -> None:
    log = RecallLog(store)
    log.keep(100)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    log.note(logged(store, 1, "a"))
    assert not log.flush(wait=False)
    other.execute("ROLLBACK")
    other.close()
    assert questions(log) == ["Q1?"]


def test_what_is_deleted_or_written_over_takes_the_log_of_it_along(store) -> None:
    log = RecallLog(store)
    log.keep(100)
    log.note(logged(store, 1, "a", "v"))
    log.note(logged(store, 2, "a"))
    log.note(logged(store, 3))  # it returned nothing: there is nothing that it would go with
    assert questions(log) == ["Q2?", "Q1?"]
    store.delete(["a"])
    assert questions(log) == ["Q1?"]
    assert len(log.entries(last=1)[0].returned) == 1
    store.update("v", text="Varn is a city.", encoder=HashEncoder())
    assert questions(log) == []
    assert verify(store) == []


def test_what_is_gone_before_it_is_written_is_not_written(store) -> None:
    log = RecallLog(store)
    log.keep(100)
    log.note(logged(store, 1, "a"))
    log.note(logged(store, 2, "a", "v"))
    store.update("a", text="Ada was born in Tolle.", encoder=HashEncoder())
    assert questions(log) == ["Q2?"]


def test_a_scope_sees_and_forgets_its_own_recalls_and_a_purge_erases_them(store) -> None:
    log = RecallLog(store)
    log.keep(100)
    log.note(logged(store, 1, "a"))
    log.note(logged(store, 2, "a", namespace=("team", "ann")))
    log.note(logged(store, 3, "a", namespace=("team", "bob")))
    assert questions(log, ("team", "ann")) == ["Q2?"]
    assert log.forget(("team",)) == 2
    assert questions(log) == ["Q1?"]
    purge(store)
    for file in store.path.parent.glob("a.db*"):
        assert b"Q2?" not in file.read_bytes()


def test_a_number_that_is_none_and_a_store_that_is_read_only_are_refused(store) -> None:
    log = RecallLog(store)
    for wrong in (-1, 1.5, True, 10_000_000):
        with pytest.raises(InputError, match="recalls to keep"):
            log.keep(wrong)
    log.keep(5)
    log.note(logged(store, 1, "a"))
    log.close()
    with Store(store.path, encoder=HashEncoder(), read_only=True) as reader:
        other = RecallLog(reader)
        other.note(logged(store, 2, "a"))
        assert questions(other) == ["Q1?"]
        with pytest.raises(StoreError):
            other.keep(3)
