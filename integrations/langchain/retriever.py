"""A memory as a LangChain retriever: every document says which trail read it."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor

from hoptrail.integrations.langchain.asking import STRICT, Asking
from hoptrail.integrations.langchain.passage_documents import documents


class HoptrailRetriever(Asking, BaseRetriever):
    """Recalls from a memory, as LangChain documents.

    `k`, `namespace`, `effort`, `filter`, `score_threshold`, `as_of`, `until`, `tokens`,
    `min_score` and `patience` may also be given to `invoke`, for one call; a filter then holds
    beside the retriever's own. Anything else is refused.

    Examples:
        >>> retriever = HoptrailRetriever(memory=memory, k=5)  # doctest: +SKIP
        >>> retriever.invoke("Who founded it?", k=3)  # doctest: +SKIP
    """

    model_config = STRICT

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **call: Any
    ) -> list[Document]:
        return documents(self._recall(query, **call))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **call: Any
    ) -> list[Document]:
        # The inherited one drops k and the rest.
        return await run_in_executor(
            None, self._get_relevant_documents, query, run_manager=run_manager.get_sync(), **call
        )
