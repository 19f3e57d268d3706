"""Hierarchical ids of passages by meaning, and a small decoder that proposes them for a question.

An id is a path of L codes: the nearest of K centres, the nearest of K others to what is left of
the vector, and so on (residual quantisation). Of a question q the decoder gives each next code c_l
a probability, given those before it, with E the codes' embeddings and C their centres:

    h_l = relu(W q + sum over j < l of E_j[c_j] + e_l),   h'_l = h_l + relu(U h_l)
    p(c_l | q, c_<l) = softmax over codes of O_l h'_l + a_l C_l q
    log p(id | q) = sum over l of log p(c_l | q, c_<l)

A beam search keeps to ids that passages have (a trie). What it proposes a ranking layer orders:

    s(q, v) = t (q + B A q)·v + w log p(id of v | q)

A new passage gets its id from the same centres, so that nothing is trained anew.

Source: ids by a hierarchy and their decoding, Tay et al. 2022, DSI (2202.06991); by residual
quantisation, Rajput et al. 2023, TIGER (2305.05065); a trie, De Cao et al. 2021 (2010.00904).
`hoptrail.learning.indexes.id_training` trains decoder and ranking layer together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import FormatError
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.learned.balanced_kmeans import nearest_clusters
from hoptrail.memory.index.learned.tensor_file import load_arrays, save_arrays

FORMAT = "hoptrail-semantic-ids-1"

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class IdWeights:
    """The arrays of centres, decoder and ranking layer, float32."""

    centres: Vectors
    """C, `(L, K, d)`."""
    offsets: Vectors
    """That balance the codes, `(L, K)`."""
    query: Vectors
    """W, `(H, d)`."""
    levels: Vectors
    """e, `(L, H)`."""
    codes: Vectors
    """E, `(L, K, H)`."""
    hidden: Vectors
    """U, `(H, H)`."""
    output: Vectors
    """O, `(L, K, H)`."""
    sharpness: Vectors
    """a, `(L,)`."""
    down: Vectors
    """A, `(r, d)`."""
    up: Vectors
    """B, `(d, r)`."""
    weights: Vectors
    """t and w, `(2,)`."""


SHAPES = {
    "centres": "Lkd",
    "offsets": "Lk",
    "query": "hd",
    "levels": "Lh",
    "codes": "Lkh",
    "hidden": "hh",
    "output": "Lkh",
    "sharpness": "L",
    "down": "rd",
    "up": "dr",
    "weights": "2",
}
"""Of the arrays; equal letters are equal sizes."""


class SemanticIds:
    """Ids for vectors, their probabilities for a question, and scores of what they propose.

    Args:
        weights: The arrays.
        made_of: What they were learned from; JSON values.

    Raises:
        FormatError: An array has another shape.
    """

    def __init__(self, weights: IdWeights, made_of: Mapping[str, Any] | None = None) -> None:
        _check_shapes(weights)
        self.weights = weights
        self.made_of = dict(made_of or {})

    def __repr__(self) -> str:
        return f"<SemanticIds of {self.levels} codes of {self.codes}, {self.fingerprint}>"

    @property
    def levels(self) -> int:
        """Codes of an id: L."""
        return len(self.weights.centres)

    @property
    def codes(self) -> int:
        """Codes to choose from at each level: K."""
        return int(self.weights.centres.shape[1])

    @property
    def dim(self) -> int:
        """The width d of a vector."""
        return int(self.weights.centres.shape[2])

    @property
    def fingerprint(self) -> str:
        """Names the weights."""
        digest = hashlib.sha256()
        for name in SHAPES:
            digest.update(np.ascontiguousarray(getattr(self.weights, name)).tobytes())
        return digest.hexdigest()[:16]

    def ids(self, vectors: Vectors) -> Ids:
        """The ids of passages' vectors, `(n, L)`.

        Args:
            vectors: `(n, d)`.

        Raises:
            FormatError: They have another width.
        """
        if vectors.shape[1] != self.dim:
            raise FormatError(
                f"the ids are of vectors of {self.dim} dimensions, got {vectors.shape[1]}: learn "
                "them for this encoder"
            )
        left = vectors.astype(np.float32)
        ids = np.zeros((len(vectors), self.levels), dtype=np.int64)
        for level in range(self.levels):
            centres = self.weights.centres[level]
            ids[:, level] = nearest_clusters(left, centres, self.weights.offsets[level])[0]
            left = left - centres[ids[:, level]]
        return ids

    def leaves(self, ids: Ids) -> Ids:
        """Each id as one number, `(n,)`: its codes are the digits.

        Args:
            ids: `(n, L)`.
        """
        leaves: Ids = ids @ (self.codes ** np.arange(self.levels - 1, -1, -1))
        return leaves

    def log_probabilities(self, query: Vectors, ids: Ids) -> NDArray[np.float32]:
        """Log p(id | q) of ids, `(n,)`.

        Args:
            query: `(d,)`.
            ids: `(n, L)`.
        """
        total = np.zeros(len(ids), dtype=np.float32)
        prefix = np.zeros((len(ids), len(self.weights.hidden)), dtype=np.float32)
        for level in range(self.levels):
            log_probs = self._next(query, prefix, level)
            total += log_probs[np.arange(len(ids)), ids[:, level]]
            prefix += self.weights.codes[level][ids[:, level]]
        return total

    def propose(self, query: Vectors, leaves: Ids, beam: int) -> tuple[Ids, NDArray[np.float32]]:
        """The likeliest ids of those that passages have, as leaves, best first; log p of each.

        Args:
            query: `(d,)`.
            leaves: Of passages, with repeats.
            beam: Ids that are kept at each level.
        """
        nodes = np.zeros(1, dtype=np.int64)
        log_probs = np.zeros(1, dtype=np.float32)
        prefix = np.zeros((1, len(self.weights.hidden)), dtype=np.float32)
        for level in range(self.levels):
            below = self.codes ** (self.levels - 1 - level)
            there = np.zeros(self.codes ** (level + 1), dtype=np.bool_)
            there[leaves // below] = True
            scores = log_probs[:, None] + self._next(query, prefix, level)
            children = nodes[:, None] * self.codes + np.arange(self.codes)
            scores[~there[children]] = -np.inf
            best = np.argsort(-scores, axis=None, kind="stable")[:beam]
            best = best[np.isfinite(scores.ravel()[best])]
            parents, codes = np.divmod(best, self.codes)
            nodes, log_probs = children.ravel()[best], scores.ravel()[best]
            prefix = prefix[parents] + self.weights.codes[level][codes]
        return nodes, log_probs

    def scores(
        self, query: Vectors, vectors: Vectors, log_probs: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The ranking layer's scores of passages, `(n,)`.

        Args:
            query: `(d,)`.
            vectors: `(n, d)`.
            log_probs: log p of their ids, `(n,)`.
        """
        turned = query + self.weights.up @ (self.weights.down @ query)
        by_vector, by_id = self.weights.weights
        scores: NDArray[np.float32] = by_vector * (vectors @ turned) + by_id * log_probs
        return scores.astype(np.float32)

    def _next(self, query: Vectors, prefix: Vectors, level: int) -> Vectors:
        """Log p of the next code after n prefixes, `(n, K)`."""
        w = self.weights
        hidden = np.maximum(w.query @ query + prefix + w.levels[level], 0)
        hidden = hidden + np.maximum(hidden @ w.hidden.T, 0)
        logits = hidden @ w.output[level].T + w.sharpness[level] * (w.centres[level] @ query)
        logits = logits - logits.max(1, keepdims=True)
        log_probs: Vectors = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return log_probs.astype(np.float32)

    def save(self, path: str | Path) -> Path:
        """Write them to a file in safetensors; its path.

        Args:
            path: The file.

        Raises:
            FormatError: It cannot be written.
        """
        arrays: dict[str, NDArray[Any]] = {name: getattr(self.weights, name) for name in SHAPES}
        return save_arrays(path, FORMAT, arrays, self.made_of)

    @classmethod
    def load(cls, path: str | Path) -> SemanticIds:
        """The ids that `save` wrote.

        Args:
            path: The file.

        Raises:
            FormatError: It holds none.
        """
        arrays, made_of = load_arrays(path, FORMAT)
        if arrays.keys() != SHAPES.keys():
            raise FormatError(f"{path} should hold {', '.join(SHAPES)}, got {', '.join(arrays)}")
        return cls(IdWeights(**arrays), made_of)


def _check_shapes(weights: IdWeights) -> None:
    sizes: dict[str, int] = {"2": 2}
    for name, letters in SHAPES.items():
        shape = getattr(weights, name).shape
        fits = len(shape) == len(letters) and all(
            sizes.setdefault(letter, size) == size
            for letter, size in zip(letters, shape, strict=True)
        )
        if not fits:
            raise FormatError(
                f"{name} of semantic ids should have the shape {letters}, got {shape}"
            )
