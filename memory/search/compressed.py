"""First stages of a pipeline that look at less than whole vectors: codes, or centroids first.

`Compressed` scores every passage by its code (see `codecs`); `Clustered` scores the centroids of
clusters of passages, then the passages of the nearest clusters only. Codes and clusters are derived
from the view's vectors, grow with it, and are gone with it: a deleted passage is never among what
they find, and nothing of theirs is on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError, InputError
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.encoders.vectors import unit
from hoptrail.memory.index.slots import Scores, Slots
from hoptrail.memory.search.codecs import Codec
from hoptrail.memory.search.derived_rows import ROWS_AT_ONCE, SlotRows
from hoptrail.memory.search.first_stages import Full, best_of, living
from hoptrail.memory.search.pipeline import CandidateGenerator, QueryState
from hoptrail.memory.search.searchable import Searchable
from hoptrail.memory.storage.namespaces import ScopeLike
from hoptrail.memory.views.view import View

SAMPLE = 10_000
"""Vectors that a codec is fitted to, at most."""
EACH = 64
"""Vectors for each cluster that its centroids are found from, at most."""
ROUNDS = 10
"""Of k-means."""


def sample_vectors(
    store: Searchable, namespace: ScopeLike = (), *, count: int = SAMPLE, seed: int = 0
) -> Vectors:
    """Vectors of a scope's passages, `(n, d)`, drawn by chance: for `Product.fit`.

    Args:
        store: Holds the passages.
        namespace: The scope.
        count: How many, at most; all where there are fewer.
        seed: Of the draw.
    """
    view = store.view(namespace)
    with view.lock:
        slots = np.flatnonzero(view.alive)
        if len(slots) > count:
            slots = np.random.default_rng(seed).choice(slots, count, replace=False)
        vectors: Vectors = view.dense.vectors(slots)
        return vectors


class Compressed(CandidateGenerator):
    """The product of the whole question with every passage's code.

    A passage longer than the encoder's window scores by the best of its windows, as elsewhere.

    Args:
        codec: How passages are compressed; a `Product` must have been fitted.
        keep: Candidates that go on.
    """

    needs_vector = True

    def __init__(self, codec: Codec, *, keep: int) -> None:
        if not isinstance(codec, Codec):
            raise ConfigError(f"a codec is Half, Scalar, Sign or a fitted Product, got {codec!r}")
        self.codec = codec
        self.name = codec.name
        super().__init__(keep)
        self._codes: SlotRows[np.uint8] = SlotRows(codec.encode)

    def open(self, state: QueryState, count: int) -> tuple[Scores, Slots]:
        """The best by their codes."""
        with state.view.lock:
            slots = living(state)
            return best_of(state, self._scores(state, slots), slots, count)

    def score(self, batch: Sequence[QueryState]) -> list[Scores]:
        """The products with the candidates' codes."""
        return [self._scores(state, state.slots) for state in batch]

    def _scores(self, state: QueryState, slots: Slots) -> Scores:
        def products(codes: NDArray[np.uint8]) -> Scores:
            scores: Scores = self.codec.scores(state.query[None], codes)[0]
            return scores

        own = products(self._codes.of(state.view)[slots])
        return self._codes.raised(state.view, slots, own, products)


@dataclass(frozen=True, slots=True)
class Clusters:
    """A view's passages by the centroid that is nearest to each."""

    centroids: Vectors
    """`(c, d)` of length 1."""
    of: NDArray[np.int64]
    """`(capacity,)` the cluster of each slot."""
    fitted: int
    """Slots that there were when the centroids were found."""

    def members(self, clusters: NDArray[np.int64]) -> Slots:
        """The slots of some clusters, ascending.

        Args:
            clusters: By number.
        """
        chosen = np.zeros(len(self.centroids), dtype=np.bool_)
        chosen[clusters] = True
        return np.flatnonzero(chosen[self.of])


