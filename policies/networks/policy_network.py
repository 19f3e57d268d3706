"""The policy network: π(a | s) over the open candidates and STOP.

Each candidate's scalars are embedded, messages pass over the pool's graph, and every candidate and
STOP get a score; one softmax over all of them gives the policy.

It is what training learns, in PyTorch; the messages are passed by PyTorch Geometric, which comes in
with the first `forward`. What answers a recall sums the same weights as arrays (`array_network`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from hoptrail.graph.gnn_weights import RelationalWeights
from hoptrail.graph.view import KINDS
from hoptrail.learning.weights import filled, module_arrays
from hoptrail.policies.environment.feature_names import COLUMNS
from hoptrail.policies.environment.state import StateBatch
from hoptrail.policies.networks.array_network import ArrayNetwork
from hoptrail.policies.networks.network_config import (
    NEVER,
    NetworkConfig,
    column_places,
    shared_columns,
)

if TYPE_CHECKING:
    from hoptrail.graph.gnn import RelationalLayer


@dataclass(frozen=True, slots=True)
class Inputs:
    """A `StateBatch` as tensors."""

    x: Tensor
    """`(n, f)`."""
    evidence: Tensor
    """`(n,)` bool."""
    edges: Tensor
    """`(2, e)`."""
    edge_kind: Tensor
    edge_weight: Tensor
    batch: Tensor
    """`(n,)` the state of each row, ascending."""
    states: int

    @classmethod
    def of(cls, states: StateBatch) -> Inputs:
        """The batch, as tensors that share its memory.

        Args:
            states: States as arrays.
        """
        sizes = states.starts[1:] - states.starts[:-1]
        return cls(
            x=torch.from_numpy(states.x),
            evidence=torch.from_numpy(states.evidence),
            edges=torch.from_numpy(states.edges),
            edge_kind=torch.from_numpy(states.edge_kind),
            edge_weight=torch.from_numpy(states.edge_weight),
            batch=torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
            states=len(sizes),
        )


class PolicyNetwork(nn.Module):
    """log π over a batch of states.

    Args:
        config: Its shape.
        columns: The names of the columns that it reads, in this order, those of `StateFeature`
            last; it never sees the others.

    Raises:
        ConfigError: There is no column of a name, or none of a group, or the order is another.

    Shapes:
        for n rows in b states, `log_read (n,)` and `log_stop (b,)`: in each state the exponentials
        over its rows and its STOP add up to 1; rows that are evidence have -inf.
    """

    mean: Tensor
    scale: Tensor
    stop_scale: Tensor
    stop_shift: Tensor

    def __init__(self, config: NetworkConfig, columns: Sequence[str] = COLUMNS) -> None:
        super().__init__()
        self.config = config
        self.columns = tuple(columns)
        places = torch.from_numpy(column_places(self.columns))
        self._places = None if self.columns == COLUMNS else places
        self.shared = shared_columns(self.columns)
        """Columns that are equal in all rows of a state: the last ones."""
        d, width = config.width, len(self.columns)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("stop_scale", torch.ones(()))
        self.register_buffer("stop_shift", torch.zeros(()))
        self.embed = nn.Sequential(
            nn.Linear(width, 2 * d), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(2 * d, d)
        )
        self.rounds = nn.ModuleList(
            RelationalWeights(d, len(KINDS), self.shared, dropout=config.dropout)
            for _ in range(config.layers)
        )
        # In a list, which is no module of this one: the weights above are the same ones.
        self._layers: list[RelationalLayer] | None = None
        self.score = _head(d, d, config.dropout)
        self.stop = _head(3 * d + self.shared, d, config.dropout)

    def standardise(self, x: Tensor) -> None:
        """Take the features' mean and scale from a sample `(n, f)` of the training states.

        A feature that never varies there is not looked at afterwards either: nothing was learned of
        it, and weights that were never trained would make noise of it.

        Args:
            x: `(n, f)`, rows of states as `StateBatch` has them.
        """
        x = self.known(x)
        spread = x.std(0)
        self.mean.copy_(x.mean(0))
        self.scale.copy_(torch.where(spread > 1e-6, spread + 1e-2, torch.inf))

    def calibrate(self, scale: float, shift: float) -> None:
        """Make `scale` · (the log-odds of STOP) + `shift` the log-odds of STOP.

        Args:
            scale: Above 0; 1 leaves the slope as it is.
            shift: Added to the log-odds; 0 leaves them.
        """
        self.stop_scale.fill_(scale)
        self.stop_shift.fill_(shift)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Log π(read) `(n,)` and log π(STOP) `(b,)`.

        Args:
            inputs: b states with n rows in all.

        Returns:
            Log π(read) `(n,)`, -inf for evidence, and log π(STOP) `(b,)`: the probabilities of a
            state's rows and of its STOP add up to 1.
        """
        from hoptrail.graph.gnn import scatter

        batch, states = inputs.batch, inputs.states
        # A feature far outside what was seen in training says no more than one at its edge.
        x = ((self.known(inputs.x) - self.mean) / self.scale).clamp(-6.0, 6.0)
        overall = scatter(x[:, x.shape[1] - self.shared :], batch, dim_size=states, reduce="mean")
        h = self.embed(x)
        for layer in self._message_passing():
            h = layer(h, inputs.edges, inputs.edge_kind, inputs.edge_weight, overall, batch)
        read = self.score(h).squeeze(1).masked_fill(inputs.evidence, -torch.inf)
        evidence = inputs.evidence[:, None].float()
        size = scatter(evidence, batch, dim_size=states, reduce="sum").clamp(min=1.0)
        evidence_mean = scatter(h * evidence, batch, dim_size=states, reduce="sum") / size
        mean = scatter(h, batch, dim_size=states, reduce="mean")
        largest = scatter(h, batch, dim_size=states, reduce="max")
        stop = self.stop(torch.cat([mean, evidence_mean, largest, overall], dim=1)).squeeze(1)
        # Left out where it changes nothing, so that it does not change the last bits either.
        if float(self.stop_scale) != 1.0 or float(self.stop_shift) != 0.0:
            goes_on = _log_sum_exp(read, torch.full_like(stop, NEVER), batch)
            stop = goes_on + self.stop_scale * (stop - goes_on) + self.stop_shift
        total = _log_sum_exp(read, stop, batch)
        return read - total[batch], stop - total

    def _message_passing(self) -> list[RelationalLayer]:
        """The layers over the weights of the rounds, made when first needed."""
        if self._layers is None:
            from hoptrail.graph.gnn import RelationalLayer

            self._layers = [
                RelationalLayer(weights)
                for weights in self.rounds
                if isinstance(weights, RelationalWeights)
            ]
        return self._layers

    @classmethod
    def of(cls, network: ArrayNetwork) -> PolicyNetwork:
        """A network with the weights of one that was trained.

        Args:
            network: As arrays, whose memory it does not share.
        """
        return filled(lambda: cls(network.config, network.columns), network.weights)

    def arrays(self) -> ArrayNetwork:
        """It as arrays, which decide as it does in evaluation; they share its weights on a CPU."""
        return ArrayNetwork(self.config, self.columns, module_arrays(self))

    def known(self, x: Tensor) -> Tensor:
        """The columns of `x` that this network reads.

        Args:
            x: `(n, f)` with all columns.

        Returns:
            `(n, len(columns))`.
        """
        return x if self._places is None else x.index_select(1, self._places)


def _head(inputs: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(inputs),
        nn.Linear(inputs, width),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(width, 1),
    )


def _log_sum_exp(read: Tensor, stop: Tensor, batch: Tensor) -> Tensor:
    """Log of the sum of exponentials over a state's rows and its STOP, `(b,)`."""
    from hoptrail.graph.gnn import scatter

    with torch.no_grad():
        top = torch.maximum(scatter(read, batch, dim_size=len(stop), reduce="max"), stop)
    parts = scatter((read - top[batch]).exp(), batch, dim_size=len(stop), reduce="sum")
    return (parts + (stop - top).exp()).log() + top
