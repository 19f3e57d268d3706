"""LangChain's embeddings as an encoder of a memory, and an encoder as LangChain's embeddings."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from langchain_core.embeddings import Embeddings

from hoptrail.errors import InputError
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.values.numbers import shown


class EncoderEmbeddings(Embeddings):
    """An encoder, wherever LangChain takes embeddings.

    Args:
        encoder: Makes the vectors, of queries and documents alike.

    Raises:
        InputError: It is no encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        if not isinstance(encoder, Encoder):
            raise InputError(f"encoder must be an Encoder, got {shown(encoder)}")
        self.encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of texts, of length 1.

        Args:
            texts: n of them.
        """
        vectors: list[list[float]] = self.encoder.encode(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query, of length 1.

        Args:
            text: The query.
        """
        return self.embed_documents([text])[0]


class EmbeddingsEncoder:
    """LangChain's embeddings as the encoder of a memory.

    Queries and passages both go through `embed_documents`: a model that embeds them differently
    loses that difference.

    Args:
        embeddings: What makes the vectors.
        fingerprint: Names the model and its settings, "openai:text-embedding-3-small" say. A memory
            refuses an encoder of another name than the one that made its vectors: embeddings cannot
            name themselves.

    Raises:
        InputError: They are no embeddings, or the name is empty.
    """

    def __init__(self, embeddings: Embeddings, fingerprint: str) -> None:
        if not isinstance(embeddings, Embeddings):
            raise InputError(f"embeddings must be LangChain's Embeddings, got {shown(embeddings)}")
        if not isinstance(fingerprint, str) or not fingerprint.strip():
            raise InputError(f"fingerprint must name the model, got {shown(fingerprint)}")
        self.embeddings = embeddings
        self._fingerprint = fingerprint
        self._lock = threading.Lock()
        self._dim: int | None = None

    @property
    def fingerprint(self) -> str:
        """The name that was given."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """The width d of a vector; the first time, a word is embedded to see."""
        with self._lock:
            if self._dim is None:
                self._dim = len(self.embeddings.embed_documents(["width"])[0])
            return self._dim

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)` float32, L2-normalised.

        Args:
            texts: n of them; perhaps none.

        Raises:
            InputError: The embeddings gave other vectors than these, or one without a direction.
        """
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        try:
            vectors = np.asarray(self.embeddings.embed_documents(list(texts)), dtype=np.float64)
        except ValueError as error:
            raise InputError(f"the embeddings gave vectors of different widths: {error}") from error
        if vectors.shape != (len(texts), self.dim):
            raise InputError(
                f"the embeddings gave an array {vectors.shape} for {len(texts)} texts, "
                f"not {(len(texts), self.dim)}"
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise InputError("the embeddings gave a vector that has no direction")
        unit: Vectors = (vectors / lengths).astype(np.float32)
        return unit
