"""A memory's policy as a LangChain document compressor, for what any retriever returned."""

from __future__ import annotations

from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.runnables import run_in_executor
from pydantic import Field, model_validator

from hoptrail.api.async_memory import AsyncMemory
from hoptrail.api.inputs import OURS
from hoptrail.api.memory import Memory
from hoptrail.errors import InputError
from hoptrail.integrations.langchain.asking import STRICT
from hoptrail.integrations.operations.recall_settings import RecallSettings
from hoptrail.types import Passage

SCORE = "relevance_score"
"""The key of a document's metadata that holds its score, as LangChain's other rerankers name it."""


class RecallCompressor(BaseDocumentCompressor):
    """Keeps of any retriever's documents those that answer a question together, best first.

    The documents become a small memory of their own, encoded by this memory's encoder, and its
    policy walks them: what is reached only through another document is kept beside that. Nothing is
    written to the memory itself. A document's score stands in its metadata as `relevance_score`.

    Raises:
        ValidationError: A setting is of the wrong type, or outside its range; a `ValueError`.
    """

    model_config = STRICT

    memory: Memory | AsyncMemory
    """Has the encoder and the policy."""
    k: int = Field(default=5, ge=1, strict=True)
    """Documents that are kept at most."""
    effort: str = "balanced"
    """What the walk may cost: `fast`, `balanced` or `thorough`."""
    score_threshold: float | None = None
    """Only documents whose score is at least this. Scores compare within one question."""

    @model_validator(mode="after")
    def _check_settings(self) -> RecallCompressor:
        self._settings(self.memory)
        return self

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The best of the documents, as copies that say their score.

        Args:
            documents: n of them, perhaps none.
            query: The question.
            callbacks: LangChain's; the walk calls no runnable that they could be told of.

        Raises:
            InputError: The question is empty, or a document is.
            HoptrailError: The memory has no encoder, or no policy.
        """
        passages = [_passage(number, document) for number, document in enumerate(documents)]
        if not passages:
            return []
        memory = self._settings(self.memory).open_memory()
        with (
            TemporaryDirectory(prefix="hoptrail-") as folder,
            Memory(
                f"{folder}/documents.db",
                encoder=memory.store.encoder or "auto",
                policy=memory.policy,
                track_usage=False,
            ) as small,
        ):
            small.add(passages)
            hits = self._settings(small).recall(query).hits
        return [_scored(documents[int(hit.passage.id)], hit.score) for hit in hits]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """As `compress_documents`, in a thread.

        Args:
            documents: n of them, perhaps none.
            query: The question.
            callbacks: LangChain's.
        """
        return await run_in_executor(None, self.compress_documents, documents, query, callbacks)

    def _settings(self, memory: Memory | AsyncMemory) -> RecallSettings:
        return RecallSettings(memory, self.k, (), self.effort, None, self.score_threshold)


def _passage(number: int, document: Document) -> Passage:
    if not document.page_content.strip():
        raise InputError(f"document {number + 1} of those to rank is empty (id: {document.id!r})")
    ours = document.metadata.get(OURS)
    title = (ours if isinstance(ours, dict) else document.metadata).get("title")
    named = {key: document.metadata[key] for key in ("speaker",) if key in document.metadata}
    return Passage(
        str(number), document.page_content, title if isinstance(title, str) else None, named
    )


def _scored(document: Document, score: float) -> Document:
    metadata: dict[str, Any] = {**document.metadata, SCORE: score}
    return document.model_copy(update={"metadata": metadata})
