"""The engine of recalls, built of its parts without a memory around them."""

from __future__ import annotations

import pytest
import torch

from hoptrail.api.encoder_slot import EncoderSlot
from hoptrail.api.feedback_inbox import FeedbackInbox
from hoptrail.api.graph_slot import GraphSlot
from hoptrail.api.maintenance import Maintenance
from hoptrail.api.passages import Passages
from hoptrail.api.recalling import RecallEngine
from hoptrail.api.retrievers import Retrievers
from hoptrail.errors import EncoderMissing, InputError
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.policy_network import NetworkConfig, PolicyNetwork
from hoptrail.policies.policy import Policy
from hoptrail.types import Passage


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    return Policy([PolicyNetwork(NetworkConfig(width=8, layers=1))])


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", encoder=HashEncoder(), queries_kept=8) as opened:
        yield opened


def engine_of(store: Store, policy: Policy) -> tuple[RecallEngine, FeedbackInbox]:
    inbox = FeedbackInbox(store)
    retrievers = Retrievers(policy, store.queries)
    engine = RecallEngine(store, GraphSlot(store), EncoderSlot(store), retrievers, inbox)
    return engine, inbox


def test_parts_work_together_without_a_memory(store, policy, twelve) -> None:
    slot = EncoderSlot(store)
    assert len(Passages(store, slot).add(twelve)) == 12
    engine, inbox = engine_of(store, policy)
    recall = engine.recall("Where was Ada Lind born?", 3, effort="fast")
    assert [hit.passage.id for hit in recall.hits]
    inbox.feedback(recall.id, 1.0)
    recall.feedback(0.5)  # the same place
    assert [one.reward for one in inbox.feedback_given()] == [0.5]
    assert Maintenance(store, GraphSlot(store), slot).verify() == []
    slot.close()


def test_a_scope_without_passages_needs_no_encoder_and_one_with_some_does(store, policy) -> None:
    engine, _ = engine_of(store, policy)
    encoder, store.encoder = store.encoder, None
    assert engine.recall("Who?").hits == ()
    store.add([Passage("a", "A river.")], encoder=encoder)
    with pytest.raises(EncoderMissing, match="recall needs an encoder"):
        engine.recall("Who?")
    with pytest.raises(InputError, match="takes several questions"):
        engine.recall_many("Who?")
