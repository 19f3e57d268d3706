"""Feedback through the front door: on a recall, by its id, on passages."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict

import pytest
import torch

from hoptrail import InputError, Memory, StoreError, UnknownId
from hoptrail.api import feedback_inbox
from hoptrail.formats.json_views import recall_data
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy
from hoptrail.types import Cost, Recall

QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    return Policy([PolicyNetwork(NetworkConfig(width=8, layers=1))])


@pytest.fixture
def memory(tmp_path, hash_encoder, policy, twelve):
    with Memory(tmp_path / "agent.db", encoder=hash_encoder, policy=policy) as opened:
        opened.add(twelve)
        yield opened


def test_a_recall_takes_feedback_with_what_was_decided(memory, policy) -> None:
    found = memory.recall(QUESTION, 3, effort="fast")
    assert memory.feedback_given() == []  # asking writes nothing
    found.feedback(1.0)
    found.feedback(0.5, passages=[found.passages[1]])
    found.feedback(0.0, passages=[found.passages[2].id])
    [given] = memory.feedback_given()
    rows = memory.store.view().rowids
    assert given.reward == 1.0
    assert list(given.passages.values()) == [0.5, 0.0]
    asked = given.recall
    assert (asked.id, asked.question, asked.effort) == (found.id, QUESTION, "fast")
    assert (asked.explore, asked.version) == (None, memory.store.version)
    assert asked.policy == policy.fingerprint
    assert [memory.store.read_rows([r])[r] for r in asked.returned] == list(found.passages)
    assert set(asked.returned) <= set(rows.tolist())
    assert len(asked.trails) == sum(bool(trail.hops) for trail in found.trails)
    assert all(trail.log_inclusion is None for trail in asked.trails)


def test_a_recall_that_explores_says_how_likely_its_trails_were(memory) -> None:
    memory.recall(QUESTION, 3, effort="fast", explore=1).feedback(1)
    [given] = memory.feedback_given()
    assert given.recall.explore == 1
    assert len(given.recall.trails) == 3
    assert all(trail.log_inclusion <= 0 for trail in given.recall.trails)
    again = memory.recall(QUESTION, 3, effort="fast", explore=1)
    _, among = memory.recall_many(["Who?", QUESTION], 3, effort="fast", explore=1)
    assert again.hits == among.hits
    with pytest.raises(InputError, match="explore must be a seed"):
        memory.recall(QUESTION, explore=-1)


def test_feedback_may_come_later_by_the_id(memory, tmp_path, hash_encoder, policy) -> None:
    found = memory.recall(QUESTION, 3, effort="fast")
    assert recall_data(found)["id"] == found.id
    memory.feedback(found.id, 0.25)
    with Memory(tmp_path / "agent.db", encoder=hash_encoder, policy=policy) as other:
        other.feedback(found.id, 0.75)  # judged before, so that the file knows it
        other.feedback(found.id, 1.0, passages=[found.passages[0].id])
        with pytest.raises(UnknownId, match=r"no recall 'x' .* latest 1000 recalls"):
            other.feedback("x", 1.0)
    [given] = memory.feedback_given()
    assert given.reward == 0.75
    assert list(given.passages.values()) == [1.0]


def test_only_the_latest_recalls_are_remembered(memory, monkeypatch) -> None:
    monkeypatch.setattr(feedback_inbox, "RECALLS_KEPT", 2)
    first, *rest = [memory.recall(QUESTION, 1, effort="fast") for _ in range(3)]
    with pytest.raises(UnknownId, match="no recall"):
        first.feedback(1.0)
    for recall in rest:
        recall.feedback(1.0)


def test_what_cannot_be_judged_is_refused(memory) -> None:
    found = memory.recall(QUESTION, 2, effort="fast")
    with pytest.raises(InputError, match=r"a reward must lie in \[0, 1\], got 2"):
        found.feedback(2)
    with pytest.raises(UnknownId, match="returned no passage 'nobody'"):
        found.feedback(1.0, passages=["nobody"])
    with pytest.raises(InputError, match="expected a list of passages"):
        found.feedback(1.0, passages="p-varn")
    with pytest.raises(InputError, match="came from no memory"):
        Recall("Who?", (), (), Cost(0.0, 0, 0, 0)).feedback(1.0)
    assert memory.feedback_given() == []


def test_a_recall_of_nothing_has_nothing_to_judge(tmp_path, hash_encoder, policy) -> None:
    with Memory(tmp_path / "empty.db", encoder=hash_encoder, policy=policy) as empty:
        empty.recall(QUESTION).feedback(0.0)
        assert empty.feedback_given() == []


def test_an_id_in_two_namespaces_takes_the_passage_itself(memory, twelve) -> None:
    memory.add({"id": "p-varn", "title": "Varn", "text": "Another Varn."}, namespace=("x",))
    found = memory.recall("Varn", 13, effort="fast")
    with pytest.raises(InputError, match="several passages 'p-varn'"):
        found.feedback(1.0, passages=["p-varn"])
    other = next(p for p in found.passages if p.namespace == ("x",))
    found.feedback(1.0, passages=[other])
    [given] = memory.feedback_given()
    [row] = given.passages
    assert memory.store.read_rows([row])[row] == other


def test_a_copy_of_a_recall_names_the_memory_s_own_door(memory) -> None:
    found = memory.recall(QUESTION, 2, effort="fast")
    for other in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert other == found
        with pytest.raises(InputError, match=f"memory.feedback\\('{found.id}', reward\\)"):
            other.feedback(1.0)
    assert asdict(found)["id"] == found.id
    assert "judge" not in repr(found)


def test_a_tenant_s_feedback_is_its_own_and_can_be_forgotten(memory) -> None:
    memory.add({"id": "s", "text": "Seven bells of Tolle."}, namespace=("ann",))
    late = memory.recall("Which bells?", namespace=("ann",), effort="fast")
    memory.recall("Which bells?", namespace=("ann",), effort="fast").feedback(1.0)
    memory.recall("Which bells?", effort="fast").feedback(1.0)
    assert len(memory.feedback_given()) == 2
    assert len(memory.feedback_given(["ann"])) == 1
    assert memory.feedback_given(["bob"]) == []
    for id in (late.id, memory.feedback_given(["ann"])[0].recall.id):  # remembered, written down
        with pytest.raises(UnknownId, match="no recall"):
            memory.feedback(id, 0.0, namespace=["bob"])
    assert [one.reward for one in memory.feedback_given(["ann"])] == [1.0]
    assert memory.forget_feedback(["ann"]) == 1
    assert len(memory.feedback_given()) == 1
    with pytest.raises(UnknownId):
        late.feedback(1.0)  # also what was only remembered is forgotten


def test_a_read_only_memory_takes_none(memory, tmp_path, hash_encoder, policy) -> None:
    path = tmp_path / "agent.db"
    memory.recall(QUESTION, effort="fast")  # so that the graph is there
    with Memory(path, encoder=hash_encoder, policy=policy, read_only=True) as reader:
        found = reader.recall(QUESTION, 2, effort="fast")
        with pytest.raises(StoreError, match="read-only"):
            found.feedback(1.0)
