"""The kinds of approximate dense index, and what each asks of FAISS.

A kind proposes candidates and `DenseIndex` scores them exactly, from the stored vectors: the
settings here decide what is found, never with which score. They were chosen on real vectors of
MiniLM (docs/laboratory.md): among these a query's neighbours lie in many more lists than among
synthetic clusters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.index.slots import Scores
from hoptrail.memory.index.vector_table import Mask

IndexName = Literal["auto", "flat", "sq8", "lsh", "hnsw", "ivf", "ivf-sq8", "ivf-pq", "ivf-pq4"]

Places = NDArray[np.int64]

EXACT_UP_TO = 50_000
"""Passages up to which "auto" searches exactly."""

LEAST = 1000
"""Passages from which a kind is used that was asked for by name: with fewer there is little to
train on, and nothing to gain."""

TRAINED_ON = 65_536
"""Vectors that quantisers without lists are trained on, at most."""

TARGET_LIST_RECALL = 0.98
"""Of the nearest passages, the share whose lists are looked at, if
`MAX_PROBE_FRACTION` is enough for that."""

MAX_PROBE_FRACTION = 1 / 6
"""Of the lists, the share that is looked at for that; more would take the time that lists spare."""


class AnnIndexType(ABC):
    """What is particular to one kind. FAISS knows vectors by position, in the order they came."""

    name: str
    overfetch = 4
    """Candidates for each passage that is wanted."""
    min_candidates = 0
    """Candidates, however few passages are wanted."""
    drift_per_insert = 1.0
    """How much one more passage counts as drift; one less counts 1."""
    tuned_on = 0
    """Vectors whose nearest it is shown once it is filled, for `tune`."""

    @abstractmethod
    def make(self, dim: int, count: int) -> Any:
        """An untrained index for `count` vectors.

        Args:
            dim: The width of a vector.
            count: Vectors that it will hold.
        """

    @abstractmethod
    def params(self, index: Any, fetch: int, share: float, only: Any) -> Any:
        """How to search: for `fetch` candidates among a share of all, those that `only` selects.

        Args:
            index: Trained and filled.
            fetch: Candidates for each query.
            share: Of all positions those to look among, in (0, 1].
            only: FAISS's selector of these; None for all.
        """

    def points(self, count: int) -> int:
        """How many of `count` vectors to train on.

        Args:
            count: Vectors that the index will hold.
        """
        return min(count, TRAINED_ON)

    def scanned(self, index: Any, params: Any) -> int:
        """How many vectors a query is compared with, roughly.

        Args:
            index: Trained and filled.
            params: As `params` gave them.
        """
        return int(index.ntotal)

    def tune(self, index: Any, vectors: Vectors, nearest: Vectors) -> None:  # noqa: B027
        """Set what depends on how the vectors lie, if there is such a thing.

        Args:
            index: Trained and filled.
            vectors: `(n, dim)` some of those that it holds.
            nearest: `(n, m, dim)` the others nearest to each of them.
        """

    def add(self, index: Any, vectors: Vectors, first: int) -> None:
        """Take in vectors at the positions from `first` on.

        Args:
            index: Trained.
            vectors: `(n, dim)`.
            first: Position of the first.
        """
        index.add(vectors)

    def remove(self, index: Any, places: Places, gone: Mask) -> Places:
        """Take out the positions that are gone; the slots of those that there are now.

        Args:
            index: Trained and filled.
            places: The slot at each position.
            gone: `(positions,)`, which are gone.
        """
        import faiss

        # FAISS moves up what lies behind.
        index.remove_ids(faiss.IDSelectorBatch(np.flatnonzero(gone)))
        return places[~gone]

    def propose(
        self, index: Any, queries: Vectors, fetch: int, share: float, chosen: Mask | None, only: Any
    ) -> tuple[Scores, Places]:
        """Candidates as positions, -1 for none, with rough scores: both `(n, fetch)`, best first.

        Args:
            index: What `make` made, trained and filled.
            queries: `(n, dim)`.
            fetch: Candidates for each.
            share: Of all positions those to look among, in (0, 1].
            chosen: These, `(positions,)`; None for all.
            only: FAISS's selector of them; None for all.
        """
        rough, places = index.search(queries, fetch, params=self.params(index, fetch, share, only))
        return rough, places


class ScalarQuantized(AnnIndexType):
    """Scalar quantisation: every vector in a byte a dimension, all of them looked at."""

    name = "sq8"
    overfetch = 2

    def make(self, dim: int, count: int) -> Any:
        """FAISS's scalar quantiser of 8 bits."""
        import faiss

        return faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )

    def params(self, index: Any, fetch: int, share: float, only: Any) -> Any:
        """The selector alone."""
        import faiss

        return faiss.SearchParameters(sel=only)


