"""The next query without an encoder pass: as it is served, and as it was trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hoptrail.policies.reformulation.latent_query import LatentQuery
from hoptrail.policies.training.latent_query_training import LatentQueryNetwork

DIM = 12


@pytest.fixture
def network() -> LatentQueryNetwork:
    """One whose every weight has a say."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = LatentQueryNetwork(DIM, width=7)
        with torch.no_grad():
            for weight in network.parameters():
                weight.normal_(std=0.7)
    return network


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.normal(size=(count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def states() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Five queries, their passages, and whose these are: from one to four each."""
    rng = np.random.default_rng(1)
    owner = np.asarray([2, 0, 1, 1, 3, 3, 3, 4, 4, 4, 4], dtype=np.int64)
    return unit(rng, 5), unit(rng, len(owner)), owner


def test_it_is_the_network_that_was_trained(network, states) -> None:
    served = network.trained()
    moved = served.move(*states)
    with torch.no_grad():
        expected = network(*(torch.from_numpy(each) for each in states)).numpy()
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-5)
    assert moved.dtype == np.float32
    assert served.size == sum(p.numel() for p in network.parameters())
    assert np.abs(moved - states[0]).max() > 0.1


def test_where_nothing_was_read_a_query_stays(network, states) -> None:
    queries, vectors, owner = (torch.from_numpy(each) for each in states)
    some = owner != 2
    with torch.no_grad():
        moved = network(queries, vectors[some], owner[some])
    torch.testing.assert_close(moved[2], queries[2])
    assert not torch.allclose(moved[1], queries[1], atol=1e-3)


def test_what_was_read_is_a_set(network, states) -> None:
    queries, vectors, owner = states
    served = network.trained()
    expected = served.move(queries, vectors, owner)
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(owner))
        again = served.move(queries, vectors[order], owner[order])
        np.testing.assert_allclose(again, expected, atol=1e-6)
    alone = served.move(queries[3:4], vectors[4:7], np.zeros(3, dtype=np.int64))
    np.testing.assert_allclose(alone[0], expected[3], atol=1e-6)


def test_every_passage_counts(network, states) -> None:
    queries, vectors, owner = states
    served = network.trained()
    expected = served.move(queries, vectors, owner)
    for row, query in enumerate(owner):
        changed = vectors.copy()
        changed[row] = -changed[row]
        difference = np.abs(served.move(queries, changed, owner) - expected).max(1)
        assert difference[query] > 1e-3
        assert np.delete(difference, query).max() < 1e-6


def test_before_training_it_is_the_fixed_rule(states) -> None:
    queries, vectors, owner = states
    moved = LatentQueryNetwork(DIM).trained().move(queries, vectors, owner)
    means = np.stack([vectors[owner == i].mean(0) for i in range(len(queries))])
    expected = queries + means
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_the_weights_come_back_by_name(network, states) -> None:
    served = network.trained()
    again = LatentQuery.of(served.tensors())
    np.testing.assert_array_equal(again.move(*states), served.move(*states))


@pytest.mark.parametrize("name", ["enter", "enter_bias", "leave", "leave_bias", "shares"])
def test_weights_that_do_not_belong_together_are_refused(network, name) -> None:
    tensors = network.trained().tensors()
    with pytest.raises(ValueError, match="do not belong together"):
        LatentQuery.of({**tensors, name: tensors[name][..., :-1]})
    del tensors[name]
    with pytest.raises(KeyError, match=name):
        LatentQuery.of(tensors)
