"""A memory's policy as a LangChain document compressor, behind other people's retrievers."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ValidationError

from hoptrail import InputError, Memory
from hoptrail.api.async_memory import AsyncMemory
from hoptrail.integrations import RecallCompressor
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"
DOCUMENTS = [
    Document("Tolle has a tower of seven bells.", id="x", metadata={"n": 0}),
    Document("It flows into Lake Sorrel.", metadata={"title": "Ister Beck", "n": 1}),
    Document("Ada Lind was born in Varn.", metadata={"hoptrail": {"title": "Ada Lind"}, "n": 2}),
    Document("Ada Lind was born in Varn.", metadata={"n": 3}),
]


class Everything(BaseRetriever):
    """Somebody else's retriever."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return DOCUMENTS


def test_the_best_come_back_with_their_scores_and_nothing_is_written(shared_memory) -> None:
    size = shared_memory.count()
    chain = Everything() | (
        lambda documents: RecallCompressor(memory=shared_memory, k=3).compress_documents(
            documents, QUESTION
        )
    )
    best: list[Any] = chain.invoke(QUESTION)
    scores = [one.metadata["relevance_score"] for one in best]
    assert scores == sorted(scores, reverse=True)
    assert len(best) == 3
    for one in best:
        original = DOCUMENTS[one.metadata["n"]]
        assert (one.page_content, one.id) == (original.page_content, original.id)
    assert shared_memory.count() == size
    assert "relevance_score" not in DOCUMENTS[0].metadata


def test_the_order_is_that_of_a_recall_over_the_same_passages(shared_memory, tmp_path) -> None:
    records = [
        {"id": "0", "text": "Tolle has a tower of seven bells."},
        {"id": "1", "text": "It flows into Lake Sorrel.", "title": "Ister Beck"},
        {"id": "2", "text": "Ada Lind was born in Varn.", "title": "Ada Lind"},
        {"id": "3", "text": "Ada Lind was born in Varn."},
    ]
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=shared_memory.policy) as memory:
        memory.add(records)
        recall = memory.recall(QUESTION, k=4)
    best = RecallCompressor(memory=shared_memory, k=4).compress_documents(DOCUMENTS, QUESTION)
    assert [str(one.metadata["n"]) for one in best] == [hit.passage.id for hit in recall.hits]
    assert [one.metadata["relevance_score"] for one in best] == pytest.approx(
        [hit.score for hit in recall.hits]
    )


async def test_a_threshold_keeps_less_and_it_can_be_awaited(shared_memory) -> None:
    compressor = RecallCompressor(memory=AsyncMemory(shared_memory), effort="fast")
    best = await compressor.acompress_documents(DOCUMENTS, QUESTION)
    assert len(best) == 4
    least = best[1].metadata["relevance_score"]
    fewer = RecallCompressor(memory=shared_memory, effort="fast", score_threshold=least)
    assert len(fewer.compress_documents(DOCUMENTS, QUESTION)) == 2
    assert fewer.compress_documents([], QUESTION) == []


def test_what_cannot_be_ranked_is_refused(shared_memory) -> None:
    compressor = RecallCompressor(memory=shared_memory)
    with pytest.raises(InputError, match=r"document 2 .* is empty \(id: 'e'\)"):
        compressor.compress_documents([DOCUMENTS[0], Document(" ", id="e")], QUESTION)
    with pytest.raises(InputError):
        compressor.compress_documents(DOCUMENTS, " ")
    for setting in ({"k": 0}, {"effort": "x"}, {"memory": "a.db"}, {"top_n": 3}):
        with pytest.raises(ValidationError):
            RecallCompressor(**{"memory": shared_memory, **setting})
