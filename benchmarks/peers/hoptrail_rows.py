"""hoptrail's own rows: hybrid search, and recalls by the policy that ships at two efforts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.peer import SharedEncoder
from hoptrail.api.memory import Memory
from hoptrail.evaluation.benchmark import Ranking, Retriever
from hoptrail.evaluation.retrievers import IndexRetriever, RecallRetriever
from hoptrail.memory.store import Store
from hoptrail.types import Passage, Question

HYBRID, FAST, BALANCED = "hoptrail hybrid", "hoptrail fast", "hoptrail balanced"
ROWS = (HYBRID, FAST, BALANCED)

SETTINGS = {
    HYBRID: "search as it is",
    FAST: "recall, the shipped policy, effort fast",
    BALANCED: "recall, the shipped policy, effort balanced (the default)",
}


class Named:
    """A retriever under another name.

    Args:
        retriever: Any.
        name: Of it in this comparison.
    """

    def __init__(self, retriever: Retriever, name: str) -> None:
        self._retriever = retriever
        self.name = name

    def rank(self, question: Question, k: int) -> Ranking:
        """The retriever's own ranking."""
        return self._retriever.rank(question, k)


def fill_memory(passages: Sequence[Passage], encoder: SharedEncoder, file: Path) -> Memory:
    """A memory of all passages, in their namespaces, that encodes every question anew.

    Args:
        passages: Of one corpus.
        encoder: Of the comparison.
        file: Where the memory lies.
    """
    with Memory(file, encoder=encoder.cached) as memory:
        memory.add(list(passages))
    return Memory(Store(file, encoder=encoder.inner, track_usage=False))


def retrievers_of(memory: Memory) -> list[Retriever]:
    """The three rows over one memory."""
    return [
        Named(IndexRetriever(memory.store, "hybrid"), HYBRID),
        RecallRetriever(memory, "fast", name=FAST),
        RecallRetriever(memory, "balanced", name=BALANCED),
    ]
