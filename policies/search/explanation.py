"""What a hit's score is made of, and what brought the passage into the pool.

The formulas of `hoptrail.policies.search.scoring` are products, so that the shares are their
factors. They are computed for the hits alone, once the walk is over, and change no score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from hoptrail.policies.environment.candidates import (
    DENSE_HITS,
    HYBRID_HITS,
    PAGERANK_CANDIDATES,
    SPARSE_HITS,
    CandidatePool,
)
from hoptrail.policies.environment.state import State
from hoptrail.policies.result import Explanation
from hoptrail.policies.search.beam import Episode
from hoptrail.policies.search.scoring import (
    FLOOR,
    LENGTH_WEIGHTS,
    SEARCH_WEIGHT,
    Reals,
    Scores,
    round_score,
)
from hoptrail.types import HitSource, Shares

LinkFrom = Callable[[int, int], str | None]
"""From the slots of a passage read and of another to the kind of edge between them."""


def explain(
    episode: Episode,
    slots: Sequence[int],
    blended: Scores,
    judged: Scores,
    scores: Scores,
    fit: Reals | None,
    log_lengths: Reals | None,
) -> dict[int, Explanation]:
    """What the scores of hits are made of, by slot; those that were never in the pool are left out.

    Args:
        episode: The walk, which is over.
        slots: The hits.
        blended: Scores before candidates were judged jointly.
        judged: Scores after.
        scores: Scores in the end, in the order that was learned from feedback where one was.
        fit: Of the candidates with read mass, in their order, as they were blended with search.
        log_lengths: By slot of the view where its passages differ much in length, in its place.
    """
    pool = episode.pool
    hits = [slot for slot in slots if slot in scores]
    if fit is not None:
        factors = _search_factors(episode, hits, fit)
    else:
        assert log_lengths is not None
        factors = _length_factors(episode, hits, blended, log_lengths)
    link_from: LinkFrom = cache(lambda source, slot: link_between(pool, (source,), slot))
    links = _link_shares(episode, hits, link_from)
    return {
        slot: Explanation(
            Shares(
                **{name: round_score(float(values[i])) for name, values in factors.items()},
                links=round_score(float(links[i])),
                judge=_factor(blended[slot], judged[slot]),
                feedback=_factor(judged[slot], scores[slot]),
            ),
            sources_of(pool, slot, link_from),
        )
        for i, slot in enumerate(hits)
    }


def _factor(before: float, after: float) -> float:
    return round_score(after / before if before else 1.0)


def _search_factors(episode: Episode, hits: Sequence[int], fit: Reals) -> Mapping[str, Reals]:
    """The factors of `blend_with_search`: its fit, against that of the candidate that fits best."""
    mass = episode.read_mass
    place = {slot: i for i, slot in enumerate(mass)}
    at = [place[slot] for slot in hits]
    best = int(np.argmax(fit))
    sparse, dense, _ = episode.pool.z_scores([*hits, list(mass)[best]])
    likeness = fit[[*at, best]] - (sparse + dense).astype(np.float64)
    read_mass = np.asarray([mass[slot] for slot in hits])
    weight = SEARCH_WEIGHT * (1 - np.minimum(read_mass, 1))
    parts = {
        "lexical": sparse.astype(np.float64),
        "dense": dense.astype(np.float64),
        "likeness": likeness,
    }
    lead = {name: np.exp(weight * (part[:-1] - part[-1])) for name, part in parts.items()}
    return {"policy": read_mass, **lead}


def _length_factors(
    episode: Episode, hits: Sequence[int], blended: Scores, log_lengths: Reals
) -> Mapping[str, Reals]:
    """The factors of `blend_by_length`; the last is the same for all, and keeps the total."""
    sparse, dense, _ = episode.pool.z_scores(hits)
    mass = np.asarray([episode.read_mass.get(slot, 0.0) for slot in hits])
    columns = np.stack([np.log(mass + FLOOR), sparse, dense, log_lengths[list(hits)]])
    policy, lexical, dense_part, length = np.exp(LENGTH_WEIGHTS[:, None] * columns)
    product = policy * lexical * dense_part * length
    total = np.asarray([blended[slot] for slot in hits]) / np.maximum(product, 1e-300)
    parts = {"policy": policy, "lexical": lexical, "dense": dense_part, "length": length}
    return {**parts, "total": total}


def _link_shares(episode: Episode, hits: Sequence[int], link_from: LinkFrom) -> Reals:
    """The part of each hit's read mass from states that a link led out of to it, `(n,)`."""
    states = episode.expanded
    slots = np.concatenate([state.slots for state in states])
    log_mass = np.concatenate([state.log_prob + state.log_read for state in states])
    state_of = np.repeat(np.arange(len(states)), [len(state.slots) for state in states])
    rows, places = np.nonzero(np.asarray(hits, dtype=np.int64)[:, None] == slots)
    joined = [
        any(link_from(source, hits[row]) for source in states[state].evidence)
        for row, state in zip(rows.tolist(), state_of[places].tolist(), strict=True)
    ]
    mass = np.exp(log_mass[places])
    linked = np.bincount(rows, mass * np.asarray(joined, dtype=np.bool_), minlength=len(hits))
    total = np.bincount(rows, mass, minlength=len(hits))
    shares: Reals = linked / np.maximum(total, 1e-300)
    return shares


