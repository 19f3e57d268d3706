"""On real corpora the graph joins the passages that questions need, at few edges."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from hoptrail.formats.jsonl import read_corpus, read_questions
from hoptrail.graph.graph import Graph
from hoptrail.graph.view import KINDS

pytestmark = pytest.mark.slow

ENTITY = KINDS.index("entity")


@pytest.mark.parametrize(
    ("corpus", "mentioned", "joined", "named", "targets"),
    [
        ("musique", 0.23, 0.57, 0.34, 3.2),
        ("2wikimultihopqa", 0.45, 0.47, 0.62, 1.1),
        ("hotpotqa", 0.68, 0.74, 0.55, 2.0),
    ],
)
def test_gold_passages_are_joined_and_named(
    corpus: str,
    mentioned: float,
    joined: float,
    named: float,
    targets: float,
    graph: Graph,
    data_folder: Path,
) -> None:
    """Shares of gold pairs with a mention, with any edge; of gold named; mean targets."""
    graph.store.add(read_corpus(data_folder / corpus / "corpus.jsonl"))
    view = graph.view(graph.store.view())
    pairs = by_mention = by_any = gold = found = 0
    for question in read_questions(data_folder / corpus / "train.jsonl"):
        slots = [view.view.slot_of(id) for id in dict.fromkeys(question.supporting_ids)]
        edges = view.edges([slot for slot in slots if slot is not None])
        joined_by: dict[tuple[int, int], int] = {}
        for kind, (a, b) in zip(edges.kind.tolist(), edges.index.T.tolist(), strict=True):
            joined_by.setdefault((a, b), kind)  # mentions come first
        kinds = [joined_by.get(pair) for pair in combinations(range(len(slots)), 2)]
        pairs += len(kinds)
        by_any += sum(kind is not None for kind in kinds)
        by_mention += sum(kind is not None and kind < ENTITY for kind in kinds)
        gold += len(slots)
        found += len(set(view.named(question.text)) & set(slots))
    assert by_mention / pairs > mentioned
    assert by_any / pairs > joined
    assert found / gold > named
    edges = view.edges(range(view.view.capacity))
    assert (edges.kind == KINDS.index("mentions")).sum() / view.view.size < targets
