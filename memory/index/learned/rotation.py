"""A rotation of all vectors of an encoder: products stay, and prefixes say more.

Any orthogonal matrix R leaves every product as it is, (R q)·(R v) = q·v, so that whole vectors
need not be encoded or ranked anew. But the first dimensions of R v may hold what tells passages
apart, as those of an encoder that was trained for it (Kusupati et al. 2022, 2205.13147,
Matryoshka). `hoptrail.learning.indexes.matryoshka` learns one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hoptrail.errors import FormatError
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.learned.tensor_file import load_arrays, save_arrays

FORMAT = "hoptrail-rotation-1"
ORTHOGONAL = 1e-4
"""By how much a product of two rows may differ from that of an orthogonal matrix."""


class Rotation:
    """An orthogonal matrix for the vectors of one encoder.

    Args:
        matrix: `(d, d)`, orthogonal.
        made_of: What it was learned from; JSON values.

    Raises:
        FormatError: The matrix is not orthogonal.
    """

    def __init__(self, matrix: Vectors, made_of: Mapping[str, Any] | None = None) -> None:
        matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise FormatError(f"a rotation has the shape (d, d), got {matrix.shape}")
        off = np.abs(matrix.astype(np.float64) @ matrix.T - np.eye(len(matrix))).max()
        if not off <= ORTHOGONAL:
            raise FormatError(f"a rotation's rows must be orthogonal, these are off by {off:.2g}")
        self.matrix = matrix
        self.made_of = dict(made_of or {})

    def __repr__(self) -> str:
        return f"<Rotation of {self.dim} dim, {self.fingerprint}>"

    @property
    def dim(self) -> int:
        """The width d of a vector."""
        return len(self.matrix)

    @property
    def fingerprint(self) -> str:
        """Names the matrix."""
        return hashlib.sha256(self.matrix.tobytes()).hexdigest()[:16]

    def apply(self, vectors: Vectors) -> Vectors:
        """The rotated vectors `(n, d)`.

        Args:
            vectors: `(n, d)`.

        Raises:
            FormatError: They have another width.
        """
        if vectors.shape[1] != self.dim:
            raise FormatError(
                f"the rotation is for vectors of {self.dim} dimensions, got {vectors.shape[1]}: "
                "learn one for this encoder"
            )
        rotated: Vectors = vectors @ self.matrix.T
        return rotated

    def save(self, path: str | Path) -> Path:
        """Write it to a file in safetensors; its path.

        Args:
            path: The file.

        Raises:
            FormatError: It cannot be written.
        """
        return save_arrays(path, FORMAT, {"matrix": self.matrix}, self.made_of)

    @classmethod
    def load(cls, path: str | Path) -> Rotation:
        """The rotation that `save` wrote.

        Args:
            path: The file.

        Raises:
            FormatError: It holds none.
        """
        arrays, made_of = load_arrays(path, FORMAT)
        if "matrix" not in arrays:
            raise FormatError(f"{path} holds no matrix")
        return cls(arrays["matrix"], made_of)
