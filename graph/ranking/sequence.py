"""Sequences: the passages that stand before and after one, by links of the kind `next`.

A turn of a conversation, or a part of a document, says little by itself: what it is about was said
before it, and what it is asked for comes after it. So words that its neighbours have in common with
a question count for it too, at a share. A `next` link is no more than that: nobody wrote that the
two belong together, so it is not followed as other links are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.adjacency.adjacency import STEP
from hoptrail.graph.adjacency.ragged import Ints, Records

NEIGHBOUR_WEIGHT = 0.45
"""What a word of the passages before or after counts, beside one of a passage's own."""


class SequenceLinks:
    """Who stands next to whom in a scope.

    Args:
        links: As `hoptrail.graph.adjacency.adjacency.all_links` has them; those of other kinds
        are passed over.
        n: The slots.
    """

    def __init__(self, links: Records, n: int) -> None:
        steps = links[links[:, 2] == STEP]
        self._before: Ints = steps[:, 0].astype(np.int64)
        self._after: Ints = steps[:, 1].astype(np.int64)
        # Whoever has several before or after it hears their mean.
        self._to_after = NEIGHBOUR_WEIGHT / np.bincount(self._after, minlength=n)[self._after]
        self._to_before = NEIGHBOUR_WEIGHT / np.bincount(self._before, minlength=n)[self._before]

    def __repr__(self) -> str:
        return f"<{len(self)} steps from one passage to the next>"

    def __len__(self) -> int:
        """Steps from one passage to the next."""
        return len(self._before)

    def smooth_scores(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Scores of slots with what their neighbours' are worth to them.

        Args:
            scores: `(m,)`, m at least the number of slots: later ones have no neighbours yet.
        """
        around = np.bincount(
            np.concatenate([self._after, self._before]),
            np.concatenate(
                [scores[self._before] * self._to_after, scores[self._after] * self._to_before]
            ),
            minlength=len(scores),
        )
        # Rounded, since the order of adding up follows that of writing.
        heard: NDArray[np.floating] = np.round(scores + around, 5).astype(scores.dtype)
        return heard
