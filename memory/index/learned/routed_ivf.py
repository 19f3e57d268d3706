"""Inverted lists whose lists and probes a router decides, as a kind of dense index."""

from __future__ import annotations

from typing import Any

import numpy as np

from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.ann_types import Ivf
from hoptrail.memory.index.learned.router import Router


class RoutedIvf(Ivf):
    """Lists are a router's shards: passages lie where it assigns them, queries go where it routes.

    FAISS ranks the lists by the product of a query with the routing matrix, which is the order of
    p(shard | q); the lists of passages are told to it.

    Args:
        router: A trained one, or that of k-means.
    """

    def __init__(self, router: Router) -> None:
        super().__init__(f"ivf-routed-{router.fingerprint}", "Flat", 1)
        self.router = router

    def make(self, dim: int, count: int) -> Any:
        """FAISS's inverted lists of whole vectors behind the routing matrix."""
        import faiss

        from hoptrail.errors import EncoderMismatch

        if dim != self.router.dim:
            raise EncoderMismatch(
                f"the router is for vectors of {self.router.dim} dimensions, the memory's have "
                f"{dim}: learn one for this memory"
            )
        quantizer = faiss.IndexFlatIP(dim)
        quantizer.add(self.router.routing)
        index = faiss.IndexIVFFlat(quantizer, dim, self.router.shards, faiss.METRIC_INNER_PRODUCT)
        quantizer.this.disown()
        index.own_fields = True
        index.nprobe = self.router.probes
        return index

    def lists(self, count: int) -> int:
        """The router's shards, however many vectors there are."""
        return self.router.shards

    def points(self, count: int) -> int:
        """One for each shard: nothing is trained here."""
        return min(count, self.router.shards)

    def probes(self, nlist: int) -> int:
        """As many as the router says."""
        return self.router.probes

    def tune(self, index: Any, vectors: Vectors, nearest: Vectors) -> None:
        """Nothing: the router was learned for its number of probes."""

    def add(self, index: Any, vectors: Vectors, first: int) -> None:
        """Take in vectors, each into the shard that the router assigns it to."""
        import faiss

        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        ids = np.arange(first, first + len(vectors), dtype=np.int64)
        shards = np.ascontiguousarray(self.router.assign(vectors), dtype=np.int64)
        pointers = (faiss.swig_ptr(each) for each in (vectors, ids, shards))
        index.add_core(len(vectors), *pointers)
