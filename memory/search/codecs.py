"""Vectors in fewer bytes: scalars of a few bits, signs, and products of small codebooks.

    Scalar(8), Scalar(4)   v̂ = s · q, q whole numbers of 8 or 4 bits, s one float16 for each vector
    Half()                 float16
    Sign()                 v̂ = sign(v) · |v|₁ / d, one bit for each dimension
    Product(m)             v cut into m parts, each the number of its nearest of 256 centroids

A score is q · v̂, the query whole. By Cauchy and Schwarz it is off by at most |v - v̂| for a query
of length 1, whatever the query; `worst` says how much that is over given vectors. Only `Product`
learns from vectors, and is written to a file, so that what serves is what was fitted.

Source: product quantisation with whole queries, Jégou et al. 2011 (ADC).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError, FormatError, InputError
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.slots import Scores
from hoptrail.values.numbers import whole

Codes = NDArray[np.uint8]

FORMAT = "hoptrail-codec-1"
CENTROIDS = 256
"""Of each part of a product code: one byte says which."""
MANY = 8
"""Queries from which decoding pays."""
ROWS_AT_ONCE = 20_000
"""Vectors decoded together: bounds the memory that takes."""


class Codec(ABC):
    """A way to write vectors down in few bytes."""

    name: str

    def __repr__(self) -> str:
        return f"<Codec {self.name}>"

    @property
    def fingerprint(self) -> str:
        """Names it with all that its codes depend on."""
        return self.name.replace(" ", "-")

    @abstractmethod
    def width(self, dim: int) -> int:
        """The bytes of a vector of `dim` dimensions.

        Args:
            dim: d.
        """

    @abstractmethod
    def encode(self, vectors: Vectors) -> Codes:
        """The codes of vectors, each of its own vector alone.

        Args:
            vectors: `(n, d)` float32, L2-normalised.

        Returns:
            `(n, width)` uint8.
        """

    @abstractmethod
    def decode(self, codes: Codes, dim: int) -> Vectors:
        """The vectors `(n, d)` that codes stand for.

        Args:
            codes: `(n, width)`.
            dim: d.
        """

    def scores(self, queries: Vectors, codes: Codes) -> Scores:
        """The products of queries `(n, d)` with what the codes `(m, width)` stand for, `(n, m)`.

        Args:
            queries: `(n, d)`, whole.
            codes: `(m, width)`.
        """
        parts = [
            queries @ self.decode(codes[start : start + ROWS_AT_ONCE], queries.shape[1]).T
            for start in range(0, len(codes), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(queries), 0), np.float32)

    def worst(self, vectors: Vectors) -> float:
        """The greatest |v - v̂| of some vectors: no score of theirs is off by more.

        Args:
            vectors: `(n, d)`.
        """
        if not len(vectors):
            return 0.0
        off = vectors - self.decode(self.encode(vectors), vectors.shape[1])
        return float(np.linalg.norm(off, axis=1).max())


class Half(Codec):
    """Float16."""

    name = "float16"

    def width(self, dim: int) -> int:
        """Two bytes a dimension."""
        return 2 * dim

    def encode(self, vectors: Vectors) -> Codes:
        """The nearest float16."""
        return _bytes(np.ascontiguousarray(vectors, dtype="<f2"))

    def decode(self, codes: Codes, dim: int) -> Vectors:
        """As float32."""
        return np.ascontiguousarray(codes).view("<f2").astype(np.float32).reshape(len(codes), dim)


class Scalar(Codec):
    """Whole numbers of 8 or 4 bits, with one scale for each vector.

    Args:
        bits: 8 or 4.
    """

    def __init__(self, bits: int = 8) -> None:
        if bits not in (4, 8):
            raise ConfigError(f"a scalar has 8 or 4 bits, got {bits!r}")
        self.bits = bits
        self.name = f"int{bits}"
        self._most = 2 ** (bits - 1) - 1

    def width(self, dim: int) -> int:
        """The scale's two bytes and the numbers'."""
        return 2 + (dim if self.bits == 8 else (dim + 1) // 2)

    def encode(self, vectors: Vectors) -> Codes:
        """The scale, then the numbers; of 4 bits, two in a byte."""
        highest = np.abs(vectors).max(axis=1, initial=0.0)
        scale = (highest / self._most).astype("<f2")
        step = np.where(scale > 0, scale, 1).astype(np.float32)[:, None]
        numbers = np.clip(np.rint(vectors / step), -self._most, self._most).astype(np.int8)
        packed = numbers.view(np.uint8)
        if self.bits == 4:
            if packed.shape[1] % 2:
                packed = np.pad(packed, ((0, 0), (0, 1)))
            packed = (packed[:, ::2] & 15) | (packed[:, 1::2] << 4)
        return np.concatenate([_bytes(scale[:, None]), packed], axis=1)

    def decode(self, codes: Codes, dim: int) -> Vectors:
        """Scale times number."""
        scale = np.ascontiguousarray(codes[:, :2]).view("<f2").astype(np.float32)
        packed = codes[:, 2:]
        if self.bits == 4:
            low, high = packed & 15, packed >> 4
            packed = np.stack([low, high], axis=2).reshape(len(codes), -1)[:, :dim]
            packed = ((packed ^ 8) - np.uint8(8)).astype(np.uint8)  # the sign of four bits
        return np.ascontiguousarray(packed).view(np.int8).astype(np.float32) * scale


class Sign(Codec):
    """The signs, and one scale for each vector."""

    name = "sign"

    def width(self, dim: int) -> int:
        """The scale's two bytes and a bit a dimension."""
        return 2 + (dim + 7) // 8

    def encode(self, vectors: Vectors) -> Codes:
        """The mean of the absolute values, then the signs."""
        scale = np.abs(vectors).mean(axis=1, keepdims=True).astype("<f2")
        return np.concatenate([_bytes(scale), np.packbits(vectors > 0, axis=1)], axis=1)

    def decode(self, codes: Codes, dim: int) -> Vectors:
        """Plus or minus the scale."""
        scale = np.ascontiguousarray(codes[:, :2]).view("<f2").astype(np.float32)
        bits = np.unpackbits(np.ascontiguousarray(codes[:, 2:]), axis=1, count=dim)
        return (bits.astype(np.float32) * 2 - 1) * scale


