"""Beam search over the states of the decision process, batched over questions.

One hop is one pass of the policy over every prefix of every beam, and one encoder pass over the
states that they lead to and that are probable enough for it. Prefixes with equal evidence are one
state: their probabilities add.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hoptrail.policies.environment.candidates import CandidatePool
from hoptrail.policies.environment.efforts import Effort
from hoptrail.policies.environment.features import FeatureTable
from hoptrail.policies.environment.reformulation import AnyReformulator
from hoptrail.policies.environment.state import State, batch_states, state_input
from hoptrail.policies.result import Decided
from hoptrail.policies.search.scoring import Scores, add_disagreement, add_read_mass

if TYPE_CHECKING:
    from hoptrail.policies.policy import AnyPolicy

DECIMALS = 5
"""Log-probabilities are rounded to this before they are compared: what a network gives differs by
less when the candidates come in another order."""


@dataclass(frozen=True, slots=True)
class TrailPrefix:
    """An unfinished trail."""

    evidence: State
    log_prob: float
    """log π(s): of all orders of this evidence that the beam followed."""
    hops: tuple[float, ...]
    """Probability of each hop, along the most probable order."""
    stops: tuple[float, ...]
    """π(STOP) in the state before each hop, along the same order."""
    orders: tuple[State, ...]
    """All orders of this evidence that the beam followed, the most probable first."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A trail that is over."""

    prefix: TrailPrefix
    log_prob: float
    """Log-probability of the whole trail, its end included."""
    stop_reason: str
    """As in `Trail`."""
    stop_probability: float
    """π(STOP) in the state in which it ended."""


@dataclass(frozen=True, slots=True)
class ExpandedState:
    """A state of the beam, and what could be read in it."""

    evidence: State
    log_prob: float
    """log π(s)."""
    slots: NDArray[np.int64]
    """`(m,)` its candidates."""
    log_read: NDArray[np.float64]
    """`(m,)` log π(i | s)."""


@dataclass(slots=True)
class Episode:
    """One question on its way; `prefixes` is the beam of the hop at hand."""

    pool: CandidatePool
    prefixes: list[TrailPrefix] = field(
        default_factory=lambda: [TrailPrefix((), 0.0, (), (), ((),))]
    )
    read_mass: Scores = field(default_factory=dict)
    """By candidate, how probable it is to be read next; see `hoptrail.policies.search.scoring`."""
    disagreement: Scores = field(default_factory=dict)
    """By candidate, how far the networks disagree on its read mass."""
    terminals: list[Terminal] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    """Slots that this walk read; the pool may have been given others to start with."""
    expanded: list[ExpandedState] = field(default_factory=list)
    """The states that read mass came from, in order."""
    encoded: int = 1
    """Texts: the question, and what was asked since."""
    features: FeatureTable = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.features = FeatureTable(self.pool)

    def ranked_terminals(self) -> list[Terminal]:
        """The trails, most probable first; equals by content."""
        key = self.pool.scope.view.content_key
        return sorted(
            self.terminals,
            key=lambda e: (-round(e.log_prob, DECIMALS), [key(s) for s in e.prefix.evidence]),
        )


