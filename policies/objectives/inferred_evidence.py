"""Evidence inferred from answers: what a policy most probably read, given that it says the answer.

Where a question comes with answers alone, which passages are its evidence is latent. What a policy
holds for probable, and whether a passage says an accepted answer, decide together:

    p(z | y, q) ∝ p(y | z, q) π(z | q),   p(y | z, q) = 1 where a passage of z says y, else 0

summed over the orders of a set. z runs over the trails of the beam and over those that go on from a
state of it to a passage that says the answer: a beam does not know the answer, and leaves most of
these out. The likeliest set is then imitated as if it were gold: one step of hard EM on the
marginal likelihood of the answer.

Source: Min et al. 2019, "A Discrete Hard EM Approach for Weakly Supervised Question Answering"
(1909.04849). We differ in that the solutions are found by walking the policy, not listed before,
and are chosen once, by the policy that training goes on from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from hoptrail.learning.marginal import marginal_likelihood
from hoptrail.policies.data.examples import Example, Source, detours, enter_all, to_enter
from hoptrail.policies.environment.efforts import Effort
from hoptrail.policies.environment.reformulation import AnyReformulator
from hoptrail.policies.environment.state import State
from hoptrail.policies.objectives.rewards import answered, said_in_text
from hoptrail.policies.objectives.rollout import trail_log_probs
from hoptrail.policies.policy import Policy
from hoptrail.policies.search.beam import BeamSearch, Episode

AT_ONCE = 16
"""Questions that are walked together."""
BEAM_WIDTH, MAX_READS, PRUNE_BELOW = 6, 16, 1e-2
"""Bounds of a walk that is made once: wider than a recall's."""
TOWARDS_ANSWER = 12
"""Trails beside those of the beam that end in a passage which says the answer, at most."""


@dataclass(frozen=True, slots=True)
class InferredEvidence:
    """A set of passages that may have led to the answer."""

    slots: State
    """In the likeliest order; there is at least one."""
    posterior: float
    """p(set | y, q) among the trails that were found."""


def infer_evidence(
    policy: Policy,
    examples: Sequence[Example],
    reformulator: AnyReformulator,
    bounds: Effort,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[InferredEvidence | None]:
    """The likeliest evidence of questions, given their answers.

    Args:
        policy: π.
        examples: Questions; what the walk adds to their pools is forgotten again.
        reformulator: Asks the next queries.
        bounds: Of a recall; its hops, and whether it encodes queries, hold for the walk as well.
        progress: Called with (done, total) questions.

    Returns:
        For each question its evidence; None where no passage says an answer on any trail that was
        found, or where no passage could say it, as with yes and no.
    """
    wide = replace(
        bounds, beam_width=BEAM_WIDTH, max_reads=MAX_READS, prune_below=PRUNE_BELOW, rerank_top=0
    )
    search = BeamSearch(policy, reformulator, wide)
    inferred: list[InferredEvidence | None] = []
    for start in range(0, len(examples), AT_ONCE):
        batch = examples[start : start + AT_ONCE]
        inferable = [example for example in batch if said_in_text(example.question)]
        by_example = dict(zip(inferable, _of_batch(policy, search, inferable), strict=True))
        inferred += [by_example.get(example) for example in batch]
        if progress:
            progress(len(inferred), len(examples))
    return inferred


def with_evidence(
    example: Example, inferred: InferredEvidence, reformulator: AnyReformulator
) -> Example:
    """A question whose gold is what was inferred, ready to be imitated.

    Args:
        example: The question without gold.
        inferred: Its evidence.
        reformulator: Asks the queries of the states that are learned from.
    """
    learned = replace(
        example,
        gold=inferred.slots,
        detours=detours(example.pool, inferred.slots),
        source=Source.INFERRED,
        confidence=inferred.posterior,
    )
    enter_all([(learned, state) for state in to_enter(learned)], reformulator)
    learned.mark()
    return learned


def _of_batch(
    policy: Policy, search: BeamSearch, examples: Sequence[Example]
) -> list[InferredEvidence | None]:
    """What is inferred for questions that are walked together."""
    episodes = search.run([example.pool for example in examples])
    trails = [
        _trails(example, episode, search.effort.max_hops)
        for example, episode in zip(examples, episodes, strict=True)
    ]
    flat = [
        (example, trail)
        for example, of_example in zip(examples, trails, strict=True)
        for trail in of_example
    ]
    inferred: list[InferredEvidence | None] = [None] * len(examples)
    if flat:
        enter_all(flat, search.reformulator)
        with torch.no_grad():
            log_prior = torch.split(trail_log_probs(policy, flat), [len(t) for t in trails])
        inferred = [_likeliest(of, prior) for of, prior in zip(trails, log_prior, strict=True)]
    for example in examples:
        example.reset()
    return inferred


def _trails(example: Example, episode: Episode, most_hops: int) -> list[State]:
    """The trails that say the answer: those of the beam, and the likeliest that lead on to it."""
    slots = list(example.pool.slots)
    passages = example.pool.scope.view.passages(slots)
    says = {
        slot
        for slot, passage in zip(slots, passages, strict=True)
        if answered(example.question, [passage.content])
    }
    of_beam = [
        order
        for ending in episode.ranked_terminals()
        if ending.stop_reason != "budget"
        for order in ending.prefix.orders
        if says.intersection(order)
    ]
    towards: dict[State, float] = {}
    for state in episode.expanded:
        if len(state.evidence) == most_hops:
            continue
        for slot, log_read in zip(state.slots.tolist(), state.log_read.tolist(), strict=True):
            if slot in says and log_read > -math.inf:
                towards[(*state.evidence, slot)] = state.log_prob + log_read
    key = example.pool.scope.view.content_key
    ranked = sorted(towards, key=lambda trail: (-round(towards[trail], 5), [*map(key, trail)]))
    return list(dict.fromkeys([*of_beam, *ranked[:TOWARDS_ANSWER]]))


def _likeliest(trails: Sequence[State], log_prior: torch.Tensor) -> InferredEvidence | None:
    """The set of passages with the highest posterior; each of the trails says the answer."""
    if not trails:
        return None
    marginal = marginal_likelihood(log_prior[None], torch.zeros(1, len(trails)))
    if not bool(marginal.possible[0]):
        return None
    orders: dict[frozenset[int], list[tuple[float, State]]] = {}
    for trail, posterior in zip(trails, marginal.posterior[0].tolist(), strict=True):
        orders.setdefault(frozenset(trail), []).append((posterior, trail))
    best = max(orders.values(), key=lambda ways: sum(posterior for posterior, _ in ways))
    likeliest = max(best, key=lambda way: way[0])[1]
    return InferredEvidence(likeliest, sum(posterior for posterior, _ in best))