class Product(Codec):
    """Parts of a vector by the number of their nearest centroid.

    Args:
        parts: How many, a divisor of the vectors' width; as many bytes a vector.
    """

    def __init__(self, parts: int) -> None:
        self.parts = parts = whole(parts, "parts", least=1, error=ConfigError)
        self.name = f"product {parts}"
        self._centroids: Vectors | None = None  # (parts, 256, d / parts), once fitted

    @property
    def fingerprint(self) -> str:
        """Its parts and a hash of its centroids."""
        digest = hashlib.sha256(self.centroids.astype("<f4").tobytes()).hexdigest()[:12]
        return f"product-{self.parts}-{digest}"

    @property
    def centroids(self) -> Vectors:
        """`(parts, 256, d / parts)`.

        Raises:
            ConfigError: It was not fitted.
        """
        if self._centroids is None:
            raise ConfigError(
                f"{self.name} must be fitted to vectors first: Product(m).fit(vectors)"
            )
        return self._centroids

    def fit(self, vectors: Vectors, *, seed: int = 0) -> Self:
        """Find the centroids that lie nearest to some vectors; itself.

        Args:
            vectors: `(n, d)`, at least 256; 10,000 are enough.
            seed: Of their starting places.

        Raises:
            InputError: There are too few, or d is no multiple of the parts.
        """
        import faiss

        count, dim = vectors.shape
        if dim % self.parts:
            raise InputError(f"{dim} dimensions cannot be cut into {self.parts} equal parts")
        if count < CENTROIDS:
            raise InputError(f"{self.name} needs at least {CENTROIDS} vectors, got {count}")
        quantizer = faiss.ProductQuantizer(dim, self.parts, 8)
        quantizer.cp.seed = seed
        quantizer.cp.min_points_per_centroid = 1
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # sums in one order: a seed gives the same bits anywhere
        try:
            quantizer.train(np.ascontiguousarray(vectors, dtype=np.float32))
        finally:
            faiss.omp_set_num_threads(threads)
        flat = faiss.vector_to_array(quantizer.centroids)
        self._centroids = flat.reshape(self.parts, CENTROIDS, dim // self.parts).copy()
        return self

    def width(self, dim: int) -> int:
        """A byte a part."""
        return self.parts

    def encode(self, vectors: Vectors) -> Codes:
        """The nearest centroid of each part, the lower number of two as near."""
        centroids = self.centroids
        cut = vectors.reshape(len(vectors), self.parts, centroids.shape[2])
        codes = np.zeros((len(vectors), self.parts), dtype=np.uint8)
        for part, words in enumerate(centroids):
            # |v - c|² but for |v|², which is the same for all of them.
            for start in range(0, len(vectors), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                far = np.square(words).sum(1) - 2 * (cut[rows, part] @ words.T)
                codes[rows, part] = far.argmin(1)
        return codes

    def decode(self, codes: Codes, dim: int) -> Vectors:
        """The centroids, side by side."""
        vectors = self.centroids[np.arange(self.parts), codes]
        return vectors.reshape(len(codes), dim)

    def scores(self, queries: Vectors, codes: Codes) -> Scores:
        """By a table of each part's products with its centroids: no vector is made.

        Many queries are cheaper with vectors, made once for all of them.
        """
        if len(queries) > MANY:
            return super().scores(queries, codes)
        cut = queries.reshape(len(queries), self.parts, self.centroids.shape[2])
        tables = np.einsum("npd,pcd->npc", cut, self.centroids)
        out = np.zeros((len(queries), len(codes)), dtype=np.float32)
        for part in range(self.parts):
            out += tables[:, part, codes[:, part]]
        return out

    def save(self, path: str | Path) -> None:
        """Write the fitted centroids to a safetensors file.

        Args:
            path: The file; one that is there is replaced.

        Raises:
            FormatError: It cannot be written.
        """
        from safetensors.numpy import save_file

        card = {"format": FORMAT, "fingerprint": self.fingerprint}
        try:
            save_file({"centroids": self.centroids}, path, metadata=card)
        except OSError as error:
            raise FormatError(f"no codec can be written to {path}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Product:
        """The codec that `save` wrote.

        Args:
            path: The file.

        Raises:
            FormatError: The file holds none, or was changed.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as opened:
                card: dict[str, Any] = opened.metadata() or {}
                centroids = opened.get_tensor("centroids")
        except (OSError, SafetensorError) as error:
            raise FormatError(f"no codec can be read from {path}: {error}") from error
        codec = cls(len(centroids))
        codec._centroids = centroids
        if card.get("format") != FORMAT or card.get("fingerprint") != codec.fingerprint:
            raise FormatError(f"{path} is no codec of ours, or was changed")
        return codec


def _bytes(values: NDArray[Any]) -> Codes:
    width = values.shape[1] * values.itemsize
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), width)