class BeamSearch:
    """Follows the likeliest prefixes of a policy.

    Args:
        policy: π.
        reformulator: Asks the next query of each state.
        effort: The bounds.
    """

    def __init__(self, policy: AnyPolicy, reformulator: AnyReformulator, effort: Effort) -> None:
        self.policy, self.reformulator, self.effort = policy, reformulator, effort

    def run(self, pools: Sequence[CandidatePool]) -> list[Episode]:
        """Walk every pool's question to its end; the pools widen by what is read.

        Args:
            pools: A pool for each question, of which nothing has been read.

        Returns:
            An episode for each pool, in their order: its trails, and the probability of reading
            each candidate.
        """
        episodes = [Episode(pool) for pool in pools]
        for hop in range(self.effort.max_hops + 1):
            active = [episode for episode in episodes if episode.prefixes]
            if not active:
                break
            self._decide(active, last=hop == self.effort.max_hops)
            self._enter(active)
        return episodes

    def _decide(self, episodes: list[Episode], *, last: bool) -> None:
        """Score every prefix of every beam in one pass, then choose the next beams."""
        inputs, owners = [], []
        for episode in episodes:
            table = episode.features.now()
            for prefix in episode.prefixes:
                inputs.append(state_input(episode.pool, table, prefix.evidence))
                owners.append((episode, prefix))
        states = batch_states(inputs)
        read, stop, spread = (
            values.astype(np.float64) for values in self.policy.decide_with_spread(states)
        )
        grown: dict[int, dict[frozenset[int], TrailPrefix]] = {id(e): {} for e in episodes}
        for b, (episode, prefix) in enumerate(owners):
            rows = slice(states.starts[b], states.starts[b + 1])
            log_read = read[rows]
            episode.read_mass = add_read_mass(
                episode.read_mass, inputs[b].slots, prefix.log_prob, log_read
            )
            episode.disagreement = add_disagreement(
                episode.disagreement, inputs[b].slots, prefix.log_prob, spread[rows]
            )
            episode.expanded.append(
                ExpandedState(prefix.evidence, prefix.log_prob, inputs[b].slots, log_read)
            )
            exhausted = bool(np.isneginf(log_read).all())
            reason = "exhausted" if exhausted else "policy"
            stop_probability = float(np.exp(stop[b]))
            episode.terminals.append(
                Terminal(prefix, prefix.log_prob + float(stop[b]), reason, stop_probability)
            )
            if last and not exhausted:
                going_on = float(np.logaddexp.reduce(log_read))
                episode.terminals.append(
                    Terminal(prefix, prefix.log_prob + going_on, "budget", stop_probability)
                )
            elif not last:
                self._grow(grown[id(episode)], prefix, inputs[b].slots, log_read, stop_probability)
        for episode in episodes:
            episode.prefixes = self._best(episode, list(grown[id(episode)].values()))

    def _grow(
        self,
        grown: dict[frozenset[int], TrailPrefix],
        prefix: TrailPrefix,
        slots: NDArray[np.int64],
        log_read: NDArray[np.float64],
        stop: float,
    ) -> None:
        """The likeliest continuations of a prefix; those with equal evidence are merged."""
        for place, i in enumerate(np.argsort(-log_read, kind="stable")[: self.effort.beam_width]):
            log_prob = prefix.log_prob + float(log_read[i])
            # However unsure it is where to begin, it reads something.
            if log_prob < np.log(self.effort.prune_below) and (prefix.evidence or place):
                return
            slot = int(slots[i])
            new = TrailPrefix(
                (*prefix.evidence, slot),
                log_prob,
                (*prefix.hops, float(np.exp(log_read[i]))),
                (*prefix.stops, stop),
                tuple((*order, slot) for order in prefix.orders),
            )
            key = frozenset(new.evidence)
            grown[key] = _merged(grown[key], new) if key in grown else new

    def _best(self, episode: Episode, grown: list[TrailPrefix]) -> list[TrailPrefix]:
        """The next beam: the likeliest prefixes, within the budget of passages read."""
        content = episode.pool.scope.view.content_key
        beam: list[TrailPrefix] = []
        grown.sort(key=lambda p: (-round(p.log_prob, DECIMALS), [content(s) for s in p.evidence]))
        for prefix in grown:
            if len(beam) == self.effort.beam_width:
                break
            last = prefix.evidence[-1]
            if last in episode.read or len(episode.read) < self.effort.max_reads:
                episode.read.add(last)
                beam.append(prefix)
        return beam

    def _enter(self, episodes: list[Episode]) -> None:
        """Enter the states of the beams: read, encoded and searched for together."""
        states = [(e, prefix) for e in episodes for prefix in e.prefixes]
        encoded = self.reformulator.enter(
            [(e.pool, prefix.evidence) for e, prefix in states],
            [math.exp(prefix.log_prob) >= self.effort.encode_above for _, prefix in states],
        )
        for (episode, _), count in zip(states, encoded, strict=True):
            episode.encoded += count


def _merged(one: TrailPrefix, other: TrailPrefix) -> TrailPrefix:
    """Two prefixes of equal evidence as one state, seen as the likelier order has it."""
    first, second = (one, other) if np.prod(one.hops) >= np.prod(other.hops) else (other, one)
    log_prob = float(np.logaddexp(one.log_prob, other.log_prob))
    return replace(first, log_prob=log_prob, orders=first.orders + second.orders)


def decided(episode: Episode, most: int) -> list[Decided]:
    """The likeliest trails of a walk that drew nothing, of those that read something.

    Args:
        episode: A walk that is over.
        most: How many trails at most.
    """
    reading = [ending for ending in episode.ranked_terminals()[:most] if ending.prefix.evidence]
    return [Decided(e.prefix.evidence, e.stop_reason != "budget", e.log_prob) for e in reading]
