"""A trained reformulator: changes of one encoder's query side, and the network over vectors.

A file holds a and b of each changed layer in half precision (`hoptrail.learning.low_rank`), the
weights of the network, and the fingerprint of the encoder that the changes are of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hoptrail.errors import PolicyError
from hoptrail.learning.arrays.tensor_files import FAULTS, load_about, reason
from hoptrail.memory.encoders.transformer import Encoder, TransformerEncoder
from hoptrail.memory.encoders.tuned.factor_tensors import factor_tensors, factors_of
from hoptrail.memory.encoders.tuned.query_tuned import LowRankEncoder
from hoptrail.memory.encoders.wrapped import uncached
from hoptrail.policies.reformulation.latent_query import LatentQuery

FILE = "reformulator.safetensors"

Half = NDArray[np.float16]
Factors = Mapping[str, tuple[Half, Half]]
"""a `(rank, in)` and b `(out, rank)` of each changed layer, by its name."""


class LearnedReformulator:
    """What was learned of asking the next query, for one encoder.

    Args:
        base: The fingerprint of the encoder that it changes, the memory's.
        factors: The changes.
        latent: The network over vectors.
    """

    def __init__(self, base: str, factors: Factors, latent: LatentQuery) -> None:
        self.base, self.factors, self.latent = base, dict(factors), latent
        digest = hashlib.sha256(base.encode())
        for name, pair in sorted(self.factors.items()):
            digest.update(name.encode())
            for factor in pair:
                digest.update(np.ascontiguousarray(factor).tobytes())
        self._encoder_name = digest.hexdigest()[:16]
        for tensor in latent.tensors().values():
            digest.update(np.ascontiguousarray(tensor).tobytes())
        self.fingerprint = digest.hexdigest()[:16]
        """Names the changes and the network."""
        self._query_encoder: LowRankEncoder | None = None

    def __deepcopy__(self, memo: object) -> LearnedReformulator:
        """Itself: nothing of it changes, and a copied policy shares the encoder that it made."""
        return self

    def __repr__(self) -> str:
        return f"<LearnedReformulator of {self.base}, {self.size:,} weights>"

    @property
    def size(self) -> int:
        """The number of weights."""
        return self.latent.size + sum(a.size + b.size for a, b in self.factors.values())

    def suits(self, encoder: Encoder) -> bool:
        """Whether it was trained beside this encoder.

        Args:
            encoder: The memory's, or a cache before it.
        """
        inner = uncached(encoder)
        return isinstance(inner, TransformerEncoder) and inner.fingerprint == self.base

    def query_encoder(self, encoder: Encoder) -> LowRankEncoder:
        """The encoder with its changes; the same one for the same encoder.

        Args:
            encoder: One that it suits.
        """
        inner = uncached(encoder)
        assert isinstance(inner, TransformerEncoder)
        if self._query_encoder is None or self._query_encoder.base is not inner:
            self._query_encoder = LowRankEncoder(inner, self.factors, self._encoder_name)
        return self._query_encoder

    def save(self, file: Path) -> None:
        """Write it.

        Args:
            file: The file, which is put in its place whole.

        Raises:
            PolicyError: It cannot be written.
        """
        tensors: dict[str, NDArray[np.generic]] = {
            f"latent.{name}": np.ascontiguousarray(tensor)
            for name, tensor in self.latent.tensors().items()
        }
        for name, factor in factor_tensors(self.factors).items():
            tensors[name] = np.ascontiguousarray(factor)
        partial = file.with_name(file.name + ".partial")
        try:
            save_file(tensors, partial, metadata={"reformulator": json.dumps({"base": self.base})})
            partial.replace(file)
        except (OSError, SafetensorError) as error:
            raise PolicyError(f"no reformulator can be written to {file}: {error}") from error

    @classmethod
    def load(cls, file: Path) -> LearnedReformulator | None:
        """The reformulator of a file; None where there is none.

        Args:
            file: As `save` wrote it.

        Raises:
            PolicyError: It is damaged.
        """
        if not file.is_file():
            return None
        try:
            base = str(load_about(file, "reformulator")["base"])
            tensors = load_file(file)
            for name, tensor in tensors.items():
                if not np.isfinite(tensor).all():
                    raise ValueError(f"the weights {name} have a value that is not finite")
            factors = factors_of(tensors)
            latent = {
                name.removeprefix("latent."): tensor
                for name, tensor in tensors.items()
                if name.startswith("latent.")
            }
            return cls(base, factors, LatentQuery.of(latent))
        except FAULTS as error:
            raise PolicyError(f"the reformulator {file} is damaged: {reason(error)}") from error
