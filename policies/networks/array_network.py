"""The policy network as plain array code: what decides.

The same function as `PolicyNetwork.forward` in evaluation, of the same weights, but for rounding.
For the few hundred candidates of one question, importing PyTorch takes longer than all the sums,
and finding the way from module to module longer than each; here are the sums alone, and what the
networks and their rounds of message passing share is computed once. Nothing is learned here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.view import KINDS
from hoptrail.learning.arrays.layers import (
    Array,
    gelu,
    layer_norm,
    linear,
    log_sum_exp,
    sigmoid,
)
from hoptrail.learning.arrays.tensor_files import Tensors, check_shapes
from hoptrail.policies.environment.feature_names import COLUMNS
from hoptrail.policies.environment.state import StateBatch, portions
from hoptrail.policies.networks.network_config import (
    NEVER,
    NetworkConfig,
    column_places,
    shared_columns,
)

ROWS_AT_ONCE = 1000
"""Candidates of one pass, over several states: what it works on stays in the processor's cache."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """What every network and every round of message passing asks of a batch of states."""

    states: StateBatch
    owner: Ints
    """`(n,)`: the state of each row."""
    size: Array
    """`(b, 1)`: rows of each state, at least 1."""
    evidence: Array
    """`(n, 1)`: 1 where a row is evidence."""
    evidence_size: Array
    """`(b, 1)`: rows that are evidence, at least 1."""
    kind: Ints
    """`(e,)`: of each edge; edges with one target and kind follow each other."""
    weight: Array
    """`(e, 1)`."""
    sent: Ints
    """`(e,)`: row of what an edge carries, for each node and kind one."""
    condition: Ints
    """`(e,)`: row of its gate, for each state and kind one."""
    firsts: Ints
    """`(u,)`: the first edge of each target and kind."""
    into: Ints
    """`(u,)`: where their sum goes, for each node and kind one."""
    thinned: Array
    """`(u, 1)`: 1 / √degree."""

    @classmethod
    def of(cls, states: StateBatch) -> MessageBatch:
        """Of a batch.

        Args:
            states: b states with n rows in all.
        """
        kinds = len(KINDS)
        sizes = np.diff(states.starts)
        owner = np.repeat(np.arange(len(sizes)), sizes)
        source, target = states.edges
        into = target * kinds + states.edge_kind
        order = np.argsort(into, kind="stable")
        into, kind = into[order], states.edge_kind[order]
        firsts = np.flatnonzero(np.diff(into, prepend=-1))
        degree = np.diff(firsts, append=len(into)).astype(np.float32)
        evidence = states.evidence.astype(np.float32)
        evidence_size = np.bincount(owner, evidence, minlength=len(sizes)).astype(np.float32)
        return cls(
            states=states,
            owner=owner,
            size=np.maximum(sizes, 1).astype(np.float32)[:, None],
            evidence=evidence[:, None],
            evidence_size=np.maximum(evidence_size, 1)[:, None],
            kind=kind,
            weight=states.edge_weight[order, None],
            sent=source[order] * kinds + kind,
            condition=owner[target[order]] * kinds + kind,
            firsts=firsts,
            into=into[firsts],
            thinned=np.reciprocal(np.sqrt(degree))[:, None],
        )

    def sums(self, values: Array) -> Array:
        """The sum over each state's rows `(n, ...)`: `(b, ...)`.

        Args:
            values: `(n, ...)`.
        """
        return self._reduced(np.add, values, 0.0)

    def largest(self, values: Array) -> Array:
        """The largest in each state's rows `(n, ...)`: `(b, ...)`.

        Args:
            values: `(n, ...)`.
        """
        return self._reduced(np.maximum, values, -np.inf)

    def _reduced(self, ufunc: np.ufunc, values: Array, of_none: float) -> Array:
        starts = self.states.starts
        out = np.full((len(starts) - 1, *values.shape[1:]), of_none, dtype=np.float32)
        nonempty = np.diff(starts) > 0
        out[nonempty] = ufunc.reduceat(values, starts[:-1][nonempty], axis=0)
        return out


