"""What a policy network says of a batch of states, with no more work than the sums themselves.

The same function as `PolicyNetwork.forward` in evaluation. For the few hundred candidates of one
question, finding the way from module to module takes longer there than the sums; here there are no
modules on the way, and what the rounds of message passing share is computed once. It is for
deciding, not for learning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.graph.gnn_weights import RelationalWeights
from hoptrail.policies.networks.policy_network import NEVER, Inputs, PolicyNetwork


@dataclass(frozen=True, slots=True)
class Shared:
    """What every network and every round of message passing asks of a batch."""

    batch: Tensor
    states: int
    size: Tensor
    """`(b, 1)`: rows of each state."""
    evidence: Tensor
    """`(n, 1)` float: 1 where a row is evidence."""
    evidence_size: Tensor
    """`(b, 1)`: rows that are evidence, at least 1."""
    kind: Tensor
    weight: Tensor
    """`(e, 1)`."""
    sent: Tensor
    """`(e,)`: row of what an edge carries, for each node and relation one."""
    into: Tensor
    """`(e,)`: where it goes, likewise."""
    condition: Tensor
    """`(e,)`: row of its gate, for each state and relation one."""
    thinned: Tensor
    """`(n · R, 1)`: 1 / √degree."""

    @classmethod
    def of(cls, inputs: Inputs, kinds: int) -> Shared:
        """Of a batch, for networks that know so many kinds of edges.

        Args:
            inputs: b states with n rows in all.
            kinds: How many kinds of edges the networks know.
        """
        batch, states, kind = inputs.batch, inputs.states, inputs.edge_kind
        n = len(batch)
        source, target = inputs.edges
        into = target * kinds + kind
        degree = torch.zeros(n * kinds).index_add_(0, into, torch.ones(len(into)))
        size = torch.zeros(states).index_add_(0, batch, torch.ones(n))
        evidence = inputs.evidence.float()
        evidence_size = torch.zeros(states).index_add_(0, batch, evidence)
        return cls(
            batch=batch,
            states=states,
            size=size.clamp_(min=1.0)[:, None],
            evidence=evidence[:, None],
            evidence_size=evidence_size.clamp_(min=1.0)[:, None],
            kind=kind,
            weight=inputs.edge_weight[:, None],
            sent=source * kinds + kind,
            into=into,
            condition=batch.index_select(0, target) * kinds + kind,
            thinned=degree.clamp_(min=1.0).rsqrt_()[:, None],
        )

    def sums(self, values: Tensor) -> Tensor:
        """The sum over each state's rows `(n, d)`: `(b, d)`.

        Args:
            values: `(n, d)`.
        """
        return torch.zeros(self.states, values.shape[1]).index_add_(0, self.batch, values)

    def largest(self, values: Tensor) -> Tensor:
        """The largest in each state's rows `(n, ...)`: `(b, ...)`.

        Args:
            values: `(n, ...)`.
        """
        maxima = torch.full((self.states, *values.shape[1:]), -torch.inf)
        where = self.batch if values.dim() == 1 else self.batch[:, None].expand_as(values)
        return maxima.scatter_reduce_(0, where, values, "amax")


def log_pi(network: PolicyNetwork, inputs: Inputs, shared: Shared) -> tuple[Tensor, Tensor]:
    """Log π(read) `(n,)` and log π(STOP) `(b,)`, as `network(inputs)` has them in evaluation.

    Args:
        network: One of a policy's.
        inputs: b states with n rows in all.
        shared: Of the same inputs.

    Returns:
        Log π(read) `(n,)`, -inf for evidence, and log π(STOP) `(b,)`: the probabilities of a
        state's rows and of its STOP add up to 1.
    """
    batch = shared.batch
    x = ((network.known(inputs.x) - network.mean) / network.scale).clamp_(-6.0, 6.0)
    overall = shared.sums(x[:, x.shape[1] - network.shared :]) / shared.size
    h = _through(network.embed, x)
    for layer in network.rounds:
        assert isinstance(layer, RelationalWeights)
        h = _round(layer, h, overall, shared)
    read = _through(network.score, h).squeeze(1).masked_fill_(inputs.evidence, -torch.inf)
    evidence_mean = shared.sums(h * shared.evidence) / shared.evidence_size
    summary = torch.cat(
        [shared.sums(h) / shared.size, evidence_mean, shared.largest(h), overall], dim=1
    )
    stop = _through(network.stop, summary).squeeze(1)
    scale, shift = float(network.stop_scale), float(network.stop_shift)
    if scale != 1.0 or shift != 0.0:
        goes_on = _log_sum_exp(read, torch.full_like(stop, NEVER), shared)
        stop = goes_on + scale * (stop - goes_on) + shift
    total = _log_sum_exp(read, stop, shared)
    return read - total.index_select(0, batch), stop - total


def _round(layer: RelationalWeights, h: Tensor, overall: Tensor, shared: Shared) -> Tensor:
    """One round of message passing."""
    n, d, kinds = h.shape[0], layer.width, layer.relations
    sent = functional.linear(h, layer.transform.weight).view(n * kinds, d)
    gates = layer.condition_gate
    opened = functional.linear(overall, gates.weight, gates.bias).view(-1, d)
    weighed = layer.weight_gate.index_select(0, shared.kind)
    gate = torch.addcmul(opened.index_select(0, shared.condition), weighed, shared.weight)
    carried = sent.index_select(0, shared.sent).mul_(gate.sigmoid_())
    received = torch.zeros(n * kinds, d).index_add_(0, shared.into, carried).mul_(shared.thinned)
    mean = (shared.sums(h) / shared.size).index_select(0, shared.batch)
    change = torch.cat([h, received.view(n, kinds * d), mean], dim=1)
    return h + _through(layer.update_node, change)


def _through(modules: nn.Module, x: Tensor) -> Tensor:
    """What a sequence of layers makes of `x`; those of training alone are passed over."""
    for module in modules.children():
        if isinstance(module, nn.Linear):
            x = functional.linear(x, module.weight, module.bias)
        elif isinstance(module, nn.GELU):
            x = functional.gelu(x)
        elif isinstance(module, nn.LayerNorm):
            shape = module.normalized_shape
            x = functional.layer_norm(x, list(shape), module.weight, module.bias, module.eps)
        elif not isinstance(module, nn.Dropout):
            x = module(x)
    return x


def _log_sum_exp(read: Tensor, stop: Tensor, shared: Shared) -> Tensor:
    """Log of the sum of exponentials over a state's rows and its STOP, `(b,)`."""
    top = torch.maximum(shared.largest(read), stop)
    parts = torch.zeros(shared.states).index_add_(
        0, shared.batch, (read - top.index_select(0, shared.batch)).exp_()
    )
    return (parts + (stop - top).exp()).log() + top