def sources_of(
    pool: CandidatePool, slot: int, link_from: LinkFrom | None = None
) -> tuple[HitSource, ...]:
    """All that brings a passage into a pool: rankings of the question, then what was read.

    Args:
        pool: The question's.
        slot: One of its candidates.
        link_from: Gives the kind of edge from a passage read to another; by default
            `link_between`.
    """
    hybrid, dense, sparse = pool.rankings
    rankings = {
        "hybrid": hybrid[:HYBRID_HITS],
        "dense": dense[:DENSE_HITS],
        "lexical": sparse[:SPARSE_HITS],
        "pagerank": pool.pagerank_ranking[:PAGERANK_CANDIDATES],
    }
    sources = [
        HitSource(name, rank=ranking.index(slot) + 1)
        for name, ranking in rankings.items()
        if slot in ranking
    ]
    if slot in pool.named:
        sources.append(HitSource("title"))
    by_query: HitSource | None = None
    for read in pool.reads.values():
        if slot not in read.introduced:
            continue
        link = link_from(read.slot, slot) if link_from else link_between(pool, (read.slot,), slot)
        [passage] = pool.scope.view.passages([read.slot])
        if link is not None:
            sources.append(HitSource(None, link=link, id=passage.id, namespace=passage.namespace))
        elif slot in read.entity_neighbours:
            sources.append(HitSource("entities", id=passage.id, namespace=passage.namespace))
        else:
            by_query = by_query or HitSource("query", id=passage.id, namespace=passage.namespace)
    if by_query is None and any(slot in query.hits for query in pool.queries.values()):
        by_query = HitSource("query")
    return (*sources, by_query) if by_query else tuple(sources)


def link_between(pool: CandidatePool, evidence: State, slot: int) -> str | None:
    """The kind of edge that led from the evidence to a passage, the latest read first.

    Args:
        pool: The question's.
        evidence: Slots of what was read before, in order.
        slot: The passage that came next.
    """
    graph = pool.scope.graph
    for source in reversed(evidence):
        if any(m.target == slot for m in pool.reads[source].mentions):
            return "mentions"
        if kinds := [kind for target, kind, _ in graph.links(source) if target == slot]:
            return min(kinds)
        if any(m.target == source for m in graph.out_mentions(slot)):
            return "mentioned_by"
        if kinds := [kind for other, kind, _ in graph.back_links(source) if other == slot]:
            return f"~{min(kinds)}"
    return None
