"""Changes of low rank: nothing at first, what is trained, and the same once merged."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from hoptrail.learning.low_rank import add_low_rank, keep_attention_whole
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.tuned.query_tuned import low_rank_change, merge_low_rank


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {"first": nn.Linear(5, 7), "last": nn.Linear(7, 3), "pooler": nn.Linear(3, 3)}
    )


def run(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return net["last"](torch.tanh(net["first"](x)))


X = torch.linspace(-1, 1, 20).view(4, 5)


def test_a_change_is_nothing_at_first_and_alone_is_trained() -> None:
    before, net = network(), network()
    changes = add_low_rank(net, 2)
    assert sorted(changes) == ["first", "last"]
    torch.testing.assert_close(run(net, X), run(before, X), rtol=0, atol=0)
    run(net, X).square().sum().backward()
    trained = {name for name, weight in net.named_parameters() if weight.grad is not None}
    assert trained
    assert all(name.endswith((".a", ".b")) for name in trained)


def test_layers_below_the_upper_ones_stay_as_they_are() -> None:
    layers = nn.ModuleList(nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(3))
    deep = nn.ModuleDict({"layer": layers, "last": nn.Linear(3, 3)})
    upper = add_low_rank(copy.deepcopy(deep), 2, upper_layers=1)
    assert sorted(upper) == ["last", "layer.2.0"]
    every = ["last", "layer.0.0", "layer.1.0", "layer.2.0"]
    assert sorted(add_low_rank(copy.deepcopy(deep), 2)) == every
    assert sorted(add_low_rank(deep, 2, upper_layers=4)) == every


def test_a_merged_network_gives_what_the_changed_one_gave() -> None:
    net, plain = network(), network()
    changes = add_low_rank(net, 2)
    for change in changes.values():
        nn.init.normal_(change.b)
    merge_low_rank(plain, {name: (one.a, one.b) for name, one in changes.items()})
    torch.testing.assert_close(run(plain, X), run(net, X))
    assert not torch.allclose(run(plain, X), run(network(), X))


def test_a_change_has_at_most_its_rank() -> None:
    change = low_rank_change(torch.randn(2, 9), torch.randn(8, 2))
    assert change.shape == (8, 9)
    assert torch.linalg.matrix_rank(change) == 2


def test_the_gradient_of_a_change_is_that_of_its_formula() -> None:
    a = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(low_rank_change, (a, b))


@pytest.mark.parametrize(
    ("name", "a", "b"),
    [
        ("second", torch.zeros(2, 5), torch.zeros(7, 2)),
        ("first", torch.zeros(2, 6), torch.zeros(7, 2)),
        ("first", torch.zeros(3, 5), torch.zeros(7, 2)),
    ],
)
def test_a_change_of_another_network_is_refused_by_name(name, a, b) -> None:
    net = network()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match=rf"no weight {name}\.weight"):
        merge_low_rank(net, {name: (a, b)})
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())


def test_attention_is_kept_whole_and_the_rest_drops_out_as_before(tiny_bert: Path) -> None:
    transformer = TransformerEncoder(tiny_bert, device="cpu").model.network
    before = {n: each.p for n, each in transformer.named_modules() if isinstance(each, nn.Dropout)}
    keep_attention_whole(transformer)
    after = {n: each.p for n, each in transformer.named_modules() if isinstance(each, nn.Dropout)}
    of_attention = {name for name in before if "attention.self" in name}
    assert of_attention
    assert all(before[name] > 0 for name in of_attention)
    assert {name for name in before if after[name] != before[name]} == of_attention
    assert all(after[name] == 0 for name in of_attention)
