"""Encoders as LangChain's embeddings, and embeddings as encoders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from hoptrail import EncoderMismatch, InputError, Memory
from hoptrail.integrations.langchain import EmbeddingsEncoder, EncoderEmbeddings
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.testing.hash_encoder import HashEncoder


class _Embeddings:
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return EncoderEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": HashEncoder()}


class TestEmbeddingsAlone(_Embeddings, EmbeddingsUnitTests):
    """LangChain's unit tests."""


class TestEmbeddingsAtWork(_Embeddings, EmbeddingsIntegrationTests):
    """LangChain's integration tests."""


def test_embeddings_encode_a_memory_and_are_known_by_their_name(tmp_path) -> None:
    encoder = EmbeddingsEncoder(DeterministicFakeEmbedding(size=24), "fake-24")
    assert isinstance(encoder, Encoder)
    assert (encoder.fingerprint, encoder.dim) == ("fake-24", 24)
    with Memory(tmp_path / "a.db", encoder=encoder) as memory:
        memory.add([{"id": "a", "text": "Ada."}, {"id": "b", "text": "Bob."}])
        assert memory.search("Bob.", 1, mode="dense")[0].passage.id == "b"
        assert memory.search("Bob.", 1, mode="dense")[0].score == pytest.approx(1.0)
    other = EmbeddingsEncoder(DeterministicFakeEmbedding(size=24), "another-24")
    with pytest.raises(EncoderMismatch):
        Memory(tmp_path / "a.db", encoder=other)


def test_vectors_are_of_length_1_and_none_texts_have_none() -> None:
    encoder = EmbeddingsEncoder(DeterministicFakeEmbedding(size=24), "fake-24")
    vectors = encoder.encode(["Ada.", "Bob.", "Ada."])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert encoder.encode([]).shape == (0, 24)


class Broken(Embeddings):
    """Gives what it is told to, but for the word that asks for the width."""

    def __init__(self, vectors: list[list[float]]) -> None:
        self.vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0]] if texts == ["width"] else self.vectors

    def embed_query(self, text: str) -> list[float]:
        raise AssertionError


@pytest.mark.parametrize(
    "vectors",
    [
        [[0.0, 0.0], [1.0, 0.0]],
        [[float("nan"), 1.0], [1.0, 0.0]],
        [[1.0, 0.0]],
        [[1.0], [1.0, 2.0]],
    ],
)
def test_what_is_no_vector_is_refused(vectors) -> None:
    with pytest.raises(InputError, match="the embeddings gave"):
        EmbeddingsEncoder(Broken(vectors), "broken").encode(["a", "b"])


def test_what_is_no_embeddings_or_no_name_is_refused() -> None:
    with pytest.raises(InputError, match="Embeddings"):
        EmbeddingsEncoder("openai", "x")
    with pytest.raises(InputError, match="fingerprint"):
        EmbeddingsEncoder(DeterministicFakeEmbedding(size=4), " ")
    with pytest.raises(InputError, match="Encoder"):
        EncoderEmbeddings("minilm")
