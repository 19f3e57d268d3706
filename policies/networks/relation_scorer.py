"""π over relations: which one a question asks to walk next, and when its answer is reached.

    log π(r | question, relations walked) and log π(STOP | …), over the relations that leave here

A trained `RelationScorer` reads vectors of one encoder: of the question, the name of its topic
taken out, and of the relations' names; what was walked goes through a recurrent cell. It is an
optional part of a policy's folder. Without one, `Similarity` stands in: how well the words of the
whole path fit the question, for any encoder, learned from nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError, PolicyError
from hoptrail.learning.arrays.layers import (
    Array,
    gelu,
    layer_norm,
    linear,
    log_sum_exp,
    sigmoid,
)
from hoptrail.learning.arrays.tensor_files import (
    FAULTS,
    Tensors,
    check_shapes,
    load_about,
    load_tensors,
    reason,
)
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.values.numbers import whole

FILE = "relations.safetensors"
"""Where a policy's folder keeps its relation scorer."""

MOST = 1 << 16
"""Of the widths of a scorer that is loaded."""

TOPIC = "it"
"""Stands for the topic's name in a question, which says nothing of what is asked of it."""


def relation_words(name: str) -> str:
    """A relation's name as words, without its direction.

    Args:
        name: A kind of link; `~` before it stands for its inverse.

    Examples:
        >>> relation_words("~starred_actors"), relation_words("directedBy")
        ('starred actors', 'directed by')
    """
    spaced = "".join(f" {c.lower()}" if c.isupper() else c for c in name.lstrip("~"))
    return " ".join(spaced.replace("_", " ").replace("-", " ").replace("/", " ").split())


