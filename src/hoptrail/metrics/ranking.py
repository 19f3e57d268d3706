"""How good a ranking is: recall, full evidence, reciprocal rank, nDCG, precision.

A ranking is a sequence of ids, best first; gold is the ids that are needed, all equally. Every
measure is a fraction in [0, 1]. An id that a ranking repeats is a hit once, where it first stands,
and a wasted place after that.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from hoptrail.errors import InputError


def recall_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """The share of the gold that is among the first k: |gold ∩ top-k| / |gold|.

    Args:
        ranked: Ids, best first.
        gold: The ids that are needed; at least one.
        k: How many of the first count, at least 1.

    Raises:
        InputError: There is no gold, or k is below 1.

    Examples:
        >>> recall_at(["a", "x", "b"], {"a", "b"}, 2)
        0.5
    """
    gold_ids = _wanted(gold, k)
    return len(gold_ids.intersection(ranked[:k])) / len(gold_ids)


def all_gold_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """1.0 if every gold id is among the first k, else 0.0.

    Args:
        ranked: Ids, best first.
        gold: The ids that are needed; at least one.
        k: How many of the first count, at least 1.

    Raises:
        InputError: There is no gold, or k is below 1.

    Examples:
        >>> all_gold_at(["a", "x", "b"], {"a", "b"}, 2), all_gold_at(["a", "x", "b"], {"a", "b"}, 3)
        (0.0, 1.0)
    """
    return float(_wanted(gold, k) <= set(ranked[:k]))


def precision_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """The share of the first k that is gold; a ranking shorter than k is short of hits, not of k.

    Args:
        ranked: Ids, best first.
        gold: The ids that are needed; at least one.
        k: How many of the first count, at least 1.

    Raises:
        InputError: There is no gold, or k is below 1.

    Examples:
        >>> precision_at(["a", "x", "b", "y"], {"a", "b"}, 4)
        0.5
    """
    gold_ids = _wanted(gold, k)
    return len(gold_ids.intersection(ranked[:k])) / k


def reciprocal_rank(ranked: Sequence[str], gold: Collection[str]) -> float:
    """1 / the rank of the first gold id; 0.0 if there is none.

    Args:
        ranked: Ids, best first.
        gold: The ids that are needed; at least one.

    Raises:
        InputError: There is no gold.

    Examples:
        >>> reciprocal_rank(["x", "a", "b"], {"a", "b"})
        0.5
    """
    gold_ids = _wanted(gold, 1)
    for rank, id_ in enumerate(ranked, start=1):
        if id_ in gold_ids:
            return 1.0 / rank
    return 0.0


def ndcg_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Discounted gain over the best possible: Σ 1/log2(1 + rank of a hit), hits being 0 or 1.

    Args:
        ranked: Ids, best first.
        gold: The ids that are needed; at least one.
        k: How many of the first count, at least 1.

    Raises:
        InputError: There is no gold, or k is below 1.

    Examples:
        >>> ndcg_at(["a", "b", "x"], {"a", "b"}, 3)
        1.0
        >>> round(ndcg_at(["x", "a"], {"a"}, 2), 4)
        0.6309
    """
    gold_ids = _wanted(gold, k)
    place: dict[str, int] = {}
    for rank, id_ in enumerate(ranked[:k], start=1):
        if id_ in gold_ids:
            place.setdefault(id_, rank)
    ideal = range(1, min(k, len(gold_ids)) + 1)
    return _discounted(place.values()) / _discounted(ideal)


def _discounted(ranks: Collection[int]) -> float:
    return math.fsum(1.0 / math.log2(1 + rank) for rank in ranks)


def _wanted(gold: Collection[str], k: int) -> set[str]:
    """The gold as a set, once it is known that a measure is defined."""
    if isinstance(gold, str):
        raise InputError(f"gold must be a collection of ids, got the string {gold!r}")
    if not gold:
        raise InputError("gold is empty: nothing can be measured without a needed passage")
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    return set(gold)
