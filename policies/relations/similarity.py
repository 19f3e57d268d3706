"""Relations chosen by what their names mean, with nothing learned.

A path fits a question as far as each of its relations has a word of the question to itself:

    V(path) = max over ways to give its relations different words of Σ fit(word, relation) − COST

where fit is the cosine of the two in the encoder's space, and at most twice its lead over the
word's mean over all relations: a word that is near to all of them ("films") speaks for none. A
relation without a word adds −COST alone, so that a walk goes on while the question still asks for
something, and stops behind that. π over what can be chosen is a softmax of V.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.extraction.names import STOP_WORDS, words
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.policies.networks.relation_scorer import relation_words

COST = 0.3
"""Fit below which a word is no reason to walk a relation."""
SHARPNESS = 20.0
"""How much a difference in fit counts."""
WORDS_KEPT = 10_000
"""Words whose vectors stay in memory."""


class Similarity:
    """A walk over the relations of one scope led by the words of the question.

    Args:
        names: The relations.
        encoder: For words and relations.
    """

    def __init__(self, names: Sequence[str], encoder: Encoder) -> None:
        self._encoder = encoder
        self._vectors: dict[str, Vectors] = {}
        kinds = list(dict.fromkeys(relation_words(name) for name in names))
        self._kind = np.asarray([kinds.index(relation_words(name)) for name in names])
        self._kinds = encoder.encode(kinds)

    def read(self, questions: Sequence[str]) -> tuple[NDArray[np.object_], list[int]]:
        """How well each of a question's words fits each kind.

        Args:
            questions: b of them, in words.

        Returns:
            `(b,)` arrays `(w, kinds)`, and how many texts were encoded for each question: a new
            word that several questions hold counts for the first of them.
        """
        question_words = [
            [word for word in words(question).folded if word not in STOP_WORDS]
            for question in questions
        ]
        new = self._learn({word for ones in question_words for word in ones})
        counts = []
        for ones in question_words:
            counts.append(len(new.intersection(ones)))
            new.difference_update(ones)
        fits = np.empty(len(question_words), dtype=object)
        for place, ones in enumerate(question_words):
            vectors = [self._vectors[word] for word in ones]
            near = np.reshape(vectors, (len(ones), self._kinds.shape[1])) @ self._kinds.T
            fits[place] = np.minimum(near, 2 * (near - near.mean(1, keepdims=True)))
        return fits, counts

    def log_probs(
        self,
        questions: NDArray[np.object_],
        paths: Sequence[tuple[int, ...]],
        available: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Log π over the relations, STOP last, `(b, R + 1)`; see `Scorer` in `relation_scorer`.

        Args:
            questions: b rows of what `read` gave.
            paths: The relations walked so far, by number.
            available: `(b, R + 1)`, at least one in each row.
        """
        scores = np.full(available.shape, -np.inf)
        for row, (fits, path) in enumerate(zip(questions, paths, strict=True)):
            for action in np.flatnonzero(available[row]).tolist():
                longer = path if action == len(self._kind) else (*path, action)
                scores[row, action] = SHARPNESS * self._value(fits, longer)
        top = scores.max(1, keepdims=True)
        total = np.log(np.exp(scores - top).sum(1, keepdims=True))
        log_probs: NDArray[np.float64] = scores - top - total
        return log_probs

    def _value(self, fits: NDArray[Any], path: tuple[int, ...]) -> float:
        """How well a path fits, `fits` being those of the question's words."""
        from scipy.optimize import (
            linear_sum_assignment,
        )  # a fifth of a second, for walks of relations

        gains = np.concatenate([fits[:, self._kind[list(path)]].T, np.zeros((len(path),) * 2)], 1)
        rows, columns = linear_sum_assignment(gains, maximize=True)
        return float(gains[rows, columns].sum()) - COST * len(path)

    def _learn(self, question_words: set[str]) -> set[str]:
        """Encode those that are new; which these were."""
        new = sorted(question_words - self._vectors.keys())
        if new:
            if len(self._vectors) + len(new) > WORDS_KEPT:
                self._vectors.clear()
                new = sorted(question_words)
            self._vectors.update(zip(new, self._encoder.encode(new), strict=True))
        return set(new)