class Scorer(Protocol):
    """What can lead a walk over relations."""

    def read(self, questions: Sequence[str]) -> tuple[Any, list[int]]:
        """What it needs to know of questions, their topics' names taken out.

        Args:
            questions: b of them, in words.

        Returns:
            A row for each, and how many texts were encoded for each.
        """

    def log_probs(
        self,
        questions: Any,
        paths: Sequence[tuple[int, ...]],
        available: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Log π over the relations, STOP last, `(b, R + 1)`; -inf for what is not available.

        Args:
            questions: Rows of what `read` gave.
            paths: The relations walked so far, by number.
            available: `(b, R + 1)`, at least one in each row.
        """


class ArrayRelationScorer:
    """A trained scorer as plain array code, bound to the encoder whose vectors it reads.

    Args:
        encoder: That encoder's fingerprint.
        dim: The width d of its vectors.
        width: Of the hidden layers.
        weights: By the names that they have in `RelationScorer`, float32.

    Raises:
        ValueError: The weights are of another shape.
    """

    def __init__(self, encoder: str, dim: int, width: int, weights: Tensors) -> None:
        self.encoder, self.dim, self.width, self.weights = encoder, dim, width, weights
        check_shapes(weights, _weight_shapes(dim, width))

    def log_probs(
        self,
        questions: Vectors,
        paths: NDArray[np.int64],
        available: NDArray[np.bool_],
        relations: Vectors,
    ) -> Array:
        """Log π over the relations and STOP; see `RelationScorer.forward`.

        Args:
            questions: `(b, d)`, vectors of the questions.
            paths: `(b, t)`, the relations walked so far, -1 behind a path's end.
            available: `(b, R + 1)`, STOP last; at least one True in each row.
            relations: `(R, d + 1)`, as `relation_vectors` gives them.

        Returns:
            `(b, R + 1)`, -inf for what is not available.
        """
        weights = self.weights
        question = self._linear("question.3", gelu(self._linear("question.1", questions)))
        relation = self._linear("relation.2", gelu(self._linear("relation.0", relations)))
        h = np.zeros_like(question)
        for step in paths.T:
            walked = self._recurrent(relation[np.maximum(step, 0)], h)
            h = np.where((step >= 0)[:, None], walked, h)
        state = np.concatenate([question, h], axis=1)
        state = layer_norm(state, weights["asks.0.weight"], weights["asks.0.bias"])
        state = gelu(self._linear("asks.1", state))
        scores = self._linear("points", state) @ relation.T / np.float32(self.width**0.5)
        scores = np.concatenate([scores, self._linear("stop", state)], axis=1)
        scores[~available] = -np.inf
        log_pi: Array = scores - log_sum_exp(scores, axis=1)[:, None]
        return log_pi

    def _recurrent(self, x: Array, h: Array) -> Array:
        """One step of the gated recurrent cell (Cho et al. 2014, arXiv:1406.1078)."""
        weights = self.weights
        into = linear(x, weights["walked.weight_ih"], weights["walked.bias_ih"])
        before = linear(h, weights["walked.weight_hh"], weights["walked.bias_hh"])
        reset_x, update_x, new_x = np.split(into, 3, axis=1)
        reset_h, update_h, new_h = np.split(before, 3, axis=1)
        new = np.tanh(new_x + sigmoid(reset_x + reset_h) * new_h)
        update = sigmoid(update_x + update_h)
        out: Array = new + update * (h - new)
        return out

    def _linear(self, name: str, x: Array) -> Array:
        return linear(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

    @classmethod
    def load(cls, folder: Path) -> ArrayRelationScorer | None:
        """The scorer in a policy's folder; None where there is none.

        Args:
            folder: The policy's.

        Raises:
            PolicyError: It is damaged.
        """
        file = folder / FILE
        if not os.path.lexists(file):
            return None
        try:
            about = load_about(file, "scorer")
            encoder = str(about["encoder"])
            dim = whole(about["dim"], "dim", least=1, most=MOST, error=ConfigError)
            width = whole(about["width"], "width", least=1, most=MOST, error=ConfigError)
            return cls(encoder, dim, width, load_tensors(file))
        except FAULTS as error:
            raise PolicyError(f"the relation scorer {file} is damaged: {reason(error)}") from error


def _weight_shapes(dim: int, width: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a scorer's weights, by their names in `RelationScorer`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, into, out in (
        ("question.1", dim, width),
        ("question.3", width, width),
        ("relation.0", dim + 1, width),
        ("relation.2", width, width),
        ("asks.1", 2 * width, width),
        ("points", width, width),
        ("stop", width, 1),
    ):
        shapes |= {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
    shapes |= {"asks.0.weight": (2 * width,), "asks.0.bias": (2 * width,)}
    for side in ("ih", "hh"):
        shapes |= {
            f"walked.weight_{side}": (3 * width, width),
            f"walked.bias_{side}": (3 * width,),
        }
    return shapes


def relation_vectors(names: Sequence[str], encoder: Encoder) -> Vectors:
    """What the scorer reads of relations, `(R, d + 1)`: their words, and -1 for an inverse.

    Args:
        names: R of them, inverses with a `~`.
        encoder: Of width d.
    """
    direction = np.asarray([[-1.0 if name.startswith("~") else 1.0] for name in names])
    vectors = encoder.encode([relation_words(name) for name in names])
    return np.concatenate([vectors, direction], axis=1).astype(np.float32)


def padded(paths: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
    """The paths as rows of one length, -1 behind their ends.

    Args:
        paths: Relations by number; may be empty.
    """
    out = np.full((len(paths), max((len(path) for path in paths), default=0)), -1, dtype=np.int64)
    for row, path in zip(out, paths, strict=True):
        row[: len(path)] = path
    return out


class Trained:
    """A trained scorer on the relations of one scope.

    Args:
        scorer: Its weights.
        names: The relations.
        encoder: The one that it was trained beside.
    """

    def __init__(self, scorer: ArrayRelationScorer, names: Sequence[str], encoder: Encoder) -> None:
        self._scorer, self._encoder = scorer, encoder
        self._relations = relation_vectors(names, encoder)

    def read(self, questions: Sequence[str]) -> tuple[Vectors, list[int]]:
        """Their vectors, `(b, d)`, and that each was encoded; see `Scorer`.

        Args:
            questions: b of them, in words.
        """
        return self._encoder.encode(questions), [1] * len(questions)

    def log_probs(
        self,
        questions: Vectors,
        paths: Sequence[tuple[int, ...]],
        available: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Log π over the relations, STOP last, `(b, R + 1)`; see `Scorer`.

        Args:
            questions: `(b, d)` rows of what `read` gave.
            paths: The relations walked so far, by number.
            available: `(b, R + 1)`, at least one in each row.
        """
        log_pi = self._scorer.log_probs(questions, padded(paths), available, self._relations)
        return log_pi.astype(np.float64)
