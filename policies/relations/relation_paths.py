"""Which paths of relations could be meant: those that lead from a question's topic to its answers.

The path of a question is latent: only its answers are known. A path that ends at exactly these is
likely the one that is meant, one that ends at some of them and at much else is not: it counts by
F1. Found from both ends: only entities from which an answer can still be reached are entered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.adjacency.ragged import Ints
from hoptrail.graph.ranking.relations import Relations

LOOKED_AT = 3
"""Answers that a path must reach to be looked at whole."""
CROWD = 2_000
"""Walks beyond which a path is given up: it says nothing of what is asked."""
LEAST = 0.5
"""F1 below which a path is not held to be meant."""


@dataclass(frozen=True, slots=True)
class Meant:
    """A path that may be the one that a question means."""

    relations: tuple[int, ...]
    fit: float
    """F1 of where it ends with the answers."""
    available: NDArray[np.bool_]
    """`(t + 1, R + 1)`: what could be chosen at each of its states, STOP last."""


def meant_paths(relations: Relations, topics: Ints, answers: Ints, hops: int) -> list[Meant]:
    """The paths from a topic that may be meant by a question with these answers.

    Args:
        relations: The scope's.
        topics: The topic's slots.
        answers: The answers' slots.
        hops: Relations in a path at most.
    """
    shared_paths: set[tuple[int, ...]] | None = None
    for answer in answers[:LOOKED_AT].tolist():
        leading = connecting(relations, topics, answer, hops)
        shared_paths = leading if shared_paths is None else (shared_paths & leading or shared_paths)
    meant = (known_path(relations, topics, answers, path) for path in sorted(shared_paths or ()))
    return [path for path in meant if path is not None and path.fit >= LEAST]


def connecting(relations: Relations, topics: Ints, answer: int, hops: int) -> set[tuple[int, ...]]:
    """The paths of at most so many relations that lead from a topic to an answer.

    Args:
        relations: The scope's.
        topics: `(n,)` the topic's slots.
        answer: The answer's slot.
        hops: Relations in a path at most.
    """
    reach = relations.reach(np.asarray([answer]), hops - 1)
    paths: set[tuple[int, ...]] = set()
    codes = np.zeros(len(topics), dtype=np.int64)  # the relations walked, as digits
    nodes = np.asarray(topics, dtype=np.int64)
    base = len(relations) + 1
    for left in range(hops - 1, -1, -1):
        owner, relation, target = relations.neighbours(nodes)
        keep = reach[left][target]
        codes = codes[owner[keep]] * base + relation[keep] + 1
        states = np.unique(np.stack([codes, target[keep]]), axis=1)
        codes, nodes = states
        arrived = nodes == answer
        paths.update(_digits(code, base) for code in np.unique(codes[arrived]).tolist())
        codes, nodes = codes[~arrived], nodes[~arrived]
    return paths


def known_path(
    relations: Relations, topics: Ints, answers: Ints, path: Sequence[int]
) -> Meant | None:
    """A path with what could be chosen on it; None where it leads to too much or nowhere.

    Args:
        relations: The scope's.
        topics: `(n,)` the topic's slots.
        answers: `(a,)` the answers' slots.
        path: Relations by number.
    """
    walks = np.asarray(topics, dtype=np.int64)[:, None]
    available = np.ones((len(path) + 1, len(relations) + 1), dtype=np.bool_)
    available[0, -1] = False  # at the topic nothing has been answered yet
    for row, relation in zip(available, path, strict=False):
        row[:-1] = relations.leaving(walks[:, -1])
        walks = relations.follow(walks, relation, CROWD + 1)
        if not 0 < len(walks) <= CROWD:
            return None
    available[-1, :-1] = relations.leaving(walks[:, -1])
    ends = np.unique(walks[:, -1])
    right = int(np.isin(ends, answers).sum())
    return Meant(tuple(path), 2 * right / (len(ends) + len(answers)), available)


def _digits(code: int, base: int) -> tuple[int, ...]:
    digits: list[int] = []
    while code:
        code, digit = divmod(code, base)
        digits.append(digit - 1)
    return tuple(reversed(digits))
