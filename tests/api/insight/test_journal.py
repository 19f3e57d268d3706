"""A memory that keeps a log of its recalls tells what was asked, what came back, its worth."""

from __future__ import annotations

import pytest

from hoptrail import InputError, Memory
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture
def memory(tmp_path, twelve):
    with Memory(tmp_path / "agent.db", encoder=HashEncoder()) as memory:
        memory.add(twelve)
        memory.add({"id": "pike", "text": "Bob saw a pike."}, namespace=("team", "bob"))
        yield memory


def test_a_recall_is_in_the_log_with_what_came_back_and_was_said_of_it(memory) -> None:
    assert memory.recall_log() == []
    memory.recall("Who is not logged?")
    memory.keep_log(10)
    first = memory.recall("Where was Ada Lind born?", 3, effort="fast")
    second = memory.recall("What did Bob see?", 1, ("team",))
    first.feedback(1.0)
    first.feedback(0.25, passages=[first.passages[1]])
    latest, before = memory.recall_log()
    assert (latest.question, latest.namespace) == ("What did Bob see?", ("team",))
    assert [hit.id for hit in latest.hits] == ["pike"]
    assert (latest.id, latest.reward) == (second.id, None)
    assert (before.id, before.effort, before.reward) == (first.id, "fast", 1.0)
    assert before.milliseconds == first.cost.milliseconds
    assert [(hit.id, hit.score) for hit in before.hits] == [
        (hit.passage.id, hit.score) for hit in first.hits
    ]
    assert [hit.reward for hit in before.hits] == [None, 0.25, None]
    assert [entry.id for entry in memory.recall_log(("team",))] == [second.id]
    assert len(memory.recall_log(last=1)) == 1


def test_a_log_survives_its_memory_and_ends_where_it_is_told_to(memory) -> None:
    memory.keep_log(2)
    for number in range(3):
        memory.recall(f"Where is lake {number}?", 1, effort="fast")
    memory.close()
    with Memory(memory.store.path, encoder=HashEncoder()) as again:
        assert [e.question for e in again.recall_log()] == ["Where is lake 2?", "Where is lake 1?"]
        again.recall("And where is this one?", 1, effort="fast")
        assert again.recall_log()[0].question == "And where is this one?"
        assert again.forget_log() == 2
        again.keep_log(0)
        again.recall("Nobody knows of this?", 1, effort="fast")
        assert again.recall_log() == []


def test_looking_is_not_logged_and_a_number_that_is_none_is_refused(memory) -> None:
    memory.keep_log(5)
    with memory.store.recorder.paused():
        memory.recall("Where was Ada Lind born?", 1, effort="fast")
    assert memory.recall_log() == []
    with pytest.raises(InputError, match="last"):
        memory.recall_log(last=0)
