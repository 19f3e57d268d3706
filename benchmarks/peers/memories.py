"""coremem and engram: memories for agents that retrieve without an LLM."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.peer import Index, Scored, SharedEncoder
from hoptrail.types import Passage

BATCH = 1000


class _SentenceModel:
    """The shared encoder in the form of the model that coremem loads."""

    def __init__(self, encoder: SharedEncoder) -> None:
        self._encoder = encoder

    def encode(self, texts: list[str], **_: Any) -> np.ndarray:
        if len(texts) == 1:  # a search's
            return self._encoder.question(texts[0])[None]
        return self._encoder.passages(texts)


class CorememIndex:
    """A `MemoryCore` in a folder."""

    def __init__(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> None:
        import coremem.core

        coremem.core._batch_embed_model = _SentenceModel(encoder)
        self._core = coremem.core.MemoryCore(path=str(folder / "memory"))
        self.write(passages)

    def write(self, passages: Sequence[Passage]) -> None:
        """Ingest passages, all of one moment, so that no one of them is recent."""
        moment = datetime.now(UTC)
        messages = [
            {
                "id": passage.id,
                "role": "user",
                "content": passage.content,
                "session_id": str(passage.metadata.get("session", passage.id)),
                "ts": moment,
            }
            for passage in passages
        ]
        for start in range(0, len(messages), BATCH):
            self._core.ingest_many(messages[start : start + BATCH])

    def search(self, text: str, k: int) -> Scored:
        """By its strategy `direct`."""
        hits = self._core.recall(text, strategy="direct", limit=k)
        return [(hit.memory.id, hit.score) for hit in hits]

    def save(self, folder: Path) -> None:
        """It lies in its folder already."""


class Coremem:
    """coremem's zero-LLM search without its cross-encoder."""

    name = "coremem direct"
    requires = ("coremem",)
    settings = 'recall(strategy="direct"), the shared encoder in place of its own'
    persists: str | None = "each ingest, to SQLite and Chroma"

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """A memory of messages."""
        return CorememIndex(passages, encoder, folder)


class EngramIndex:
    """An engram store in a folder."""

    def __init__(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> None:
        import engram.hopfield
        import engram.retrieval
        from engram.config import Config
        from engram.store import Store

        def embed(text: str, _: str | None = None) -> np.ndarray:
            return encoder.question(text)

        self._encoder = encoder
        self._retrieval: Any = engram.retrieval
        self._retrieval.embed_query = embed
        self._retrieval.RETRIEVAL_NOISE_SCALE = 0.0
        self._config = Config(db_path=str(folder / "engram.db"))
        self._store = Store(self._config)
        self._store.init_db()
        self.write(passages)

    def write(self, passages: Sequence[Passage]) -> None:
        """Save memories with their vectors, and the entities that its patterns find."""
        from engram.entities import process_entities_for_memory
        from engram.store import Memory

        vectors = self._encoder.passages([passage.content for passage in passages])
        for passage, vector in zip(passages, vectors, strict=True):
            self._store.save_memory(
                Memory(id=passage.id, content=passage.content, embedding=vector)
            )
            process_entities_for_memory(self._store, passage.id, passage.content)

    def search(self, text: str, k: int) -> Scored:
        """Its fusion of four signals, with its boosts and without its cross-encoder."""
        self._store._search_cache.clear()
        hits = self._retrieval.search(text, self._store, self._config, top_k=k, rerank=False)
        return [(hit.memory.id, hit.score) for hit in hits]

    def save(self, folder: Path) -> None:
        """It lies in its folder already."""


class Engram:
    """engram's weighted fusion of vectors, BM25, entities and a Hopfield network."""

    name = "engram fusion"
    requires = ("engram-memory-system",)
    settings = (
        "search(rerank=False): no cross-encoder; the shared encoder, exact search in place of "
        "HNSW, its random noise on scores switched off"
    )
    persists: str | None = "each memory, to SQLite"

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """A store of memories."""
        return EngramIndex(passages, encoder, folder)