class Lsh(AnnIndexType):
    """Locality-sensitive hashing: two bits a dimension, of random rotations, all looked at."""

    name = "lsh"
    overfetch = 16

    def make(self, dim: int, count: int) -> Any:
        """FAISS's hashes of 2 d bits, after a random rotation and with trained thresholds."""
        import faiss

        return faiss.IndexLSH(dim, 2 * dim, True, True)

    def params(self, index: Any, fetch: int, share: float, only: Any) -> Any:
        """None: FAISS takes none here."""
        return None

    def scanned(self, index: Any, params: Any) -> int:
        """All of them: bits, sixteen of them for the price of one product."""
        return int(index.ntotal) // 16

    def propose(
        self, index: Any, queries: Vectors, fetch: int, share: float, chosen: Mask | None, only: Any
    ) -> tuple[Scores, Places]:
        """Candidates by Hamming distance; what is not chosen is fetched too, and left out."""
        depth = min(int(index.ntotal), math.ceil(1.5 * fetch / share))
        distances, places = index.search(queries, fetch if chosen is None else depth)
        if chosen is not None:
            places = np.where(chosen[places] & (places >= 0), places, -1)
        return -distances, places


class Ivf(AnnIndexType):
    """Inverted lists around centroids, of which the nearest are looked at.

    How many of them depends on the vectors: a sample of these says behind how many lists their
    nearest others lie.

    Args:
        name: By which it is chosen.
        codes: What the lists hold, as FAISS's index factory spells it; "" for product codes.
        overfetch: Candidates for each passage that is wanted.
    """

    tuned_on = 64

    def __init__(self, name: str, codes: str, overfetch: int) -> None:
        self.name, self._codes, self.overfetch = name, codes, overfetch

    def make(self, dim: int, count: int) -> Any:
        """FAISS's inverted lists of the codes that this kind holds."""
        import faiss

        codes = self._codes or f"PQ{product_parts(dim)}"
        description = f"IVF{self.lists(count)},{codes}"
        index = faiss.index_factory(dim, description, faiss.METRIC_INNER_PRODUCT)
        # More points and rounds took several times as long and found no more.
        index.cp.niter, index.cp.min_points_per_centroid = 10, 1
        if not self._codes:
            index.pq.cp.niter, index.pq.cp.min_points_per_centroid = 8, 1
            index.pq.cp.max_points_per_centroid = 64
            index.do_polysemous_training = False  # for a filter that is not used; minutes
        return index

    def points(self, count: int) -> int:
        """64 for each list."""
        return min(count, 64 * self.lists(count))

    def lists(self, count: int) -> int:
        """How many lists for so many vectors: the power of two near 1.5 sqrt(count).

        Args:
            count: Vectors that the index will hold.
        """
        return 1 << round(math.log2(1.5 * math.sqrt(max(1, count))))

    def params(self, index: Any, fetch: int, share: float, only: Any) -> Any:
        """How many lists to look at: enough for the candidates, whatever share is chosen."""
        import faiss

        size = max(1.0, index.ntotal / index.nlist)
        probes = max(self.probes(index.nlist), index.nprobe, 4 * fetch / size) / share
        return faiss.SearchParametersIVF(sel=only, nprobe=min(index.nlist, math.ceil(probes)))

    def tune(self, index: Any, vectors: Vectors, nearest: Vectors) -> None:
        """Have so many lists looked at that `TARGET_LIST_RECALL` is reached, up to a bound.

        The bound is `MAX_PROBE_FRACTION` of all lists.
        """
        n, m, dim = nearest.shape
        order = index.quantizer.search(vectors, index.nlist)[1]
        own = index.quantizer.search(nearest.reshape(n * m, dim), 1)[1].reshape(n, m)
        behind = 1 + (order[:, None] == own[..., None]).argmax(2)
        needed = math.ceil(np.quantile(behind, TARGET_LIST_RECALL))
        index.nprobe = min(needed, math.ceil(MAX_PROBE_FRACTION * index.nlist))

    def probes(self, nlist: int) -> int:
        """How many lists are looked at, at least: a third of few, a smaller share of many.

        Args:
            nlist: Lists in all.
        """
        return math.ceil(min(nlist / 3, 80 * math.cbrt(nlist / 256)))

    def scanned(self, index: Any, params: Any) -> int:
        """The share of the lists that is looked at."""
        return int(index.ntotal * params.nprobe // index.nlist)

    def add(self, index: Any, vectors: Vectors, first: int) -> None:
        """Take in vectors, their positions as ids."""
        index.add_with_ids(vectors, np.arange(first, first + len(vectors)))

    def remove(self, index: Any, places: Places, gone: Mask) -> Places:
        """Remove them from the lists: what stays keeps its position."""
        import faiss

        index.remove_ids(faiss.IDSelectorBatch(np.flatnonzero(gone)))
        return np.where(gone, -1, places)


class IvfFastScan(Ivf):
    """Lists of product codes of four bits, which FAISS compares 32 at a time.

    André et al. 2015, cache locality is not enough: tables of 16 products fit a register, and are
    looked up by shuffling it. Two dimensions share a code, so that its centroids are as close as
    those of a byte for eight; what the tables' rounding to bytes loses, more candidates make up.
    """

    min_candidates = 256

    def make(self, dim: int, count: int) -> Any:
        """FAISS's inverted lists of four-bit codes, laid out for its fast scan."""
        import faiss

        description = f"IVF{self.lists(count)},PQ{dim if dim % 2 else dim // 2}x4fs"
        index = faiss.index_factory(dim, description, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.min_points_per_centroid = 10, 1
        index.pq.cp.min_points_per_centroid = 1
        return index

    def lists(self, count: int) -> int:
        """Half as many: here a list costs more to go to than a vector of it to compare."""
        return max(1, super().lists(count) // 2)

    def probes(self, nlist: int) -> int:
        """Half of few lists, a smaller share of many: so much is still cheap."""
        return math.ceil(min(nlist / 2, 100 * math.cbrt(nlist / 256)))

    def scanned(self, index: Any, params: Any) -> int:
        """The share of the lists that is looked at, sixteen codes for the price of a product."""
        return super().scanned(index, params) // 16

    def remove(self, index: Any, places: Places, gone: Mask) -> Places:
        """Remove them; FAISS leaves what it moved up in the rest of each list's last block."""
        import faiss

        left = super().remove(index, places, gone)
        lists = faiss.downcast_InvertedLists(index.invlists)
        nothing = np.zeros(index.code_size, dtype=np.uint8)
        for number in range(index.nlist):
            size = lists.list_size(number)
            blocks = -(-size // lists.n_per_block)
            codes = faiss.rev_swig_ptr(lists.get_codes(number), blocks * lists.block_size)
            codes = codes.reshape(blocks, lists.block_size)
            for place in range(size, blocks * lists.n_per_block):
                lists.packer.pack_1(nothing, place, codes)
        return left


class Hnsw(AnnIndexType):
    """A navigable graph of neighbours (HNSW) over vectors in a byte a dimension."""

    name = "hnsw"
    overfetch = 2
    drift_per_insert = (
        0.05  # a new vector is linked as the first ones were; the range of values may move
    )

    def make(self, dim: int, count: int) -> Any:
        """FAISS's HNSW with 32 neighbours and vectors of 8 bits."""
        import faiss

        index = faiss.index_factory(dim, "HNSW32_SQ8", faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 80
        return index

    def params(self, index: Any, fetch: int, share: float, only: Any) -> Any:
        """How wide to search: wider where a smaller share is chosen."""
        import faiss

        width = math.ceil(max(128, fetch) / share)
        return faiss.SearchParametersHNSW(sel=only, efSearch=min(width, int(index.ntotal)))

    def scanned(self, index: Any, params: Any) -> int:
        """32 neighbours for each candidate of the search's width."""
        return min(int(index.ntotal), 32 * int(params.efSearch))

    def remove(self, index: Any, places: Places, gone: Mask) -> Places:
        """Write a neighbour's vector over each: FAISS cannot remove.

        The graph stays as it was, and nothing of what is gone is left to be stored.
        """
        import faiss

        storage, size = faiss.downcast_index(index.storage), int(index.ntotal)
        codes = faiss.rev_swig_ptr(storage.codes.data(), size * storage.code_size)
        codes = codes.reshape(size, storage.code_size)
        offsets = faiss.vector_to_array(index.hnsw.offsets)
        width = index.hnsw.nb_neighbors(0)
        linked = faiss.rev_swig_ptr(index.hnsw.neighbors.data(), int(offsets[-1]))
        for position in np.flatnonzero(gone).tolist():
            near = linked[offsets[position] : offsets[position] + width]
            near = near[near >= 0]
            near = near[~gone[near]]
            codes[position] = codes[near[0]] if len(near) else 0
        return np.where(gone, -1, places)


KINDS: dict[str, AnnIndexType] = {
    kind.name: kind
    for kind in (
        ScalarQuantized(),
        Lsh(),
        Hnsw(),
        Ivf("ivf", "Flat", 1),
        Ivf("ivf-sq8", "SQ8", 2),
        Ivf("ivf-pq", "", 8),
        IvfFastScan("ivf-pq4", "", 4),
    )
}


def checked_index_name(name: str) -> IndexName:
    """The name of a kind of index, or "auto".

    Args:
        name: As a caller gave it.

    Raises:
        ConfigError: There is none of that name.
    """
    names = get_args(IndexName)
    for index_name in names:
        if isinstance(name, str) and name == index_name:
            checked_name: IndexName = index_name
            return checked_name
    raise ConfigError(
        f"index must be one of {', '.join(names)}, qdrant:FOLDER or qdrant:URL, got {name!r}"
    )


def kind_for(
    name: IndexName | AnnIndexType, size: int, current: AnnIndexType | None
) -> AnnIndexType | None:
    """The kind that a store of this size is searched with; None for exact search.

    What is in use stays until the size is half of what brought it in, so that a store whose size
    moves around that is not built again each time.

    Args:
        name: The name of a kind, a kind that a router makes, or "auto".
        size: Living vectors.
        current: The kind that is used now, which "auto" does not leave for a little.
    """
    if name == "flat":
        return None
    kind = name if isinstance(name, AnnIndexType) else KINDS["ivf-pq4" if name == "auto" else name]
    least = EXACT_UP_TO if name == "auto" else LEAST
    if current is kind:
        least //= 2
    return kind if size > least else None


def product_parts(dim: int) -> int:
    """Into how many parts product quantisation cuts a vector: each of some eight dimensions.

    Args:
        dim: The width of a vector.
    """
    return max(part for part in range(1, max(1, dim // 8) + 1) if dim % part == 0)
