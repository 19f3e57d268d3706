"""What goes with a passage comes back with it, if that is taken back: judgements, log, counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoptrail import Memory
from hoptrail.memory.feedback import FeedbackLog
from hoptrail.memory.maintenance.traces import (
    PassageTraces,
    restore_counts,
    restore_judgements,
    traces_of,
)
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"
ADA, VARN = "p-ada-lind", "p-varn"


@pytest.fixture
def memory(tmp_path: Path, twelve):
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(twelve)
        memory.keep_log(10)
        yield memory


def judged(memory: Memory) -> list[object]:
    """All feedback, by the ids of the passages, for rowids may be others."""
    out: list[object] = []
    for one in FeedbackLog(memory.store).entries():
        recall = one.recall
        named = {*recall.returned, *(row for trail in recall.trails for row in trail.passages)}
        ids = {row: passage.id for row, passage in memory.store.read_rows(sorted(named)).items()}
        trails = sorted(
            (trail.place, [ids[row] for row in trail.passages], trail.stopped, trail.log_prob)
            for trail in recall.trails
        )
        rewards = {ids[row]: reward for row, reward in one.passages.items()}
        returned = [ids[row] for row in recall.returned]
        out.append((recall.id, recall.question, one.reward, rewards, returned, trails))
    return out


def ask(memory: Memory) -> None:
    """Two recalls with feedback; nearly all that the second returned is one passage."""
    first = memory.recall(QUESTION, 5)
    first.feedback(0.5)
    first.feedback(1.0, passages=[ADA])
    memory.recall("Who is Ada Lind?", 1, filter={"$id": ADA}).feedback(0.25)


def forget(memory: Memory, id: str) -> PassageTraces:
    memory.store.recorder.flush()
    traces = traces_of(memory.store, id)
    memory.delete(id)
    return traces


def bring_back(memory: Memory, traces: PassageTraces) -> None:
    memory.add(traces.passages)
    restore_counts(memory.store, traces)
    restore_judgements(memory.store, traces)


def test_a_deletion_that_is_taken_back_leaves_nothing_behind(memory: Memory) -> None:
    ask(memory)
    memory.update(ADA, text=memory.get(ADA).text + " She sails.", keep_history=True)
    ask(memory)
    before, log = judged(memory), memory.recall_log()
    counts = memory.history(ADA).counts
    assert any(ADA in trail[1] for entry in before for trail in entry[5])
    traces = forget(memory, ADA)
    assert judged(memory) != before
    assert len(memory.recall_log()) < len(log)
    memory.add({"id": "new", "text": "It takes the rowid that is free."})
    bring_back(memory, traces)
    assert judged(memory) == before
    assert memory.recall_log() == log
    assert memory.get(f"{ADA}@1", as_of="ever").text + " She sails." == memory.get(ADA).text
    assert memory.history(ADA).counts == counts
    assert memory.verify() == []


def test_what_was_said_of_a_text_comes_back_with_the_text(memory: Memory) -> None:
    ask(memory)
    before, log, text = judged(memory), memory.recall_log(), memory.get(VARN).text
    traces = traces_of(memory.store, VARN)
    memory.update(VARN, text="Varn is a hamlet.")
    assert judged(memory) != before
    restore_judgements(memory.store, traces)
    assert judged(memory) != before, "it says something else still"
    memory.update(VARN, text=text)
    restore_judgements(memory.store, traces)
    restore_judgements(memory.store, traces)
    assert judged(memory) == before
    assert memory.recall_log() == log
    assert memory.verify() == []


def test_a_trail_over_what_has_changed_since_stays_gone(memory: Memory) -> None:
    ask(memory)
    both = [trail for entry in judged(memory) for trail in entry[5] if {ADA, VARN} <= {*trail[1]}]
    assert both
    traces = forget(memory, ADA)
    memory.update(VARN, text="Varn is a hamlet.")
    bring_back(memory, traces)
    after = judged(memory)
    assert all(VARN not in trail[1] for entry in after for trail in entry[5])
    assert all(ADA in entry[4] for entry in after)
    assert memory.verify() == []


def test_feedback_that_was_given_since_stays(memory: Memory) -> None:
    recall = memory.recall(QUESTION, 5)
    recall.feedback(0.5)
    traces = forget(memory, ADA)
    memory.feedback(recall.id, 0.75)
    bring_back(memory, traces)
    [(_, _, reward, _, returned, _)] = judged(memory)
    assert (reward, ADA in returned) == (0.75, True)


def test_nothing_comes_to_a_log_that_is_kept_no_more(memory: Memory) -> None:
    ask(memory)
    memory.recall_log()
    traces = forget(memory, ADA)
    memory.keep_log(0)
    bring_back(memory, traces)
    assert memory.recall_log() == []
