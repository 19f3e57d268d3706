"""On real questions, our BM25 finds what a stemmed bm25s finds."""

from __future__ import annotations

import json
from pathlib import Path
from threading import RLock

import numpy as np
import pytest

from hoptrail.memory.content_hash import content_key
from hoptrail.memory.index.bm25 import SparseIndex
from hoptrail.memory.index.slots import SlotTable
from hoptrail.types import Passage

K = 5


def lines(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def recall(found: list[list[str]], questions: list[dict]) -> float:
    """Recall at K, in points."""
    each = [
        len(set(ids[:K]) & set(q["supporting_ids"])) / len(q["supporting_ids"])
        for ids, q in zip(found, questions, strict=True)
    ]
    return 100 * float(np.mean(each))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["musique", "2wikimultihopqa", "hotpotqa"])
def test_recall_is_within_half_a_point_of_bm25s(data_folder: Path, name: str) -> None:
    bm25s = pytest.importorskip("bm25s", reason="needs bm25s to compare with")
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    corpus = [
        Passage(id=row["id"], text=row["text"], title=row["title"])
        for row in lines(data_folder / name / "corpus.jsonl")
    ]
    contents = [passage.content for passage in corpus]
    theirs = bm25s.BM25()
    theirs.index(
        bm25s.tokenize(contents, stopwords="en", stemmer=stemmer, show_progress=False),
        show_progress=False,
    )
    table = SlotTable()
    ours = SparseIndex(table, RLock())
    keys = np.asarray([content_key(content) for content in contents], dtype=np.uint64)
    table.add(np.arange(len(corpus)), keys)
    ours.add(contents)
    for split in ("train", "dev"):
        questions = lines(data_folder / name / f"{split}.jsonl")
        asked = bm25s.tokenize(
            [q["question"] for q in questions],
            stopwords="en",
            stemmer=stemmer,
            show_progress=False,
        )
        rows, _ = theirs.retrieve(asked, k=K, show_progress=False)
        reference = recall([[corpus[i].id for i in row] for row in rows], questions)
        found = recall(
            [[corpus[i].id for i in ours.search(q["question"], K)[1]] for q in questions],
            questions,
        )
        assert found == pytest.approx(reference, abs=0.5), f"{name} {split}"
