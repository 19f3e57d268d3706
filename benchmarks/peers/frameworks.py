"""The stores that LangChain, LangGraph and txtai bring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.peer import Index, Scored, SharedEncoder
from hoptrail.types import Passage


class LangChainIndex:
    """An `InMemoryVectorStore`."""

    def __init__(self, passages: Sequence[Passage], encoder: SharedEncoder) -> None:
        from langchain_core.documents import Document
        from langchain_core.embeddings import Embeddings
        from langchain_core.vectorstores import InMemoryVectorStore

        class Vectors(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return encoder.lists(texts)

            def embed_query(self, text: str) -> list[float]:
                return list(encoder.question(text).tolist())

        self._store = InMemoryVectorStore(Vectors())
        documents = [Document(id=passage.id, page_content=passage.content) for passage in passages]
        self._store.add_documents(documents)

    def search(self, text: str, k: int) -> Scored:
        """By cosine."""
        hits = self._store.similarity_search_with_score(text, k=k)
        return [(str(document.id), score) for document, score in hits]

    def save(self, folder: Path) -> None:
        """Its dump, a JSON file."""
        self._store.dump(str(folder / "store.json"))


class LangChain:
    """LangChain's vector store in memory."""

    name = "LangChain InMemoryVectorStore"
    requires = ("langchain-core",)
    settings = "as it is; texts and ids as Documents"
    persists: str | None = "dump() of the whole store as JSON"

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """The store, filled by `add_documents`."""
        return LangChainIndex(passages, encoder)


class LangGraphIndex:
    """An `InMemoryStore` with an index."""

    BATCH = 1000

    def __init__(self, passages: Sequence[Passage], encoder: SharedEncoder) -> None:
        from langgraph.store.base import PutOp
        from langgraph.store.memory import InMemoryStore

        def embed(texts: Sequence[str]) -> list[list[float]]:
            if len(texts) == 1:  # a search's
                return [encoder.question(texts[0]).tolist()]
            return encoder.lists(texts)

        self._store = InMemoryStore(index={"dims": encoder.dim, "embed": embed, "fields": ["text"]})
        puts = [PutOp(("passages",), passage.id, {"text": passage.content}) for passage in passages]
        for start in range(0, len(puts), self.BATCH):
            self._store.batch(puts[start : start + self.BATCH])

    def search(self, text: str, k: int) -> Scored:
        """By cosine."""
        hits = self._store.search(("passages",), query=text, limit=k)
        return [(hit.key, hit.score or 0.0) for hit in hits]

    def save(self, folder: Path) -> None:
        """It has no way to be written."""


class LangGraph:
    """LangGraph's long-term store in memory."""

    name = "LangGraph InMemoryStore"
    requires = ("langgraph",)
    settings = "index over the field of the text; puts in batches of 1,000"
    persists: str | None = None

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """The store, filled by `batch`."""
        return LangGraphIndex(passages, encoder)


class TxtaiIndex:
    """An `Embeddings` database with words, vectors and perhaps a graph."""

    NODES = 50
    """Hits that make a question's graph."""

    def __init__(self, passages: Sequence[Passage], encoder: SharedEncoder, graph: bool) -> None:
        from txtai import Embeddings

        def transform(texts: list[str]) -> Any:
            if len(texts) == 1:  # a search's
                return encoder.question(texts[0])[None]
            return np.array(encoder.passages(texts))  # txtai normalises in place

        self._graph = graph
        settings: dict[str, Any] = {
            "method": "external",
            "transform": transform,
            "content": True,
            "hybrid": True,
        }
        if graph:
            settings["graph"] = {"approximate": False}
        self.embeddings = Embeddings(settings)
        self.embeddings.index((passage.id, passage.content, None) for passage in passages)

    def search(self, text: str, k: int) -> Scored:
        """Its hybrid search; with a graph, the most central of the first hits."""
        if not self._graph:
            hits = self.embeddings.search(text, k)
            return [(hit["id"], hit["score"]) for hit in hits]
        graph = self.embeddings.search(text, self.NODES, graph=True)
        central = list(graph.centrality().items())[:k]
        return [(graph.attribute(node, "id"), score) for node, score in central]

    def save(self, folder: Path) -> None:
        """Its own save."""
        self.embeddings.save(str(folder / "txtai"))


class Txtai:
    """txtai's hybrid search."""

    name = "txtai"
    requires = ("txtai",)
    settings = "content, hybrid (its BM25 and vectors at 0.5 each), its default index (FAISS)"
    persists: str | None = "save() of the whole database"
    graph = False

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """A database of the passages."""
        return TxtaiIndex(passages, encoder, self.graph)


class TxtaiGraph(Txtai):
    """txtai's hybrid search and its semantic graph."""

    name = "txtai with graph"
    requires = ("txtai", "networkx", "grand-graph")
    settings = (
        "as txtai, and its semantic graph (exact neighbours); the passages are the most central of "
        f"the graph of {TxtaiIndex.NODES} hits, as its documentation takes a context from a graph"
    )
    graph = True
