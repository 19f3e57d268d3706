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
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.view import KINDS
from hoptrail.learning.arrays.layers import (
    EPSILON,
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
    sent: Ints
    """`(e,)`: row of what an edge carries, for each node and kind one; edges with one target and
    kind follow each other."""
    gate: Ints
    """`(e,)`: row of its gate; edges of one state, kind and weight share it."""
    gate_kind: Ints
    """`(g,)`: the kind of each gate."""
    gate_weight: Array
    """`(g, 1)`: its weight."""
    gate_condition: Ints
    """`(g,)`: row of what its state says of it, for each state and kind one."""
    firsts: Ints
    """`(u,)`: the first edge of each target and kind."""
    into: Ints
    """`(u,)`: the row that their sum goes to."""
    kinds: tuple[slice, ...]
    """Which of these sums are of each kind."""
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
        into = states.edge_kind * len(owner) + target
        order = np.argsort(into, kind="stable")
        into, kind = into[order], states.edge_kind[order]
        condition, weight = owner[target[order]] * kinds + kind, states.edge_weight[order]
        # A few hundred edges of a state have some thirty weights, exactly: one number for both.
        gates, gate = np.unique(
            condition << 32 | weight.view(np.uint32).astype(np.int64), return_inverse=True
        )
        gate_condition = gates >> 32
        firsts = np.flatnonzero(np.diff(into, prepend=-1))
        degree = np.diff(firsts, append=len(into)).astype(np.float32)
        bounds = np.searchsorted(kind[firsts], np.arange(kinds + 1)).tolist()
        evidence = states.evidence.astype(np.float32)
        evidence_size = np.bincount(owner, evidence, minlength=len(sizes)).astype(np.float32)
        return cls(
            states=states,
            owner=owner,
            size=np.maximum(sizes, 1).astype(np.float32)[:, None],
            evidence=evidence[:, None],
            evidence_size=np.maximum(evidence_size, 1)[:, None],
            sent=source[order] * kinds + kind,
            gate=gate,
            gate_kind=gate_condition % kinds,
            gate_weight=(gates & 0xFFFFFFFF).astype(np.uint32).view(np.float32)[:, None],
            gate_condition=gate_condition,
            firsts=firsts,
            into=target[order][firsts],
            kinds=tuple(slice(*pair) for pair in pairwise(bounds)),
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


@dataclass(frozen=True, slots=True)
class FoldedUpdate:
    """A layer normalisation and the linear layer behind it, of what a node is updated by.

    That is x = [h, what it received by each kind, the mean of its state], most of which is zeros,
    or the same for all nodes of a state. With μ and σ the mean and deviation of x,

        W (γ (x - μ) / σ + β) + b = (G x - μ G 1) / σ + (W β + b),   G = W diag(γ),

    and G x is a sum over the parts, of which each is only computed where it is, and once.
    """

    own: Array
    """G's columns for h, `(d, d)`, transposed."""
    received: tuple[Array, ...]
    """For what came by each kind, likewise."""
    mean: Array
    """For the state's mean, likewise."""
    total: Array
    """G 1, `(d,)`."""
    bias: Array
    """W β + b, `(d,)`."""
    width: int
    """Of x."""

    @classmethod
    def of(cls, weights: Tensors, name: str) -> FoldedUpdate:
        """The fold of two layers.

        Args:
            weights: A network's.
            name: What the layers' names begin with.
        """
        scale, shift = weights[name + "0.weight"], weights[name + "0.bias"]
        linear_weight, bias = weights[name + "1.weight"], weights[name + "1.bias"]
        folded = np.ascontiguousarray((linear_weight * scale).T)
        own, *received, mean = np.split(folded, len(KINDS) + 2)
        shifted = linear_weight @ shift + bias
        return cls(own, tuple(received), mean, folded.sum(axis=0), shifted, len(folded))

    def update(self, h: Array, mean: Array, received: Array, batch: MessageBatch) -> Array:
        """The layers' output, `(n, d)`.

        Args:
            h: `(n, d)`.
            mean: `(b, d)` of each state.
            received: `(u, d)`, as the batch has them.
            batch: Says whose they are.
        """
        owner, into = batch.owner, batch.into
        out = h @ self.own
        out += (mean @ self.mean)[owner]
        for weight, of_kind in zip(self.received, batch.kinds, strict=True):
            out[into[of_kind]] += received[of_kind] @ weight
        moments = []
        for moment in (_row_sums, _row_squares):
            shared = moment(h) + moment(mean)[owner]
            moments.append((shared + np.bincount(into, moment(received), len(h))) / self.width)
        centre, square = moments
        deviation = np.sqrt(np.maximum(square - centre * centre, 0) + EPSILON)
        out -= centre.astype(np.float32)[:, None] * self.total
        out /= deviation.astype(np.float32)[:, None]
        out += self.bias
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
        self._folded = {
            name: FoldedUpdate.of(weights, name + "update_node.")
            for name in (f"rounds.{number}." for number in range(config.layers))
        }

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
        weights, d = self.weights, self.config.width
        sent = (h @ weights[name + "transform.weight"].T).reshape(-1, d)
        opened = self._linear(name + "condition_gate", overall).reshape(-1, d)
        gates = weights[name + "weight_gate"][batch.gate_kind] * batch.gate_weight
        gates += opened[batch.gate_condition]
        carried = sent.take(batch.sent, axis=0)
        carried *= sigmoid(gates).take(batch.gate, axis=0)
        received = _sums_from(carried, batch.firsts) * batch.thinned
        mean = batch.sums(h) / batch.size
        change = gelu(self._folded[name].update(h, mean, received, batch))
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


def _sums_from(rows: Array, firsts: Ints) -> Array:
    """The sums of runs of rows `(e, d)` that begin at `firsts` `(u,)`, `(u, d)`."""
    if rows.shape[1] % 2:
        return np.add.reduceat(rows, firsts, axis=0)
    # NumPy goes through the runs column by column: as complex numbers, there are half as many.
    pairs = np.add.reduceat(rows.view(np.complex64), firsts, axis=0)
    sums: Array = pairs.view(np.float32)
    return sums


def _row_sums(rows: Array) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = rows.sum(axis=1, dtype=np.float64)
    return sums


def _row_squares(rows: Array) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    return squares


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
