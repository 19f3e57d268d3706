"""A policy on disk: what comes back is what was saved, and what is wrong is told in a sentence."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError, PolicyError
from hoptrail.policies.card import readme
from hoptrail.policies.environment.feature_names import COLUMNS, WIDTH, StateFeature
from hoptrail.policies.environment.state import batch_states
from hoptrail.policies.networks import (
    array_network,
    frozen_policy,
    network_config,
    policy_network,
)
from hoptrail.policies.networks.frozen_policy import SETTINGS, WEIGHTS, FrozenPolicy
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.relation_network import RelationScorer
from hoptrail.policies.policy import Policy


@pytest.fixture
def states(small):
    pool = small.pool("Where does the river of Varn flow?")
    return batch_states([small.state(pool, pool.slots[:n]) for n in range(3)])


@pytest.fixture
def saved(random_policy, tmp_path):
    policy = random_policy(2)
    policy.card = {"objective": "imitation", "seed": 4, "dev": []}
    folder = tmp_path / "a" / "policy"
    policy.save(folder, readme=readme(policy))
    return policy, folder


def test_saved_and_loaded_it_decides_the_same(saved, states) -> None:
    policy, folder = saved
    loaded = Policy.load(folder)
    assert repr(loaded) == repr(policy)
    assert "2 networks" in repr(loaded)
    assert loaded.card == policy.card
    assert loaded.config == policy.config
    assert not loaded.training
    for a, b in zip(loaded.decide(states), policy.decide(states), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "objective: imitation" in (folder / "README.md").read_text(encoding="utf-8")
    assert not list(folder.glob("*.partial"))


def test_frozen_it_decides_the_same_under_the_same_fingerprint(saved, states) -> None:
    policy, folder = saved
    policy.relations = RelationScorer("hash-32", 32, width=8)
    policy.save(folder)
    frozen = FrozenPolicy.load(folder)
    assert frozen.fingerprint == policy.fingerprint != frozen.first(1).fingerprint
    assert (frozen.size, frozen.card) == (policy.size, policy.card)
    for networks in (1, 2, None):
        one, other = frozen.first(networks).decide(states), policy.first(networks).decide(states)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_second_save_replaces_the_first(saved, random_policy, states) -> None:
    _, folder = saved
    other = random_policy(1, seed=9)
    other.save(folder)
    for a, b in zip(Policy.load(folder).decide(states), other.decide(states), strict=True):
        np.testing.assert_array_equal(a, b)


def test_several_networks_are_averaged_as_probabilities(random_policy, states) -> None:
    policy = random_policy(3)
    each = [Policy([member]).decide(states) for member in policy.members]
    read, stop = policy.decide(states)
    mean = np.mean([np.exp(r) for r, _ in each], axis=0)
    np.testing.assert_allclose(np.exp(read), mean, rtol=1e-5)
    np.testing.assert_allclose(np.exp(stop), np.mean([np.exp(s) for _, s in each], 0), rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_deciding_has_no_dropout_and_leaves_the_mode_of_the_networks(
    random_policy, states, training
) -> None:
    """Of the networks: a wrapper made around one that is in training does not know of it."""
    policy = random_policy()
    network = policy.members[0].train(training)
    wrapper = Policy([network])
    first, second = wrapper.decide(states), wrapper.decide(states)
    np.testing.assert_array_equal(first[0], second[0])
    assert all(module.training == training for module in network.modules())


def spoil_weights(folder):
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])


def garble_weights(folder):
    (folder / WEIGHTS).write_bytes(b"not weights at all")


def drop_weights(folder):
    (folder / WEIGHTS).unlink()


def drop_settings(folder):
    (folder / SETTINGS).unlink()


def not_json(folder):
    (folder / SETTINGS).write_text("{", encoding="utf-8")


def not_text(folder):
    (folder / SETTINGS).write_bytes(b"\xff\xfe\x00")


def changed(**values):
    def change(folder):
        file = folder / SETTINGS
        settings = {**json.loads(file.read_text(encoding="utf-8")), **values}
        file.write_text(json.dumps(settings), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (spoil_weights, "damaged"),
        (garble_weights, "damaged"),
        (drop_weights, "damaged"),
        (drop_settings, "there is no policy"),
        (not_json, "not JSON"),
        (not_text, "not JSON"),
        (changed(features=-1), "features of version -1"),
        (changed(format=2), "format 1"),
        (changed(networks=0), "damaged"),
        (changed(networks=3), "damaged"),
        (changed(columns=["alone: charm"]), "does not have, 'alone: charm'"),
        (changed(columns=["alone: cosine"]), "damaged"),
        (changed(columns=COLUMNS[::-1]), "damaged"),
        (changed(columns=[]), "damaged"),
        (changed(columns=7), "in a list"),
        (changed(network={"width": 8}), "damaged"),
        (changed(network={"breadth": 8}), "damaged"),
        (changed(network=7), "damaged"),
        (changed(card=7), "damaged"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(saved, damage, says) -> None:
    _, folder = saved
    damage(folder)
    with pytest.raises(PolicyError, match=says) as caught:
        Policy.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(PolicyError, match=says):
        FrozenPolicy.load(folder)


def test_no_folder_and_no_place_to_write(tmp_path, random_policy) -> None:
    with pytest.raises(PolicyError, match="there is no policy"):
        Policy.load(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(PolicyError, match="cannot be written"):
        random_policy().save(tmp_path / "file")


def test_a_policy_has_a_network() -> None:
    with pytest.raises(ConfigError, match="at least one network"):
        Policy([])


def test_the_networks_have_the_shape_that_they_say(random_policy) -> None:
    policy = random_policy(2)
    assert policy.config == NetworkConfig(width=16, layers=2, dropout=0.2)
    assert policy.size == sum(p.numel() for p in policy.parameters())


def test_every_column_has_a_name_of_its_own() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS) == WIDTH
    assert COLUMNS[-len(StateFeature) :] == tuple(
        f"overall: {feature.label}" for feature in StateFeature
    )


@pytest.mark.parametrize("places", [[0], [5, 30, WIDTH], [WIDTH - 8, WIDTH - 7, WIDTH + 2]])
def test_a_policy_decides_to_the_bit_as_before_where_columns_were_added(
    saved, states, monkeypatch, places
) -> None:
    """Wherever they stand, also among those that condition messages and the stop."""
    policy, folder = saved
    before = policy.decide(states)
    names, x = list(COLUMNS), states.x
    for place in places:
        group = "overall" if place >= len(names) - len(StateFeature) else "alone"
        names.insert(place, f"{group}: added at {place}")
        x = np.insert(x, place, 7.5, axis=1)
    added = [name for name in names if name.startswith("overall")]
    for module in (network_config, array_network, policy_network, frozen_policy):
        monkeypatch.setattr(module, "COLUMNS", tuple(names))
    monkeypatch.setattr(network_config, "_SHARED", frozenset(added))
    wider = dataclasses.replace(states, x=x)
    loaded = Policy.load(folder)
    assert loaded.columns == COLUMNS
    for a, b in zip(loaded.decide(wider), before, strict=True):
        np.testing.assert_array_equal(a, b)
    loaded.members[0].standardise(torch.from_numpy(wider.x))
    loaded.save(folder)
    assert Policy.load(folder).columns == COLUMNS


def test_a_policy_saved_before_columns_had_names_reads_all_there_are(saved, states) -> None:
    policy, folder = saved
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    del settings["columns"]
    (folder / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
    for a, b in zip(Policy.load(folder).decide(states), policy.decide(states), strict=True):
        np.testing.assert_array_equal(a, b)
