"""LangChain: a memory as a retriever, and as a tool that a model may call.

Both keep what makes a recall a recall: every document says which trail read it, and the tool's
artifact is the whole recall as plain data.
"""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
    CallbackManagerForToolRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from langchain_core.tools import BaseTool, ToolException
from langchain_core.tools.base import ArgsSchema
from pydantic import BaseModel, Field

from hoptrail.errors import InputError
from hoptrail.front import Memory
from hoptrail.plain import recall_data, trail_data
from hoptrail.types import Recall, Trail


class HoptrailRetriever(BaseRetriever):
    """Recalls from a memory, as LangChain documents.

    `k`, `namespace` and `effort` may also be given to `invoke`, for one call.

    Example:
        >>> retriever = HoptrailRetriever(memory=memory, k=5)  # doctest: +SKIP
        >>> retriever.invoke("Who founded it?", k=3)  # doctest: +SKIP
    """

    memory: Memory
    k: int = Field(default=5, ge=1)
    """Documents that come back, wherever the namespace holds as many."""
    namespace: tuple[str, ...] = ()
    """Where to look: every namespace that begins with it."""
    effort: str = "balanced"
    """What a recall may cost: `fast`, `balanced` or `thorough`."""

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        namespace: tuple[str, ...] | None = None,
        effort: str | None = None,
    ) -> list[Document]:
        recall = self.memory.recall(
            query,
            k=self.k if k is None else k,
            namespace=self.namespace if namespace is None else namespace,
            effort=effort or self.effort,
        )
        return documents(recall)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        # The inherited one drops k and the rest.
        return await run_in_executor(
            None, self._get_relevant_documents, query, run_manager=run_manager.get_sync(), **kwargs
        )


class RecallInput(BaseModel):
    """What a model gives to the recall tool."""

    question: str = Field(
        description="A whole question in natural language; it may need several facts to answer."
    )
    k: int | None = Field(
        default=None, ge=1, le=50, description="How many passages to return; leave out for a few."
    )


class RecallTool(BaseTool):
    """A tool that answers a question with the passages of a memory.

    The model sees the passages; the message's artifact is the whole recall as plain data, its id
    among it, by which feedback may come later (`memory.feedback(artifact["id"], 1.0)`). The
    namespace is fixed here, so that a model cannot ask for another tenant's memory.
    """

    name: str = "recall"
    description: str = (
        "Look a question up in long-term memory. Finds passages that answer it together, also "
        "when one fact leads to the next. Returns passages with their ids, best first."
    )
    args_schema: ArgsSchema | None = RecallInput
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    # A question that cannot be used is told to the model, which can ask a better one.
    handle_tool_error: Any = True

    memory: Memory
    k: int = Field(default=5, ge=1)
    namespace: tuple[str, ...] = ()
    effort: str = "balanced"

    def _run(
        self,
        question: str,
        k: int | None = None,
        run_manager: CallbackManagerForToolRun | None = None,
    ) -> tuple[str, dict[str, Any]]:
        try:
            recall = self.memory.recall(
                question,
                k=self.k if k is None else k,
                namespace=self.namespace,
                effort=self.effort,
            )
        except InputError as error:
            raise ToolException(str(error)) from error
        return _for_a_model(recall), recall_data(recall)


def recall_tool(
    memory: Memory,
    *,
    k: int = 5,
    namespace: tuple[str, ...] = (),
    effort: str = "balanced",
    name: str = "recall",
) -> RecallTool:
    """A tool that recalls from a memory, for an agent.

    Args:
        memory: What to recall from.
        k: Passages that come back unless the model asks for another number.
        namespace: Where to look; the model cannot change it.
        effort: What a recall may cost: "fast", "balanced" or "thorough".
        name: What the model calls it.
    """
    return RecallTool(memory=memory, k=k, namespace=namespace, effort=effort, name=name)


def documents(recall: Recall) -> list[Document]:
    """The passages of a recall as documents, best first.

    The metadata is the passage's own, and `title`, `namespace`, `score`, `recall` (the id that
    `memory.feedback` takes) and `trail`: the most probable trail that read it, as plain data, or
    None if it was ranked without being read.
    """
    return [
        Document(
            id=hit.passage.id,
            page_content=hit.passage.text,
            metadata={
                **hit.passage.metadata,
                "title": hit.passage.title,
                "namespace": list(hit.passage.namespace),
                "score": hit.score,
                "recall": recall.id,
                "trail": _trail_to(hit.passage.id, recall.trails),
            },
        )
        for hit in recall.hits
    ]


def _trail_to(id_: str, trails: tuple[Trail, ...]) -> dict[str, Any] | None:
    for trail in trails:
        if any(hop.id == id_ for hop in trail.hops):
            return trail_data(trail)
    return None


def _for_a_model(recall: Recall) -> str:
    """The passages as a model reads them: numbered, with their ids and titles."""
    if not recall.hits:
        return "Nothing is remembered here."
    return "\n\n".join(
        f"[{number}] {hit.passage.title or 'Untitled'} (id: {hit.passage.id})\n{hit.passage.text}"
        for number, hit in enumerate(recall.hits, start=1)
    )
