"""Feedback as questions: what was useful, in which namespace, and what is passed over."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hoptrail.errors import InputError
from hoptrail.memory.feedback import FeedbackLog, LoggedRecall, LoggedTrail
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.judged_questions import judged_questions
from hoptrail.types import Namespace, Passage


@pytest.fixture
def memory(tmp_path: Path):
    """Six passages of two people of a team."""
    file, encoder = tmp_path / "team.db", HashEncoder(dim=32)
    with closing(Store(file, encoder=encoder)) as store:
        store.add(
            Passage(id, f"what {person} knows of {id}", namespace=("team", person))
            for person in ("ann", "bo")
            for id in ("rivers", "bridges", "lamps")
        )
    with closing(OpenCorpus(file, None, encoder)) as opened:
        yield opened


def judge(
    memory: OpenCorpus,
    question: str,
    reward: float,
    *ids: str,
    scope: Namespace = ("team", "ann"),
    **changes: object,
) -> None:
    """Write that a recall's passages, or all that it read, were worth a reward."""
    log, view = FeedbackLog(memory.store), memory.scope(scope).view
    passages = [
        (row, view.passages([slot])[0])
        for row, slot in zip(view.rowids.tolist(), range(6), strict=False)
    ]
    rows = {f"{one.namespace[-1]}/{one.id}": int(row) for row, one in passages}
    recall = LoggedRecall(
        id=f"r{log.count()}",
        question=question,
        namespace=scope,
        filter=None,
        effort="fast",
        explore=None,
        policy="0",
        version=memory.store.version,
        asked_at=float(log.count()),
        returned=tuple(rows.values()),
        trails=(LoggedTrail(0, (rows["ann/rivers"],), True, -0.1),),
    )
    chosen = tuple(rows[id] for id in ids) or None
    assert log.record(replace(recall, **changes), reward, chosen)


def described(memory: OpenCorpus, namespace: Namespace = ()) -> list[tuple[str, tuple, tuple]]:
    return [
        (one.text, one.namespace, one.supporting_ids) for one in judged_questions(memory, namespace)
    ]


def test_what_was_useful_supports_its_question(memory) -> None:
    judge(memory, "Which?", 1.0, "ann/bridges", "ann/lamps")
    judge(memory, "Where?", 0.3, "ann/bridges")
    judge(memory, "What flows?", 0.8)  # the whole recall: what its first trail read
    assert described(memory) == [
        ("Which?", ("team", "ann"), ("bridges", "lamps")),
        ("What flows?", ("team", "ann"), ("rivers",)),
    ]


def test_the_latest_word_on_a_passage_counts(memory) -> None:
    judge(memory, "Which?", 1.0, "ann/bridges", "ann/lamps")
    judge(memory, "Which?", 0.0, "ann/lamps")
    assert described(memory) == [("Which?", ("team", "ann"), ("bridges",))]


def test_a_wide_scope_asks_in_each_namespace_of_what_was_useful(memory) -> None:
    judge(memory, "Which?", 1.0, "ann/bridges", "bo/lamps", scope=("team",))
    assert described(memory) == [
        ("Which?", ("team", "ann"), ("bridges",)),
        ("Which?", ("team", "bo"), ("lamps",)),
    ]
    with pytest.raises(InputError, match="in namespace team/ann: of 0 judged recalls"):
        judged_questions(memory, ("team", "ann"))


def test_recalls_with_a_filter_are_passed_over(memory) -> None:
    judge(memory, "Which?", 1.0, "ann/bridges", filter={"id": "bridges"})
    with pytest.raises(InputError, match="of 1 judged recalls 1 had a filter"):
        judged_questions(memory)
    judge(memory, "Where?", 1.0, "ann/lamps")
    assert [text for text, _, _ in described(memory)] == ["Where?"]
