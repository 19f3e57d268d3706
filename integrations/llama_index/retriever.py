"""A memory as a LlamaIndex retriever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle

from hoptrail.api.async_memory import AsyncMemory
from hoptrail.api.hit_selection import Until
from hoptrail.api.memory import Memory
from hoptrail.errors import InputError
from hoptrail.integrations.llama_index.nodes import recall_nodes
from hoptrail.integrations.operations.recall_settings import RecallSettings
from hoptrail.types import AsOf


class LlamaIndexRetriever(BaseRetriever):
    """Recalls from a memory, wherever LlamaIndex takes a retriever: query engines, chat engines.

    Args:
        memory: What to recall from.
        k: Nodes that come back, wherever the namespace holds as many that fit.
        namespace: Where to look: every namespace that begins with it.
        effort: What a recall may cost: "fast", "balanced" or "thorough".
        filter: Only passages that fulfil it are read and returned; see `hoptrail.memory.filters`.
        score_threshold: Only passages whose score is at least this.
        as_of: What was valid at a time rather than now, as `Memory.recall` takes it.
        until: "complete" for as many of the k as are needed, likewise.
        tokens: As many of the k as fit this budget, likewise.
        min_score: Only those of the k that are needed with this probability, likewise.
        patience: Only those of the k that are worth reading at this patience, likewise.
        callback_manager: Told of every retrieval, as by all of LlamaIndex's retrievers.
        verbose: As of all of LlamaIndex's retrievers.

    Raises:
        InputError: A setting is of the wrong type, or outside its range.

    Examples:
        >>> retriever = LlamaIndexRetriever(memory, k=3)  # doctest: +SKIP
        >>> retriever.retrieve("Who founded it?")[0].score  # doctest: +SKIP
    """

    def __init__(
        self,
        memory: Memory | AsyncMemory,
        *,
        k: int = 5,
        namespace: Sequence[str] = (),
        effort: str = "balanced",
        filter: Mapping[str, Any] | None = None,
        score_threshold: float | None = None,
        as_of: AsOf | None = None,
        until: Until | None = None,
        tokens: int | None = None,
        min_score: float | None = None,
        patience: float | None = None,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        self.settings = RecallSettings(
            memory,
            k,
            namespace,
            effort,
            filter,
            score_threshold,
            as_of,
            until,
            tokens,
            min_score,
            patience,
        )
        super().__init__(callback_manager, verbose=verbose)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        question = _question(query_bundle)
        return recall_nodes(self.settings.recall(question), self.settings.scope)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        # The inherited one would hold the event loop.
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _question(query: QueryBundle) -> str:
    """The question that a query asks.

    Raises:
        InputError: It asks by something else than its words, which a memory would not look at.
    """
    if query.custom_embedding_strs not in (None, [query.query_str]):
        raise InputError(
            "a memory is asked by the question itself, got a query with custom_embedding_strs: "
            "retrieve without a transform that replaces what is embedded"
        )
    for name in ("embedding", "image_path"):
        if getattr(query, name) is not None:
            raise InputError(f"a memory is asked in words, got a query with {name}")
    return query.query_str
