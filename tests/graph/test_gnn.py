"""The message-passing layer: against a sum by hand, in batches, under permutation."""

from __future__ import annotations

import math

import pytest
import torch

from hoptrail.graph.gnn import RelationalLayer, scatter
from hoptrail.graph.gnn_weights import RelationalWeights

WIDTH, RELATIONS, CONDITIONS = 6, 3, 4


@pytest.fixture
def layer() -> RelationalLayer:
    torch.manual_seed(0)
    made = RelationalLayer(RelationalWeights(WIDTH, RELATIONS, CONDITIONS, dropout=0.5))
    torch.nn.init.normal_(made.weight_gate)
    return made.eval()


def graph(n: int, e: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, WIDTH, generator=generator),
        torch.randint(n, (2, e), generator=generator),
        torch.randint(RELATIONS, (e,), generator=generator),
        torch.rand(e, generator=generator),
        torch.randn(1, CONDITIONS, generator=generator),
    )


def run(layer, h, edges, kind, weight, condition):
    return layer(h, edges, kind, weight, condition, torch.zeros(len(h), dtype=torch.long))


def test_says_what_it_is(layer) -> None:
    assert repr(layer) == "RelationalLayer(6, relations=3)"


@pytest.mark.parametrize(("n", "e"), [(1, 0), (1, 1), (5, 0), (5, 12)])
def test_a_row_comes_out_for_each_node(layer, n, e) -> None:
    out = run(layer, *graph(n, e, 0))
    assert out.shape == (n, WIDTH)
    assert torch.isfinite(out).all()


def test_equals_a_sum_by_hand() -> None:
    """Two nodes, width 1: 0 -> 1 by relation 0 with weight 0.5, twice by relation 1."""
    layer = RelationalLayer(RelationalWeights(1, 2, 1))
    with torch.no_grad():
        layer.transform.weight.copy_(torch.tensor([[2.0], [3.0]]))
        layer.weight_gate.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.condition_gate.weight.copy_(torch.tensor([[0.5], [0.25]]))
        layer.condition_gate.bias.zero_()
    layer.update_node = torch.nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.update_node.weight.copy_(torch.tensor([[1.0, 10.0, 100.0, 1000.0]]))
    h = torch.tensor([[0.7], [-0.2]])
    edges = torch.tensor([[0, 0, 1], [1, 1, 1]])
    kind, weight = torch.tensor([0, 1, 1]), torch.tensor([0.5, 1.0, 2.0])
    out = run(layer, h, edges, kind, weight, torch.tensor([[1.5]]))

    def gate(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    mean = (0.7 - 0.2) / 2
    first = gate(1.0 * 0.5 + 0.5 * 1.5) * 2.0 * 0.7
    second = gate(-1.0 * 1.0 + 0.25 * 1.5) * 3.0 * 0.7 + gate(-1.0 * 2.0 + 0.375) * 3.0 * -0.2
    expected = [
        0.7 + 0.7 + 1000 * mean,
        -0.2 - 0.2 + 10 * first + 100 * second / math.sqrt(2) + 1000 * mean,
    ]
    assert out.flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_a_batch_equals_its_graphs_one_by_one(layer) -> None:
    parts = [graph(4, 9, 1), graph(1, 0, 2), graph(7, 20, 3)]
    starts = torch.tensor([0, 4, 5])
    together = layer(
        torch.cat([p[0] for p in parts]),
        torch.cat([p[1] + start for p, start in zip(parts, starts, strict=True)], dim=1),
        torch.cat([p[2] for p in parts]),
        torch.cat([p[3] for p in parts]),
        torch.cat([p[4] for p in parts]),
        torch.repeat_interleave(torch.arange(3), torch.tensor([4, 1, 7])),
    )
    torch.testing.assert_close(together, torch.cat([run(layer, *part) for part in parts]))


def test_renaming_the_nodes_renames_the_result(layer) -> None:
    h, edges, kind, weight, condition = graph(8, 30, 4)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(5))
    place = torch.argsort(order)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(6))
    out = run(
        layer, h[order], place[edges][:, shuffled], kind[shuffled], weight[shuffled], condition
    )
    torch.testing.assert_close(out, run(layer, h, edges, kind, weight, condition)[order])


def test_only_neighbours_and_the_mean_reach_a_node(layer) -> None:
    h, _, _, _, condition = graph(4, 0, 7)
    edges, kind, weight = torch.tensor([[0], [1]]), torch.tensor([2]), torch.ones(1)
    moved = h.clone()
    moved[0] += 1.0
    moved[3] -= 1.0  # the mean stays
    before, after = (run(layer, x, edges, kind, weight, condition) for x in (h, moved))
    changed = (before - after).abs().amax(1) > 1e-5
    assert changed.tolist() == [True, True, False, True]


def test_gradients_reach_every_weight_the_gates_too(layer) -> None:
    h, edges, kind, weight, condition = graph(6, 40, 8)
    condition.requires_grad_(True)
    run(layer, h, edges, kind, weight, condition).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name
    assert condition.grad is not None
    assert (condition.grad != 0).any()


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [("sum", [3.0, 0.0, 3.0]), ("mean", [1.5, 0.0, 3.0]), ("max", [2.0, 0.0, 3.0])],
)
def test_scatter_gives_zero_where_nothing_is(reduce, expected) -> None:
    values, index = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 0, 2])
    assert scatter(values, index, dim_size=3, reduce=reduce).tolist() == expected
