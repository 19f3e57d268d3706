"""Feedback in the store's file: kept, replaced, and gone with what it is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hoptrail.errors import InputError, StoreError
from hoptrail.memory.feedback import (
    MIGRATIONS,
    OWNER,
    Feedback,
    FeedbackLog,
    LoggedRecall,
    LoggedTrail,
)
from hoptrail.memory.maintenance import checks
from hoptrail.memory.maintenance.mending import repair
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "memory.db", encoder=HashEncoder()) as opened:
        opened.add(
            [
                Passage("a", "Quorl began in Benta.", namespace=("ann",)),
                Passage("b", "Benta lies by the Corvan.", namespace=("ann",)),
                Passage("c", "The Corvan flows north.", namespace=("ann",)),
                Passage("d", "Dorn is a cold lake.", namespace=("bob",)),
            ]
        )
        yield opened


def recall(store: Store, id: str = "r1", **changes: object) -> LoggedRecall:
    made = LoggedRecall(
        id=id,
        question="Where did Quorl begin?",
        namespace=("ann",),
        filter={"lang": "en"},
        effort="fast",
        explore=3,
        policy="0123",
        version=store.version,
        asked_at=12.5,
        returned=(1, 3, 2),
        trails=(
            LoggedTrail(0, (1, 2), True, -0.5, -0.1),
            LoggedTrail(1, (), True, -2.0, -0.7),
            LoggedTrail(2, (3, 1), False, -3.0, -1.5),
        ),
    )
    return replace(made, **changes)


def test_what_is_written_is_read_again(store) -> None:
    log = FeedbackLog(store)
    assert log.entries() == []
    assert log.count() == 0
    assert log.find("r1") is None
    assert log.record(recall(store), 0.75)
    assert log.record(recall(store), 1, (3,))
    assert log.entries() == [Feedback(recall(store), 0.75, {3: 1.0})]
    assert log.find("r1") == recall(store)
    deterministic = recall(
        store, "r2", explore=None, filter=None, trails=(LoggedTrail(0, (1,), True, -0.5),)
    )
    log.record(deterministic, 0.0, (1, 2))
    assert log.entries()[1] == Feedback(deterministic, None, {1: 0.0, 2: 0.0})
    assert repr(log).endswith("memory.db: 2 recalls>")


def test_what_is_said_later_counts(store) -> None:
    log = FeedbackLog(store)
    for reward in (0.2, 0.9):
        log.record(recall(store), reward)
        log.record(recall(store), reward, (1,))
    log.record(recall(store), 0.4, (2,))
    assert log.entries() == [Feedback(recall(store), 0.9, {1: 0.9, 2: 0.4})]


@pytest.mark.parametrize("reward", [-0.1, 1.1, float("nan"), "1", None, True])
def test_a_reward_lies_between_0_and_1(store, reward) -> None:
    with pytest.raises(InputError, match=r"reward must .* \[0, 1\]"):
        FeedbackLog(store).record(recall(store), reward)
    assert FeedbackLog(store).count() == 0


@pytest.mark.parametrize("gone", ["deleted", "written over"])
def test_a_passage_takes_along_what_it_brought(store, gone) -> None:
    log = FeedbackLog(store)
    log.record(recall(store), 1.0)
    log.record(recall(store), 1.0, (2, 3))
    if gone == "deleted":
        store.delete(["b"], ("ann",))
    else:
        store.update("b", text="Benta lies by the Dorn.", namespace=("ann",))
    [left] = log.entries()
    assert left.recall.returned == (1, 3)
    assert left.passages == {3: 1.0}
    assert [trail.place for trail in left.recall.trails] == [1, 2]
    assert checks.verify(store) == []


def test_metadata_may_change(store) -> None:
    log = FeedbackLog(store)
    log.record(recall(store), 1.0)
    store.update("b", metadata={"seen": True}, namespace=("ann",))
    assert log.entries() == [Feedback(log.find("r1"), 1.0, {})]
    assert log.find("r1").returned == (1, 3, 2)


def test_a_recall_goes_with_the_last_of_what_it_returned(store) -> None:
    log = FeedbackLog(store)
    log.record(recall(store), 1.0)
    store.delete(["a", "b", "c"], ("ann",))
    assert log.entries() == []
    with store.reading() as connection:
        for table in ("recalls", "returned", "trails", "hops"):
            assert connection.execute(f"SELECT count(*) FROM feedback_{table}").fetchone() == (0,)


def test_of_what_is_gone_before_it_was_judged_nothing_is_kept(store) -> None:
    log = FeedbackLog(store)
    asked = recall(store)
    store.update("a", text="Quorl began in Dorn.", namespace=("ann",))
    store.delete(["c"], ("ann",))
    assert log.record(asked, 1.0)
    [left] = log.entries()
    assert left.recall.returned == (2,)
    assert [trail.passages for trail in left.recall.trails] == [()]
    store.delete(["b"], ("ann",))
    assert not log.record(replace(asked, id="r2"), 1.0)
    assert log.count() == 0


def test_a_scope_sees_its_own(store) -> None:
    log = FeedbackLog(store)
    log.record(recall(store, "ann"), 1.0)
    log.record(recall(store, "bob", namespace=("bob",), returned=(4,), trails=()), 1.0)
    log.record(recall(store, "all", namespace=(), returned=(1, 4)), 1.0)

    def ids(*namespace: str) -> set[str]:
        return {feedback.recall.id for feedback in log.entries(namespace)}

    assert ids() == {"ann", "bob", "all"}
    assert ids("ann") == {"ann"}
    assert ids("an") == ids("ann", "x") == set()
    assert log.count(("bob",)) == 1
    assert log.forget(("ann",)) == 1
    assert ids() == {"bob", "all"}
    assert log.forget() == 2
    assert log.forget() == 0


def test_a_purge_leaves_no_byte_of_it(store, tmp_path) -> None:
    log = FeedbackLog(store)
    log.record(recall(store, question="Whose secret is Zyxwv?"), 1.0)
    checks.purge(store)
    assert b"Zyxwv" in (tmp_path / "memory.db").read_bytes()
    log.forget(("ann",))
    checks.purge(store)
    for file in tmp_path.glob("memory.db*"):
        if file.is_file():
            assert b"Zyxwv" not in file.read_bytes()


def test_a_backup_holds_it_and_a_reader_cannot_write_it(store, tmp_path) -> None:
    FeedbackLog(store).record(recall(store), 1.0)
    copied = checks.backup(store, tmp_path / "copy.db")
    with Store(copied, encoder=HashEncoder(), read_only=True) as copy:
        assert FeedbackLog(copy).entries() == FeedbackLog(store).entries()
        with pytest.raises(StoreError, match="read-only"):
            FeedbackLog(copy).record(recall(store), 0.0)


DAMAGE = {
    "feedback_recalls": "UPDATE feedback_recalls SET question = 'Where?' WHERE id = 'r2'",
    "feedback_returned": "UPDATE feedback_returned SET reward = 0.5 WHERE recall = 2",
    "feedback_trails": "UPDATE feedback_trails SET log_prob = -9.5 WHERE recall = 2 AND place = 0",
    "feedback_hops": "UPDATE feedback_hops SET step = step + 7 WHERE trail = "
    "(SELECT number FROM feedback_trails WHERE recall = 2 AND place = 0)",
}


@pytest.mark.parametrize("table", DAMAGE)
def test_feedback_that_is_not_as_it_was_written_is_named_and_removed(store, table: str) -> None:
    log = FeedbackLog(store)
    for id in ("r1", "r2", "r3"):
        log.record(recall(store, id), 0.25)
        log.record(recall(store, id), 1, (3,))
    assert checks.verify(store) == []
    with store.transaction() as connection:
        connection.execute(DAMAGE[table])
    (problem,) = checks.verify(store)
    assert (problem.what, problem.derived) == ("feedback", True)
    assert problem.message == f"a row of recall 2 in {table} is not as written"
    assert "removed the feedback on 1 recalls, which was not as it was written" in repair(store)
    assert checks.verify(store) == []
    assert [entry.recall.id for entry in log.entries()] == ["r1", "r3"]


def test_a_store_without_feedback_is_repaired_too(store) -> None:
    assert repair(store) == []
    assert checks.verify(store) == []


def test_feedback_of_before_gets_its_checksums(tmp_path) -> None:
    with Store(tmp_path / "old.db", encoder=HashEncoder()) as store:
        store.add([Passage(id, f"about {id}", namespace=("ann",)) for id in "abc"])
        store.migrate(OWNER, MIGRATIONS[:1])
        with store.transaction() as connection:
            connection.execute(
                "INSERT INTO feedback_recalls VALUES "
                "(1, 'r1', 'ann\x1f', 'Who?', NULL, 'fast', NULL, 'p', 3, 1.0, 0.5, 2.0)"
            )
            connection.execute("INSERT INTO feedback_returned VALUES (1, 0, 2, NULL)")
        assert checks.verify(store) == []
        log = FeedbackLog(store)
        log.record(recall(store, "r2"), 0.5)
        assert checks.verify(store) == []
        assert [entry.recall.id for entry in log.entries()] == ["r1", "r2"]
        with store.transaction() as connection:
            connection.execute("UPDATE feedback_recalls SET reward = 1.0 WHERE id = 'r1'")
        assert [problem.what for problem in checks.verify(store)] == ["feedback"]
