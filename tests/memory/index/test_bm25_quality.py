"""On real questions, our BM25 finds what bm25s finds with our terms, and no less than with its."""

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


def recall(rankings: list[list[str]], questions: list[dict]) -> float:
    """Recall at K, in points."""
    each = [
        len(set(ids[:K]) & set(q["supporting_ids"])) / len(q["supporting_ids"])
        for ids, q in zip(rankings, questions, strict=True)
    ]
    return 100 * float(np.mean(each))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["musique", "2wikimultihopqa", "hotpotqa"])
def test_recall_is_that_of_bm25s_with_our_terms_and_no_less_than_with_its_own(
    data_folder: Path, name: str
) -> None:
    bm25s = pytest.importorskip("bm25s", reason="needs bm25s to compare with")
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    corpus = [
        Passage(id=row["id"], text=row["text"], title=row["title"])
        for row in lines(data_folder / name / "corpus.jsonl")
    ]
    contents = [passage.content for passage in corpus]
    table = SlotTable()
    ours = SparseIndex(table, RLock())
    keys = np.asarray([content_key(content) for content in contents], dtype=np.uint64)
    table.add(np.arange(len(corpus)), keys)
    ours.add(contents)

    def their_terms(texts: list[str]) -> object:
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    def our_terms(texts: list[str]) -> list[list[str]]:
        return [ours.terms(text) for text in texts]

    references = {}
    for terms_of in (our_terms, their_terms):
        references[terms_of] = bm25s.BM25()
        references[terms_of].index(terms_of(contents), show_progress=False)
    for split in ("train", "dev"):
        questions = lines(data_folder / name / f"{split}.jsonl")
        texts = [question["question"] for question in questions]
        hits = [[corpus[i].id for i in ours.search(text, K)[1]] for text in texts]
        reached = recall(hits, questions)
        for terms_of, reference in references.items():
            rows, _ = reference.retrieve(terms_of(texts), k=K, show_progress=False)
            theirs = recall([[corpus[i].id for i in row] for row in rows], questions)
            if terms_of is our_terms:
                assert reached == pytest.approx(theirs, abs=0.5), f"{name} {split}"
            else:
                assert reached >= theirs - 0.5, f"{name} {split}"
