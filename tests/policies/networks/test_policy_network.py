"""The network as a distribution over the open candidates and STOP."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError
from hoptrail.policies.environment.feature_names import COLUMNS
from hoptrail.policies.environment.state import batch_states, portions
from hoptrail.policies.networks import array_network
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import Inputs, PolicyNetwork
from hoptrail.types import Passage


@pytest.fixture
def inputs(demo, demo_questions):
    """States of four questions with none, one, two and three passages read."""
    found = []
    for reads, question in enumerate(demo_questions[:4]):
        pool = demo.pool(question.text)
        found.append(demo.state(pool, pool.slots[1 : 1 + reads]))
    return found


@pytest.mark.parametrize("members", [1, 3])
def test_probabilities_of_a_state_add_up_to_one(inputs, random_policy, members) -> None:
    states = batch_states(inputs)
    read, stop = random_policy(members).decide(states)
    assert read.shape == (len(states.x),)
    assert stop.shape == (4,)
    for i, (start, end) in enumerate(zip(states.starts[:-1], states.starts[1:], strict=True)):
        assert float(np.exp(read[start:end]).sum() + np.exp(stop[i])) == pytest.approx(1, abs=1e-5)
    assert np.isneginf(read[states.evidence]).all()
    assert np.isfinite(read[~states.evidence]).all()
    assert (read <= 0).all()
    assert (stop <= 0).all()


@pytest.mark.parametrize("members", [1, 2])
def test_a_batch_of_states_equals_each_alone(inputs, random_policy, members) -> None:
    policy = random_policy(members)
    read, stop = policy.decide(batch_states(inputs))
    alone = [policy.decide(batch_states([one])) for one in inputs]
    np.testing.assert_allclose(read, np.concatenate([r for r, _ in alone]), 1e-4, 1e-4)
    np.testing.assert_allclose(stop, np.concatenate([s for _, s in alone]), 1e-4, 1e-4)


@pytest.mark.parametrize("rows", [1, 40, 100, 10_000])
def test_a_large_batch_is_decided_in_parts(inputs, random_policy, monkeypatch, rows) -> None:
    states = batch_states(inputs * 2)
    parts = portions(states, rows)
    assert all(len(part.starts) == 2 or len(part.x) <= rows for part in parts)
    assert (len(parts) == 1) == (rows == 10_000)
    for name in ("x", "slots", "evidence", "edge_kind", "edge_weight"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(states, name))
    policy = random_policy(2)
    whole = policy.decide(states)
    monkeypatch.setattr(array_network, "ROWS_AT_ONCE", rows)
    for one, other in zip(policy.decide(states), whole, strict=True):
        np.testing.assert_allclose(one, other, 1e-5, 1e-5)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("calibrated", [False, True])
def test_what_is_decided_is_what_the_networks_say_in_evaluation(
    inputs, random_policy, members, calibrated
) -> None:
    policy = random_policy(members)
    if calibrated:
        for member in policy.members:
            member.calibrate(0.7, -0.4)
    states = batch_states(inputs)
    with torch.inference_mode():
        read, stop = policy.eval()(Inputs.of(states))
    for _ in range(2):  # whatever mode the networks are in, which is left as it is
        found = policy.decide(states)
        np.testing.assert_allclose(found[0], read, 1e-5, 1e-5)
        np.testing.assert_allclose(found[1], stop, 1e-5, 1e-5)
        policy.train()
    assert policy.training


def test_where_all_is_read_stopping_is_certain(world, random_policy) -> None:
    place = world([Passage("a", "One."), Passage("b", "Two.")])
    pool = place.pool("One or two?")
    for members in (1, 3):
        policy = random_policy(members)
        read, stop = policy.decide(batch_states([place.state(pool, (0, 1))]))
        assert (read == -torch.inf).all()
        assert float(stop[0]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("members", [1, 3])
def test_gradients_are_finite_and_reach_every_weight(inputs, random_policy, members) -> None:
    policy = random_policy(members)
    states = batch_states(inputs)
    read, stop = policy(Inputs.of(states))
    loss = read[torch.from_numpy(~states.evidence)].square().mean() + stop.square().mean()
    loss.backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


def test_the_order_of_candidates_does_not_matter(inputs, random_policy) -> None:
    [state] = inputs[2:3]
    order = np.random.default_rng(0).permutation(len(state.x))
    turned = type(state)(
        state.x[order],
        state.slots[order],
        state.evidence[order],
        np.argsort(order)[state.edges],
        state.edge_kind,
        state.edge_weight,
    )
    policy = random_policy()
    read, stop = policy.decide(batch_states([state]))
    read_turned, stop_turned = policy.decide(batch_states([turned]))
    np.testing.assert_allclose(read[order], read_turned, 1e-4, 1e-4)
    np.testing.assert_allclose(stop, stop_turned, 1e-4, 1e-4)


def test_standardising_takes_out_scale_and_shift(inputs) -> None:
    states = batch_states(inputs)
    torch.manual_seed(0)
    plain = PolicyNetwork(NetworkConfig(width=8, layers=1)).eval()
    moved = PolicyNetwork(NetworkConfig(width=8, layers=1)).eval()
    x = torch.from_numpy(states.x)
    plain.standardise(x)
    assert torch.isfinite(plain.scale).all()
    assert (plain.scale > 0).all()
    moved.load_state_dict(plain.state_dict())
    moved.standardise(x)
    for a, b in zip(plain(Inputs.of(states)), moved(Inputs.of(states)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"layers": -1}, {"dropout": 1.0}])
def test_a_shape_out_of_range_is_refused(wrong) -> None:
    with pytest.raises(ConfigError, match="a network needs"):
        NetworkConfig(**wrong)


def test_a_feature_that_never_varied_in_training_is_not_looked_at(random_policy) -> None:
    policy = random_policy()
    [network] = policy.members
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(50, len(COLUMNS), generator=rng)
    x[:, 3] = 0.5
    network.standardise(x)
    assert torch.isinf(network.scale[3])
    assert torch.isfinite(network.scale).sum() == len(COLUMNS) - 1
    seen = ((x - network.mean) / network.scale)[:, 3]
    x[:, 3] = 40.0
    assert torch.equal(((x - network.mean) / network.scale)[:, 3], seen)


def test_calibration_moves_stop_and_keeps_the_shares_of_what_is_read(inputs, random_policy) -> None:
    policy = random_policy()
    [network] = policy.members
    states = batch_states(inputs)
    read, stop = map(torch.from_numpy, policy.decide(states))
    network.calibrate(0.5, -1.0)
    moved, calibrated = map(torch.from_numpy, policy.decide(states))
    odds = stop - torch.log(-torch.expm1(stop))
    expected = torch.nn.functional.logsigmoid(0.5 * odds - 1.0)
    torch.testing.assert_close(calibrated, expected, rtol=1e-4, atol=1e-5)
    for start, end in zip(states.starts[:-1], states.starts[1:], strict=True):
        open_ = torch.isfinite(read[start:end])
        change = (moved - read)[start:end][open_]
        torch.testing.assert_close(change, change[:1].expand_as(change), rtol=0, atol=1e-4)
    network.calibrate(1.0, 0.0)
    np.testing.assert_array_equal(policy.decide(states)[1], stop)


def test_with_nothing_left_to_read_a_calibrated_network_stops(world, random_policy) -> None:
    pair = world([Passage("a", "One."), Passage("b", "Two.")])
    pool = pair.pool("One or two?")
    policy = random_policy()
    policy.members[0].calibrate(0.3, -2.0)
    read, stop = policy.decide(batch_states([pair.state(pool, (0, 1))]))
    assert np.isneginf(read).all()
    assert stop.tolist() == [0.0]
