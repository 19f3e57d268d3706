"""Recalls that explore: a beam that samples trails without replacement, and what a walk decided.

The deterministic beam always reads what it thinks best and never learns what else was there. This
one draws k different trails (`learning.stochastic_beam`): a hop keeps the k + 1 prefixes with
the largest perturbed log-probability, ended ones among them, and the last of the k + 1 gives the
threshold. Each trail then has a known probability of being in the sample, which is what learning
from it needs. A trail is a sequence here: orders of equal evidence are not merged. It ends by STOP,
or by itself once it has as many hops as the effort allows.

What the drawn trails read is ranked first, trail by trail in the order of the draw, of which the
first is an exact draw from π; the rest follows by the usual score.

Source: Kool et al. 2019 (1903.06059), algorithm 1. We differ in that the root's perturbed
log-probability is drawn and not 0, which leaves the leaves' exactly independent.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from hoptrail.learning.estimators.relaxed import gumbel_noise
from hoptrail.learning.estimators.stochastic_beam import children, log_inclusion
from hoptrail.policies.environment.candidates import CandidatePool
from hoptrail.policies.environment.state import State, batch_states, state_input
from hoptrail.policies.result import Decided
from hoptrail.policies.search.beam import BeamSearch, Episode, Terminal, TrailPrefix
from hoptrail.policies.search.scoring import add_disagreement, add_read_mass


@dataclass(frozen=True, slots=True)
class _Node:
    """A prefix in the sampled beam; one that has ended is a leaf."""

    evidence: State
    log_prob: float
    perturbed: float
    hops: tuple[float, ...]
    stops: tuple[float, ...]
    """As in `TrailPrefix`."""
    stop_reason: str | None = None
    """Why it ended; None while it goes on."""
    stop_probability: float = 0.0
    """As in `Terminal`; 0 where the bounds ended it, so that nothing was asked."""

    def prefix(self) -> TrailPrefix:
        """It as the beam knows prefixes."""
        return TrailPrefix(self.evidence, self.log_prob, self.hops, self.stops, (self.evidence,))


@dataclass(slots=True)
class _Walk:
    """One question on its way."""

    episode: Episode
    generator: torch.Generator
    nodes: list[_Node]


class SampledBeam(BeamSearch):
    """Draws trails of a policy without replacement.

    As many as the effort's beam is wide, for which it follows one prefix more. The effort's bound
    on passages read does not hold here, because what a trail may do must not depend on the others:
    they are `(beam + 1) x hops` at most, and less where trails begin alike.
    """

    def sample(
        self, pools: Sequence[CandidatePool], seed: int
    ) -> list[tuple[Episode, list[Decided]]]:
        """Walk every pool's question; its episode, and the trails in the order of the draw.

        Args:
            pools: Their questions; they widen by what is read.
            seed: Of all draws. A question's draws depend on it and the question alone.
        """
        walks = [_start(pool, seed) for pool in pools]
        width = self.effort.beam_width + 1
        for hop in range(self.effort.max_hops):
            active = [w for w in walks if any(node.stop_reason is None for node in w.nodes)]
            if not active:
                break
            self._expand(active, width, last=hop == self.effort.max_hops - 1)
            for walk in active:
                walk.episode.prefixes = [
                    n.prefix() for n in walk.nodes if n.stop_reason in (None, "budget")
                ]
                walk.episode.read.update(p.evidence[-1] for p in walk.episode.prefixes)
            self._enter([walk.episode for walk in active])
        return [_finished(walk, width) for walk in walks]

    def _expand(self, walks: Sequence[_Walk], width: int, *, last: bool) -> None:
        """One hop: every prefix's actions in one pass, then the best of what there is."""
        inputs, owners = [], []
        for walk in walks:
            table = walk.episode.features.now()
            for node in walk.nodes:
                if node.stop_reason is None:
                    inputs.append(state_input(walk.episode.pool, table, node.evidence))
                    owners.append((walk, node))
        states = batch_states(inputs)
        read, stop, spread = (
            torch.from_numpy(values) for values in self.policy.decide_with_spread(states)
        )
        grown: dict[int, list[_Node]] = {
            id(w): [node for node in w.nodes if node.stop_reason is not None] for w in walks
        }
        for b, (walk, node) in enumerate(owners):
            rows = slice(states.starts[b], states.starts[b + 1])
            log_pi = torch.cat([read[rows], stop[b : b + 1]])
            slots = inputs[b].slots.tolist()
            walk.episode.read_mass = add_read_mass(
                walk.episode.read_mass,
                inputs[b].slots,
                node.log_prob,
                log_pi[:-1].double().numpy(),
            )
            walk.episode.disagreement = add_disagreement(
                walk.episode.disagreement,
                inputs[b].slots,
                node.log_prob,
                spread[rows].double().numpy(),
            )
            grown[id(walk)] += _children(node, slots, log_pi.double(), walk.generator, last=last)
        for walk in walks:
            walk.nodes = sorted(grown[id(walk)], key=lambda n: -n.perturbed)[:width]


def _start(pool: CandidatePool, seed: int) -> _Walk:
    digest = hashlib.sha256(f"{seed}\n{pool.question}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    root = float(gumbel_noise(torch.zeros(1, dtype=torch.float64), generator=generator))
    return _Walk(Episode(pool), generator, [_Node((), 0.0, root, (), ())])


def _children(
    node: _Node,
    slots: list[int],
    log_pi: torch.Tensor,
    generator: torch.Generator,
    *,
    last: bool,
) -> list[_Node]:
    """What a prefix can become: one passage longer, or ended."""
    log_probs = node.log_prob + log_pi
    most = torch.tensor(node.perturbed, dtype=torch.float64)
    perturbed = children(log_probs, most, generator=generator)
    exhausted = bool(torch.isneginf(log_pi[:-1]).all())
    stop_probability = math.exp(float(log_pi[-1]))
    nodes = []
    for i in torch.isfinite(perturbed).nonzero().flatten().tolist():
        grown = replace(node, log_prob=float(log_probs[i]), perturbed=float(perturbed[i]))
        if i == len(slots):
            nodes.append(
                replace(
                    grown,
                    stop_reason="exhausted" if exhausted else "policy",
                    stop_probability=stop_probability,
                )
            )
            continue
        nodes.append(
            replace(
                grown,
                evidence=(*node.evidence, slots[i]),
                hops=(*node.hops, math.exp(float(log_pi[i]))),
                stops=(*node.stops, stop_probability),
                stop_reason="budget" if last else None,
            )
        )
    return nodes


def _finished(walk: _Walk, width: int) -> tuple[Episode, list[Decided]]:
    """The episode with its trails; the trails that were drawn."""
    episode, nodes = walk.episode, walk.nodes
    threshold = nodes[width - 1].perturbed if len(nodes) == width else -math.inf
    drawn = nodes[: width - 1]
    log_q = log_inclusion(
        torch.tensor([n.log_prob for n in drawn], dtype=torch.float64),
        torch.tensor(threshold, dtype=torch.float64),
    )
    episode.prefixes = []
    episode.terminals = [
        Terminal(n.prefix(), n.log_prob, n.stop_reason or "", n.stop_probability) for n in drawn
    ]
    return episode, [
        Decided(n.evidence, n.stop_reason != "budget", n.log_prob, float(q))
        for n, q in zip(drawn, log_q, strict=True)
    ]
