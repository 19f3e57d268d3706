"""A judge as a stage: anything that says how well passages answer a question.

Never required. A judge may be a large model, a person, a rule; it sees the passages of one question
together, and may so compare them:

    def judge(question: str, passages: Sequence[Passage]) -> Sequence[float]: ...
    Pipeline([Search(keep=50), Judge(judge, keep=5)])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hoptrail.errors import ConfigError, InputError
from hoptrail.memory.encoders.vectors import numbers
from hoptrail.memory.index.slots import Scores
from hoptrail.memory.search.pipeline import QueryState, Stage
from hoptrail.memory.search.rerankers.score_cache import PairScores, pairs_of
from hoptrail.types import Passage


class Judging(Protocol):
    """What a judge is: a function, or an object that can be called."""

    def __call__(self, question: str, passages: Sequence[Passage]) -> Sequence[float]:
        """A score for each passage, in order; higher is better."""


class Judge(Stage):
    """The scores that a judge gives; what it said lately of a pair is not asked again.

    Args:
        judge: Gives a score to each of a question's passages.
        keep: Candidates that go on.
        at_once: Passages that it is shown together, at most.
        name: What the stage is called in the costs.
    """

    def __init__(
        self, judge: Judging, *, keep: int = 10, at_once: int = 20, name: str = "judge"
    ) -> None:
        if not callable(judge):
            raise ConfigError(f"a judge is called with a question and passages, got {judge!r}")
        if at_once < 1:
            raise ConfigError(f"at_once must be at least 1, got {at_once!r}")
        self.name = name
        super().__init__(keep)
        self._judge = judge
        self._at_once = at_once
        self._known = PairScores()

    def score(self, batch: Sequence[QueryState]) -> list[Scores]:
        """The judge's scores, one question after another."""
        scores_of_batch = []
        for state, pairs in zip(batch, pairs_of(batch), strict=True):
            scores = [self._known.get(pair) for pair in pairs]
            new = [i for i, score in enumerate(scores) if score is None]
            self.cached += len(pairs) - len(new)
            for start in range(0, len(new), self._at_once):
                rows = new[start : start + self._at_once]
                said = self._ask(state.text, [state.passages[int(state.slots[i])] for i in rows])
                for row, score in zip(rows, said, strict=True):
                    scores[row] = score
                    self._known.put(pairs[row], score)
            scores_of_batch.append(np.asarray(scores, dtype=np.float32))
        return scores_of_batch

    def _ask(self, question: str, passages: Sequence[Passage]) -> list[float]:
        said = numbers(self._judge(question, passages), "a judge")
        if said.shape != (len(passages),) or not np.isfinite(said).all():
            raise InputError(
                f"a judge must give {len(passages)} finite scores for {len(passages)} passages, "
                f"got {said.tolist()!r}"
            )
        return [float(score) for score in said]