class ArrayNetwork:
    """A trained policy network.

    Args:
        config: Its shape.
        columns: The names of the columns that it reads, as `PolicyNetwork` has them.
        weights: By the names that they have in `PolicyNetwork`, float32.

    Raises:
        ConfigError: There is no column of a name, or none of a group, or the order is another.
        ValueError: The weights are of another shape.
    """

    def __init__(self, config: NetworkConfig, columns: Sequence[str], weights: Tensors) -> None:
        self.config, self.columns, self.weights = config, tuple(columns), weights
        places = column_places(self.columns)
        self._shared = shared_columns(self.columns)
        check_shapes(weights, weight_shapes(config, len(self.columns), self._shared))
        self._places = None if self.columns == COLUMNS else places

    @property
    def size(self) -> int:
        """The number of weights, without the features' mean and scale and the calibration."""
        fixed = ("mean", "scale", "stop_scale", "stop_shift")
        return sum(array.size for name, array in self.weights.items() if name not in fixed)

    def log_pi(self, batch: MessageBatch) -> tuple[Array, Array]:
        """Log π(read) `(n,)` and log π(STOP) `(b,)`.

        Args:
            batch: b states with n rows in all.

        Returns:
            Log π(read) `(n,)`, -inf for evidence, and log π(STOP) `(b,)`: the probabilities of a
            state's rows and of its STOP add up to 1.
        """
        weights, x = self.weights, batch.states.x
        if self._places is not None:
            x = x.take(self._places, axis=1)
        x = np.clip((x - weights["mean"]) / weights["scale"], -6.0, 6.0)
        overall = batch.sums(x[:, x.shape[1] - self._shared :]) / batch.size
        h = self._linear("embed.3", gelu(self._linear("embed.0", x)))
        for number in range(self.config.layers):
            h = self._round(f"rounds.{number}.", h, overall, batch)
        read = self._head("score", h)
        read[batch.states.evidence] = -np.inf
        evidence_mean = batch.sums(h * batch.evidence) / batch.evidence_size
        summary = [batch.sums(h) / batch.size, evidence_mean, batch.largest(h), overall]
        stop = self._head("stop", np.concatenate(summary, axis=1))
        scale, shift = np.float32(weights["stop_scale"]), np.float32(weights["stop_shift"])
        if scale != 1.0 or shift != 0.0:
            goes_on = _log_sum_exp(read, np.full_like(stop, NEVER), batch)
            stop = goes_on + scale * (stop - goes_on) + shift
        total = _log_sum_exp(read, stop, batch)
        return read - total[batch.owner], stop - total

    def _round(self, name: str, h: Array, overall: Array, batch: MessageBatch) -> Array:
        """One round of message passing."""
        weights, n, d = self.weights, len(h), self.config.width
        sent = (h @ weights[name + "transform.weight"].T).reshape(-1, d)
        opened = self._linear(name + "condition_gate", overall).reshape(-1, d)
        gate = weights[name + "weight_gate"][batch.kind] * batch.weight
        gate += opened[batch.condition]
        carried = sent[batch.sent] * sigmoid(gate)
        received = np.zeros((n * len(KINDS), d), dtype=np.float32)
        received[batch.into] = np.add.reduceat(carried, batch.firsts, axis=0) * batch.thinned
        mean = (batch.sums(h) / batch.size)[batch.owner]
        change = np.concatenate([h, received.reshape(n, -1), mean], axis=1)
        change = self._normalised(name + "update_node.0", change)
        change = gelu(self._linear(name + "update_node.1", change))
        return h + self._linear(name + "update_node.4", change)

    def _head(self, name: str, x: Array) -> Array:
        """A score for each row, `(n,)`."""
        hidden = gelu(self._linear(name + ".1", self._normalised(name + ".0", x)))
        return self._linear(name + ".4", hidden)[:, 0]

    def _linear(self, name: str, x: Array) -> Array:
        return linear(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

    def _normalised(self, name: str, x: Array) -> Array:
        return layer_norm(x, self.weights[name + ".weight"], self.weights[name + ".bias"])


def mean_log_pi(networks: Sequence[ArrayNetwork], states: StateBatch) -> tuple[Array, Array, Array]:
    """What networks make of states together.

    Args:
        networks: At least one.
        states: b states with n rows in all.

    Returns:
        Log π(read) `(n,)` and log π(STOP) `(b,)` of the mean of their probabilities, and the
        standard deviation of their π(read), `(n,)`.
    """
    reads: list[Array] = []
    stops: list[Array] = []
    spreads: list[Array] = []
    for part in portions(states, ROWS_AT_ONCE):
        batch = MessageBatch.of(part)
        each = [network.log_pi(batch) for network in networks]
        reads.append(_log_mean([read for read, _ in each]))
        stops.append(_log_mean([stop for _, stop in each]))
        spreads.append(np.exp([read for read, _ in each]).std(axis=0))
    return np.concatenate(reads), np.concatenate(stops), np.concatenate(spreads)


def weight_shapes(config: NetworkConfig, columns: int, shared: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's weights, by their names in `PolicyNetwork`.

    Args:
        config: Its shape.
        columns: How many columns it reads.
        shared: How many of them are of the whole state.
    """
    d, kinds = config.width, len(KINDS)
    inputs, summary = (kinds + 2) * d, 3 * d + shared

    def layers(name: str, *sizes: tuple[str, int, int]) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for number, into, out in sizes:
            shapes[f"{name}.{number}.weight"] = (out, into) if into else (out,)
            shapes[f"{name}.{number}.bias"] = (out,)
        return shapes

    def head(name: str, into: int) -> dict[str, tuple[int, ...]]:
        return layers(name, ("0", 0, into), ("1", into, d), ("4", d, 1))

    shapes: dict[str, tuple[int, ...]] = {
        "mean": (columns,),
        "scale": (columns,),
        "stop_scale": (),
        "stop_shift": (),
        **layers("embed", ("0", columns, 2 * d), ("3", 2 * d, d)),
        **head("score", d),
        **head("stop", summary),
    }
    for number in range(config.layers):
        name = f"rounds.{number}"
        shapes |= {
            f"{name}.weight_gate": (kinds, d),
            f"{name}.transform.weight": (kinds * d, d),
            f"{name}.condition_gate.weight": (kinds * d, shared),
            f"{name}.condition_gate.bias": (kinds * d,),
            **layers(f"{name}.update_node", ("0", 0, inputs), ("1", inputs, d), ("4", d, d)),
        }
    return shapes


def _log_mean(logarithms: Sequence[Array]) -> Array:
    """The logarithm of the mean of probabilities."""
    if len(logarithms) == 1:
        return logarithms[0]
    mean = log_sum_exp(np.stack(logarithms), axis=0) - np.float32(math.log(len(logarithms)))
    # A sure thing may come out as a rounding error above 0.
    bounded: Array = np.minimum(mean, np.float32(0))
    return bounded


def _log_sum_exp(read: Array, stop: Array, batch: MessageBatch) -> Array:
    """Log of the sum of exponentials over a state's rows and its STOP, `(b,)`."""
    top = np.maximum(batch.largest(read), stop)
    parts = batch.sums(np.exp(read - top[batch.owner]))
    total: Array = np.log(parts + np.exp(stop - top)) + top
    return total
