"""Which shards of a memory a question is looked for in: p(shard | q), beside a partition.

With the rows r_s of a routing matrix and the rows c_s of a partition, both `(shards, d)`,

    p(s | q)   = softmax over s of q·r_s         a question goes to the likeliest shards
    shard of v = the s with the largest v·c_s    a passage, also a new one, lies in one

k-means has r = c, up to a scale: a question then goes where passages like it lie. What answers a
question need not be like it, so that a learned r goes where its answers lie
(`hoptrail.learning.indexes.routing`). Serving computes what training computed, in float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError, FormatError
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.learned.balanced_kmeans import fit_clusters
from hoptrail.memory.index.learned.tensor_file import load_arrays, save_arrays

FORMAT = "hoptrail-router-1"
SHARPNESS = 20.0
"""By which k-means's centroids are multiplied, so that p(s | q) is not all but uniform."""
ROUNDS, POINTS = 20, 256
"""Of k-means: rounds, and vectors for each centroid at most."""

Shards = NDArray[np.int64]


class Router:
    """A partition of vectors into shards, and which of them a question is looked for in.

    Args:
        routing: `(shards, d)`: r.
        partition: `(shards, d)`: c.
        probes: How many shards a question is looked for in.
        made_of: What it was learned from; JSON values.

    Raises:
        FormatError: The shapes differ, or there are fewer shards than probes.
    """

    def __init__(
        self,
        routing: Vectors,
        partition: Vectors,
        probes: int,
        made_of: Mapping[str, Any] | None = None,
    ) -> None:
        if routing.ndim != 2 or routing.shape != partition.shape:
            raise FormatError(
                "routing and partition have the shape (shards, d), got "
                f"{routing.shape} and {partition.shape}"
            )
        if not 1 <= probes <= len(routing):
            raise FormatError(f"a router of {len(routing)} shards cannot probe {probes} of them")
        self.routing = np.ascontiguousarray(routing, dtype=np.float32)
        self.partition = np.ascontiguousarray(partition, dtype=np.float32)
        self.probes = int(probes)
        self.made_of = dict(made_of or {})

    def __repr__(self) -> str:
        return f"<Router of {self.shards} shards, {self.probes} probed, {self.fingerprint}>"

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self.routing)

    @property
    def dim(self) -> int:
        """The width d of a vector."""
        return int(self.routing.shape[1])

    @property
    def fingerprint(self) -> str:
        """Names the weights."""
        digest = hashlib.sha256(self.routing.tobytes())
        digest.update(self.partition.tobytes())
        digest.update(str(self.probes).encode())
        return digest.hexdigest()[:16]

    def log_probabilities(self, queries: Vectors) -> Vectors:
        """Log p(s | q), `(n, shards)`.

        Args:
            queries: `(n, d)`.
        """
        logits: Vectors = queries @ self.routing.T
        logits = logits - logits.max(1, keepdims=True)
        log_probs: Vectors = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return log_probs

    def route(self, queries: Vectors, probes: int | None = None) -> Shards:
        """The likeliest shards of each query, the likeliest first: `(n, probes)`.

        Args:
            queries: `(n, d)`.
            probes: How many; the router's own by default.
        """
        order: Shards = np.argsort(-(queries @ self.routing.T), axis=1, kind="stable")
        return order[:, : self.probes if probes is None else probes]

    def assign(self, vectors: Vectors) -> Shards:
        """The shard of each vector, `(n,)`.

        Args:
            vectors: `(n, d)` of passages.
        """
        shards: Shards = (vectors @ self.partition.T).argmax(1)
        return shards

    def save(self, path: str | Path) -> Path:
        """Write it to a file in safetensors; its path.

        Args:
            path: The file.

        Raises:
            FormatError: It cannot be written.
        """
        arrays: dict[str, NDArray[Any]] = {
            "routing": self.routing,
            "partition": self.partition,
            "probes": np.asarray([self.probes], dtype=np.int64),
        }
        return save_arrays(path, FORMAT, arrays, self.made_of)

    @classmethod
    def load(cls, path: str | Path) -> Router:
        """The router that `save` wrote.

        Args:
            path: The file.

        Raises:
            FormatError: It holds none.
        """
        arrays, made_of = load_arrays(path, FORMAT)
        try:
            routing, partition = arrays["routing"], arrays["partition"]
            return cls(routing, partition, int(arrays["probes"][0]), made_of)
        except (KeyError, IndexError) as error:
            raise FormatError(f"{path} holds no router: {error} is missing") from error


def kmeans_router(passages: Vectors, shards: int, *, probes: int = 8, seed: int = 0) -> Router:
    """The router of k-means: questions go to the nearest centroids.

    Args:
        passages: `(n, d)` L2-normalised.
        shards: How many, at most n.
        probes: How many a question is looked for in.
        seed: Of the starting places.

    Raises:
        ConfigError: There are more shards than passages.
    """
    if not 1 <= shards <= len(passages):
        raise ConfigError(f"shards must be 1 to {len(passages)}, the passages, got {shards}")
    points = passages
    if len(passages) > POINTS * shards:
        drawn = np.random.default_rng(seed).choice(len(passages), POINTS * shards, replace=False)
        points = passages[np.sort(drawn)]
    centres, _ = fit_clusters(points, shards, rounds=ROUNDS, seed=seed, spherical=True)
    centroids = np.float32(SHARPNESS) * centres
    return Router(centroids, centroids, min(probes, shards), {"by": "k-means"})
