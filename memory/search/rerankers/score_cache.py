"""Scores of (question, passage) pairs that a dear stage has given lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from hoptrail.memory.content_hash import cache_key
from hoptrail.memory.search.pipeline import QueryState

KEPT = 100_000
"""Pairs remembered; the one not asked for longest goes first."""

Pair = tuple[str, bytes]
"""A question, and the hash of a content: a text that was purged is not held in memory by this."""


class PairScores:
    """Scores by question and content, in memory only: they are gone with the process."""

    def __init__(self, room: int = KEPT) -> None:
        self._kept = room
        self._scores: OrderedDict[Pair, float] = OrderedDict()

    def get(self, pair: Pair) -> float | None:
        """The score of a pair, if it is known.

        Args:
            pair: A question, and the key of a content.
        """
        score = self._scores.get(pair)
        if score is not None:
            self._scores.move_to_end(pair)
        return score

    def put(self, pair: Pair, score: float) -> None:
        """Remember a score.

        Args:
            pair: A question, and the key of a content.
            score: What a stage gave it.
        """
        self._scores[pair] = score
        self._scores.move_to_end(pair)
        while len(self._scores) > self._kept:
            self._scores.popitem(last=False)


def pairs_of(batch: Sequence[QueryState]) -> list[list[Pair]]:
    """The pairs of each question with its candidates.

    Args:
        batch: Questions, each with its candidates.
    """
    return [[(state.text, cache_key(text)) for text in state.contents()] for state in batch]