class Clustered(Full):
    """Centroids first, then whole vectors of the passages in the nearest clusters.

    A passage belongs to one cluster, by its vector as a whole. One longer than the encoder's window
    scores by the best of its windows where its cluster is looked into; a question that only a
    window of it fits may lead elsewhere, and `probe` says how far to look.

    Args:
        keep: Candidates that go on.
        probe: Clusters that are looked into, at least; more where these hold too few passages.
        clusters: How many there are; by default the root of the number of passages.
        seed: Of their starting places.
    """

    name = "clusters"

    def __init__(
        self, *, keep: int, probe: int = 8, clusters: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(keep=keep)
        if probe < 1 or (clusters is not None and clusters < 1):
            raise ConfigError(f"probe and clusters must be at least 1, got {probe}, {clusters}")
        self._probe, self._count, self._seed = probe, clusters, seed
        self._known: WeakKeyDictionary[View, Clusters] = WeakKeyDictionary()

    def open(self, state: QueryState, count: int) -> tuple[Scores, Slots]:
        """The best of the clusters nearest to the question."""
        with state.view.lock:
            slots = living(state)
            if not len(slots):
                return np.zeros(0, dtype=np.float32), slots
            clusters = self.clusters(state.view)
            near = np.argsort(-(clusters.centroids @ state.query), kind="stable")
            # As many of the nearest as hold `count` passages that may be found, at least `probe`.
            sizes = np.cumsum(np.bincount(clusters.of[slots], minlength=len(near))[near])
            enough = int(np.searchsorted(sizes, min(count, len(slots)))) + 1
            inside = clusters.members(near[: max(enough, self._probe)])
            slots = np.intersect1d(inside, slots, assume_unique=True)
            scores = state.view.dense.scores_of(state.query[None], slots)[0]
            return best_of(state, scores, slots, count)

    def clusters(self, view: View) -> Clusters:
        """The view's clusters; found anew when it has twice the slots that they were found from.

        Args:
            view: The scope.
        """
        with view.lock:
            clusters = self._known.get(view)
            if clusters is None or view.capacity > 2 * clusters.fitted:
                clusters = self._found(view)
            elif len(clusters.of) < view.capacity:
                new = np.arange(len(clusters.of), view.capacity)
                of = np.concatenate([clusters.of, nearest_centroids(view, clusters.centroids, new)])
                clusters = Clusters(clusters.centroids, of, clusters.fitted)
            self._known[view] = clusters
            return clusters

    def _found(self, view: View) -> Clusters:
        import faiss

        if not view.capacity:
            raise InputError("an empty scope has no clusters")
        rng = np.random.default_rng(self._seed)
        alive = np.flatnonzero(view.alive)
        count = min(self._count or max(round(len(alive) ** 0.5), 1), len(alive))
        if len(alive) > EACH * count:
            alive = np.sort(rng.choice(alive, EACH * count, replace=False))
        vectors = np.ascontiguousarray(view.dense.vectors(alive))
        kmeans = faiss.Kmeans(
            vectors.shape[1],
            count,
            niter=ROUNDS,
            seed=self._seed,
            spherical=True,
            min_points_per_centroid=1,
            max_points_per_centroid=EACH,
        )
        kmeans.train(vectors)
        centroids = unit(kmeans.centroids.reshape(count, -1))
        of = nearest_centroids(view, centroids, np.arange(view.capacity))
        return Clusters(centroids, of, view.capacity)


def nearest_centroids(view: View, centroids: Vectors, slots: Slots) -> NDArray[np.int64]:
    """The centroid nearest to each slot's vector.

    Args:
        view: The scope.
        centroids: `(c, d)`.
        slots: `(m,)`.

    Returns:
        `(m,)`, numbers of centroids.
    """
    parts = [
        (view.dense.vectors(slots[start : start + ROWS_AT_ONCE]) @ centroids.T).argmax(1)
        for start in range(0, len(slots), ROWS_AT_ONCE)
    ]
    numbers: NDArray[np.int64] = np.concatenate(parts)
    return numbers
