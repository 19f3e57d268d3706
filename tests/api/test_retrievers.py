"""The retrievers of a memory: one a thread, kept between recalls; the policy is loaded once."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from hoptrail.api import recalling, retrievers
from hoptrail.api.retrievers import Retrievers
from hoptrail.errors import PolicyError
from hoptrail.graph.graph import Graph
from hoptrail.memory.encoders.query_cache import QueryCache
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    return Policy([PolicyNetwork(NetworkConfig(width=8, layers=1))])


@pytest.fixture
def store(tmp_path, twelve):
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as opened:
        opened.add(twelve)
        Graph(opened).sync()
        yield opened


def test_a_retriever_is_lent_to_one_at_a_time_and_lent_again(store, policy) -> None:
    lender = Retrievers(policy, QueryCache(0))
    with store.pinned() as view:
        graph = Graph(store).view(view)
        with (
            lender.lent("fast", view, graph, store.encoder) as first,
            lender.lent("fast", view, graph, store.encoder) as second,
        ):
            assert first is not second
        with lender.lent("fast", view, graph, store.encoder) as again:
            assert again in (first, second)
        with lender.lent("balanced", view, graph, store.encoder) as other:
            assert other not in (first, second)


def test_one_that_failed_or_is_out_of_date_is_not_lent_again(store, policy, twelve) -> None:
    lender, graph = Retrievers(policy, QueryCache(0)), Graph(store)
    with store.pinned() as view:
        with (
            pytest.raises(KeyboardInterrupt),
            lender.lent("fast", view, graph.view(view), store.encoder) as failed,
        ):
            raise KeyboardInterrupt
        with lender.lent("fast", view, graph.view(view), store.encoder) as fresh:
            assert fresh is not failed
    store.delete([twelve[0].id])
    graph.sync()
    with store.pinned() as view:
        with lender.lent("fast", view, graph.view(view), store.encoder) as newer:
            assert newer is not fresh
        lender.clear()
        with lender.lent("fast", view, graph.view(view), store.encoder) as another:
            assert another is not newer


def test_only_the_scopes_asked_for_lately_stay_in_memory(store, policy, monkeypatch) -> None:
    monkeypatch.setattr(retrievers, "RETRIEVERS_KEPT", 1)
    lender = Retrievers(policy, QueryCache(0))
    with store.pinned() as view:
        graph = Graph(store).view(view)
        with lender.lent("fast", view, graph, store.encoder) as first:
            pass
        with lender.lent("balanced", view, graph, store.encoder):
            pass
        with lender.lent("fast", view, graph, store.encoder) as again:
            assert again is not first


def test_the_policy_is_loaded_once_however_many_ask_for_it(policy, monkeypatch) -> None:
    loads: list[object] = []

    def load(named: object) -> Policy:
        time.sleep(0.05)
        loads.append(named)
        return policy

    monkeypatch.setattr(recalling, "loaded_policy", load)
    lender = Retrievers("shipped", QueryCache(0))
    answers: list[Policy] = []
    threads = [threading.Thread(target=lambda: answers.append(lender.policy)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert loads == ["shipped"]
    assert [id(answer) for answer in answers] == [id(policy)] * 8
    assert lender.fingerprint == policy.fingerprint


def test_without_a_policy_it_says_so() -> None:
    with pytest.raises(PolicyError, match="opened with policy=None"):
        _ = Retrievers(None, QueryCache(0)).policy
